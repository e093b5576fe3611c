/* One vector of `real`: the only place that knows how a compiler spells SIMD.
 *
 * Included by kernels/table.h once per real type. A compiler without GNU vector extensions (MSVC) gets an array in a
 * struct: correct, and as fast as its autovectoriser. */
#define vec NAME(vec)

#ifdef FNN_GNU_VECTORS

typedef real vec __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef signed_bits NAME(mask) __attribute__((vector_size(FNN_VECTOR_BYTES)));
/* The same in memory: aligned like its elements, and allowed to alias them. */
typedef real NAME(unaligned_vec) __attribute__((vector_size(FNN_VECTOR_BYTES), aligned(sizeof(real)), may_alias));

FNN_INLINE vec NAME(load)(const real *from) { return *(const NAME(unaligned_vec) *)from; }
FNN_INLINE void NAME(store)(real *to, vec value) { *(NAME(unaligned_vec) *)to = value; }
FNN_INLINE vec NAME(broadcast)(real x) { return (vec){0} + x; }
FNN_INLINE vec NAME(add)(vec a, vec b) { return a + b; }
FNN_INLINE vec NAME(subtract)(vec a, vec b) { return a - b; }
FNN_INLINE vec NAME(multiply)(vec a, vec b) { return a * b; }
/* sum + factor * b; one rounding where the instruction set has fused multiply-add. */
FNN_INLINE vec NAME(add_scaled)(vec sum, real factor, vec b) { return sum + factor * b; }
/* The second one where either is not a number, or both are zeros. */
#if defined(FNN_GREATER) && FNN_REAL_BITS == 32
FNN_INLINE vec NAME(max)(vec a, vec b) { return FNN_GREATER(a, b); }
FNN_INLINE vec NAME(min)(vec a, vec b) { return FNN_LESSER(a, b); }
#else
FNN_INLINE vec NAME(max)(vec a, vec b)
{
    const NAME(mask) greater = a > b;
    return (vec)((greater & (NAME(mask))a) | (~greater & (NAME(mask))b));
}
FNN_INLINE vec NAME(min)(vec a, vec b)
{
    const NAME(mask) less = a < b;
    return (vec)((less & (NAME(mask))a) | (~less & (NAME(mask))b));
}
#endif
/* x between -limit and limit; NaN stays NaN. */
FNN_INLINE vec NAME(clamp)(vec x, real limit)
{
    return NAME(max)(NAME(broadcast)(-limit), NAME(min)(NAME(broadcast)(limit), x));
}
/* 1 in the lanes where x > 0, else 0. */
FNN_INLINE vec NAME(is_positive)(vec x)
{
    return (vec)((x > 0) & (NAME(mask))NAME(broadcast)(1));
}
/* The bits of `seen`, and those in which a and b differ. */
FNN_INLINE vec NAME(differing)(vec seen, vec a, vec b)
{
    return (vec)((NAME(mask))seen | ((NAME(mask))a ^ (NAME(mask))b));
}
/* clang makes one blend of ands and ors, and of lanes a walk through them (pools 8 times slower); gcc one blend of lanes,
 * and three operations of ands and ors. */
#ifdef __clang__
FNN_INLINE vec NAME(select)(NAME(mask) which, vec a, vec b)
{
    return (vec)((which & (NAME(mask))a) | (~which & (NAME(mask))b));
}
#else
FNN_INLINE vec NAME(select)(NAME(mask) which, vec a, vec b)
{
    vec chosen;
    FNN_LANE_LOOP
    for (int lane = 0; lane < FNN_LANES; lane++) chosen[lane] = which[lane] ? a[lane] : b[lane];
    return chosen;
}
#endif
#ifdef FNN_ROOTS
FNN_INLINE vec NAME(square_root)(vec x) { return FNN_ROOTS(x); }
#else
FNN_INLINE vec NAME(square_root)(vec x)
{
    real lanes[FNN_LANES];
    NAME(store)(lanes, x);
    FNN_LANE_LOOP
    for (int lane = 0; lane < FNN_LANES; lane++) lanes[lane] = real_sqrt(lanes[lane]);
    return NAME(load)(lanes);
}
#endif
#if defined(FNN_RECIPROCAL) && FNN_REAL_BITS == 32
/* a / b for b > 0, within 0.54 units in the last place: an estimate of 14 bits and one Newton step, which leave the
 * divider to square roots (Adam: 12 cycles a vector instead of 20). Behind an infinite b it is 0, too. */
