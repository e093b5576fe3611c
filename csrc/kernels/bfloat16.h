/* Products of operands rounded to bfloat16 (see fnn_bfloat16): the packed forms, and a register tile over them.
 * An instruction set with conversions and dot products of its own defines FNN_BFLOAT16_VECTORS and brings round_row,
 * round_two, round_pairs and dot; one with a whole product of its own defines FNN_BFLOAT16_PRODUCT, too. */

enum { FNN_DEPTH = 2 * FNN_LANES, FNN_WORDS = FNN_LANES * FNN_LANES };

#ifndef FNN_BFLOAT16_VECTORS
/* The nearest bfloat16, ties to even, in the upper half of the result; a NaN keeps its sign and its upper bits. */
FNN_INLINE uint32_t fnn_round(float x)
{
    uint32_t word;
    memcpy(&word, &x, sizeof word);
    const uint32_t rounded = word + 0x7fff + ((word >> 16) & 1);
    return ((word & 0x7fffffff) > 0x7f800000 ? word | 0x400000 : rounded) & 0xffff0000;
}
/* Word l: even[l] in the lower half, odd[l] in the upper one. */
FNN_INLINE void fnn_round_pairs(const float *even, const float *odd, uint32_t *words)
{
    FNN_EACH_LANE words[lane] = fnn_round(even[lane]) >> 16 | fnn_round(odd[lane]);
}
/* FNN_LANES numbers side by side. */
FNN_INLINE void fnn_round_row(const float *from, uint16_t *to)
{
    FNN_EACH_LANE to[lane] = (uint16_t)(fnn_round(from[lane]) >> 16);
}
/* FNN_LANES numbers and as many others behind them. */
FNN_INLINE void fnn_round_two(const float *first, const float *second, uint16_t *to)
{
    fnn_round_row(first, to);
    fnn_round_row(second, to + FNN_LANES);
}

/* sum[l] + a's lower half * b[l]'s lower half + the product of the upper halves. */
#ifdef FNN_GNU_VECTORS
typedef uint32_t fnn_word_vec __attribute__((vector_size(FNN_VECTOR_BYTES)));
FNN_INLINE vec fnn_dot(vec sum, const uint16_t *a, const uint32_t *b)
{
    uint32_t pair;
    fnn_word_vec words;
    memcpy(&pair, a, sizeof pair);
    memcpy(&words, b, sizeof words);
    const fnn_word_vec factor = (fnn_word_vec){0} + pair;
    sum += (vec)(factor << 16) * (vec)(words << 16);
    return sum + (vec)(factor & 0xffff0000) * (vec)(words & 0xffff0000);
}
#else
FNN_INLINE float fnn_widened(uint32_t word)
{
    float x;
    memcpy(&x, &word, sizeof x);
    return x;
}
FNN_INLINE vec fnn_dot(vec sum, const uint16_t *a, const uint32_t *b)
{
    const float low = fnn_widened((uint32_t)a[0] << 16), high = fnn_widened((uint32_t)a[1] << 16);
    for (int i = 0; i < FNN_LANES; i++) {
        sum.lane[i] += low * fnn_widened(b[i] << 16);
        sum.lane[i] += high * fnn_widened(b[i] & 0xffff0000);
    }
    return sum;
}
#endif
#endif

/* A square of words, transposed; moved as numbers, on which no arithmetic is done. */
FNN_INLINE void fnn_transpose_words(const void *from, void *to, int64_t to_row)
{
    NAME(transpose_square)(from, FNN_LANES, to, to_row);
}

static const float fnn_zeros[FNN_LANES];

/* Up to FNN_DEPTH rows of FNN_LANES columns as a square of pairs of rows; rows that are not there are zeros. */
FNN_INLINE void fnn_square_of_pairs(int64_t rows, const float *from, int64_t from_row, uint32_t *words)
{
    if (rows > FNN_DEPTH) rows = FNN_DEPTH;
    for (int64_t k = 0; k < FNN_DEPTH; k += 2, from += 2 * from_row, words += FNN_LANES)
        fnn_round_pairs(k < rows ? from : fnn_zeros, k + 1 < rows ? from + from_row : fnn_zeros, words);
}

