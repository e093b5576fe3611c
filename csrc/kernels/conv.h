/* Convolution: register tiles whose rows and steps lie where tables say (see fnn_indexed), and what goes on around it:
 * copies of images, maxima over windows, and their gradients.
 *
 * As in gemm.h every i and j loop carries the unroll pragma, or gcc 12 keeps the sums on the stack. */

/* The sums of a tile. The factor of row i at a step: one element for all columns, or `elementwise` one for each. */
FNN_INLINE void NAME(indexed_sums)(int rows, int vectors, int elementwise, const fnn_indexed *g,
                                   vec c[FNN_MAX_ROWS][FNN_MAX_VECTORS])
{
    static const real zeros[FNN_VECTORS * FNN_LANES];
    const real *init = g->init ? g->init : zeros;
    const int64_t init_row = g->init ? g->init_row : 0, b_row = g->b_row, a_unit = elementwise ? g->a_unit : 1;
    const int32_t *c_row = g->c_row;
    const real *a[FNN_MAX_ROWS], *b = g->b;

    FNN_UNROLL
    for (int i = 0; i < rows; i++) a[i] = (const real *)g->a + g->a_row[i] * a_unit;
    if (init_row == 0) {
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) c[0][j] = NAME(load)(init + j * FNN_LANES);
        FNN_UNROLL
        for (int i = 1; i < rows; i++) {
            FNN_UNROLL
            for (int j = 0; j < vectors; j++) c[i][j] = c[0][j];
        }
    } else {
        FNN_UNROLL
        for (int i = 0; i < rows; i++) {
            FNN_UNROLL
            for (int j = 0; j < vectors; j++) c[i][j] = NAME(load)(init + c_row[i] * init_row + j * FNN_LANES);
        }
    }
    const fnn_index *end = g->step + g->depth;
    FNN_UNROLL_DEPTH
    for (const fnn_index *step = g->step; step < end; step++) {
        const int64_t offset = step->a * a_unit;
        const real *w = b + step->b * b_row;
        vec row[FNN_MAX_VECTORS];
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) row[j] = NAME(load)(w + j * FNN_LANES);
        FNN_UNROLL
        for (int i = 0; i < rows; i++) {
            const real *x = a[i] + offset;
            FNN_UNROLL
            for (int j = 0; j < vectors; j++) {
                if (elementwise)
                    c[i][j] = NAME(add)(c[i][j], NAME(multiply)(NAME(load)(x + j * FNN_LANES), row[j]));
                else
                    c[i][j] = NAME(add_scaled)(c[i][j], *x, row[j]);
            }
        }
    }
}

FNN_INLINE void NAME(indexed_tile)(int rows, int vectors, int elementwise, const fnn_indexed *g)
{
    vec c[FNN_MAX_ROWS][FNN_MAX_VECTORS];
    NAME(indexed_sums)(rows, vectors, elementwise, g, c);
    FNN_UNROLL
    for (int i = 0; i < rows; i++) {
        real *to = (real *)g->c + g->c_row[i] * g->c_width;
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) NAME(store)(to + j * FNN_LANES, c[i][j]);
    }
}

