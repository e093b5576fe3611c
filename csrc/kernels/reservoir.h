/* The sparse product of a reservoir's step: every unit sums what a fixed number of others send it. Sequences lie side
 * by side in lanes, so that a link is one scalar factor and one vector; a single sequence has lanes of its own width, 1.
 * Four units at a time, because each sum waits for its own last addition. */

/* sum + factor * b, rounded as add_scaled rounds it. Left to itself the compiler multiplies four links at once and adds
 * the rounded products. */
FNN_INLINE real NAME(add_scaled_real)(real sum, real factor, real b)
{
#if FNN_REAL_BITS == 32 && defined(__FP_FAST_FMAF)
    return fmaf(factor, b, sum);
#elif FNN_REAL_BITS == 64 && defined(__FP_FAST_FMA)
    return fma(factor, b, sum);
#else
    return sum + factor * b;
#endif
}

#define FNN_SOURCE(u) (s + (int64_t)source[(i + (u)) * links + j] * width)
#define FNN_WEIGHT(u) w[(i + (u)) * links + j]

FNN_INLINE void NAME(links_of_one)(int64_t units, int64_t links, const int32_t *source, const real *w, const real *s,
                                   real *z)
{
    enum { width = 1 };
    int64_t i = 0;
    for (; i + 4 <= units; i += 4) {
        real z0 = z[i], z1 = z[i + 1], z2 = z[i + 2], z3 = z[i + 3];
        for (int64_t j = 0; j < links; j++) {
            z0 = NAME(add_scaled_real)(z0, FNN_WEIGHT(0), *FNN_SOURCE(0));
            z1 = NAME(add_scaled_real)(z1, FNN_WEIGHT(1), *FNN_SOURCE(1));
            z2 = NAME(add_scaled_real)(z2, FNN_WEIGHT(2), *FNN_SOURCE(2));
            z3 = NAME(add_scaled_real)(z3, FNN_WEIGHT(3), *FNN_SOURCE(3));
        }
        z[i] = z0, z[i + 1] = z1, z[i + 2] = z2, z[i + 3] = z3;
    }
    for (; i < units; i++)
        for (int64_t j = 0; j < links; j++) z[i] = NAME(add_scaled_real)(z[i], FNN_WEIGHT(0), *FNN_SOURCE(0));
}

FNN_INLINE void NAME(links_of_lanes)(int64_t units, int64_t links, const int32_t *source, const real *w, const real *s,
                                     real *z)
{
    enum { width = FNN_LANES };
    int64_t i = 0;
    for (; i + 4 <= units; i += 4) {
        vec sum[4];
        FNN_UNROLL
        for (int u = 0; u < 4; u++) sum[u] = NAME(load)(z + (i + u) * width);
        for (int64_t j = 0; j < links; j++) {
            FNN_UNROLL
            for (int u = 0; u < 4; u++) sum[u] = NAME(add_scaled)(sum[u], FNN_WEIGHT(u), NAME(load)(FNN_SOURCE(u)));
        }
        FNN_UNROLL
        for (int u = 0; u < 4; u++) NAME(store)(z + (i + u) * width, sum[u]);
    }
    for (; i < units; i++) {
        vec sum = NAME(load)(z + i * width);
        for (int64_t j = 0; j < links; j++) sum = NAME(add_scaled)(sum, FNN_WEIGHT(0), NAME(load)(FNN_SOURCE(0)));
        NAME(store)(z + i * width, sum);
    }
}

#undef FNN_SOURCE
#undef FNN_WEIGHT

static void NAME(links)(int64_t units, int64_t links, int64_t width, const int32_t *source, const void *w,
                        const void *s, void *z)
{
    if (width == 1)
        NAME(links_of_one)(units, links, source, w, s, z);
    else
        NAME(links_of_lanes)(units, links, source, w, s, z);
}

static void NAME(leak)(int64_t n, double share, const void *y_, const void *s_, void *to_)
{
    const real *y = y_, *s = s_;
    real *to = to_;
    for (int64_t i = 0; i < FNN_WHOLE(n); i += FNN_LANES) {
        const vec before = NAME(load)(s + i);
        NAME(store)(to + i, NAME(add_scaled)(before, (real)share, NAME(subtract)(NAME(load)(y + i), before)));
    }
}
