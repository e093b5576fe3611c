/* exp, expm1, log, log1p, tanh, logistic, sine and cosine of turns and the normal distribution as branch-free functions
 * of one real, so that a loop over them becomes vector code. Errors in units in the last place stand at each function
 * and in functions.def, which the tests hold them to. NaN stays NaN; results below the smallest normal number are 0.
 *
 * The polynomials are Chebyshev fits of the named function on the named interval, highest power first. */

FNN_INLINE bits NAME(to_bits)(real x) { bits b; memcpy(&b, &x, sizeof b); return b; }
FNN_INLINE real NAME(from_bits)(bits b) { real x; memcpy(&x, &b, sizeof x); return x; }

FNN_INLINE real NAME(polynomial)(real x, const real *coefficient, int count)
{
    real y = coefficient[0];
    FNN_UNROLL
    for (int i = 1; i < count; i++) y = y * x + coefficient[i];
    return y;
}
#define FNN_POLYNOMIAL(x, coefficient) NAME(polynomial)(x, coefficient, sizeof coefficient / sizeof *coefficient)

#if FNN_REAL_BITS == 32
#define FNN_MANTISSA 23
#define FNN_HALF_DIGITS 12
#define FNN_BIAS 127
#define FNN_ROUND 12582912.0f /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
#define FNN_LN2_HIGH 0.693359375f
#define FNN_LN2_LOW -2.12194440e-4f
#define FNN_LOG_MAX 88.7228317f
#define FNN_LOG_MIN -87.3365402f
#define FNN_SQRT_HALF_BITS 0x3f3504f3u
/* (exp(r) - 1 - r) / r^2 on |r| <= log(2) / 2 */
static const real NAME(exp_fit)[] = {1.392625083e-3f, 8.363232884e-3f, 4.166655421e-2f, 0.1666657667f, 0.5f};
/* (2 atanh(s) - 2 s) / s^3 in s^2, for arguments of the logarithm within sqrt(2) of 1 */
static const real NAME(log_fit)[] = {0.29581486f, 0.3998874668f, 0.6666668512f};
/* the same for arguments in 1..2 */
static const real NAME(log1p_fit)[] = {0.2322432922f, 0.217065758f, 0.2859235799f, 0.3999970633f, 0.6666666732f};
/* (1 + 2 a) exp(a^2) erfc(a) in (a - 2.5) / (a + 2.5), 0 <= a */
#define FNN_ERFC_CENTRE 2.5f
static const real NAME(erfc_fit)[] = {-6.601327424e-5f, 4.047881424e-4f, 4.685819146e-4f, -4.178661442e-3f,
                                      9.421644424e-4f, 3.267637264e-2f, -0.1029688944f, 0.1576446308f,
                                      -9.90244476e-2f, -0.1223574914f, 1.264838184f};
/* sin(pi z / 2) / z in z^2, |z| <= 1 */
static const real NAME(sin_fit)[] = {1.51671702e-4f, -4.674143624e-3f, 7.968991995e-2f, -0.645963788f, 1.570796371f};
#else
#define FNN_MANTISSA 52
#define FNN_HALF_DIGITS 27
#define FNN_BIAS 1023
#define FNN_ROUND 6755399441055744.0
#define FNN_LN2_HIGH 0.693147180369123816490
#define FNN_LN2_LOW 1.90821492927058770002e-10
#define FNN_LOG_MAX 709.782712893383973
#define FNN_LOG_MIN -708.396418532264106
#define FNN_SQRT_HALF_BITS 0x3fe6a09e667f3bcdu
static const real NAME(exp_fit)[] = {
    2.5100472505694996e-8, 2.76202015910315488e-7, 2.75572682769056962e-6, 2.48015210578682052e-5,
    1.9841269863171556e-4, 1.38888889173670806e-3, 8.3333333333300382e-3, 4.16666666666238205e-2,
    0.166666666666666675, 0.500000000000000103};
static const real NAME(log_fit)[] = {
    0.146184620837969825, 0.153315586703233256, 0.181828940305432968, 0.222222110674193934,
    0.285714286263885309, 0.399999999998985932, 0.666666666666666972};
static const real NAME(log1p_fit)[] = {
    0.161640456119435322, 0.0880073848614467388, 0.120010728095907125, 0.133141442096549362, 0.153855700649586231,
    0.181817894361328582, 0.22222222717427863, 0.285714285671087572, 0.400000000000145827, 0.666666666666666586};