/* The rest that is no whole vector goes through one. */
static void fnn_narrow(int64_t n, const float *from, uint16_t *to)
{
    float rest[FNN_LANES] = {0};
    uint16_t rounded[FNN_LANES];
    const int64_t whole = FNN_WHOLE(n);
    for (int64_t i = 0; i < whole; i += FNN_LANES) fnn_round_row(from + i, to + i);
    memcpy(rest, from + whole, (n - whole) * sizeof *rest);
    fnn_round_row(rest, rounded);
    memcpy(to + whole, rounded, (n - whole) * sizeof *to);
}

FNN_INLINE void fnn_widen(const uint16_t *from, float *to)
{
    FNN_EACH_LANE {
        const uint32_t word = (uint32_t)from[lane] << 16;
        memcpy(to + lane, &word, sizeof word);
    }
}

static void fnn_round_all(int64_t n, const float *from, float *to)
{
    float rest[FNN_LANES] = {0};
    uint16_t rounded[FNN_LANES];
    const int64_t whole = FNN_WHOLE(n);
    for (int64_t i = 0; i < whole; i += FNN_LANES) {
        fnn_round_row(from + i, rounded);
        fnn_widen(rounded, to + i);
    }
    memcpy(rest, from + whole, (n - whole) * sizeof *rest);
    fnn_round_row(rest, rounded);
    fnn_widen(rounded, rest);
    memcpy(to + whole, rest, (n - whole) * sizeof *to);
}

static void fnn_pack_rows(int64_t rows, int64_t width, const float *from, int64_t from_row, uint16_t *to,
                          int64_t to_row, int64_t to_block)
{
    for (int64_t i = 0; i < rows; i++, from += from_row, to += to_row) {
        uint16_t *block = to;
        for (int64_t j = 0; j < width; j += FNN_DEPTH, block += to_block)
            fnn_round_two(from + j, j + FNN_LANES < width ? from + j + FNN_LANES : fnn_zeros, block);
    }
}

/* A caller's row becomes float32 and is rounded, block by block; for what is asked for ahead see gather.h. */
#define FNN_GATHER_ROUNDED(source) \
    FNN_INLINE void fnn_round_block_##source(int64_t n, const source *from, float scale, uint16_t *to) \
    { \
        float line[FNN_DEPTH]; \
        FNN_UNROLL \
        for (int64_t j = 0; j < FNN_DEPTH; j++) line[j] = j < n ? (float)from[j] * scale : 0; \
        fnn_round_two(line, line + FNN_LANES, to); \
    } \
    FNN_INLINE void fnn_gather_##source(int64_t rows, int64_t columns, const int64_t *index, const source *from, \
                                        int64_t from_row, float scale, uint16_t *to, int64_t to_row, \
                                        int64_t to_block) \
    { \
        for (int64_t r = 0; r < rows; r++) { \
            const source *row = from + (index ? index[r] : r) * from_row; \
            const source *ahead = from + (index && r + 2 < rows ? index[r + 2] : r) * from_row; \
            uint16_t *block = to + r * to_row; \
            int64_t j = 0; \
            for (; j + FNN_DEPTH <= columns; j += FNN_DEPTH, block += to_block) { \
                fnn_prefetch_second(ahead + j, FNN_DEPTH * sizeof(source)); \
                fnn_round_block_##source(FNN_DEPTH, row + j, scale, block); \
            } \
            if (j < columns) { \
                fnn_prefetch_second(ahead + j, (columns - j) * (int64_t)sizeof(source)); \
                fnn_round_block_##source(columns - j, row + j, scale, block); \
            } \
        } \
    }
FNN_GATHER_ROUNDED(uint8_t)
FNN_GATHER_ROUNDED(float)
FNN_GATHER_ROUNDED(double)
#undef FNN_GATHER_ROUNDED

