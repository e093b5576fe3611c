/* Batch norm down the rows of one panel; layer norm along rows (see rows.h).
 * Batch sums are taken in `real` over FNN_SUM_ROWS rows and in double over those: the error of a mean does not grow
 * with the batch. Variances are of centred values, never E[x^2] - E[x]^2. */

#define FNN_EACH_PANEL_COLUMN for (int64_t j = 0; j < FNN_WHOLE(width); j++)

/* total[j] = sum over rows of TERM, an expression of r and j. */
#define FNN_COLUMN_TOTALS(total, TERM) \
    do { \
        for (int64_t j = 0; j < width; j++) total[j] = 0; \
        for (int64_t first = 0; first < rows; first += FNN_SUM_ROWS) { \
            const int64_t end = rows - first < FNN_SUM_ROWS ? rows : first + FNN_SUM_ROWS; \
            real part[FNN_PANEL] = {0}; \
            for (int64_t r = first; r < end; r++) { \
                FNN_INDEPENDENT \
                FNN_EACH_PANEL_COLUMN part[j] += TERM; \
            } \
            for (int64_t j = 0; j < width; j++) total[j] += part[j]; \
        } \
    } while (0)

/* y = (x - mean) (rstd gamma) + beta; the mean comes off first, or x * factor + offset would cancel. */
FNN_INLINE void NAME(normalize)(int64_t rows, int64_t width, const real *x, const real *gamma, const real *beta,
                                const real *mean, const real *rstd, real *y)
{
    real factor[FNN_PANEL];
    FNN_EACH_PANEL_COLUMN factor[j] = gamma[j] * rstd[j];
    for (int64_t r = 0; r < rows; r++) {
        FNN_INDEPENDENT
        FNN_EACH_PANEL_COLUMN y[r * width + j] = (x[r * width + j] - mean[j]) * factor[j] + beta[j];
    }
}

/* Ioffe and Szegedy (2015). y uses the biased variance, the running variance the unbiased one. */
static void NAME(batch_norm)(int64_t rows, int64_t width, const void *x_, const void *gamma, const void *beta,
                             double epsilon, double momentum, void *y, void *mean_, void *rstd_, void *running_mean_,
                             void *running_var_)
{
    const real *x = x_;
    real *mean = mean_, *rstd = rstd_, *running_mean = running_mean_, *running_var = running_var_;
    double total[FNN_PANEL];
    const double unbiased = rows > 1 ? (double)rows / (double)(rows - 1) : 1;
    FNN_COLUMN_TOTALS(total, x[r * width + j]);
    for (int64_t j = 0; j < width; j++) mean[j] = (real)(total[j] / (double)rows);
    FNN_COLUMN_TOTALS(total, (x[r * width + j] - mean[j]) * (x[r * width + j] - mean[j]));
    for (int64_t j = 0; j < width; j++) {
        const double var = total[j] / (double)rows;
        rstd[j] = (real)(1 / sqrt(var + epsilon));
        running_mean[j] = (real)((1 - momentum) * running_mean[j] + momentum * mean[j]);
        running_var[j] = (real)((1 - momentum) * running_var[j] + momentum * unbiased * var);
    }
    NAME(normalize)(rows, width, x, gamma, beta, mean, rstd, y);
}

static void NAME(batch_norm_inference)(int64_t rows, int64_t width, const void *x, const void *gamma, const void *beta,
                                       const void *running_mean, const void *running_var_, double epsilon, void *y)
{
    const real *running_var = running_var_;
    real rstd[FNN_PANEL];
    for (int64_t j = 0; j < width; j++) rstd[j] = (real)(1 / sqrt((double)running_var[j] + epsilon));
    NAME(normalize)(rows, width, x, gamma, beta, running_mean, rstd, y);
}

/* With h = (x - mean) rstd: dbeta = sum dy, dgamma = sum dy h, dx = gamma rstd (dy - (dbeta + h dgamma) / rows). */
static void NAME(batch_norm_grad)(int64_t rows, int64_t width, const void *dy_, const void *x_, const void *gamma_,
                                  const void *mean_, const void *rstd_, void *dx_, void *dgamma_, void *dbeta_)
{
    const real *dy = dy_, *x = x_, *gamma = gamma_, *mean = mean_, *rstd = rstd_;
    real *dx = dx_, *dgamma = dgamma_, *dbeta = dbeta_;
    double total[FNN_PANEL];
    real of_dy[FNN_PANEL], of_centred[FNN_PANEL], constant[FNN_PANEL];
    FNN_COLUMN_TOTALS(total, dy[r * width + j]);
    for (int64_t j = 0; j < width; j++) dbeta[j] = (real)total[j];
    FNN_COLUMN_TOTALS(total, dy[r * width + j] * ((x[r * width + j] - mean[j]) * rstd[j]));
    for (int64_t j = 0; j < width; j++) {
        dgamma[j] = (real)total[j];
        of_dy[j] = gamma[j] * rstd[j];
        of_centred[j] = (real)(-total[j] / (double)rows) * rstd[j];
        constant[j] = -dbeta[j] / (real)rows;
    }
    for (int64_t r = 0; r < rows; r++) {
        FNN_INDEPENDENT
        FNN_EACH_PANEL_COLUMN {
            const real centred = x[r * width + j] - mean[j];
            dx[r * width + j] = of_dy[j] * (dy[r * width + j] + constant[j] + centred * of_centred[j]);
        }
    }
}