#define FNN_INDEXED_KERNEL(vectors, rows) \
    static void NAME(indexed_##rows##x##vectors)(const fnn_indexed *g) { NAME(indexed_tile)(rows, vectors, 0, g); } \
    static void NAME(elementwise_##rows##x##vectors)(const fnn_indexed *g) { NAME(indexed_tile)(rows, vectors, 1, g); }
#define FNN_INDEXED_KERNELS(vectors, rows) FNN_ROWS_##rows(FNN_INDEXED_KERNEL, vectors)
FNN_INDEXED_TILES(FNN_INDEXED_KERNELS)
#undef FNN_INDEXED_KERNELS
#undef FNN_INDEXED_KERNEL

FNN_INLINE void NAME(pooled_tile)(int windows, int vectors, const fnn_indexed *g)
{
    vec c[FNN_MAX_ROWS][FNN_MAX_VECTORS];
    NAME(indexed_sums)(FNN_WINDOW * windows, vectors, 0, g, c);
    FNN_UNROLL
    for (int i = 0; i < windows; i++) {
        const int64_t to = g->c_row[FNN_WINDOW * i] / FNN_WINDOW * g->c_width;
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) {
            vec best = c[FNN_WINDOW * i][j], place = NAME(zero)();
            FNN_UNROLL
            for (int t = 1; t < FNN_WINDOW; t++) {
                const vec value = c[FNN_WINDOW * i + t][j];
                place = NAME(where_beats)(value, best, NAME(broadcast)((real)t), place);
                best = NAME(where_beats)(value, best, value, best);
            }
            NAME(store)((real *)g->c + to + j * FNN_LANES, best);
            NAME(store)((real *)g->index + to + j * FNN_LANES, place);
        }
    }
}

#define FNN_POOLED_KERNEL(vectors, windows) \
    static void NAME(pooled_##windows##x##vectors)(const fnn_indexed *g) { NAME(pooled_tile)(windows, vectors, g); }
#define FNN_POOLED_KERNELS(vectors, rows) FNN_WINDOWS_##rows(FNN_POOLED_KERNEL, vectors)
FNN_INDEXED_TILES(FNN_POOLED_KERNELS)
#undef FNN_POOLED_KERNELS
#undef FNN_POOLED_KERNEL

/* No vector of sums is read before the end: what they are added to was often stored a moment ago, and elsewhere. */
FNN_INLINE void NAME(sparse_tile)(int rows, int vectors, const fnn_sparse *g)
{
    const real *factor = g->factor, *index = g->index, *b = g->b;
    const int64_t b_row = g->b_row, step = g->step;
    real *out = g->c;
    vec c[FNN_MAX_ROWS][FNN_MAX_VECTORS];

    FNN_UNROLL
    for (int i = 0; i < rows; i++) {
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) c[i][j] = NAME(zero)();
    }
    for (int64_t k = 0; k < g->depth; k++, factor += step, index += step) {
        const real *from = b + g->at[k] + g->tap[(int64_t)*index];
        FNN_UNROLL
        for (int i = 0; i < rows; i++) {
            FNN_UNROLL
            for (int j = 0; j < vectors; j++)
                c[i][j] = NAME(add_scaled)(c[i][j], *factor, NAME(load)(from + i * b_row + j * FNN_LANES));
        }
    }
    FNN_UNROLL
    for (int i = 0; i < rows; i++) {
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) {
            real *to = out + i * g->c_row + j * FNN_LANES;
            NAME(store)(to, NAME(add)(NAME(load)(to), c[i][j]));
        }
    }
}

#define FNN_SPARSE_KERNEL(vectors, rows) \
    static void NAME(sparse_##rows##x##vectors)(const fnn_sparse *g) { NAME(sparse_tile)(rows, vectors, g); }
#define FNN_SPARSE_KERNELS(vectors, rows) FNN_ROWS_##rows(FNN_SPARSE_KERNEL, vectors)
FNN_INDEXED_TILES(FNN_SPARSE_KERNELS)
#undef FNN_SPARSE_KERNELS
#undef FNN_SPARSE_KERNEL

#undef FNN_PICKS
#if defined(FNN_PICKED) && FNN_REAL_BITS == 32
#define FNN_PICKS

FNN_INLINE void NAME(picked_tile)(int rows, int vectors, const fnn_picked *g)
{
    const real *factor = g->factor, *index = g->index, *x = g->x;
    const int64_t width = g->width;
    vec c[FNN_MAX_ROWS][2];

    FNN_UNROLL
    for (int i = 0; i < rows; i++) {
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) c[i][j] = NAME(zero)();
    }
    for (int64_t k = 0; k < g->depth; k++, factor += width, index += width, x += g->x_window) {
        NAME(mask) tap[2];
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) tap[j] = (NAME(mask))FNN_PICKED_TAPS(g->tap, index + j * FNN_LANES);
        FNN_UNROLL
        for (int i = 0; i < rows; i++) {
            const vec line = NAME(load)(x + g->x_row[i]);
            FNN_UNROLL
            for (int j = 0; j < vectors; j++)
                c[i][j] = NAME(add)(c[i][j], NAME(multiply)(FNN_PICKED(line, tap[j]), NAME(load)(factor + j * FNN_LANES)));
        }
    }
    FNN_UNROLL
    for (int i = 0; i < rows; i++) {
        real *to = (real *)g->c + g->c_row[i] * width;
        FNN_UNROLL
        for (int j = 0; j < vectors; j++)
            NAME(store)(to + j * FNN_LANES, NAME(add)(NAME(load)(to + j * FNN_LANES), c[i][j]));
    }
}