static void fnn_gather(int64_t rows, int64_t columns, const int64_t *index, const void *from, int64_t from_row,
                       int64_t source_itemsize, float scale, uint16_t *to, int64_t to_row, int64_t to_block)
{
    if (source_itemsize == sizeof(uint8_t))
        fnn_gather_uint8_t(rows, columns, index, from, from_row, scale, to, to_row, to_block);
    else if (source_itemsize == sizeof(float))
        fnn_gather_float(rows, columns, index, from, from_row, scale, to, to_row, to_block);
    else
        fnn_gather_double(rows, columns, index, from, from_row, scale, to, to_row, to_block);
}

static void fnn_pack_columns(int64_t rows, int64_t width, const float *from, int64_t from_row, uint16_t *to,
                             int64_t to_row, int64_t to_block)
{
    uint32_t words[FNN_WORDS];
    for (int64_t k = 0; k < rows; k += FNN_DEPTH, to += to_block) {
        for (int64_t j = 0; j < width; j += FNN_LANES) {
            fnn_square_of_pairs(rows - k, from + k * from_row + j, from_row, words);
            fnn_transpose_words(words, to + j * to_row, to_row / 2);
        }
    }
}

static void fnn_pack_pairs(int64_t rows, int64_t width, const float *from, int64_t from_row, uint16_t *to,
                           int64_t to_tile)
{
    for (int64_t k = 0; k < (rows + FNN_DEPTH - 1) / FNN_DEPTH * FNN_DEPTH; k += 2) {
        const float *even = k < rows ? from + k * from_row : NULL, *odd = k + 1 < rows ? even + from_row : NULL;
        uint16_t *pair = to + k * FNN_LANES;
        for (int64_t j = 0; j < width; j += FNN_LANES, pair += to_tile)
            fnn_round_pairs(even ? even + j : fnn_zeros, odd ? odd + j : fnn_zeros, (uint32_t *)pair);
    }
}

static void fnn_pack_transposed(int64_t rows, int64_t width, const float *from, int64_t from_row, uint16_t *to,
                                int64_t to_tile)
{
    for (int64_t i = 0; i < rows; i += FNN_LANES, to += to_tile) {
        const int64_t m = rows - i < FNN_LANES ? rows - i : FNN_LANES;
        uint16_t square[2 * FNN_WORDS] = {0};
        for (int64_t j = 0; j < width; j += FNN_DEPTH) {
            fnn_pack_rows(m, width - j < FNN_DEPTH ? width - j : FNN_DEPTH, from + i * from_row + j, from_row,
                          square, FNN_DEPTH, 0);
            fnn_transpose_words(square, to + j * FNN_LANES, FNN_LANES);
        }
    }
}

static void fnn_copy(int64_t rows, int64_t n, const uint16_t *from, int64_t from_row, int64_t from_step, uint16_t *to,
                     int64_t to_row)
{
    for (int64_t r = 0; r < rows; r++, from += from_row, to += to_row) {
        if (from_step == 1)
            for (int64_t i = 0; i < n; i += FNN_DEPTH) memcpy(to + i, from + i, FNN_DEPTH * sizeof *to);
        else
            for (int64_t i = 0; i < n; i++) to[i] = from[i * from_step];
    }
}

FNN_INLINE void fnn_patches_of(int64_t lines, int64_t chunk, int64_t rows, int64_t n, const uint16_t *from,
                               int64_t from_line, int64_t from_row, uint16_t *to, int64_t to_row)
{
    for (int64_t r = 0; r < rows; r++, from += from_row, to += to_row) {
        FNN_UNROLL
        for (int64_t u = 0; u < lines; u++) memcpy(to + u * n, from + u * from_line, chunk * sizeof *to);
    }
}

static void fnn_patches(int64_t rows, int64_t lines, int64_t n, const uint16_t *from, int64_t from_line,
                        int64_t from_row, uint16_t *to, int64_t to_row)
{
    const int64_t chunk = n <= 8 ? 8 : 16;
    if (lines == 3 && chunk == 8)
        fnn_patches_of(3, 8, rows, n, from, from_line, from_row, to, to_row);
    else if (lines == 5 && chunk == 8)
        fnn_patches_of(5, 8, rows, n, from, from_line, from_row, to, to_row);
    else
        fnn_patches_of(lines, chunk, rows, n, from, from_line, from_row, to, to_row);
}

