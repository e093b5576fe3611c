/* The sparse product of a reservoir's step, for the units of one panel. Link j of every unit comes from the unit
 * shift[j] places on: a vector of units hears a vector of states, and no index is looked up. Several sequences share
 * what is read of the weights. Four chains of additions, because each waits for its own last one; with two of its
 * own a sequence among four has the registers of narrow instruction sets. */

FNN_INLINE void NAME(links_tile)(const int sequences, const int vectors, int64_t links, const int32_t *shift,
                                 const real *w, int64_t w_row, const real *s, int64_t s_row, real *z, int64_t z_row)
{
    vec sum[4][4];
    FNN_UNROLL
    for (int q = 0; q < sequences; q++) {
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) sum[q][v] = NAME(load)(z + q * z_row + v * FNN_LANES);
    }
    for (int64_t j = 0; j < links; j++) {
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) {
            const vec weight = NAME(load)(w + j * w_row + v * FNN_LANES);
            FNN_UNROLL
            for (int q = 0; q < sequences; q++) {
                const vec heard = NAME(load)(s + shift[j] + q * s_row + v * FNN_LANES);
                sum[q][v] = NAME(add)(sum[q][v], NAME(multiply)(weight, heard));
            }
        }
    }
    FNN_UNROLL
    for (int q = 0; q < sequences; q++) {
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) NAME(store)(z + q * z_row + v * FNN_LANES, sum[q][v]);
    }
}

FNN_INLINE void NAME(links_rows)(const int sequences, const int vectors, int64_t width, int64_t links,
                                 const int32_t *shift, const real *w, const real *s, int64_t s_row, real *z,
                                 int64_t z_row)
{
    int64_t i = 0;
    for (; i + vectors * FNN_LANES <= width; i += vectors * FNN_LANES)
        NAME(links_tile)(sequences, vectors, links, shift, w + i, width, s + i, s_row, z + i, z_row);
    for (; i < width; i += FNN_LANES)
        NAME(links_tile)(sequences, 1, links, shift, w + i, width, s + i, s_row, z + i, z_row);
}

static void NAME(links)(int64_t sequences, int64_t width, int64_t links, const int32_t *shift, const void *w,
                        const void *s, int64_t s_row, void *z, int64_t z_row)
{
    if (sequences == 4)
        NAME(links_rows)(4, 2, width, links, shift, w, s, s_row, z, z_row);
    else
        NAME(links_rows)(1, 4, width, links, shift, w, s, s_row, z, z_row);
}

static void NAME(leak)(int64_t n, double share, const void *y_, const void *s_, void *to_, void *also_)
{
    const real *y = y_, *s = s_;
    real *to = to_, *also = also_;
    for (int64_t i = 0; i < FNN_WHOLE(n); i += FNN_LANES) {
        const vec before = NAME(load)(s + i);
        const vec now = NAME(add_scaled)(before, (real)share, NAME(subtract)(NAME(load)(y + i), before));
        NAME(store)(to + i, now);
        NAME(store)(also + i, now);
    }
}
