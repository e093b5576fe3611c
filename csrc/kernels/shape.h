/* Rows in another shape, and the sum where two branches meet. */

/* `rows` times `columns` elements, whole vectors first. */
FNN_INLINE void NAME(copy_lines)(int64_t rows, int64_t columns, const real *from, int64_t from_row, real *to,
                                 int64_t to_row)
{
    for (int64_t i = 0; i < rows; i++, from += from_row, to += to_row) {
        for (int64_t j = 0; j < FNN_WHOLE(columns); j += FNN_LANES) NAME(store)(to + j, NAME(load)(from + j));
        for (int64_t j = FNN_WHOLE(columns); j < columns; j++) to[j] = from[j];
    }
}

static void NAME(pad_lines)(int64_t rows, int64_t columns, const void *from_, int64_t from_row, void *to_, int64_t to_row)
{
    const real *from = from_;
    real *to = to_;
    for (int64_t i = 0; i < rows; i++, from += from_row, to += to_row)
        for (int64_t j = 0; j < columns; j += FNN_LANES)
            NAME(store)(to + j, NAME(first_lanes)((signed_bits)(columns - j), NAME(load)(from + j), NAME(zero)()));
}

/* Lines of y are filled in order, so that x is read in order too: `position` and `column` say where it stands. What is
 * copied is the same for every row, and is copied for several at once: one of the two matrices is walked along its
 * lines and the other across. */
static void NAME(reshape)(int64_t begin, int64_t rows, int64_t x_positions, int64_t x_columns, int64_t x_stride,
                          const void *x_, int64_t y_positions, int64_t y_columns, int64_t y_stride, void *y_)
{
    const int64_t x_padded = x_stride ? NAME(padded)(x_columns) : x_columns, y_padded = NAME(padded)(y_columns);
    const int64_t x_panel = x_stride ? FNN_PANEL : x_columns;
    const real *x = x_;
    real *y = y_;
    FNN_EACH_BLOCK(begin, rows) {
        int64_t position = 0, column = 0;
        for (int64_t line = 0; line < y_positions; line++) {
            for (int64_t start = 0; start < y_padded; start += FNN_PANEL) {
                const int64_t y_width = y_padded - start < FNN_PANEL ? y_padded - start : FNN_PANEL;
                const int64_t columns = y_columns - start < y_width ? y_columns - start : y_width;
                real *to = y + start / FNN_PANEL * y_stride + (first * y_positions + line) * y_width;
                for (int64_t done = 0, run; done < columns; done += run) {
                    const int64_t panel = column / x_panel, inside = column - panel * x_panel;
                    const int64_t rest = x_padded - column + inside, x_width = rest < x_panel ? rest : x_panel;
                    const real *from = x + panel * x_stride + (first * x_positions + position) * x_width + inside;
                    run = columns - done;
                    if (run > x_width - inside) run = x_width - inside;
                    if (run > x_columns - column) run = x_columns - column;
                    NAME(copy_lines)(m, run, from, x_positions * x_width, to + done, y_positions * y_width);
                    column += run;
                    if (column == x_columns) column = 0, position++;
                }
                for (int64_t i = 0; i < m; i++)
                    for (int64_t j = columns; j < y_width; j++) to[i * y_positions * y_width + j] = 0;
            }
        }
    }
}

static void NAME(add_arrays)(int64_t n, const void *a_, const void *b_, void *y_)
{
    const real *a = a_, *b = b_;
    real *y = y_;
    FNN_INDEPENDENT
    for (int64_t i = 0; i < FNN_WHOLE(n); i++) y[i] = a[i] + b[i];
}

static void NAME(fill)(int64_t n, double value, void *y)
{
    for (int64_t i = 0; i < n; i++) ((real *)y)[i] = (real)value;
}

static void NAME(copy_columns)(int64_t first, int64_t rows, int64_t n, int64_t x_columns, int64_t x_first,
                               int64_t x_stride, const void *x, int64_t y_columns, int64_t y_first, int64_t y_stride,
                               void *y)
{
    const int64_t padded = y_first + n == y_columns ? NAME(padded)(y_columns) - y_columns : 0;
    for (int64_t done = 0, run; done < n; done += run) {
        const int64_t from = x_first + done, to = y_first + done;
        const strip source = NAME(strip_from)(from / FNN_PANEL * FNN_PANEL, x_columns, first, x_stride);
        const strip target = NAME(strip_from)(to / FNN_PANEL * FNN_PANEL, y_columns, first, y_stride);
        const int64_t x_rest = source.column + source.columns - from, y_rest = target.column + target.columns - to;
        run = x_rest < y_rest ? x_rest : y_rest;
        if (run > n - done) run = n - done;
        NAME(copy_lines)(rows, run, (const real *)x + source.at + from - source.column, source.width,
                         (real *)y + target.at + to - target.column, target.width);
    }
    const strip last = NAME(strip_from)((y_columns - 1) / FNN_PANEL * FNN_PANEL, y_columns, first, y_stride);
    for (int64_t i = 0; i < (padded ? rows : 0); i++)
        for (int64_t j = last.columns; j < last.width; j++) ((real *)y)[last.at + i * last.width + j] = 0;
}