FNN_INLINE void fnn_put_rows_of(int64_t taps, int64_t n, int64_t width, const float *dy, const float *index,
                                const int32_t *window, const int32_t *tap, uint16_t *to, int64_t to_row)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < width; j += FNN_LANES, dy += FNN_LANES, index += FNN_LANES) {
            FNN_UNROLL
            for (int64_t t = 0; t < taps; t++) {
                uint16_t *row = to + (window[i] + tap[t]) * to_row + j, rounded[FNN_LANES];
                float chosen[FNN_LANES];
                FNN_EACH_LANE chosen[lane] = index[lane] == (float)t ? dy[lane] : 0;
                if (to_row < FNN_LANES) {
                    fnn_round_row(chosen, rounded);
                    memcpy(row, rounded, to_row * sizeof *row);
                } else {
                    fnn_round_row(chosen, row);
                }
            }
        }
    }
}

static void fnn_put_rows(int64_t n, int64_t taps, int64_t width, const float *dy, const float *index,
                         const int32_t *window, const int32_t *tap, uint16_t *to, int64_t to_row)
{
    if (taps == 4)
        fnn_put_rows_of(4, n, width, dy, index, window, tap, to, to_row);
    else
        fnn_put_rows_of(taps, n, width, dy, index, window, tap, to, to_row);
}

/* What a word of two places gets: `low` where the index is `first`, `high` where it is `second`, else `other`. */
FNN_INLINE void fnn_choose(const float *index, float first, float second, const uint32_t *low, const uint32_t *high,
                           const uint32_t *other, uint32_t *words)
{
    FNN_EACH_LANE words[lane] = index[lane] == second ? high[lane] : index[lane] == first ? low[lane] : other[lane];
}

/* Of a gradient that is a place's, in the lower or the upper half of words; the other half stays. */
FNN_INLINE void fnn_put_place(int64_t place, float tap, const float *index, const uint32_t *both, uint32_t *words)
{
    const uint32_t half = place % 2 ? 0xffff0000u : 0xffff;
    words += place / 2 * FNN_LANES;
    FNN_EACH_LANE words[lane] = (words[lane] & ~half) | (index[lane] == tap ? both[lane] & half : 0);
}

/* `pairs`: a tap and the next one are always a pair of places, which is written at once. */
FNN_INLINE void fnn_put_taps(int64_t taps, int pairs, int64_t n, int64_t width, const float *dy, const float *index,
                             const int32_t *window, const int32_t *tap, uint32_t *words)
{
    static const uint32_t zeros[FNN_LANES];
    for (int64_t i = 0; i < n; i++, dy += width, index += width) {
        uint32_t both[FNN_LANES], low[FNN_LANES], high[FNN_LANES];
        fnn_round_pairs(dy, dy, both);
        FNN_EACH_LANE low[lane] = both[lane] & 0xffff;
        FNN_EACH_LANE high[lane] = both[lane] & 0xffff0000u;
        if (pairs) {
            FNN_UNROLL
            for (int64_t t = 0; t < taps; t += 2)
                fnn_choose(index, (float)t, (float)(t + 1), low, high, zeros,
                           words + (int64_t)(window[i] + tap[t]) / 2 * FNN_LANES);
        } else {
            for (int64_t t = 0; t < taps; t++) fnn_put_place(window[i] + tap[t], (float)t, index, both, words);
        }
    }
}

static void fnn_put_pairs(int64_t n, int64_t taps, int64_t width, const float *dy, const float *index,
                          const int32_t *window, const int32_t *tap, uint16_t *to, int64_t to_tile)
{
    int32_t odd = taps == 4 && tap[1] == tap[0] + 1 && tap[3] == tap[2] + 1 ? tap[0] | tap[2] : 1;
    for (int64_t i = 0; i < n; i++) odd |= window[i];
    for (int64_t j = 0; j < width; j += FNN_LANES, to += to_tile) {
        if (odd % 2 == 0)
            fnn_put_taps(4, 1, n, width, dy + j, index + j, window, tap, (uint32_t *)to);
        else
            fnn_put_taps(taps, 0, n, width, dy + j, index + j, window, tap, (uint32_t *)to);
    }
}

