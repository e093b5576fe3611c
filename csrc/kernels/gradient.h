/* What happens to a gradient between the product that makes it and the optimiser.
 * Sums run in FNN_LANES double accumulators, joined by a fixed tree: no overflow of squares in float32, and the same
 * bits whoever calls. */

FNN_INLINE double NAME(total)(double lanes[FNN_LANES])
{
    for (int half = FNN_LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

FNN_INLINE double NAME(sum_of_lanes)(vec x)
{
    real lanes[FNN_LANES];
    double sum[FNN_LANES];
    NAME(store)(lanes, x);
    for (int lane = 0; lane < FNN_LANES; lane++) sum[lane] = lanes[lane];
    return NAME(total)(sum);
}

static void NAME(clip)(int64_t n, void *g_, double limit_)
{
    const real limit = (real)limit_;
    real *g = g_;
    for (int64_t i = 0; i < FNN_WHOLE(n); i++) g[i] = g[i] < -limit ? -limit : (g[i] > limit ? limit : g[i]);
}

static void NAME(scale)(int64_t n, double factor_, void *g_)
{
    const real factor = (real)factor_;
    real *g = g_;
    for (int64_t i = 0; i < FNN_WHOLE(n); i++) g[i] *= factor;
}

static double NAME(square_sum)(int64_t n, const void *g_)
{
    const real *g = g_;
    double sum[FNN_LANES] = {0};
    for (int64_t i = 0; i < n; i += FNN_LANES)
        FNN_EACH_DOUBLE sum[lane] += (double)g[i + lane] * g[i + lane];
    return NAME(total)(sum);
}

/* Without l1, which most fits do without: squares in real lanes, which over the few thousand elements of a call lose no
 * digit that the loss shows, and cost half. */
static double NAME(square_penalty)(int64_t n, const real *w, real *g, double l2, double inverse_weight)
{
    const real step = (real)(inverse_weight * l2);
    vec square = NAME(zero)();
    for (int64_t i = 0; i < n; i += FNN_LANES) {
        const vec x = NAME(load)(w + i);
        NAME(store)(g + i, NAME(add_scaled)(NAME(load)(g + i), step, x));
        square = NAME(add)(square, NAME(multiply)(x, x));
    }
    return inverse_weight * 0.5 * l2 * NAME(sum_of_lanes)(square);
}

static double NAME(penalty)(int64_t n, const void *w_, void *g_, double l1, double l2, double inverse_weight)
{
    if (l1 == 0) return NAME(square_penalty)(n, w_, g_, l2, inverse_weight);
    const real *w = w_, step1 = (real)(inverse_weight * l1), step2 = (real)(inverse_weight * l2);
    real *g = g_;
    double absolute[FNN_LANES] = {0}, square[FNN_LANES] = {0};
    for (int64_t i = 0; i < n; i += FNN_LANES) {
        FNN_EACH_LANE {
            const real x = w[i + lane], sign = x > 0 ? (real)1 : (x < 0 ? (real)-1 : x);
            g[i + lane] += step2 * x + step1 * sign;
            absolute[lane] += real_abs(x);
            square[lane] += (double)x * x;
        }
    }
    return inverse_weight * (l1 * NAME(total)(absolute) + 0.5 * l2 * NAME(total)(square));
}

FNN_INLINE void NAME(column_sum_of)(int vectors, int64_t rows, const real *x, int64_t x_row, int accumulate, real *s)
{
    vec sum[FNN_MAX_VECTORS];
    FNN_UNROLL
    for (int j = 0; j < vectors; j++) sum[j] = accumulate ? NAME(load)(s + j * FNN_LANES) : NAME(zero)();
    for (int64_t r = 0; r < rows; r++, x += x_row) {
        FNN_UNROLL
        for (int j = 0; j < vectors; j++) sum[j] = NAME(add)(sum[j], NAME(load)(x + j * FNN_LANES));
    }
    FNN_UNROLL
    for (int j = 0; j < vectors; j++) NAME(store)(s + j * FNN_LANES, sum[j]);
}

static void NAME(column_sum)(int64_t rows, int64_t width, const void *x, int64_t x_row, int accumulate, void *s)
{
    switch (width / FNN_LANES) { /* a constant count of vectors keeps the sums in registers */
    case 1: NAME(column_sum_of)(1, rows, x, x_row, accumulate, s); break;
    case 2: NAME(column_sum_of)(2, rows, x, x_row, accumulate, s); break;
    case 3: NAME(column_sum_of)(3, rows, x, x_row, accumulate, s); break;
    case 4: NAME(column_sum_of)(4, rows, x, x_row, accumulate, s); break;
    }
}
