/* What is kept as bfloat16: recurrent cells that write and read it (see cell.h), and lines of it as operands of
 * products. */

/* A gate of a cell, see math.h. */
FNN_INLINE gate fnn_cell_take(const uint16_t *from)
{
#ifdef FNN_UPPER_HALVES
    return (vec)FNN_UPPER_HALVES(from);
#else
    return NAME(from_bits)((uint32_t)*from << 16);
#endif
}
FNN_INLINE void fnn_cell_put(uint16_t *to, gate x)
{
#ifdef FNN_UPPER_HALVES
    float lanes[FNN_LANES];
    NAME(store)(lanes, x);
    fnn_round_row(lanes, to);
#else
    *to = (uint16_t)(fnn_round(x) >> 16);
#endif
}

/* Word l: even[l] in the lower half, odd[l] in the upper one. */
FNN_INLINE void fnn_pair(const uint16_t *even, const uint16_t *odd, uint16_t *words)
{
#ifdef FNN_UPPER_HALVES
    FNN_STORE_HALVES(words, even, odd);
#else
    FNN_EACH_LANE {
        const uint32_t word = even[lane] | (uint32_t)odd[lane] << 16;
        memcpy(words + 2 * lane, &word, sizeof word);
    }
#endif
}

static void fnn_copy_rows(int64_t rows, int64_t width, const int64_t *row, const uint16_t *from, int64_t from_row,
                          uint16_t *to, int64_t to_row, int64_t to_block)
{
    for (int64_t i = 0; i < rows; i++, to += to_row) {
        const uint16_t *line = from + (row ? row[i] : i) * from_row;
        int64_t j = 0;
        for (; j + FNN_DEPTH <= width; j += FNN_DEPTH)
            memcpy(to + j / FNN_DEPTH * to_block, line + j, FNN_DEPTH * sizeof *to);
        if (j < width) {
            uint16_t half[FNN_DEPTH] = {0};
            memcpy(half, line + j, FNN_LANES * sizeof *to);
            memcpy(to + j / FNN_DEPTH * to_block, half, sizeof half);
        }
    }
}

static void fnn_copy_pairs(int64_t rows, int64_t width, const uint16_t *from, int64_t from_row, uint16_t *to,
                           int64_t to_tile)
{
    static const uint16_t zeros[FNN_LANES];
    for (int64_t block = 0; block < rows; block += FNN_DEPTH, to += FNN_DEPTH * FNN_LANES) {
        for (int64_t j = 0; j < width; j += FNN_LANES) {
            uint16_t *words = to + j / FNN_LANES * to_tile;
            for (int64_t k = block; k < block + FNN_DEPTH; k += 2, words += FNN_DEPTH) {
                const uint16_t *even = from + k * from_row + j;
                fnn_pair(k < rows ? even : zeros, k + 1 < rows ? even + from_row : zeros, words);
            }
        }
    }
}

static void fnn_round_lines(int64_t rows, int64_t width, const int64_t *row, const float *from, uint16_t *to,
                            int64_t to_row)
{
    for (int64_t i = 0; i < rows; i++, from += width)
        for (int64_t j = 0; j < width; j += FNN_LANES) fnn_round_row(from + j, to + row[i] * to_row + j);
}

#define CELL(name) fnn_cell_##name
#define saved uint16_t
#include "cell.h"