#include "rounded.h"

/* Panels of 256 KB: CPUs with tiles have second caches of 2 MB, others of 1 MB or less. */
#ifdef FNN_BFLOAT16_PRODUCT
enum { FNN_KEPT_PANELS = 4 };
#else
enum { FNN_KEPT_PANELS = 2 };

FNN_INLINE void fnn_product_tile(int rows, int vectors, const fnn_bfloat16_product *p, int64_t i, int64_t j)
{
    const float *init = p->init ? p->init + i * p->init_row + j * FNN_LANES : NULL;
    const int64_t a_row = p->a_row, b_tile = p->b_tile, c_row = p->c_row, init_row = p->init_row;
    const uint16_t *b = p->b + j * b_tile;
    float *out = p->c + i * c_row + j * FNN_LANES;
    vec c[FNN_MAX_ROWS][FNN_MAX_VECTORS];
    FNN_UNROLL
    for (int r = 0; r < rows; r++) {
        FNN_UNROLL
        for (int v = 0; v < vectors; v++)
            c[r][v] = init ? NAME(load)(init + r * init_row + v * FNN_LANES) : NAME(zero)();
    }
    for (int64_t block = 0; block < p->blocks; block++) {
        const uint16_t *a = p->a + i * a_row + (p->offset ? p->offset[block] : block * p->a_block);
        /* Three rows share a pointer, as in gemm.h. */
        const uint16_t *base[(FNN_MAX_ROWS + 2) / 3];
        FNN_UNROLL
        for (int r = 0; r < rows; r += 3) base[r / 3] = a + r * a_row;
        const int64_t depth = block + 1 < p->blocks ? FNN_DEPTH : FNN_DEPTH - p->spare;
        for (int64_t k = 0; k < depth; k += 2, b += 2 * FNN_LANES) {
            FNN_UNROLL
            for (int r = 0; r < rows; r++) {
                FNN_UNROLL
                for (int v = 0; v < vectors; v++)
                    c[r][v] = fnn_dot(c[r][v], base[r / 3] + r % 3 * a_row, (const uint32_t *)(b + v * b_tile));
            }
            FNN_UNROLL
            for (int r = 0; r < rows; r += 3) base[r / 3] += 2;
        }
    }
    FNN_UNROLL
    for (int r = 0; r < rows; r++) {
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) NAME(store)(out + r * c_row + v * FNN_LANES, c[r][v]);
    }
}

/* One function per tile shape, by vectors and rows; see gemm.h. */
#define FNN_DOT_KERNEL(vectors, rows) \
    static void fnn_product_##rows##x##vectors(const fnn_bfloat16_product *p, int64_t i, int64_t j) \
    { \
        fnn_product_tile(rows, vectors, p, i, j); \
    }
#define FNN_DOT_KERNELS(vectors, rows) FNN_ROWS_##rows(FNN_DOT_KERNEL, vectors)
FNN_TILES(FNN_DOT_KERNELS)
#undef FNN_DOT_KERNELS
#undef FNN_DOT_KERNEL

#define FNN_DOT_KERNEL(vectors, rows) [vectors][rows] = fnn_product_##rows##x##vectors,
#define FNN_DOT_KERNELS(vectors, rows) FNN_ROWS_##rows(FNN_DOT_KERNEL, vectors)
#define FNN_TALLEST(vectors, rows) [vectors] = rows,
static void (*const fnn_products[FNN_VECTORS + 1][FNN_MAX_ROWS + 1])(const fnn_bfloat16_product *, int64_t,
                                                                     int64_t) = {FNN_TILES(FNN_DOT_KERNELS)};
static const int64_t fnn_tallest[FNN_VECTORS + 1] = {FNN_TILES(FNN_TALLEST)};
#undef FNN_TALLEST
#undef FNN_DOT_KERNELS
#undef FNN_DOT_KERNEL

