/* Losses, their gradients, and softmax, in blocks of FNN_LANES rows (see rows.h). What belongs to a row is vector code;
 * exponentials and logarithms run in plain loops over all elements of a strip, which lie side by side. Pads go along
 * and are cleared at the end. */

/* Maximum of each of m rows over its real columns. */
static void NAME(row_maxima)(int64_t first, int64_t m, int64_t columns, int64_t panel_stride, const real *z,
                             real top[FNN_LANES])
{
    const vec lowest = NAME(broadcast)(-(real)INFINITY);
    vec partial[FNN_LANES];
    for (int row = 0; row < FNN_LANES; row++) partial[row] = lowest;
    FNN_EACH_STRIP(s, columns, panel_stride) {
        FNN_EACH_VECTOR(s) {
            const vec value = NAME(first_lanes)((signed_bits)(s.columns - v), NAME(load)(z + at), lowest);
            partial[i] = NAME(max)(partial[i], value);
        }
    }
    NAME(max_rows)(partial, top);
}

/* y = exp(z - top), 0 in pads, and each row's sum of y. */
static void NAME(row_exponentials)(int64_t first, int64_t m, int64_t columns, int64_t panel_stride, const real *z,
                                   const real top[FNN_LANES], real *y, real sum[FNN_LANES])
{
    FNN_EACH_STRIP(s, columns, panel_stride) {
        FNN_EACH_VECTOR(s) NAME(store)(y + at, NAME(subtract)(NAME(load)(z + at), NAME(broadcast)(top[i])));
        real *line = y + s.at;
        FNN_INDEPENDENT
        for (int64_t q = 0; q < FNN_WHOLE(m * s.width); q++) line[q] = NAME(exp)(line[q]);
        FNN_EACH_VECTOR(s) {
            const vec e = NAME(first_lanes)((signed_bits)(s.columns - v), NAME(load)(y + at), NAME(zero)());
            NAME(store)(y + at, e);
        }
    }
    FNN_ROW_SUMS(sum, columns, panel_stride, NAME(load)(y + at));
}

static void NAME(softmax)(int64_t begin, int64_t rows, int64_t outputs, int64_t panel_stride, const void *z, void *y_)
{
    real *y = y_, top[FNN_LANES], sum[FNN_LANES];
    FNN_EACH_BLOCK(begin, rows) {
        NAME(row_maxima)(first, m, outputs, panel_stride, z, top);
        NAME(row_exponentials)(first, m, outputs, panel_stride, z, top, y, sum);
        for (int row = 0; row < FNN_LANES; row++) sum[row] = 1 / sum[row];
        FNN_EACH_STRIP(s, outputs, panel_stride) {
            FNN_EACH_VECTOR(s) NAME(store)(y + at, NAME(multiply)(NAME(load)(y + at), NAME(broadcast)(sum[i])));
        }
    }
}

/* scale[i] = w / weight sum: the factor of a row's gradient. In double: with large weights 1 / sum is subnormal. */
FNN_INLINE void NAME(row_scales)(const fnn_loss *l, int64_t first, int64_t m, real scale[FNN_LANES])
{
    const real *w = l->w;
    for (int64_t i = 0; i < m; i++) scale[i] = (real)((w ? (double)w[first + i] : 1.0) * l->inverse_weight);
}

FNN_INLINE void NAME(store_losses)(const fnn_loss *l, int64_t first, int64_t m, const real loss[FNN_LANES])
{
    const real *w = l->w;
    for (int64_t i = 0; i < m; i++) l->row_loss[first + i] = w ? (double)w[first + i] * loss[i] : (double)loss[i];
}

