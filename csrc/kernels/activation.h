/* Activations f(z; a) and their derivatives, of y or of z as activations.def says; `a` is the row's first parameter.
 * The loops at the end are made from activations.def: an activation is a row there and two functions here. */

#define ACTIVATION(name) FNN_INLINE real NAME(act_##name)(real z, real a)
#define SLOPE(name) FNN_INLINE real NAME(slope_##name)(real s, real a)
#define UNUSED (void)a

/* The comparisons are written so that NaN passes through. */
ACTIVATION(identity) { UNUSED; return z; }
SLOPE(identity) { UNUSED; (void)s; return 1; }

ACTIVATION(unit_step) { UNUSED; return z > 0 ? 1 : (z < 0 ? 0 : z + (real)0.5); }
/* Straight through: the true derivative is zero almost everywhere. */
SLOPE(unit_step) { UNUSED; return real_abs(s) <= 1 ? 1 : 0; }

ACTIVATION(sign) { UNUSED; return z > 0 ? 1 : (z < 0 ? -1 : z); }
SLOPE(sign) { UNUSED; return real_abs(s) <= 1 ? 1 : 0; }

ACTIVATION(piecewise_linear) { UNUSED; const real y = z + (real)0.5; return y < 0 ? 0 : (y > 1 ? 1 : y); }
SLOPE(piecewise_linear) { UNUSED; return ((s > 0) & (s < 1)) ? 1 : 0; }

ACTIVATION(logistic) { UNUSED; return NAME(logistic)(z); }
SLOPE(logistic) { UNUSED; return s * (1 - s); }

ACTIVATION(tanh) { UNUSED; return NAME(tanh)(z); }
SLOPE(tanh) { UNUSED; return 1 - s * s; }

ACTIVATION(relu) { UNUSED; return z < 0 ? 0 : z; }
SLOPE(relu) { UNUSED; return s > 0 ? 1 : 0; }

ACTIVATION(scaled_relu) { return z < 0 ? 0 : a * z; }
SLOPE(scaled_relu) { return s > 0 ? a : 0; }

ACTIVATION(leaky_relu) { return z > 0 ? z : a * z; }
SLOPE(leaky_relu) { return s > 0 ? 1 : a; }

ACTIVATION(softplus) { UNUSED; return NAME(softplus)(z); }
SLOPE(softplus) { UNUSED; return -NAME(expm1)(-s); }

ACTIVATION(elu) { return z > 0 ? z : a * NAME(expm1)(z); }
SLOPE(elu) { return s > 0 ? 1 : s + a; }

/* Scale and depth of Klambauer et al. (2017): mean 0 and variance 1 are a fixed point. */
#define SELU_SCALE (real)1.0507009873554804934193
#define SELU_DEPTH (real)1.7580993408473768599403 /* scale * 1.67326... */
ACTIVATION(selu) { UNUSED; return z > 0 ? SELU_SCALE * z : SELU_DEPTH * NAME(expm1)(z); }
SLOPE(selu) { UNUSED; return s > 0 ? SELU_SCALE : s + SELU_DEPTH; }

ACTIVATION(gelu) { UNUSED; return z * NAME(normal_distribution)(z); }
SLOPE(gelu)
{
    UNUSED;
    real density;
    const real distribution = NAME(normal)(s, &density);
    return distribution + s * density;
}

ACTIVATION(silu) { UNUSED; return z * NAME(logistic)(z); }
SLOPE(silu) { UNUSED; const real y = NAME(logistic)(s); return y * (1 + s * (1 - y)); }

/* tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2), e = exp z. From z = 30 on it is 1 and its derivative 0. */
ACTIVATION(mish)
{
    UNUSED;
    const real e = NAME(exp)(z > 30 ? 30 : z), n = e * (e + 2);
    return z * (n / (n + 2));
}
SLOPE(mish)
{
    UNUSED;
    const real z = s > 30 ? 30 : s;
    const real e = NAME(exp)(z), n = e * (e + 2), inverse = 1 / (n + 2);
    return n * inverse + z * (4 * e * (1 + e) * inverse * inverse);
}

ACTIVATION(hard_tanh) { UNUSED; return z < -1 ? -1 : (z > 1 ? 1 : z); }
SLOPE(hard_tanh) { UNUSED; return real_abs(s) < 1 ? 1 : 0; }

ACTIVATION(exp) { UNUSED; return NAME(exp)(z); }
SLOPE(exp) { UNUSED; return s; }

#define FNN_ACTIVATION(name, parameters, derivative_from) \
    static void NAME(activation_##name)(int64_t n, const void *z_, void *y_, const double *p) \
    { \
        const real *z = z_, a = parameters ? (real)p[0] : 0; \
        real *y = y_; \
        FNN_INDEPENDENT \
        for (int64_t i = 0; i < FNN_WHOLE(n); i++) y[i] = NAME(act_##name)(z[i], a); \
    } \
    static void NAME(activation_grad_##name)(int64_t n, const void *dy_, const void *s_, void *dz_, const double *p) \
    { \
        const real *dy = dy_, *s = s_, a = parameters ? (real)p[0] : 0; \
        real *dz = dz_; \
        FNN_INDEPENDENT \
        for (int64_t i = 0; i < FNN_WHOLE(n); i++) dz[i] = dy[i] * NAME(slope_##name)(s[i], a); \
    }
#include "../activations.def"
#undef FNN_ACTIVATION

#undef ACTIVATION
#undef SLOPE
#undef UNUSED
#undef SELU_SCALE
#undef SELU_DEPTH
