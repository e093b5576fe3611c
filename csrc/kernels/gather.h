/* Between users' row-major arrays and panels, and the transposition that gives backward its copy of the weights. */

/* y = scale x, n elements: the last vector overlaps the one before it, so that short rows take no scalar steps. */
FNN_INLINE void NAME(copy_scaled)(int64_t n, const real *x, real scale, real *y)
{
    const vec factor = NAME(broadcast)(scale);
    int64_t j = 0;
    if (n < FNN_LANES) {
        FNN_UNROLL_DEPTH
        for (; j < n; j++) y[j] = scale * x[j];
        return;
    }
    for (; j <= n - FNN_LANES; j += FNN_LANES) NAME(store)(y + j, NAME(multiply)(factor, NAME(load)(x + j)));
    if (j < n) NAME(store)(y + n - FNN_LANES, NAME(multiply)(factor, NAME(load)(x + n - FNN_LANES)));
}

/* Rows come from anywhere in memory: ask for the one after the next while this one is copied. The second cache can wait
 * for three times as many lines as the first (MNIST: 12 GB/s instead of 9.5). Rows of a single panel take half of the
 * time without a loop over panels. */
#define FNN_GATHER_FROM(source) \
    FNN_INLINE void NAME(gather_line_##source)(int64_t columns, int64_t width, const source *row, const source *ahead, \
                                               real scale, real *line) \
    { \
        fnn_prefetch_second(ahead, columns * (int64_t)sizeof(source)); \
        if (columns < width) NAME(store)(line + width - FNN_LANES, NAME(zero)()); \
        if (sizeof(source) == sizeof(real)) { \
            NAME(copy_scaled)(columns, (const real *)row, scale, line); \
            return; \
        } \
        FNN_INDEPENDENT \
        for (int64_t j = 0; j < columns; j++) line[j] = (real)row[j] * scale; \
    } \
    FNN_INLINE void NAME(gather_rows_##source)(int single, int64_t rows, int64_t columns, int64_t padded, \
                                               const int64_t *index, const source *from, int64_t from_row, \
                                               real scale, real *to, int64_t panel_stride, int64_t to_first) \
    { \
        for (int64_t r = 0; r < rows; r++) { \
            const source *row = from + (index ? index[r] : r) * from_row; \
            const source *ahead = from + (index && r + 2 < rows ? index[r + 2] : r) * from_row; \
            real *first = to; \
            if (single) { \
                NAME(gather_line_##source)(columns, padded, row, ahead, scale, to + (to_first + r) * padded); \
                continue; \
            } \
            for (int64_t column = 0; column < padded; column += FNN_PANEL, first += panel_stride) { \
                const int64_t width = padded - column < FNN_PANEL ? padded - column : FNN_PANEL; \
                const int64_t copied = columns - column < width ? columns - column : width; \
                real *line = first + (to_first + r) * width; \
                NAME(gather_line_##source)(copied, width, row + column, ahead + column, scale, line); \
            } \
        } \
    } \
    FNN_INLINE void NAME(gather_##source)(int64_t rows, int64_t columns, const int64_t *index, const source *from, \
                                          int64_t from_row, real scale, real *to, int64_t panel_stride, \
                                          int64_t to_first) \
    { \
        const int64_t padded = panel_stride ? NAME(padded)(columns) : columns; \
        if (!panel_stride || padded <= FNN_PANEL) \
            NAME(gather_rows_##source)(1, rows, columns, padded, index, from, from_row, scale, to, 0, to_first); \
        else \
            NAME(gather_rows_##source) \
            (0, rows, columns, padded, index, from, from_row, scale, to, panel_stride, to_first); \
    }
FNN_GATHER_FROM(uint8_t)
FNN_GATHER_FROM(float)
FNN_GATHER_FROM(double)
#undef FNN_GATHER_FROM

static void NAME(gather)(int64_t rows, int64_t columns, const int64_t *index, const void *from, int64_t from_row,
                         int64_t source_itemsize, double scale_, void *to, int64_t panel_stride, int64_t to_first)
{
    const real scale = (real)scale_;
    if (source_itemsize == sizeof(uint8_t))
        NAME(gather_uint8_t)(rows, columns, index, from, from_row, scale, to, panel_stride, to_first);
    else if (source_itemsize == sizeof(float))
        NAME(gather_float)(rows, columns, index, from, from_row, scale, to, panel_stride, to_first);
    else
        NAME(gather_double)(rows, columns, index, from, from_row, scale, to, panel_stride, to_first);
}

static void NAME(one_hot)(int64_t rows, int64_t outputs, const int64_t *classes, const int64_t *index, double on_,
                          double off_, void *to_, int64_t panel_stride, int64_t to_first)
{
    const real on = (real)on_;
    const vec off = NAME(broadcast)((real)off_);
    real *to = to_;
    FNN_EACH_BLOCK(to_first, rows) {
        FNN_EACH_STRIP(s, outputs, panel_stride) {
            FNN_EACH_VECTOR(s)
                NAME(store)(to + at, NAME(first_lanes)((signed_bits)(s.columns - v), off, NAME(zero)()));
        }
        for (int64_t i = 0; i < m; i++) {
            const int64_t r = first + i - to_first, label = classes[index ? index[r] : r];
            if (outputs == 1) { /* a jump by the label would be foreseen half of the time */
                to[(first + i) * FNN_LANES] = label == 1 ? on : (real)off_;
                continue;
            }
            if (label < 0 || label >= outputs) continue;
            const strip s = NAME(strip_from)(label / FNN_PANEL * FNN_PANEL, outputs, first + i, panel_stride);
            to[s.at + label - s.column] = on;
        }
    }
}

static void NAME(store_rows)(int64_t rows, int64_t columns, const void *from_, int64_t panel_stride, int64_t from_first,
                             void *to, int64_t to_row)
{
    const real *from = from_;
    const int64_t padded = NAME(padded)(columns);
    for (int64_t r = 0; r < rows; r++) {
        real *row = (real *)to + r * to_row;
        for (int64_t column = 0; column < padded; column += FNN_PANEL) {
            const int64_t width = padded - column < FNN_PANEL ? padded - column : FNN_PANEL;
            const int64_t copied = columns - column < width ? columns - column : width;
            const real *line = from + column / FNN_PANEL * panel_stride + (from_first + r) * width;
            FNN_INDEPENDENT
            for (int64_t j = 0; j < copied; j++) row[column + j] = line[j];
        }
    }
}

/* Whether `columns` columns of a panel (rows, width) of `vectors` whole vectors and maybe a part of one more have other
 * bits than those of a row-major matrix. */
FNN_INLINE int NAME(panel_differs)(int vectors, int64_t rows, int64_t columns, const real *from, int64_t from_row,
                                   const real *panel, int64_t width)
{
    vec seen = NAME(zero)();
    bits all = 0, lanes[FNN_LANES];
    for (int64_t r = 0; r < rows; r++, from += from_row, panel += width) {
        FNN_UNROLL
        for (int v = 0; v < vectors; v++)
            seen = NAME(differing)(seen, NAME(load)(from + v * FNN_LANES), NAME(load)(panel + v * FNN_LANES));
        if (columns >= FNN_LANES) /* the end once more, with what is left over */
            seen = NAME(differing)(seen, NAME(load)(from + columns - FNN_LANES),
                                   NAME(load)(panel + columns - FNN_LANES));
        else
            for (int64_t j = 0; j < columns; j++) all |= NAME(to_bits)(from[j]) ^ NAME(to_bits)(panel[j]);
    }
    memcpy(lanes, &seen, sizeof lanes);
    for (int lane = 0; lane < FNN_LANES; lane++) all |= lanes[lane];
    return all != 0;
}

static int NAME(differs)(int64_t rows, int64_t columns, int64_t first_panel, const void *matrix, const void *panels)
{
    for (int64_t column = first_panel * FNN_PANEL; column < columns; column += FNN_PANEL) {
        const real *from = (const real *)matrix + column, *panel = (const real *)panels + column * rows;
        const int64_t rest = columns - column;
        int differs;
        if (rest >= FNN_PANEL)
            differs = NAME(panel_differs)(FNN_VECTORS, rows, FNN_PANEL, from, columns, panel, FNN_PANEL);
        else {
            const int64_t width = NAME(padded)(rest);
            switch (rest / FNN_LANES) {
            case 0: differs = NAME(panel_differs)(0, rows, rest, from, columns, panel, width); break;
            case 1: differs = NAME(panel_differs)(1, rows, rest, from, columns, panel, width); break;
            case 2: differs = NAME(panel_differs)(2, rows, rest, from, columns, panel, width); break;
            default: differs = NAME(panel_differs)(3, rows, rest, from, columns, panel, width);
            }
        }
        if (differs) return 1;
    }
    return 0;
}

static void NAME(transpose)(int64_t rows, int64_t columns, const void *from_, int64_t from_row, void *to_,
                            int64_t to_row)
{
    const real *from = from_;
    real *to = to_;
    const int64_t square_rows = rows - rows % FNN_LANES, square_columns = columns - columns % FNN_LANES;
    for (int64_t i = 0; i < square_rows; i += FNN_LANES)
        for (int64_t j = 0; j < square_columns; j += FNN_LANES)
            NAME(transpose_square)(from + i * from_row + j, from_row, to + j * to_row + i, to_row);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = i < square_rows ? square_columns : 0; j < columns; j++)
            to[j * to_row + i] = from[i * from_row + j];
}