#define FNN_PICKED_KERNEL(vectors, rows) \
    static void NAME(picked_##rows##x##vectors)(const fnn_picked *g) { NAME(picked_tile)(rows, vectors, g); }
#define FNN_PICKED_KERNELS(vectors, rows) FNN_ROWS_##rows(FNN_PICKED_KERNEL, vectors)
FNN_PICKED_TILES(FNN_PICKED_KERNELS)
#undef FNN_PICKED_KERNELS
#undef FNN_PICKED_KERNEL

static void NAME(expand_picked)(int64_t rows, int64_t n, const void *from_, int64_t from_row, int64_t from_place,
                                void *to_, int64_t to_row, int64_t to_place, int64_t picks, const fnn_pick *pick)
{
    const real *from = from_;
    real *to = to_;
    for (int64_t r = 0; r < rows; r++, from += from_row, to += to_row) {
        const real *x = from;
        real *y = to;
        for (int64_t p = 0; p < n; p++, x += from_place, y += to_place) {
            for (const fnn_pick *next = pick; next < pick + picks; next++) {
                NAME(mask) lane;
                memcpy(&lane, next->lane, sizeof lane);
                NAME(store)(y + next->to, FNN_PICKED(NAME(load)(x + next->from), lane));
            }
        }
    }
}
#endif

FNN_INLINE void NAME(lay_lines)(int64_t bytes, int64_t windows, int64_t lines, int64_t n, const real *from,
                                int64_t from_window, int64_t from_line, real *to)
{
    for (int64_t w = 0; w < windows; w++, from += from_window) {
        const real *line = from;
        FNN_UNROLL_DEPTH
        for (int64_t l = 0; l < lines; l++, to += n, line += from_line) memcpy(to, line, bytes);
    }
}

/* Whole vectors, or halves or quarters of them; what is too much is written over by the next line. */
static void NAME(lay_windows)(int64_t windows, int64_t lines, int64_t n, const void *from, int64_t from_window,
                              int64_t from_line, void *to)
{
    if (4 * n <= FNN_LANES)
        NAME(lay_lines)(FNN_VECTOR_BYTES / 4, windows, lines, n, from, from_window, from_line, to);
    else if (2 * n <= FNN_LANES)
        NAME(lay_lines)(FNN_VECTOR_BYTES / 2, windows, lines, n, from, from_window, from_line, to);
    else if (n <= FNN_LANES)
        NAME(lay_lines)(FNN_VECTOR_BYTES, windows, lines, n, from, from_window, from_line, to);
    else
        NAME(lay_lines)(n * sizeof(real), windows, lines, n, from, from_window, from_line, to);
}

/* Lines of at least `unit` and less than twice as many elements: the second unit ends with the line. */
FNN_INLINE void NAME(copy_short)(int64_t unit, int64_t rows, int64_t n, const real *from, int64_t from_row, real *to,
                                 int64_t to_row)
{
    for (int64_t r = 0; r < rows; r++, from += from_row, to += to_row) {
        memcpy(to, from, unit * sizeof(real));
        memcpy(to + n - unit, from + n - unit, unit * sizeof(real));
    }
}

/* Whole lines where elements lie side by side on both sides: to call memcpy for a few takes longer than to copy them. */
static void NAME(copy)(int64_t rows, int64_t n, const void *from_, int64_t from_row, int64_t from_step, void *to_,
                       int64_t to_row, int64_t to_step)
{
    const real *from = from_;
    real *to = to_;
    if (from_step != 1 || to_step != 1) {
        for (int64_t r = 0; r < rows; r++, from += from_row, to += to_row)
            for (int64_t i = 0; i < n; i++) to[i * to_step] = from[i * from_step];
    } else if (n == 1) {
        NAME(copy_short)(1, rows, n, from, from_row, to, to_row);
    } else if (n == 2 || n == 3) {
        NAME(copy_short)(2, rows, n, from, from_row, to, to_row);
    } else if (n >= 4 && n < 8) {
        NAME(copy_short)(4, rows, n, from, from_row, to, to_row);
    } else if (n >= 8 && n < 16) {
        NAME(copy_short)(8, rows, n, from, from_row, to, to_row);
    } else {
        for (int64_t r = 0; r < rows; r++, from += from_row, to += to_row) memcpy(to, from, n * sizeof(real));
    }
}

/* In whole units; the last one ends with the line, wherever it starts. */
FNN_INLINE void NAME(copy_units)(int64_t unit, int64_t rows, int64_t n, const real *from, const int32_t *from_row,
                                 int64_t from_width, real *to, const int32_t *to_row, int64_t to_width)
{
    for (int64_t r = 0; r < rows; r++) {
        const real *line = from + from_row[r] * from_width;
        real *at = to + to_row[r] * to_width;
        for (int64_t i = 0; i < n - unit; i += unit) memcpy(at + i, line + i, unit * sizeof(real));
        memcpy(at + n - unit, line + n - unit, unit * sizeof(real));
    }
}

/* A quarter of a vector, where it has as many lanes. */
enum { NAME(QUARTER) = FNN_LANES < 4 ? 1 : FNN_LANES / 4 };

static void NAME(copy_rows)(int64_t rows, int64_t n, const void *from, const int32_t *from_row, int64_t from_width,
                            void *to, const int32_t *to_row, int64_t to_width)
{
    if (n >= FNN_LANES)
        NAME(copy_units)(FNN_LANES, rows, n, from, from_row, from_width, to, to_row, to_width);
    else if (2 * n >= FNN_LANES)
        NAME(copy_units)(FNN_LANES / 2, rows, n, from, from_row, from_width, to, to_row, to_width);
    else if (4 * n >= FNN_LANES)
        NAME(copy_units)(NAME(QUARTER), rows, n, from, from_row, from_width, to, to_row, to_width);
    else
        NAME(copy_units)(1, rows, n, from, from_row, from_width, to, to_row, to_width);
}

FNN_INLINE void NAME(expand_units)(int64_t unit, int64_t rows, int64_t n, const real *from, int64_t from_row,
                                   int64_t from_place, real *to, int64_t to_row, int64_t to_place, int64_t inexact,
                                   int64_t runs, const fnn_run *run)
{
    for (int64_t r = 0; r < rows; r++, from += from_row, to += to_row) {
        const real *x = from;
        real *y = to;
        for (int64_t p = 0; p < n; p++, x += from_place, y += to_place) {
            const fnn_run *next = run;
            for (; next < run + inexact; next++) {
                const vec value = NAME(broadcast)(x[next->from]);
                real *at = y + next->to;
                memcpy(at, &value, unit * sizeof(real));
                for (int64_t i = unit; i < next->n; i += unit) memcpy(at + i, &value, unit * sizeof(real));
            }
            for (; next < run + runs; next++) {
                for (int64_t i = 0; i < next->n; i++) y[next->to + i] = x[next->from];
            }
        }
    }
}

static void NAME(expand)(int64_t rows, int64_t n, const void *from, int64_t from_row, int64_t from_place, void *to,
                         int64_t to_row, int64_t to_place, int64_t unit, int64_t inexact, int64_t runs,
                         const fnn_run *run)
{
    if (unit == FNN_LANES)
        NAME(expand_units)(FNN_LANES, rows, n, from, from_row, from_place, to, to_row, to_place, inexact, runs, run);
    else if (2 * unit == FNN_LANES)
        NAME(expand_units)(FNN_LANES / 2, rows, n, from, from_row, from_place, to, to_row, to_place, inexact, runs,
                           run);
    else
        NAME(expand_units)(NAME(QUARTER), rows, n, from, from_row, from_place, to, to_row, to_place, inexact, runs,
                           run);
}

FNN_INLINE void NAME(max_of_taps)(int vectors, int64_t taps, int64_t n, const real *x, real *y, real *index)
{
    const int64_t width = vectors * FNN_LANES;
    for (int64_t i = 0; i < n; i++, x += taps * width, y += width, index += width) {
        vec best[FNN_MAX_VECTORS], place[FNN_MAX_VECTORS];
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) {
            best[v] = NAME(load)(x + v * FNN_LANES);
            place[v] = NAME(zero)();
        }
        FNN_UNROLL_DEPTH
        for (int64_t t = 1; t < taps; t++) {
            const vec number = NAME(broadcast)((real)t);
            FNN_UNROLL
            for (int v = 0; v < vectors; v++) {
                const vec value = NAME(load)(x + t * width + v * FNN_LANES);
                place[v] = NAME(where_beats)(value, best[v], number, place[v]);
                best[v] = NAME(where_beats)(value, best[v], value, best[v]);
            }
        }
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) {
            NAME(store)(y + v * FNN_LANES, best[v]);
            NAME(store)(index + v * FNN_LANES, place[v]);
        }
    }
}