/* Tiles of nearly equal height: sums of a single row would wait for each other. */
static void fnn_multiply_part(const fnn_bfloat16_product *p)
{
    for (int64_t j = 0; j < p->tiles; j += FNN_VECTORS) {
        const int64_t vectors = p->tiles - j < FNN_VECTORS ? p->tiles - j : FNN_VECTORS;
        const int64_t tiles = (p->rows + fnn_tallest[vectors] - 1) / fnn_tallest[vectors];
        const int64_t lowest = p->rows / (tiles ? tiles : 1), higher = p->rows - lowest * tiles;
        for (int64_t tile = 0, i = 0; tile < tiles; tile++) {
            const int64_t rows = lowest + (tile < higher);
            fnn_products[vectors][rows](p, i, j);
            i += rows;
        }
    }
}

static void fnn_multiply(const fnn_bfloat16_product *p)
{
    if (!p->a_part) {
        fnn_multiply_part(p);
        return;
    }
    for (int64_t part = 0; part < p->parts; part++) {
        fnn_bfloat16_product one = *p;
        one.a += p->a_part[part];
        one.c += part * p->c_part;
        if (one.init && one.init_row) one.init += part * p->c_part;
        fnn_multiply_part(&one);
    }
}

static void fnn_nothing(void) {}
#define fnn_enter fnn_nothing
#define fnn_leave fnn_nothing

/* One tile over and over: operands that stay in L1. */
static double fnn_peak(int64_t repeats)
{
    enum { BLOCKS = 8 };
    static const uint16_t a[FNN_MAX_ROWS * FNN_DEPTH], b[FNN_VECTORS * FNN_DEPTH * FNN_LANES * BLOCKS];
    float c[FNN_MAX_ROWS * FNN_PANEL];
    const fnn_bfloat16_product p = {
        .a = a, .a_row = FNN_DEPTH, .blocks = BLOCKS, .b = b, .b_tile = FNN_DEPTH * FNN_LANES * BLOCKS,
        .c = c, .c_row = FNN_PANEL, .rows = fnn_tallest[FNN_VECTORS], .tiles = FNN_VECTORS,
    };
    for (int64_t repeat = 0; repeat < repeats; repeat++) fnn_multiply(&p);
    return (double)repeats * 2 * p.rows * FNN_PANEL * FNN_DEPTH * BLOCKS;
}
#endif

#ifdef FNN_BFLOAT16_PRODUCT
#include "gradient.h"
#include "update.h"

#include "renew.h"
#endif

const fnn_bfloat16 FNN_TABLE(FNN_ISA, bfloat16) = {
    .panels = FNN_KEPT_PANELS,
    .narrow = fnn_narrow,
    .round = fnn_round_all,
    .pack_rows = fnn_pack_rows,
    .pack_columns = fnn_pack_columns,
    .pack_pairs = fnn_pack_pairs,
    .pack_transposed = fnn_pack_transposed,
    .put_rows = fnn_put_rows,
    .put_pairs = fnn_put_pairs,
    .gather = fnn_gather,
    .copy_rows = fnn_copy_rows,
    .copy_columns = fnn_copy_columns,
    .copy_pairs = fnn_copy_pairs,
    .round_lines = fnn_round_lines,
    .lstm_cell = fnn_cell_lstm_cell,
    .lstm_cell_grad = fnn_cell_lstm_cell_grad,
    .gru_cell = fnn_cell_gru_cell,
    .gru_cell_grad = fnn_cell_gru_cell_grad,
    .copy = fnn_copy,
    .patches = fnn_patches,
    .multiply = fnn_multiply,
#ifdef FNN_BFLOAT16_PRODUCT
    .renew = {
#define FNN_OPTIMIZER(name, ...) fnn_renew_##name,
#include "../optimizers.def"
#undef FNN_OPTIMIZER
    },
#endif
    .enter = fnn_enter,
    .leave = fnn_leave,
    .peak = fnn_peak,
};
