/* Sums and maxima along rows that lie in panels, for blocks of up to FNN_LANES rows.
 *
 * A row is walked vector by vector into one vector of partial results. FNN_LANES such vectors, one a row, are then
 * joined together by interleaving: 2 shuffles a row instead of the 2 log2(lanes) of a horizontal sum, and the results
 * lie side by side, so that what follows (logarithms, divisions) is vector code down the rows. */

/* A block's rows in one panel: they start at element `at` of the matrix and at column `column` of each row. */
#define strip NAME(strip)
typedef struct {
    int64_t at, column, width, columns; /* width with pads, columns without */
} strip;

FNN_INLINE int64_t NAME(padded)(int64_t columns) { return (columns + FNN_LANES - 1) / FNN_LANES * FNN_LANES; }

FNN_INLINE strip NAME(strip_from)(int64_t column, int64_t columns, int64_t row, int64_t panel_stride)
{
    const int64_t rest = NAME(padded)(columns) - column, width = rest < FNN_PANEL ? rest : FNN_PANEL;
    const int64_t real_columns = columns - column < width ? columns - column : width;
    strip s = {column / FNN_PANEL * panel_stride + row * width, column, width, real_columns};
    return s;
}

/* result[i] = sum, or maximum, of partial[i][.]: a tree whose shape depends on nothing but FNN_LANES. */
FNN_INLINE void NAME(join_rows)(int maximum, const vec partial[FNN_LANES], real result[FNN_LANES])
{
    vec x[FNN_LANES];
    FNN_UNROLL
    for (int i = 0; i < FNN_LANES; i++) x[i] = partial[i];
    FNN_UNROLL
    for (int half = FNN_LANES / 2; half > 0; half /= 2) {
        FNN_UNROLL
        for (int i = 0; i < half; i++) {
            const vec low = NAME(interleave_low)(x[i], x[i + half]), high = NAME(interleave_high)(x[i], x[i + half]);
            x[i] = maximum ? NAME(max)(low, high) : NAME(add)(low, high);
        }
    }
    NAME(store)(result, x[0]);
}
static void NAME(sum_rows)(const vec partial[FNN_LANES], real result[FNN_LANES])
{
    NAME(join_rows)(0, partial, result);
}
static void NAME(max_rows)(const vec partial[FNN_LANES], real result[FNN_LANES])
{
    NAME(join_rows)(1, partial, result);
}

/* Blocks of rows with at most FNN_NARROW columns, which lie one vector apart, to and from columns: FNN_LANES numbers
 * each, those of rows beyond m 0, and columns beyond the matrix's own like its pads. Interleaving the lower with the
 * upper half of the lines moves the highest bit of an element's place to the lowest: log2(lanes) times that turns
 * (row, column) into (column, row), where lines without any of the first columns are left out, and log2(FNN_NARROW)
 * times turns it back. */
#ifndef FNN_NARROW
#define FNN_NARROW (FNN_LANES < 4 ? FNN_LANES : 4)
#endif
/* Calls an inline function with the number of such columns first, as a constant. */
#undef FNN_BY_COLUMNS
#if FNN_LANES < 4
#define FNN_BY_COLUMNS FNN_UP_TO_2
#else
#define FNN_BY_COLUMNS FNN_UP_TO_4
#endif
FNN_INLINE void NAME(interleave_halves)(real x_[FNN_NARROW * FNN_LANES])
{
    vec x[FNN_NARROW];
    FNN_UNROLL
    for (int i = 0; i < FNN_NARROW; i++) x[i] = NAME(load)(x_ + i * FNN_LANES);
    NAME(interleave_lines)(FNN_NARROW, x);
    FNN_UNROLL
    for (int i = 0; i < FNN_NARROW; i++) NAME(store)(x_ + i * FNN_LANES, x[i]);
}
FNN_INLINE void NAME(columns_of)(int64_t m, const real *rows, real columns[FNN_NARROW * FNN_LANES])
{
    vec x[FNN_LANES];
    FNN_UNROLL
    for (int i = 0; i < FNN_LANES; i++) x[i] = i < m ? NAME(load)(rows + i * FNN_LANES) : NAME(zero)();
    FNN_UNROLL
    for (int half = FNN_LANES / 2; half >= FNN_NARROW; half /= 2) {
        FNN_UNROLL
        for (int i = 0; i < half; i++) x[i] = NAME(interleave_low)(x[i], x[i + half]);
    }
    FNN_UNROLL
    for (int i = 0; i < FNN_NARROW; i++) NAME(store)(columns + i * FNN_LANES, x[i]);
    NAME(interleave_halves)(columns);
}
/* The rest of each row gets 0. */
FNN_INLINE void NAME(rows_of)(int64_t m, real columns[FNN_NARROW * FNN_LANES], real *rows)
{
    NAME(interleave_halves)(columns);
    for (int64_t i = 0; i < m; i++) {
        NAME(store)(rows + i * FNN_LANES, NAME(zero)());
        memcpy(rows + i * FNN_LANES, columns + i * FNN_NARROW, FNN_NARROW * sizeof(real));
    }
}

/* Loops over blocks of rows (m of them from row `first`), the strips of a block, and the vectors of a strip's rows:
 * row i, columns v on, at element `at`. */
#ifndef FNN_EACH_BLOCK
#define FNN_EACH_BLOCK(begin, rows) \
    for (int64_t first = begin, end = first + (rows), m; \
         first < end && (m = end - first < FNN_LANES ? end - first : FNN_LANES, 1); first += FNN_LANES)
#define FNN_EACH_STRIP(s, all_columns, panel_stride) \
    for (strip s = NAME(strip_from)(0, all_columns, first, panel_stride); s.width > 0; \
         s = NAME(strip_from)(s.column + FNN_PANEL, all_columns, first, panel_stride))
#define FNN_EACH_VECTOR(s) \
    for (int64_t i = 0; i < m; i++) \
        for (int64_t v = 0, at = s.at + i * s.width; v < s.width; v += FNN_LANES, at += FNN_LANES)
/* result[i] = sum of TERM, a vector made from i, s, v and at, over the real columns of row first + i. */
#define FNN_ROW_SUMS(result, all_columns, panel_stride, TERM) \
    do { \
        vec partial[FNN_LANES]; \
        for (int row = 0; row < FNN_LANES; row++) partial[row] = NAME(zero)(); \
        FNN_EACH_STRIP(s, all_columns, panel_stride) { \
            FNN_EACH_VECTOR(s) { \
                const vec term = NAME(first_lanes)((signed_bits)(s.columns - v), TERM, NAME(zero)()); \
                partial[i] = NAME(add)(partial[i], term); \
            } \
        } \
        NAME(sum_rows)(partial, result); \
    } while (0)
#endif
