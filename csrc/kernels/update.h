/* Optimiser steps of one weight; the loops at the end are made from optimizers.def.
 * Square root and division are exact: an estimate with one Newton step saves 19 % of Adam's time while everything is
 * in the second cache and nothing beyond, and would make the two backends differ by 4e-6. */

/* v = momentum v - rate g;  W += v, or momentum v - rate g once more (Nesterov). */
FNN_INLINE void NAME(step_sgd)(real *w, real g, real *state0, real *state1, real rate, const real *p)
{
    (void)state1;
    const real velocity = p[0] * *state0 - rate * g;
    *state0 = velocity;
    *w += p[1] != 0 ? p[0] * velocity - rate * g : velocity;
}

/* s += g^2;  W -= rate g / (sqrt(s) + epsilon). Duchi, Hazan and Singer (2011). */
FNN_INLINE void NAME(step_adagrad)(real *w, real g, real *state0, real *state1, real rate, const real *p)
{
    (void)state1;
    const real sum = *state0 + g * g;
    *state0 = sum;
    *w -= rate * g / (real_sqrt(sum) + p[0]);
}

/* s = rho s + (1 - rho) g^2;  W -= rate g / (sqrt(s) + epsilon). Tieleman and Hinton (2012). */
FNN_INLINE void NAME(step_rmsprop)(real *w, real g, real *state0, real *state1, real rate, const real *p)
{
    (void)state1;
    const real mean = p[0] * *state0 + p[3] * (g * g);
    *state0 = mean;
    *w -= rate * g / (real_sqrt(mean) + p[1]);
}

/* m = beta_1 m + (1 - beta_1) g;  v = beta_2 v + (1 - beta_2) g^2;  W -= rate m / (sqrt(v) + epsilon).
 * Kingma and Ba (2015), the bias corrections in `rate`. */
FNN_INLINE void NAME(step_adam)(real *w, real g, real *state0, real *state1, real rate, const real *p)
{
    const real m = p[0] * *state0 + p[3] * g;
    const real v = p[1] * *state1 + p[4] * (g * g);
    *state0 = m;
    *state1 = v;
    *w -= rate * m / (real_sqrt(v) + p[2]);
}

/* `constants`: the optimiser's numbers, then 1 - the first and 1 - the second from place 3 on. An optimiser with one
 * state gets a spare vector's address for the second, which it never touches. */
#define FNN_OPTIMIZER(name, count, states) \
    static void NAME(update_##name)(int64_t n, void *w_, const void *g_, void *state0_, void *state1_, \
                                    const fnn_step *step) \
    { \
        const real *g = g_, rate = (real)step->rate, shrink = (real)step->shrink, clip = (real)step->clip; \
        real *w = w_, *state0 = state0_, *state1 = states > 1 ? state1_ : state0_; \
        real constants[5] = {0}; \
        for (int i = 0; i < count; i++) constants[i] = (real)step->p[i]; \
        constants[3] = (real)(1 - step->p[0]); \
        constants[4] = count > 1 ? (real)(1 - step->p[1]) : 0; \
        FNN_INDEPENDENT \
        for (int64_t i = 0; i < FNN_WHOLE(n); i++) { \
            const real clipped = g[i] < -clip ? -clip : (g[i] > clip ? clip : g[i]); \
            w[i] *= shrink; \
            NAME(step_##name)(w + i, clipped, state0 + i, state1 + i, rate, constants); \
        } \
    }
#include "../optimizers.def"
#undef FNN_OPTIMIZER
