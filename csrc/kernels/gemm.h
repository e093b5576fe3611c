/* The register tile of the batch-reduce product (see fnn_gemm): `rows` x `vectors` sums stay in registers
 * over the whole depth. One function per tile shape, all from gemm_tile.
 *
 * Without the unroll pragma on every i and j loop gcc 12 keeps `c` on the stack and runs 3 to 5 times slower. */
#ifndef FNN_ASKS_AHEAD
#define FNN_ASKS_AHEAD 0
#endif

/* What to ask for while a block is multiplied: the rows of the next one, which start somewhere else, often on another
 * page (6 to 8 points of the peak). Scattered ones are behind the last block those of the tile below. */
FNN_INLINE const real *NAME(next_rows)(int rows, const fnn_gemm *g, int64_t block)
{
    if (block + 1 < g->blocks) return (const real *)g->a + (block + 1) * g->a_block;
    if (g->scattered && (block >= g->blocks || g->tail_depth == 0)) return (const real *)g->a + rows * g->a_row;
    return g->tail ? g->tail : g->a;
}

/* Adds the products of one block, and with `ahead` asks for all of the rows to come: in a buffer of the batch they lie
 * one behind the other. A line at a time, as all at once would keep those of B waiting. */
FNN_INLINE void NAME(gemm_block)(int rows, int vectors, int ahead, int64_t depth, const real *a, int64_t a_row,
                                 int64_t a_step, const real *b, int64_t b_row, const real *next,
                                 vec c[FNN_MAX_ROWS][FNN_MAX_VECTORS])
{
    /* Three rows share a pointer (base, +1, +2 strides): 16 row pointers would not fit the general registers. */
    const real *base[(FNN_MAX_ROWS + 2) / 3];
    FNN_UNROLL
    for (int i = 0; i < rows; i += 3) base[i / 3] = a + i * a_row;
    FNN_UNROLL_DEPTH
    for (int64_t k = 0; k < depth; k++) {
        vec row[FNN_MAX_VECTORS];
        if (ahead) FNN_PREFETCH(next + k * rows);
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
}

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
        if (!whole && g->tail_b) b = g->tail_b;
        const real *next = NAME(next_rows)(rows, g, block);
        FNN_UNROLL
        for (int i = 0; i < rows; i++) FNN_PREFETCH(next + i * a_row);
        if (FNN_ASKS_AHEAD && vectors == FNN_VECTORS && g->scattered)
            NAME(gemm_block)(rows, vectors, 1, depth, a, a_row, a_step, b, b_row, next, c);
        else
            NAME(gemm_block)(rows, vectors, 0, depth, a, a_row, a_step, b, b_row, next, c);
        b += depth * b_row + g->b_skip;
    }
    if (g->finish == FNN_SUM_RELU) {
        FNN_UNROLL
        for (int i = 0; i < rows; i++) {
            FNN_UNROLL
            for (int j = 0; j < vectors; j++) c[i][j] = NAME(max)(NAME(zero)(), c[i][j]);
        }
    } else if (g->finish == FNN_SUM_RELU_GRAD) {
        const real *y = g->y;
        FNN_UNROLL
        for (int i = 0; i < rows; i++) {
            FNN_UNROLL
            for (int j = 0; j < vectors; j++)
                c[i][j] = NAME(multiply)(c[i][j], NAME(is_positive)(NAME(load)(y + i * g->c_row + j * FNN_LANES)));
        }
    }
    FNN_UNROLL
    for (int i = 0; i < rows; i++) {
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) NAME(store)(out + i * g->c_row + j * FNN_LANES, c[i][j]);
    }
}

/* Few columns would leave most lanes of a tile empty: each sum runs along the lanes instead, of two rows at a time, or
 * of four where there are 32 registers. */
FNN_INLINE void NAME(narrow_tile)(int outputs, int64_t begin, int64_t rows, int64_t depth, int64_t panel_stride,
                                  const real *x, const real *w, const real *b, real *z)
{
    enum { ROWS = FNN_VECTORS > 2 ? 4 : 2 };
    FNN_EACH_BLOCK(begin, rows) {
        vec partial[FNN_NARROW][FNN_LANES + ROWS - 1];
        real columns[FNN_NARROW * FNN_LANES] = {0};
        for (int64_t i = 0; i < m; i += ROWS) {
            vec sum[ROWS][FNN_NARROW];
            FNN_UNROLL
            for (int r = 0; r < ROWS; r++) {
                FNN_UNROLL
                for (int o = 0; o < outputs; o++) sum[r][o] = NAME(zero)();
            }
            FNN_EACH_STRIP(s, depth, panel_stride) {
                const real *factor = w + s.column * outputs, *line[ROWS];
                FNN_UNROLL
                for (int r = 0; r < ROWS; r++) line[r] = x + s.at + (i + r < m ? i + r : i) * s.width;
                for (int64_t v = 0; v < s.width; v += FNN_LANES) {
                    vec row[ROWS];
                    FNN_UNROLL
                    for (int r = 0; r < ROWS; r++) row[r] = NAME(load)(line[r] + v);
                    if (s.columns - v < FNN_LANES) {
                        FNN_UNROLL
                        for (int r = 0; r < ROWS; r++)
                            row[r] = NAME(first_lanes)((signed_bits)(s.columns - v), row[r], NAME(zero)());
                    }
                    FNN_UNROLL
                    for (int o = 0; o < outputs; o++) {
                        const vec weight = NAME(load)(factor + o * s.width + v);
                        FNN_UNROLL
                        for (int r = 0; r < ROWS; r++)
                            sum[r][o] = NAME(add)(sum[r][o], NAME(multiply)(row[r], weight));
                    }
                }
            }
            FNN_UNROLL
            for (int o = 0; o < outputs; o++) {
                FNN_UNROLL
                for (int r = 0; r < ROWS; r++) partial[o][i + r] = sum[r][o];
            }
        }
        for (int o = 0; o < outputs; o++) {
            for (int64_t i = m; i < FNN_LANES; i++) partial[o][i] = NAME(zero)();
            NAME(sum_rows)(partial[o], columns + o * FNN_LANES);
            FNN_EACH_LANE columns[o * FNN_LANES + lane] += b[o];
        }
        NAME(rows_of)(m, columns, z + first * FNN_LANES);
    }
}

static void NAME(narrow_product)(int64_t first, int64_t rows, int64_t depth, int64_t outputs, int64_t panel_stride,
                                 const void *x, const void *w, const void *b, void *z)
{
    FNN_BY_COLUMNS(outputs, NAME(narrow_tile), first, rows, depth, panel_stride, x, w, b, z)
}

#define FNN_GEMM_KERNEL(vectors, rows) \
    static void NAME(gemm_##rows##x##vectors)(const fnn_gemm *g) { NAME(gemm_tile)(rows, vectors, g); }
#define FNN_GEMM_KERNELS(vectors, rows) FNN_ROWS_##rows(FNN_GEMM_KERNEL, vectors)
FNN_TILES(FNN_GEMM_KERNELS)
#undef FNN_GEMM_KERNELS
#undef FNN_GEMM_KERNEL