/* With its taps unrolled, the common window takes two thirds of the time. */
static void NAME(max_of_windows)(int64_t n, int64_t taps, int64_t width, const void *x, void *y, void *index)
{
    if (taps == 4) {
        FNN_BY_VECTORS(width, NAME(max_of_taps), 4, n, x, y, index);
    } else {
        FNN_BY_VECTORS(width, NAME(max_of_taps), taps, n, x, y, index);
    }
}

FNN_INLINE void NAME(max_at_taps)(int vectors, int64_t taps, int64_t n, const real *x, const int32_t *window,
                                  const int32_t *tap, real *y, real *index)
{
    const int64_t width = vectors * FNN_LANES;
    for (int64_t i = 0; i < n; i++, y += width, index += width) {
        const real *first = x + (window[i] + tap[0]) * width;
        vec best[FNN_MAX_VECTORS], place[FNN_MAX_VECTORS];
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) {
            best[v] = NAME(load)(first + v * FNN_LANES);
            place[v] = NAME(zero)();
        }
        FNN_UNROLL_DEPTH
        for (int64_t t = 1; t < taps; t++) {
            const real *at = x + (window[i] + tap[t]) * width;
            const vec number = NAME(broadcast)((real)t);
            FNN_UNROLL
            for (int v = 0; v < vectors; v++) {
                const vec value = NAME(load)(at + v * FNN_LANES);
                place[v] = NAME(where_beats)(value, best[v], number, place[v]);
                best[v] = NAME(where_beats)(value, best[v], value, best[v]);
            }
        }
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) {
            NAME(store)(y + v * FNN_LANES, best[v]);
            NAME(store)(index + v * FNN_LANES, place[v]);
        }
    }
}

