/* Recurrent cells (see cell.h), and lines on their way to and from the batch. */
FNN_INLINE void NAME(put_both)(real *to, gate x, gate y)
{
    NAME(put)(to, x);
    NAME(put)(to + NAME(gate_lanes), y);
}
#define CELL(name) NAME(name)
#define saved real
#include "cell.h"

static void NAME(take_lines)(int64_t rows, int64_t width, const int64_t *row, const void *from_, int64_t from_row,
                             void *to_)
{
    for (int64_t i = 0; i < rows; i++) {
        const real *from = (const real *)from_ + row[i] * from_row;
        real *to = (real *)to_ + i * width;
        for (int64_t j = 0; j < width; j += FNN_LANES) NAME(store)(to + j, NAME(load)(from + j));
    }
}

static void NAME(put_lines)(int64_t rows, int64_t width, const int64_t *row, const void *from_, void *to_,
                            int64_t to_row)
{
    for (int64_t i = 0; i < rows; i++) {
        const real *from = (const real *)from_ + i * width;
        real *to = (real *)to_ + row[i] * to_row;
        for (int64_t j = 0; j < width; j += FNN_LANES) NAME(store)(to + j, NAME(load)(from + j));
    }
}

static void NAME(add_lines)(int64_t rows, int64_t width, const int64_t *row, const void *from_, int64_t from_row,
                            void *to_)
{
    for (int64_t i = 0; i < rows; i++) {
        const real *from = (const real *)from_ + row[i] * from_row;
        real *to = (real *)to_ + i * width;
        for (int64_t j = 0; j < width; j += FNN_LANES)
            NAME(store)(to + j, NAME(add)(NAME(load)(to + j), NAME(load)(from + j)));
    }
}

static void NAME(mask_lines)(int64_t rows, int64_t repeats, int64_t width, const void *x_, const void *mask_, void *y_)
{
    const real *x = x_;
    real *y = y_;
    for (int64_t line = 0; line < rows * repeats; line++) {
        const real *mask = (const real *)mask_ + line / repeats * width;
        for (int64_t j = 0; j < width; j += FNN_LANES)
            NAME(store)(y + line * width + j, NAME(multiply)(NAME(load)(x + line * width + j), NAME(load)(mask + j)));
    }
}

static void NAME(add_products)(int64_t n, const void *a_, const void *b_, void *y_)
{
    const real *a = a_, *b = b_;
    real *y = y_;
    FNN_INDEPENDENT
    for (int64_t i = 0; i < FNN_WHOLE(n); i++) y[i] += a[i] * b[i];
}
