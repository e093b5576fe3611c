/* Dropout and randomised ReLU from Philox4x32-10: Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as
 * easy as 1, 2, 3; and the mixing of rows. Element (row, column) at step t of stream s is word column % 4 of counter
 * (column / 4, row, t, s), so a mask depends on nothing but its place, and backward draws it again instead of storing
 * it. FNN_GROUPS counters run side by side (words.h), several rows of a narrow panel at once. */

/* Runs BODY for the elements of a (rows * repeats, width) panel with `at` the element's index and `word` its random
 * word, which `repeats` lines share. */
#define FNN_EACH_RANDOM_WORD(repeats, BODY) \
    const int64_t groups = (width + 3) / 4, rows_at_once = FNN_GROUPS / groups; \
    uint64_t c0[FNN_GROUPS] = {0}, c1[FNN_GROUPS] = {0}; \
    uint32_t words[4 * FNN_GROUPS]; \
    for (int64_t q = 0; q < rows_at_once * groups; q++) c0[q] = (uint64_t)(column / 4 + q % groups); \
    for (int64_t first = 0; first < rows; first += rows_at_once) { \
        const int64_t m = rows - first < rows_at_once ? rows - first : rows_at_once; \
        for (int64_t r = 0; r < m; r++) \
            for (int64_t group = 0; group < groups; group++) c1[r * groups + group] = (uint64_t)(row + first + r); \
        fnn_random_words(c0, c1, step, stream, seed, words); \
        for (int64_t r = 0; r < m; r++) { \
            for (int64_t line = (first + r) * (repeats); line < (first + r + 1) * (repeats); line++) { \
                FNN_INDEPENDENT \
                for (int64_t j = 0; j < FNN_WHOLE(width); j++) { \
                    const int64_t at = line * width + j; \
                    const uint32_t word = words[4 * groups * r + j]; \
                    BODY; \
                } \
            } \
        } \
    }

static void NAME(dropout)(int64_t rows, int64_t repeats, int64_t width, const void *x_, void *y_, uint32_t threshold,
                          double scale_, uint64_t seed, int64_t column, int64_t row, uint32_t step, uint32_t stream)
{
    const real *x = x_, scale = (real)scale_;
    real *y = y_;
    FNN_EACH_RANDOM_WORD(repeats, y[at] = word >= threshold ? x[at] * scale : 0)
}

static void NAME(rrelu)(int64_t rows, int64_t width, const void *z_, void *y_, double lower_, double upper,
                        uint64_t seed, int64_t column, int64_t row, uint32_t step, uint32_t stream)
{
    const real *z = z_, lower = (real)lower_, unit = (real)((upper - lower_) * 0x1p-32);
    real *y = y_;
    FNN_EACH_RANDOM_WORD(1, y[at] = z[at] < 0 ? z[at] * (lower + unit * (real)word) : z[at])
}

static void NAME(rrelu_grad)(int64_t rows, int64_t width, const void *dy_, const void *z_, void *dz_, double lower_,
                             double upper, uint64_t seed, int64_t column, int64_t row, uint32_t step, uint32_t stream)
{
    const real *dy = dy_, *z = z_, lower = (real)lower_, unit = (real)((upper - lower_) * 0x1p-32);
    real *dz = dz_;
    FNN_EACH_RANDOM_WORD(1, dz[at] = z[at] < 0 ? dy[at] * (lower + unit * (real)word) : dy[at])
}
#undef FNN_EACH_RANDOM_WORD

static void NAME(mix)(int64_t n, double share_, const void *a_, const void *b_, void *y_)
{
    const real *a = a_, *b = b_, share = (real)share_, rest = 1 - share;
    real *y = y_;
    FNN_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = share * a[i] + rest * b[i];
}
