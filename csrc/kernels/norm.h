/* Batch norm down the rows of one panel; layer norm along rows (see rows.h).
 * Sums over rows are taken in `real` within a block of rows and in double over blocks: the error of a mean does not
 * grow with the batch. Variances are of centred values, never E[x^2] - E[x]^2. */

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

/* a[j], b[j] = sums down rows first .. end of the vectors A and B, which are made from v and `at`, the element of row
 * and vector. Even and odd rows apart: twice as many chains of additions. */
#define FNN_COLUMN_SUMS(vectors, first, end, a, A, b, B) \
    do { \
        vec even_a[FNN_MAX_VECTORS], odd_a[FNN_MAX_VECTORS], even_b[FNN_MAX_VECTORS], odd_b[FNN_MAX_VECTORS]; \
        int64_t r = first; \
        FNN_UNROLL \
        for (int v = 0; v < (vectors); v++) even_a[v] = odd_a[v] = even_b[v] = odd_b[v] = NAME(zero)(); \
        for (; r + 1 < (end); r += 2) { \
            FNN_UNROLL \
            for (int v = 0; v < (vectors); v++) { \
                int64_t at = r * (vectors) * FNN_LANES + v * FNN_LANES; \
                even_a[v] = NAME(add)(even_a[v], A); \
                even_b[v] = NAME(add)(even_b[v], B); \
                at += (vectors) * FNN_LANES; \
                odd_a[v] = NAME(add)(odd_a[v], A); \
                odd_b[v] = NAME(add)(odd_b[v], B); \
            } \
        } \
        FNN_UNROLL \
        for (int v = 0; v < (vectors); v++) { \
            const int64_t at = r * (vectors) * FNN_LANES + v * FNN_LANES; \
            if (r < (end)) even_a[v] = NAME(add)(even_a[v], A); \
            if (r < (end)) even_b[v] = NAME(add)(even_b[v], B); \
            NAME(store)(a + v * FNN_LANES, NAME(add)(even_a[v], odd_a[v])); \
            NAME(store)(b + v * FNN_LANES, NAME(add)(even_b[v], odd_b[v])); \
        } \
    } while (0)

/* Blocks of rows small enough for the first cache are read twice: for their mean, then for the squares around it.
 * Blocks are joined in double: Chan, Golub and LeVeque (1983). The sum around the rounded mean mends that mean. */
FNN_INLINE void NAME(batch_norm_sums_vectors)(int vectors, int64_t rows, const real *x, real *mean, real *squares)
{
    const int64_t width = vectors * FNN_LANES;
    double means[FNN_PANEL] = {0}, all_squares[FNN_PANEL] = {0};
    for (int64_t first = 0; first < rows; first += FNN_BLOCK_ROWS) {
        const int64_t end = rows - first < FNN_BLOCK_ROWS ? rows : first + FNN_BLOCK_ROWS;
        const double m = (double)(end - first), weight = m / (double)end, both = (double)first * weight;
        real centre[FNN_PANEL], rest[FNN_PANEL], square[FNN_PANEL];
#define CENTRED NAME(subtract)(NAME(load)(x + at), NAME(load)(centre + v * FNN_LANES))
        FNN_COLUMN_SUMS(vectors, first, end, centre, NAME(load)(x + at), rest, NAME(zero)());
        for (int64_t j = 0; j < width; j++) centre[j] /= (real)m;
        FNN_COLUMN_SUMS(vectors, first, end, rest, CENTRED, square, NAME(multiply)(CENTRED, CENTRED));
#undef CENTRED
        for (int64_t j = 0; j < width; j++) {
            const double difference = centre[j] + rest[j] / m - means[j];
            means[j] += difference * weight;
            all_squares[j] += square[j] - rest[j] * (rest[j] / m) + difference * difference * both;
        }
    }
    for (int64_t j = 0; j < width; j++) mean[j] = (real)means[j];
    for (int64_t j = 0; j < width; j++) squares[j] = (real)all_squares[j];
}

static void NAME(batch_norm_sums)(int64_t rows, int64_t width, const void *x, void *mean, void *squares)
{
    FNN_BY_VECTORS(width, NAME(batch_norm_sums_vectors), rows, x, mean, squares);
}

/* Ioffe and Szegedy (2015). y uses the biased variance, the running variance the unbiased one. */
static void NAME(batch_norm_statistics)(int64_t rows, int64_t positions, int64_t parts, int64_t width,
                                        const void *partial, double epsilon, double momentum, void *mean_, void *rstd_,
                                        void *running_mean_, void *running_var_)
{
    const real *part_mean = partial;
    real *mean = mean_, *rstd = rstd_, *running_mean = running_mean_, *running_var = running_var_;
    double means[FNN_PANEL] = {0}, squares[FNN_PANEL] = {0}, count = 0;
    for (int64_t part = 0; part < parts; part++, part_mean += 2 * width) {
        const double m = (double)((rows * (part + 1) / parts - rows * part / parts) * positions);
        const double weight = m > 0 ? m / (count + m) : 0;
        for (int64_t j = 0; j < width; j++) {
            const double difference = part_mean[j] - means[j];
            means[j] += difference * weight;
            squares[j] += part_mean[width + j] + difference * difference * (count * weight);
        }
        count += m;
    }
    const double to_unbiased = 1 / (count > 1 ? count - 1 : 1);
    for (int64_t j = 0; j < width; j++) {
        mean[j] = (real)means[j];
        rstd[j] = (real)(1 / sqrt(squares[j] / count + epsilon));
        running_mean[j] = (real)((1 - momentum) * running_mean[j] + momentum * means[j]);
        running_var[j] = (real)((1 - momentum) * running_var[j] + momentum * to_unbiased * squares[j]);
    }
}