#define FNN_ERFC_CENTRE 3.75
static const real NAME(erfc_fit)[] = {
    -2.72939413952729644e-9, -1.95279016854533431e-9, 3.25649908691141693e-8, 1.87785011841077363e-8,
    -2.49965380439699758e-7, -5.08169118699853312e-8, 1.74385774121268311e-6, -9.79297529031664589e-7,
    -1.14396152601304221e-5, 2.23875927252993241e-5, 5.16473712387425112e-5, -2.90155365639449856e-4,
    2.93714087772270203e-4, 1.75562616922766622e-3, -9.74657962081508906e-3, 2.83622773713700467e-2,
    -5.86933985844918478e-2, 9.23043211643561597e-2, -0.108803930141939147, 8.227673848999159e-2,
    3.58541548546630691e-3, -0.140240598585545209, 1.23751263083782758};
static const real NAME(sin_fit)[] = {
    5.87297574479995034e-12, -6.68441683185608463e-10, 5.69213642809862537e-8, -3.59884302046725763e-6,
    1.60441184713091601e-4, -4.68175413530425542e-3, 0.0796926262461656459, -0.645964097506246171, 1.57079632679489656};
#endif

/* x + rest = k log 2 + r with |r| <= log(2) / 2: returns exp(r) - 1, and k in the low bits of *k. */
FNN_INLINE real NAME(exp_reduced)(real x, real rest, bits *k)
{
    const real shifted = (x + rest) * (real)1.44269504088896340736 + FNN_ROUND;
    const real whole = shifted - FNN_ROUND;
    const real r = (x - whole * FNN_LN2_HIGH - whole * FNN_LN2_LOW) + rest;
    *k = NAME(to_bits)(shifted);
    return r + r * r * FNN_POLYNOMIAL(r, NAME(exp_fit));
}

/* e^(x + rest), where rest is what rounding has taken from x. */
FNN_INLINE real NAME(exp_of_sum)(real x, real rest)
{
    bits k;
    const real power = 1 + NAME(exp_reduced)(x, rest, &k);
    real y = NAME(from_bits)(NAME(to_bits)(power) + (k << FNN_MANTISSA));
    y = x < FNN_LOG_MIN ? 0 : y;
    y = x > FNN_LOG_MAX ? (real)INFINITY : y;
    return x == x ? y : x;
}

/* Adding -0 changes nothing, and so costs nothing. */
#define FNN_NO_REST -(real)0.0

/* e^x, 1.1 ulp. */
FNN_INLINE real NAME(exp)(real x) { return NAME(exp_of_sum)(x, FNN_NO_REST); }

/* e^x - 1, 2.4 ulp also near 0. Below -40 it is -1 in either format. */
FNN_INLINE real NAME(expm1)(real x)
{
    bits k;
    const real reduced = NAME(exp_reduced)(x < -40 ? -40 : x, FNN_NO_REST, &k);
    /* Half of 2^k, because 2^k itself overflows for the largest x. */
    const real half = NAME(from_bits)((k + (FNN_BIAS - 1)) << FNN_MANTISSA);
    const real y = 2 * (half * reduced + (half - (real)0.5));
    return x > FNN_LOG_MAX ? (real)INFINITY : y;
}

/* log x, 1 ulp; -inf for 0, NaN below. Subnormal x counts as the smallest normal number. */
FNN_INLINE real NAME(log)(real x)
{
    const real smallest = NAME(from_bits)((bits)1 << FNN_MANTISSA);
    const bits b = NAME(to_bits)(x < smallest ? smallest : x) + (((bits)FNN_BIAS << FNN_MANTISSA) - FNN_SQRT_HALF_BITS);
    /* The exponent as a real by way of FNN_ROUND's low bits: AVX2 has no conversion of 64-bit integers. */
    const real k = NAME(from_bits)((b >> FNN_MANTISSA) + NAME(to_bits)(FNN_ROUND)) - (FNN_ROUND + FNN_BIAS);
    const real f = NAME(from_bits)((b & (((bits)1 << FNN_MANTISSA) - 1)) + FNN_SQRT_HALF_BITS) - 1;
    const real s = f / (2 + f), z = s * s;
    real y = k * FNN_LN2_HIGH + (f - (s * (f - z * FNN_POLYNOMIAL(z, NAME(log_fit))) - k * FNN_LN2_LOW));
    y = x > 0 ? y : (x == 0 ? -(real)INFINITY : (real)NAN);
    return x < (real)INFINITY ? y : x;
}

/* log(1 + x) for 0 <= x <= 1, 1.3 ulp. */
FNN_INLINE real NAME(log1p)(real x)
{
    const real s = x / (2 + x), z = s * s;
    return x - s * (x - z * FNN_POLYNOMIAL(z, NAME(log1p_fit)));
}