FNN_INLINE vec NAME(divide)(vec a, vec b)
{
    const vec largest = NAME(broadcast)(3.40282347e38f), divisor = NAME(min)(largest, b);
    const vec inverse = FNN_RECIPROCAL(divisor), quotient = a * inverse;
    return quotient + (a - quotient * divisor) * inverse;
}
#elif defined(FNN_LONG_RECIPROCAL) && FNN_REAL_BITS == 64
/* The same in double, within 0.63 units, after one more Newton step (Adam, 200-300-1, batch 32: 0.94 of the time). */
FNN_INLINE vec NAME(divide)(vec a, vec b)
{
    const vec largest = NAME(broadcast)(1.7976931348623157e308), divisor = NAME(min)(largest, b);
    const vec estimate = FNN_LONG_RECIPROCAL(divisor);
    const vec inverse = estimate + estimate * (1 - estimate * divisor), quotient = a * inverse;
    return quotient + (a - quotient * divisor) * inverse;
}
#else
FNN_INLINE vec NAME(divide)(vec a, vec b) { return a / b; }
#endif
/* a in the lanes where value is greater than best, or the first NaN; else b. */
FNN_INLINE vec NAME(where_beats)(vec value, vec best, vec a, vec b)
{
    return NAME(select)(~(value <= best) & (best == best), a, b);
}
/* a in the lanes where x == y, else b. */
FNN_INLINE vec NAME(where_equal)(vec x, vec y, vec a, vec b) { return NAME(select)(x == y, a, b); }
/* Lanes below count from a, the others from b. */
FNN_INLINE vec NAME(first_lanes)(signed_bits count, vec a, vec b)
{
    static const signed_bits number[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    NAME(mask) below;
    memcpy(&below, number, sizeof below);
    below = below < count;
    return (vec)((below & (NAME(mask))a) | (~below & (NAME(mask))b));
}

#else

typedef struct { real lane[FNN_LANES]; } vec;

#define FNN_LANEWISE(name, parameters, expression) \
    FNN_INLINE vec NAME(name) parameters \
    { \
        vec result; \
        for (int i = 0; i < FNN_LANES; i++) result.lane[i] = expression; \
        return result; \
    }
FNN_LANEWISE(load, (const real *from), from[i])
FNN_LANEWISE(broadcast, (real x), x)
FNN_LANEWISE(add, (vec a, vec b), a.lane[i] + b.lane[i])
FNN_LANEWISE(subtract, (vec a, vec b), a.lane[i] - b.lane[i])
FNN_LANEWISE(multiply, (vec a, vec b), a.lane[i] * b.lane[i])
FNN_LANEWISE(add_scaled, (vec sum, real factor, vec b), sum.lane[i] + factor * b.lane[i])
FNN_LANEWISE(max, (vec a, vec b), a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i])
FNN_LANEWISE(where_beats, (vec value, vec best, vec a, vec b),
             !(value.lane[i] <= best.lane[i]) && best.lane[i] == best.lane[i] ? a.lane[i] : b.lane[i])