static void NAME(batch_norm)(int64_t rows, int64_t width, const void *x, const void *gamma, const void *beta,
                             const void *mean, const void *rstd, void *y)
{
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

FNN_INLINE void NAME(batch_norm_grad_sums_vectors)(int vectors, int64_t rows, const real *dy, const real *x,
                                                   const real *mean, const real *rstd, real *dgamma, real *dbeta)
{
    const int64_t width = vectors * FNN_LANES;
    double products[FNN_PANEL] = {0}, sums[FNN_PANEL] = {0};
    for (int64_t first = 0; first < rows; first += FNN_BLOCK_ROWS) {
        const int64_t end = rows - first < FNN_BLOCK_ROWS ? rows : first + FNN_BLOCK_ROWS;
        real product[FNN_PANEL], sum[FNN_PANEL];
#define CENTRED NAME(subtract)(NAME(load)(x + at), NAME(load)(mean + v * FNN_LANES))
        FNN_COLUMN_SUMS(vectors, first, end, product, NAME(multiply)(NAME(load)(dy + at), CENTRED), sum,
                        NAME(load)(dy + at));
#undef CENTRED
        for (int64_t j = 0; j < width; j++) products[j] += product[j];
        for (int64_t j = 0; j < width; j++) sums[j] += sum[j];
    }
    for (int64_t j = 0; j < width; j++) dgamma[j] = (real)(products[j] * rstd[j]);
    for (int64_t j = 0; j < width; j++) dbeta[j] = (real)sums[j];
}

static void NAME(batch_norm_grad_sums)(int64_t rows, int64_t width, const void *dy, const void *x, const void *mean,
                                       const void *rstd, void *dgamma, void *dbeta)
{
    FNN_BY_VECTORS(width, NAME(batch_norm_grad_sums_vectors), rows, dy, x, mean, rstd, dgamma, dbeta);
}

static void NAME(batch_norm_grad_parameters)(int64_t parts, int64_t width, const void *partial, void *dgamma_,
                                             void *dbeta_)
{
    const real *part = partial;
    real *dgamma = dgamma_, *dbeta = dbeta_;
    double products[FNN_PANEL] = {0}, sums[FNN_PANEL] = {0};
    for (const real *end = part + 2 * parts * width; part < end; part += 2 * width) {
        for (int64_t j = 0; j < width; j++) products[j] += part[j];
        for (int64_t j = 0; j < width; j++) sums[j] += part[width + j];
    }
    for (int64_t j = 0; j < width; j++) dgamma[j] = (real)products[j];
    for (int64_t j = 0; j < width; j++) dbeta[j] = (real)sums[j];
}

static void NAME(batch_norm_grad)(int64_t rows, int64_t width, int64_t count, const void *dy_, const void *x_,
                                  const void *gamma_, const void *mean_, const void *rstd_, const void *dgamma_,
                                  const void *dbeta_, void *dx_)
{
    const real *dy = dy_, *x = x_, *gamma = gamma_, *mean = mean_, *rstd = rstd_, *dgamma = dgamma_, *dbeta = dbeta_;
    real *dx = dx_, of_dy[FNN_PANEL], of_centred[FNN_PANEL], constant[FNN_PANEL];
    FNN_EACH_PANEL_COLUMN {
        of_dy[j] = gamma[j] * rstd[j];
        of_centred[j] = -dgamma[j] / (real)count * rstd[j];
        constant[j] = -dbeta[j] / (real)count;
    }
    for (int64_t r = 0; r < rows; r++) {
        FNN_INDEPENDENT
        FNN_EACH_PANEL_COLUMN {
            const real centred = x[r * width + j] - mean[j];
            dx[r * width + j] = of_dy[j] * (dy[r * width + j] + constant[j] + centred * of_centred[j]);
        }
    }
}

static void NAME(fold_norm)(int64_t rows, int64_t width, const void *w_, const void *b_, const void *gamma_,
                            const void *beta_, const void *mean_, const void *var_, double epsilon, void *folded_w_,
                            void *folded_b_)
{
    const real *w = w_, *b = b_, *gamma = gamma_, *beta = beta_, *mean = mean_, *var = var_;
    real *folded_w = folded_w_, *folded_b = folded_b_, factor[FNN_PANEL];
    FNN_EACH_PANEL_COLUMN {
        factor[j] = gamma[j] == 0 ? 0 : (real)(gamma[j] / sqrt((double)var[j] + epsilon));
        folded_b[j] = ((b ? b[j] : 0) - mean[j]) * factor[j] + beta[j];
    }
    for (int64_t r = 0; r < rows; r++) {
        FNN_INDEPENDENT
        FNN_EACH_PANEL_COLUMN folded_w[r * width + j] = w[r * width + j] * factor[j];
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
        for (int64_t i = 0; i < m; i++) rstd[first + i] = factor[i] = (real)(1 / sqrt((double)sum[i] / count + epsilon));
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
#undef FNN_COLUMN_SUMS
#undef FNN_EACH_PANEL_COLUMN
