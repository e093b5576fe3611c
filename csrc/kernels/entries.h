/* Products with a row of a sparse matrix, entry by entry. */

FNN_INLINE real NAME(entry)(const fnn_entries *x, int64_t e)
{
    const real value = x->itemsize == 4 ? (real)((const float *)x->value)[e] : (real)((const double *)x->value)[e];
#if FNN_REAL_BITS == 32
    if (x->rounded) {
        const uint32_t word = fnn_round(value);
        float rounded;
        memcpy(&rounded, &word, sizeof word);
        return rounded;
    }
#endif
    return value;
}

FNN_INLINE void NAME(entries_line)(int vectors, const fnn_entries *x, const real *b, const real *bias, real *c)
{
    enum { AHEAD = 8 }; /* entries from the one in work to the one whose row of weights is asked for */
    const int64_t width = vectors * FNN_LANES;
    vec sum[FNN_MAX_VECTORS];
    FNN_UNROLL
    for (int j = 0; j < vectors; j++) sum[j] = bias ? NAME(load)(bias + j * FNN_LANES) : NAME(zero)();
    for (int64_t e = 0; e < x->n; e++) {
        const real factor = NAME(entry)(x, e), *row = b + x->column[e] * width;
        if (e + AHEAD < x->n) {
            const char *next = (const char *)(b + x->column[e + AHEAD] * width);
            FNN_UNROLL
            for (int line = 0; line < vectors * FNN_VECTOR_BYTES; line += 64) FNN_PREFETCH(next + line);
        }
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) sum[j] = NAME(add_scaled)(sum[j], factor, NAME(load)(row + j * FNN_LANES));
    }
    FNN_UNROLL
    for (int j = 0; j < vectors; j++) NAME(store)(c + j * FNN_LANES, sum[j]);
}

static void NAME(entries_product)(const fnn_entries *x, int64_t width, const void *b, const void *bias, void *c)
{
    FNN_BY_VECTORS(width, NAME(entries_line), x, b, bias, c)
}

FNN_INLINE void NAME(add_entries_of)(int vectors, const fnn_entries *x, int64_t first, const real *b, real *c)
{
    const int64_t width = vectors * FNN_LANES;
    vec line[FNN_MAX_VECTORS];
    FNN_UNROLL
    for (int j = 0; j < vectors; j++) line[j] = NAME(load)(b + j * FNN_LANES);
    for (int64_t e = 0; e < x->n; e++) {
        const real factor = NAME(entry)(x, e);
        real *row = c + (x->column[e] - first) * width;
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) {
            real *to = row + j * FNN_LANES;
            NAME(store)(to, NAME(add_scaled)(NAME(load)(to), factor, line[j]));
        }
    }
}

static void NAME(add_entries)(const fnn_entries *x, int64_t width, int64_t first, const void *b, void *c)
{
    FNN_BY_VECTORS(width, NAME(add_entries_of), x, first, b, c)
}