static void NAME(max_at_windows)(int64_t n, int64_t taps, int64_t width, const void *x, const int32_t *window,
                                 const int32_t *tap, void *y, void *index)
{
    if (taps == 4) {
        FNN_BY_VECTORS(width, NAME(max_at_taps), 4, n, x, window, tap, y, index);
    } else {
        FNN_BY_VECTORS(width, NAME(max_at_taps), taps, n, x, window, tap, y, index);
    }
}

FNN_INLINE void NAME(put_at_taps)(int vectors, int64_t taps, int64_t n, const real *dy, const real *index,
                                  const int32_t *window, const int32_t *tap, real *to, int64_t to_row)
{
    const int64_t width = vectors * FNN_LANES;
    for (int64_t i = 0; i < n; i++, dy += width, index += width) {
        vec value[FNN_MAX_VECTORS], place[FNN_MAX_VECTORS];
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) {
            value[v] = NAME(load)(dy + v * FNN_LANES);
            place[v] = NAME(load)(index + v * FNN_LANES);
        }
        for (int64_t t = 0; t < taps; t++) {
            real *row = to + (window[i] + tap[t]) * to_row;
            const vec number = NAME(broadcast)((real)t);
            FNN_UNROLL
            for (int v = 0; v < vectors; v++)
                NAME(store)(row + v * FNN_LANES, NAME(where_equal)(place[v], number, value[v], NAME(zero)()));
        }
    }
}

static void NAME(put_in_windows)(int64_t n, int64_t taps, int64_t width, const void *dy, const void *index,
                                 const int32_t *window, const int32_t *tap, void *to, int64_t to_row)
{
    FNN_BY_VECTORS(width, NAME(put_at_taps), taps, n, dy, index, window, tap, to, to_row);
}

/* Blocks of half as many lines as there are lanes, interleaved until numbers of the same place lie side by side: two
 * rows a vector. */
static void NAME(rows_of_planes)(int64_t places, int64_t filters, int64_t plane, const void *from_, void *to_)
{
    enum { HALF = FNN_LANES / 2 };
    const real *from = from_;
    real *to = to_;
    for (int64_t p = 0; p < places; p += FNN_LANES, from += FNN_LANES) {
        vec x[HALF];
        FNN_UNROLL
        for (int i = 0; i < HALF; i++) x[i] = i < filters ? NAME(load)(from + i * plane) : NAME(zero)();
        NAME(interleave_lines)(HALF, x);
        FNN_UNROLL
        for (int i = 0; i < HALF; i++, to += 2 * FNN_LANES) {
            real two[FNN_LANES];
            NAME(store)(two, x[i]);
            memcpy(to, two, HALF * sizeof(real));
            memcpy(to + FNN_LANES, two + HALF, HALF * sizeof(real));
        }
    }
}

static void NAME(sum_parts)(int64_t parts, int64_t n, const void *from_, int64_t part, void *to_)
{
    const real *from = from_;
    real *to = to_;
    for (int64_t i = 0; i < FNN_WHOLE(n); i += FNN_LANES) {
        vec sum = NAME(load)(from + i);
        for (int64_t g = 1; g < parts; g++) sum = NAME(add)(sum, NAME(load)(from + g * part + i));
        NAME(store)(to + i, sum);
    }
}
