/* The register tile of the batch-reduce product (see fnn_gemm): `rows` x `vectors` sums stay in registers
 * over the whole depth. One function per tile shape, all from gemm_tile.
 *
 * Without the unroll pragma on every i and j loop gcc 12 keeps `c` on the stack and runs 3 to 5 times slower. */


FNN_INLINE void NAME(gemm_tile)(int rows, int vectors, const fnn_gemm *g)
{
    static const real zeros[FNN_VECTORS * FNN_LANES];
    const real *b = g->b, *init = g->init ? g->init : zeros;
    const int64_t init_row = g->init ? g->init_row : 0, a_step = g->a_step, b_row = g->b_row;
    real *out = g->c;
    vec c[FNN_MAX_ROWS][FNN_MAX_VECTORS];

    FNN_UNROLL
    for (int i = 0; i < rows; i++) {
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) c[i][j] = NAME(load)(init + i * init_row + j * FNN_LANES);
    }
    for (int64_t block = 0; block < g->blocks + (g->tail_depth > 0); block++) {
        const int whole = block < g->blocks;
        const int64_t depth = whole ? g->depth : g->tail_depth, a_row = whole ? g->a_row : g->tail_row;
        const real *a = whole ? (const real *)g->a + block * g->a_block : g->tail;
        /* Three rows share a pointer (base, +1, +2 strides): 16 row pointers would not fit the general registers. */
        const real *base[(FNN_MAX_ROWS + 2) / 3];
        FNN_UNROLL
        for (int i = 0; i < rows; i += 3) base[i / 3] = a + i * a_row;
        /* The next block starts somewhere else, often on another page: asking for its rows now is worth 6 to 8 points
         * of the peak. */
        const real *next = block + 1 < g->blocks || !g->tail ? a + g->a_block : g->tail;
        FNN_UNROLL
        for (int i = 0; i < rows; i++) FNN_PREFETCH(next + i * a_row);
        FNN_UNROLL_DEPTH
        for (int64_t k = 0; k < depth; k++) {
            vec row[FNN_MAX_VECTORS];
            FNN_UNROLL
            for (int j = 0; j < vectors; j++) row[j] = NAME(load)(b + j * FNN_LANES);
            FNN_UNROLL
            for (int i = 0; i < rows; i++) {
                const real factor = base[i / 3][(i % 3) * a_row];
                FNN_UNROLL
                for (int j = 0; j < vectors; j++) c[i][j] = NAME(add_scaled)(c[i][j], factor, row[j]);
            }
            FNN_UNROLL
            for (int i = 0; i < rows; i += 3) base[i / 3] += a_step;
            b += b_row;
        }
        b += g->b_skip;
    }
    FNN_UNROLL
    for (int i = 0; i < rows; i++) {
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) NAME(store)(out + i * g->c_row + j * FNN_LANES, c[i][j]);
    }
}

#define FNN_GEMM_KERNEL(vectors, rows) \
    static void NAME(gemm_##rows##x##vectors)(const fnn_gemm *g) { NAME(gemm_tile)(rows, vectors, g); }
#define FNN_GEMM_KERNELS(vectors, rows) FNN_ROWS_##rows(FNN_GEMM_KERNEL, vectors)
FNN_TILES(FNN_GEMM_KERNELS)
#undef FNN_GEMM_KERNELS
#undef FNN_GEMM_KERNEL