FNN_LANEWISE(where_equal, (vec x, vec y, vec a, vec b), x.lane[i] == y.lane[i] ? a.lane[i] : b.lane[i])
FNN_LANEWISE(first_lanes, (signed_bits count, vec a, vec b), i < count ? a.lane[i] : b.lane[i])
FNN_LANEWISE(clamp, (vec x, real limit), x.lane[i] < -limit ? -limit : (x.lane[i] > limit ? limit : x.lane[i]))
FNN_LANEWISE(is_positive, (vec x), x.lane[i] > 0 ? 1 : 0)
FNN_LANEWISE(square_root, (vec x), real_sqrt(x.lane[i]))
FNN_LANEWISE(divide, (vec a, vec b), a.lane[i] / b.lane[i])
#undef FNN_LANEWISE
FNN_INLINE vec NAME(differing)(vec seen, vec a, vec b)
{
    bits x[FNN_LANES], y[FNN_LANES], z[FNN_LANES];
    memcpy(x, &seen, sizeof x);
    memcpy(y, &a, sizeof y);
    memcpy(z, &b, sizeof z);
    for (int i = 0; i < FNN_LANES; i++) x[i] |= y[i] ^ z[i];
    memcpy(&seen, x, sizeof x);
    return seen;
}
FNN_INLINE void NAME(store)(real *to, vec value) { memcpy(to, &value, sizeof value); }

#endif

FNN_INLINE vec NAME(zero)(void) { return NAME(broadcast)(0); }

#undef FNN_LOW
#undef FNN_HIGH
/* (a0 b0 a1 b1 ...): the lower and the upper halves of a and b, interleaved. */
#if FNN_LANES == 16
#define FNN_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define FNN_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif FNN_LANES == 8
#define FNN_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define FNN_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif FNN_LANES == 4
#define FNN_LOW 0, 4, 1, 5
#define FNN_HIGH 2, 6, 3, 7
#else
#define FNN_LOW 0, 2
#define FNN_HIGH 1, 3
#endif

#ifdef FNN_SHUFFLES
FNN_INLINE vec NAME(interleave_low)(vec a, vec b) { return __builtin_shufflevector(a, b, FNN_LOW); }
FNN_INLINE vec NAME(interleave_high)(vec a, vec b) { return __builtin_shufflevector(a, b, FNN_HIGH); }
#else
FNN_INLINE vec NAME(shuffle)(vec a, vec b, const int *index)
{
    real both[2 * FNN_LANES], result[FNN_LANES];
    NAME(store)(both, a);
    NAME(store)(both + FNN_LANES, b);
    for (int lane = 0; lane < FNN_LANES; lane++) result[lane] = both[index[lane]];
    return NAME(load)(result);
}
FNN_INLINE vec NAME(interleave_low)(vec a, vec b)
{
    static const int index[] = {FNN_LOW};
    return NAME(shuffle)(a, b, index);
}
FNN_INLINE vec NAME(interleave_high)(vec a, vec b)
{
    static const int index[] = {FNN_HIGH};
    return NAME(shuffle)(a, b, index);
}
#endif

/* The numbers of n lines, at most FNN_LANES, in the order of their places: log2(n) times, lines i and i + n / 2
 * interleave into lines 2 i and 2 i + 1. */
FNN_INLINE void NAME(interleave_lines)(int n, vec *x)
{
    vec y[FNN_LANES];
    FNN_UNROLL
    for (int span = 1; span < n; span *= 2) {
        FNN_UNROLL
        for (int i = 0; i < n / 2; i++) {
            y[2 * i] = NAME(interleave_low)(x[i], x[i + n / 2]);
            y[2 * i + 1] = NAME(interleave_high)(x[i], x[i + n / 2]);
        }
        FNN_UNROLL
        for (int i = 0; i < n; i++) x[i] = y[i];
    }
}

/* A square of FNN_LANES rows. */
FNN_INLINE void NAME(transpose_square)(const real *from, int64_t from_row, real *to, int64_t to_row)
{
    vec x[FNN_LANES];
    FNN_UNROLL
    for (int i = 0; i < FNN_LANES; i++) x[i] = NAME(load)(from + i * from_row);
    NAME(interleave_lines)(FNN_LANES, x);
    FNN_UNROLL
    for (int i = 0; i < FNN_LANES; i++) NAME(store)(to + i * to_row, x[i]);
}