/* tanh x = -m / (m + 2) with m = expm1(-2 |x|), 2.7 ulp. */
FNN_INLINE real NAME(tanh)(real x)
{
    const real m = NAME(expm1)(-2 * real_abs(x));
    return real_copysign(m / (m + 2), x);
}

/* 1 / (1 + e^-x), 2.5 ulp. */
FNN_INLINE real NAME(logistic)(real x) { return 1 / (1 + NAME(exp)(-x)); }

/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), 2 ulp. */
FNN_INLINE real NAME(softplus)(real x) { return (x < 0 ? 0 : x) + NAME(log1p)(NAME(exp)(-real_abs(x))); }

/* cos(2 pi x) and sin(2 pi x) for |x| <= 1/2: absolute error 2e-7 in float, 4e-16 in double. */
FNN_INLINE real NAME(cos_turns)(real x)
{
    const real z = 1 - 4 * real_abs(x);
    return z * FNN_POLYNOMIAL(z * z, NAME(sin_fit));
}
FNN_INLINE real NAME(sin_turns)(real x) { return real_copysign(NAME(cos_turns)(real_abs(x) - (real)0.25), x); }

/* Phi(z), the normal distribution function, and its density, 6.5 ulp also in the tails. After Shepherd and
 * Laframboise (1981): a smooth function times e^-a^2 / (1 + 2 a), a = |z| / sqrt 2. The square of z is split as
 * top^2 + rest, where top has half of z's digits and an exact square: rounding it would cost z^2 / 4 ulp of the
 * tail. */
FNN_INLINE real NAME(normal)(real z, real *density)
{
    const real m = real_abs(z) > 42 ? 42 : real_abs(z); /* the tail is 0 from here on */
    const real top = NAME(from_bits)(NAME(to_bits)(m) >> FNN_HALF_DIGITS << FNN_HALF_DIGITS);
    const real power = NAME(exp_of_sum)((real)-0.5 * top * top, (real)-0.5 * ((m - top) * (m + top)));
    const real a = m * (real)0.707106781186547524401;
    const real fit = FNN_POLYNOMIAL((a - FNN_ERFC_CENTRE) / (a + FNN_ERFC_CENTRE), NAME(erfc_fit));
    const real tail = (real)0.5 * power * fit / (1 + 2 * a);
    *density = (real)0.398942280401432677940 * power;
    return z < 0 ? tail : 1 - tail;
}

FNN_INLINE real NAME(normal_distribution)(real z)
{
    real density;
    return NAME(normal)(z, &density);
}

/* Gates are a number, or several at a time: a vector where an instruction set scales by powers of two and estimates
 * reciprocals, which spares the divider and the integer shifts (forward, a vector of a cell of LSTM takes 0.6 of the
 * time); else one, and compilers make vectors of the loop. The functions keep the errors of logistic and tanh. */
#undef gate
#undef FNN_EACH_GATE
#undef FNN_TOGETHER
#define FNN_TOGETHER 8
#if FNN_REAL_BITS == 32 && defined(FNN_SCALED)
#define gate vec
/* FUNCTION(n, j, ...) for all gates of a line: n of them from number j on. */
#define FNN_EACH_GATE(width, FUNCTION, ...) FNN_BY_VECTORS(width, FUNCTION, 0, __VA_ARGS__)

/* The first `logistics` of n <= FNN_TOGETHER numbers become their logistic, the others their tanh. Every step is one
 * of them all: each waits four cycles for the one before, and what waits has to fit into the scheduler (a cell of
 * LSTM takes 0.65 of the time that it takes one number after the other). Beyond +-88 a logistic is 1, or below the
 * smallest normal number, and beyond +-20 a tanh +-1; NaN stays. */