/* Few columns: rows side by side in the lanes, so that no lane is a pad and no sum goes across lanes. */
FNN_INLINE void NAME(narrow_softmax_log_loss)(int outputs, const fnn_loss *l)
{
    real z[FNN_NARROW * FNN_LANES], t[FNN_NARROW * FNN_LANES], loss[FNN_LANES], scale[FNN_LANES] = {0};
    FNN_EACH_BLOCK(l->first, l->rows) {
        real top[FNN_LANES], sum[FNN_LANES] = {0}, targets[FNN_LANES] = {0}, product[FNN_LANES] = {0};
        NAME(columns_of)(m, (const real *)l->z + first * FNN_LANES, z);
        NAME(columns_of)(m, (const real *)l->t + first * FNN_LANES, t);
        FNN_EACH_LANE top[lane] = -(real)INFINITY;
        FNN_UNROLL
        for (int o = 0; o < outputs; o++) {
            const real *column = z + o * FNN_LANES;
            FNN_EACH_LANE top[lane] = column[lane] > top[lane] ? column[lane] : top[lane];
        }
        FNN_UNROLL
        for (int o = 0; o < outputs; o++) {
            real *column = z + o * FNN_LANES;
            const real *target = t + o * FNN_LANES;
            FNN_EACH_LANE {
                const real below = column[lane] - top[lane], e = NAME(exp)(below);
                column[lane] = e;
                sum[lane] += e;
                targets[lane] += target[lane];
                product[lane] += target[lane] * below;
            }
        }
        NAME(row_scales)(l, first, m, scale);
        FNN_EACH_LANE {
            loss[lane] = NAME(log)(sum[lane]) * targets[lane] - product[lane];
            sum[lane] = scale[lane] * targets[lane] / sum[lane];
        }
        NAME(store_losses)(l, first, m, loss);
        FNN_UNROLL
        for (int o = 0; o < FNN_NARROW; o++) {
            real *column = z + o * FNN_LANES;
            const real *target = t + o * FNN_LANES;
            FNN_EACH_LANE column[lane] = o < outputs ? sum[lane] * column[lane] - scale[lane] * target[lane] : 0;
        }
        NAME(rows_of)(m, z, (real *)l->dz + first * FNN_LANES);
    }
}

/* l = log(sum exp z) sum(t) - sum(t z), all exponents below the row's maximum. */
static void NAME(loss_softmax_log_loss)(const fnn_loss *l)
{
    const real *z = l->z, *t = l->t;
    real *dz = l->dz;
    real top[FNN_LANES], sum[FNN_LANES], targets[FNN_LANES], product[FNN_LANES];
    real loss[FNN_LANES], scale[FNN_LANES] = {0};
    if (l->outputs <= FNN_NARROW) {
        FNN_BY_COLUMNS(l->outputs, NAME(narrow_softmax_log_loss), l)
        return;
    }
    FNN_EACH_BLOCK(l->first, l->rows) {
        NAME(row_maxima)(first, m, l->outputs, l->panel_stride, z, top);
        FNN_ROW_SUMS(targets, l->outputs, l->panel_stride, NAME(load)(t + at));
        FNN_ROW_SUMS(product, l->outputs, l->panel_stride,
                     NAME(multiply)(NAME(load)(t + at), NAME(subtract)(NAME(load)(z + at), NAME(broadcast)(top[i]))));
        NAME(row_exponentials)(first, m, l->outputs, l->panel_stride, z, top, dz, sum);
        NAME(row_scales)(l, first, m, scale);
        FNN_EACH_LANE {
            loss[lane] = NAME(log)(sum[lane]) * targets[lane] - product[lane];
            sum[lane] = scale[lane] * targets[lane] / sum[lane];
        }
        NAME(store_losses)(l, first, m, loss);
        FNN_EACH_STRIP(s, l->outputs, l->panel_stride) {
            FNN_EACH_VECTOR(s) {
                const vec scaled = NAME(multiply)(NAME(load)(dz + at), NAME(broadcast)(sum[i]));
                const vec gradient = NAME(add_scaled)(scaled, -scale[i], NAME(load)(t + at));
                NAME(store)(dz + at, NAME(first_lanes)((signed_bits)(s.columns - v), gradient, NAME(zero)()));
            }
        }
    }
}

/* The other losses are sums over outputs: a function of (z, t; a) that returns l and puts dl/dz in *d.
 * As in activation.h, comparisons let NaN through to the loss. */
#define LOSS(name) FNN_INLINE real NAME(element_##name)(real z, real t, real a, real *d)

/* softplus(z) - t z, with the large parts taken off first: (max(z, 0) - t z) + log(1 + e^-|z|). */
LOSS(logistic_log_loss)
{
    (void)a;
    const real e = NAME(exp)(-real_abs(z));
    *d = (z < 0 ? e : 1) / (1 + e) - t;
    return ((z < 0 ? 0 : z) - t * z) + NAME(log1p)(e);
}
LOSS(squared_error) { (void)a; *d = z - t; return (real)0.5 * (z - t) * (z - t); }
LOSS(absolute_error) { (void)a; *d = z > t ? 1 : (z < t ? -1 : z - t); return real_abs(z - t); }
LOSS(huber)
{
    const real e = z - t, size = real_abs(e);
    *d = e > a ? a : (e < -a ? -a : e);
    return size > a ? a * (size - (real)0.5 * a) : (real)0.5 * e * e;
}
LOSS(quantile)
{
    const real e = t - z;
    *d = e > 0 ? -a : (e < 0 ? 1 - a : -e);
    return e > 0 ? a * e : (a - 1) * e;
}
/* e^z - t z + (t log t - t): half the Poisson deviance. 0 log 0 = 0 comes from a logarithm kept finite: a branch on
 * t == 0 would keep gcc from vectorising. */