/* Ba, Kiros and Hinton (2016). */
static void NAME(layer_norm)(int64_t begin, int64_t rows, int64_t features, int64_t panel_stride, const void *x_,
                             const void *gamma_, const void *beta_, double epsilon, void *y_, void *mean_, void *rstd_)
{
    const real *x = x_, *gamma = gamma_, *beta = beta_, count = (real)features;
    real *y = y_, *mean = mean_, *rstd = rstd_, sum[FNN_LANES], centre[FNN_LANES] = {0}, factor[FNN_LANES] = {0};
#define CENTRED NAME(subtract)(NAME(load)(x + at), NAME(broadcast)(centre[i]))
    FNN_EACH_BLOCK(begin, rows) {
        FNN_ROW_SUMS(sum, features, panel_stride, NAME(load)(x + at));
        for (int64_t i = 0; i < m; i++) mean[first + i] = centre[i] = sum[i] / count;
        FNN_ROW_SUMS(sum, features, panel_stride, NAME(multiply)(CENTRED, CENTRED));
        for (int64_t i = 0; i < m; i++) rstd[first + i] = factor[i] = 1 / real_sqrt(sum[i] / count + (real)epsilon);
        FNN_EACH_STRIP(s, features, panel_stride) {
            FNN_EACH_VECTOR(s) {
                const vec normal = NAME(multiply)(CENTRED, NAME(broadcast)(factor[i]));
                const vec scaled = NAME(multiply)(normal, NAME(load)(gamma + s.column + v));
                NAME(store)(y + at, NAME(add)(scaled, NAME(load)(beta + s.column + v)));
            }
        }
    }
#undef CENTRED
}

/* With h = (x - mean) rstd and g = dy gamma: dx = rstd (g - mean(g) - h mean(g h)). */
static void NAME(layer_norm_grad)(int64_t begin, int64_t rows, int64_t features, int64_t panel_stride, const void *dy_,
                                  const void *x_, const void *gamma_, const void *mean_, const void *rstd_, void *dx_)
{
    const real *dy = dy_, *x = x_, *gamma = gamma_, *mean = mean_, *rstd = rstd_, count = (real)features;
    real *dx = dx_, sum[FNN_LANES], product[FNN_LANES];
#define OF_GAMMA NAME(multiply)(NAME(load)(dy + at), NAME(load)(gamma + s.column + v))
#define CENTRED NAME(subtract)(NAME(load)(x + at), NAME(broadcast)(mean[first + i]))
    FNN_EACH_BLOCK(begin, rows) {
        FNN_ROW_SUMS(sum, features, panel_stride, OF_GAMMA);
        FNN_ROW_SUMS(product, features, panel_stride, NAME(multiply)(OF_GAMMA, CENTRED));
        for (int64_t i = 0; i < m; i++) {
            const real factor = rstd[first + i];
            sum[i] /= count;
            product[i] = -product[i] / count * factor * factor;
        }
        FNN_EACH_STRIP(s, features, panel_stride) {
            FNN_EACH_VECTOR(s) {
                const vec level = NAME(subtract)(OF_GAMMA, NAME(broadcast)(sum[i]));
                const vec inner = NAME(add_scaled)(level, product[i], CENTRED);
                const vec gradient = NAME(multiply)(inner, NAME(broadcast)(rstd[first + i]));
                NAME(store)(dx + at, NAME(first_lanes)((signed_bits)(s.columns - v), gradient, NAME(zero)()));
            }
        }
    }
#undef OF_GAMMA
#undef CENTRED
}

static void NAME(layer_norm_grad_parameters)(int64_t rows, int64_t width, const void *dy_, const void *x_,
                                             const void *mean_, const void *rstd_, int accumulate, void *dgamma_,
                                             void *dbeta_)
{
    const real *dy = dy_, *x = x_, *mean = mean_, *rstd = rstd_;
    real *dgamma = dgamma_, *dbeta = dbeta_;
    double total[FNN_PANEL];
    FNN_COLUMN_TOTALS(total, dy[r * width + j] * ((x[r * width + j] - mean[r]) * rstd[r]));
    for (int64_t j = 0; j < width; j++) dgamma[j] = (real)((accumulate ? dgamma[j] : 0) + total[j]);
    FNN_COLUMN_TOTALS(total, dy[r * width + j]);
    for (int64_t j = 0; j < width; j++) dbeta[j] = (real)((accumulate ? dbeta[j] : 0) + total[j]);
}
#undef FNN_COLUMN_TOTALS
#undef FNN_EACH_PANEL_COLUMN