FNN_INLINE void NAME(gates_of)(int logistics, int n, vec *x)
{
    const vec one = NAME(broadcast)(1), limit = NAME(broadcast)(88), most = NAME(broadcast)(20);
    NAME(mask) sign[FNN_TOGETHER];
    vec k[FNN_TOGETHER], y[FNN_TOGETHER], inverse[FNN_TOGETHER];
    FNN_UNROLL
    for (int i = 0; i < logistics; i++) x[i] = -FNN_LESSER(limit, FNN_GREATER(-limit, x[i]));
    FNN_UNROLL
    for (int i = logistics; i < n; i++) {
        sign[i] = (NAME(mask))x[i] & (signed_bits)((bits)1 << (FNN_REAL_BITS - 1));
        x[i] = -2 * FNN_LESSER(most, (vec)((NAME(mask))x[i] ^ sign[i]));
    }
    /* As exp_reduced, with k as a number: y = e^r - 1. */
    FNN_UNROLL
    for (int i = 0; i < n; i++) k[i] = x[i] * (real)1.44269504088896340736 + FNN_ROUND;
    FNN_UNROLL
    for (int i = 0; i < n; i++) k[i] = k[i] - FNN_ROUND;
    FNN_UNROLL
    for (int i = 0; i < n; i++) x[i] = x[i] - k[i] * FNN_LN2_HIGH;
    FNN_UNROLL
    for (int i = 0; i < n; i++) x[i] = x[i] - k[i] * FNN_LN2_LOW;
    FNN_UNROLL
    for (int i = 0; i < n; i++) y[i] = NAME(broadcast)(NAME(exp_fit)[0]);
    FNN_UNROLL
    for (size_t c = 1; c < sizeof NAME(exp_fit) / sizeof *NAME(exp_fit); c++) {
        FNN_UNROLL
        for (int i = 0; i < n; i++) y[i] = y[i] * x[i] + NAME(exp_fit)[c];
    }
    FNN_UNROLL
    for (int i = 0; i < n; i++) y[i] = x[i] + x[i] * x[i] * y[i];
    /* A logistic is 1 / (1 + e^x), a tanh -m / (m + 2) with m = e^x - 1: now x / y. */
    FNN_UNROLL
    for (int i = 0; i < n; i++) {
        const vec scale = FNN_SCALED(i < logistics ? one + y[i] : one, k[i]), m = scale * y[i] + (scale - 1);
        x[i] = i < logistics ? one : -m;
        y[i] = i < logistics ? one + scale : m + 2;
    }
    /* The reciprocal of a divisor of 1 or more may be subnormal. */
    FNN_UNROLL
    for (int i = 0; i < n; i++) inverse[i] = FNN_RECIPROCAL(y[i]);
    FNN_UNROLL
    for (int i = 0; i < n; i++) k[i] = x[i] * inverse[i];
    FNN_UNROLL
    for (int i = 0; i < n; i++) x[i] = x[i] - k[i] * y[i];
    FNN_UNROLL
    for (int i = 0; i < n; i++) x[i] = k[i] + x[i] * inverse[i];
    FNN_UNROLL
    for (int i = logistics; i < n; i++) x[i] = (vec)((NAME(mask))x[i] | sign[i]);
}

FNN_INLINE vec NAME(take)(const real *from) { return NAME(load)(from); }
FNN_INLINE void NAME(put)(real *to, vec x) { NAME(store)(to, x); }
FNN_INLINE real NAME(gate_of)(int logistics, real x)
{
    vec y = NAME(broadcast)(x);
    NAME(gates_of)(logistics, 1, &y);
    return y[0];
}
FNN_INLINE real NAME(logistic_gate)(real x) { return NAME(gate_of)(1, x); }
FNN_INLINE real NAME(tanh_gate)(real x) { return NAME(gate_of)(0, x); }
#else
#define gate real
#define FNN_EACH_GATE(width, FUNCTION, ...) \
    FNN_INDEPENDENT \
    for (int64_t j = 0; j < (width); j++) FUNCTION(1, j, __VA_ARGS__)
FNN_INLINE real NAME(take)(const real *from) { return *from; }
FNN_INLINE void NAME(put)(real *to, real x) { *to = x; }
FNN_INLINE void NAME(gates_of)(int logistics, int n, real *x)
{
    FNN_UNROLL
    for (int i = 0; i < n; i++) x[i] = i < logistics ? NAME(logistic)(x[i]) : NAME(tanh)(x[i]);
}
FNN_INLINE real NAME(logistic_gate)(real x) { return NAME(logistic)(x); }
FNN_INLINE real NAME(tanh_gate)(real x) { return NAME(tanh)(x); }
#endif
enum { NAME(gate_lanes) = sizeof(gate) / sizeof(real) };

#ifndef FNN_ONLY_BFLOAT16
#define FNN_FUNCTION(name, ...) \
    static void NAME(function_##name)(int64_t n, const void *x_, void *y_) \
    { \
        const real *x = x_; \
        real *y = y_; \
        FNN_INDEPENDENT \
        for (int64_t i = 0; i < FNN_WHOLE(n); i++) y[i] = NAME(name)(x[i]); \
    }
#include "../functions.def"
#undef FNN_FUNCTION
#endif

#undef FNN_POLYNOMIAL
#undef FNN_MANTISSA
#undef FNN_HALF_DIGITS
#undef FNN_NO_REST
#undef FNN_BIAS
#undef FNN_ROUND
#undef FNN_LN2_HIGH
#undef FNN_LN2_LOW
#undef FNN_LOG_MAX
#undef FNN_LOG_MIN
#undef FNN_SQRT_HALF_BITS
#undef FNN_ERFC_CENTRE