LOSS(poisson)
{
    (void)a;
    const real e = NAME(exp)(z), least = (real)1e-37;
    *d = e - t;
    return e - t * z + (t * NAME(log)(t < least ? least : t) - t);
}
LOSS(hinge)
{
    (void)a;
    const real gap = 1 - t * z;
    *d = gap > 0 ? -t : 0;
    return gap < 0 ? 0 : gap;
}
LOSS(perceptron)
{
    (void)a;
    const real gap = -t * z;
    *d = gap >= 0 ? -t : 0;
    return gap < 0 ? 0 : gap;
}
#undef LOSS

#define ELEMENT_LOSS(name, parameters) \
    static void NAME(narrow_##name)(const fnn_loss *l) \
    { \
        enum { COLUMNS = FNN_NARROW * FNN_LANES }; \
        const real a = parameters ? (real)l->p[0] : 0; \
        const int64_t n = l->outputs * FNN_LANES; \
        real z[COLUMNS], t[COLUMNS], d[COLUMNS], scale[FNN_LANES] = {0}; \
        FNN_EACH_BLOCK(l->first, l->rows) { \
            real loss[FNN_LANES] = {0}; \
            NAME(columns_of)(m, (const real *)l->z + first * FNN_LANES, z); \
            NAME(columns_of)(m, (const real *)l->t + first * FNN_LANES, t); \
            NAME(row_scales)(l, first, m, scale); \
            for (int64_t q = 0; q < n; q += FNN_LANES) { \
                FNN_EACH_LANE { \
                    loss[lane] += NAME(element_##name)(z[q + lane], t[q + lane], a, d + q + lane); \
                    d[q + lane] *= scale[lane]; \
                } \
            } \
            for (int64_t q = n; q < COLUMNS; q++) d[q] = 0; \
            NAME(store_losses)(l, first, m, loss); \
            NAME(rows_of)(m, d, (real *)l->dz + first * FNN_LANES); \
        } \
    } \
    static void NAME(loss_##name)(const fnn_loss *l) \
    { \
        if (l->outputs <= FNN_NARROW) { \
            NAME(narrow_##name)(l); \
            return; \
        } \
        const real a = parameters ? (real)l->p[0] : 0; \
        real *dz = l->dz, loss[FNN_LANES], scale[FNN_LANES]; \
        FNN_EACH_BLOCK(l->first, l->rows) { \
            vec partial[FNN_LANES]; \
            for (int row = 0; row < FNN_LANES; row++) partial[row] = NAME(zero)(); \
            NAME(row_scales)(l, first, m, scale); \
            FNN_EACH_STRIP(s, l->outputs, l->panel_stride) { \
                const real *z = (const real *)l->z + s.at, *t = (const real *)l->t + s.at; \
                real *d = dz + s.at, value[FNN_LANES * FNN_PANEL]; \
                FNN_INDEPENDENT \
                for (int64_t q = 0; q < FNN_WHOLE(m * s.width); q++) \
                    value[q] = NAME(element_##name)(z[q], t[q], a, d + q); \
                FNN_EACH_VECTOR(s) { \
                    const signed_bits columns = (signed_bits)(s.columns - v); \
                    const vec gradient = NAME(multiply)(NAME(load)(dz + at), NAME(broadcast)(scale[i])); \
                    NAME(store)(dz + at, NAME(first_lanes)(columns, gradient, NAME(zero)())); \
                    const vec term = NAME(load)(value + (at - s.at)); \
                    partial[i] = NAME(add)(partial[i], NAME(first_lanes)(columns, term, NAME(zero)())); \
                } \
            } \
            NAME(sum_rows)(partial, loss); \
            NAME(store_losses)(l, first, m, loss); \
        } \
    }
ELEMENT_LOSS(logistic_log_loss, 0)
ELEMENT_LOSS(squared_error, 0)
ELEMENT_LOSS(absolute_error, 0)
ELEMENT_LOSS(huber, 1)
ELEMENT_LOSS(quantile, 1)
ELEMENT_LOSS(poisson, 0)
ELEMENT_LOSS(hinge, 0)
ELEMENT_LOSS(perceptron, 0)
#undef ELEMENT_LOSS
