/* Which numbers of a matrix are not zero, as bits, and the product that leaves out the others (see fnn_masked). */

#ifndef FNN_NONZERO_LANES
/* Bit j: whether x[j] differs from 0, j < lanes. */
FNN_INLINE uint64_t NAME(nonzero_lanes)(const real *x)
{
    uint64_t word = 0;
    FNN_UNROLL
    for (int lane = 0; lane < FNN_LANES; lane++) word |= (uint64_t)(x[lane] != 0) << lane;
    return word;
}
#endif

/* The same, j < vectors * lanes. */
FNN_INLINE uint64_t NAME(nonzero_bits)(int vectors, const real *x)
{
    uint64_t word = 0;
    FNN_UNROLL
    for (int v = 0; v < vectors; v++) word |= NAME(nonzero_lanes)(x + v * FNN_LANES) << (v * FNN_LANES);
    return word;
}

FNN_INLINE void NAME(nonzero_lines)(int vectors, int64_t rows, const real *x, uint64_t *words)
{
    for (int64_t r = 0; r < rows; r++) words[r] = NAME(nonzero_bits)(vectors, x + r * vectors * FNN_LANES);
}

static void NAME(nonzero)(int64_t rows, int64_t width, const void *x, uint64_t *words)
{
    FNN_BY_VECTORS(width, NAME(nonzero_lines), rows, x, words);
}

/* Squares of half the size change places, down to single bits. */
static void NAME(transpose_bits)(int64_t rows, const uint64_t *words, int64_t columns, uint64_t *to, int64_t to_row)
{
    uint64_t square[64] = {0}, pick = 0x00000000FFFFFFFFu;
    memcpy(square, words, rows * sizeof *words);
    for (int half = 32; half > 0; half /= 2, pick ^= pick << half) {
        for (int first = 0; first < 64; first += 2 * half) {
            for (int i = first; i < first + half; i++) {
                const uint64_t moved = ((square[i] >> half) ^ square[i + half]) & pick;
                square[i] ^= moved << half;
                square[i + half] ^= moved;
            }
        }
    }
    for (int64_t j = 0; j < columns; j++) to[j * to_row] = square[j];
}

/* As in gemm.h every i and j loop carries the unroll pragma, or gcc 12 keeps the sums on the stack. */
FNN_INLINE void NAME(masked_tile)(int rows, int vectors, const fnn_masked *g, int64_t first)
{
    const int next = vectors > FNN_VECTORS ? vectors - FNN_VECTORS : 0;
    const int64_t width = (vectors - next) * FNN_LANES, next_width = next * FNN_LANES;
    const int64_t a_row = g->a_row, a_step = g->a_step;
    const uint64_t *mask = g->mask + first * g->mask_row;
    const real *a = (const real *)g->a + first * a_row, *bias = g->bias;
    const real *b = g->b[0], *next_b = g->b[1];
    real *out = (real *)g->c[0] + first * width, *next_out = next ? (real *)g->c[1] + first * next_width : out;
    vec c[FNN_MASKED_ROWS][2 * FNN_MAX_VECTORS];

#define FNN_MASKED_PLACE(panel, next_panel, row, j) \
    ((j) < FNN_VECTORS ? (panel) + (row) * width + (j) * FNN_LANES \
                       : (next_panel) + (row) * next_width + ((j) - FNN_VECTORS) * FNN_LANES)
    FNN_UNROLL
    for (int i = 0; i < rows; i++) {
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) {
            if (g->accumulate)
                c[i][j] = NAME(load)(FNN_MASKED_PLACE(out, next_out, i, j));
            else
                c[i][j] = bias ? NAME(load)(bias + j * FNN_LANES) : NAME(zero)();
        }
    }
    for (int64_t block = 0; block < g->blocks; block++, mask += g->mask_block) {
        uint64_t word = mask[0];
        FNN_UNROLL
        for (int i = 1; i < rows; i++) word |= mask[i * g->mask_row];
        for (; word; word &= word - 1) {
            const int64_t step = block * 64 + FNN_LOWEST_BIT(word);
            const real *x = a + step * a_step;
            vec row[2 * FNN_MAX_VECTORS];
            FNN_UNROLL
            for (int j = 0; j < vectors; j++) row[j] = NAME(load)(FNN_MASKED_PLACE(b, next_b, step, j));
            FNN_UNROLL
            for (int i = 0; i < rows; i++) {
                const real factor = x[i * a_row];
                FNN_UNROLL
                for (int j = 0; j < vectors; j++) c[i][j] = NAME(add_scaled)(c[i][j], factor, row[j]);
            }
        }
    }
    FNN_UNROLL
    for (int i = 0; i < rows; i++) {
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) NAME(store)(FNN_MASKED_PLACE(out, next_out, i, j), c[i][j]);
    }
#undef FNN_MASKED_PLACE
}

/* Fewer rows of a tile have fewer steps together, but more sums hide the latency of each. */
#define FNN_MASKED_KERNEL(vectors) \
    static void NAME(masked_##vectors)(const fnn_masked *g) \
    { \
        enum { ROWS = vectors > FNN_VECTORS ? FNN_MASKED_ROWS / 2 : FNN_MASKED_ROWS }; \
        int64_t first = 0; \
        for (; first + ROWS <= g->rows; first += ROWS) NAME(masked_tile)(ROWS, vectors, g, first); \
        for (; first < g->rows; first++) NAME(masked_tile)(1, vectors, g, first); \
    }
FNN_MASKED(FNN_MASKED_KERNEL)
#undef FNN_MASKED_KERNEL
