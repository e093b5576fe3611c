/* Optimiser steps of one vector of weights; the loops at the end are made from optimizers.def.
 * Square roots are exact, quotients within 0.54 (float) or 0.63 (double) units in the last place, see NAME(divide). */

/* v = momentum v - rate g;  W += v, or momentum v - rate g once more (Nesterov). */
FNN_INLINE vec NAME(step_sgd)(vec w, vec g, vec *state0, vec *state1, real rate, const real *p)
{
    (void)state1;
    const vec back = NAME(multiply)(NAME(broadcast)(-rate), g), velocity = NAME(add_scaled)(back, p[0], *state0);
    *state0 = velocity;
    return NAME(add)(w, p[1] != 0 ? NAME(add_scaled)(back, p[0], velocity) : velocity);
}

/* W - rate a / (sqrt(s) + epsilon) */
FNN_INLINE vec NAME(against_root)(vec w, vec a, vec s, real rate, real epsilon)
{
    const vec root = NAME(add)(NAME(square_root)(s), NAME(broadcast)(epsilon));
    return NAME(subtract)(w, NAME(divide)(NAME(multiply)(NAME(broadcast)(rate), a), root));
}

/* s += g^2;  W -= rate g / (sqrt(s) + epsilon). Duchi, Hazan and Singer (2011). */
FNN_INLINE vec NAME(step_adagrad)(vec w, vec g, vec *state0, vec *state1, real rate, const real *p)
{
    (void)state1;
    *state0 = NAME(add)(*state0, NAME(multiply)(g, g));
    return NAME(against_root)(w, g, *state0, rate, p[0]);
}

/* s = rho s + (1 - rho) g^2;  W -= rate g / (sqrt(s) + epsilon). Tieleman and Hinton (2012). */
FNN_INLINE vec NAME(step_rmsprop)(vec w, vec g, vec *state0, vec *state1, real rate, const real *p)
{
    (void)state1;
    *state0 = NAME(add_scaled)(NAME(multiply)(NAME(broadcast)(p[0]), *state0), p[3], NAME(multiply)(g, g));
    return NAME(against_root)(w, g, *state0, rate, p[1]);
}

/* m = beta_1 m + (1 - beta_1) g;  v = beta_2 v + (1 - beta_2) g^2;  W -= rate m / (sqrt(v) + epsilon).
 * Kingma and Ba (2015), the bias corrections in `rate`. */
FNN_INLINE vec NAME(step_adam)(vec w, vec g, vec *state0, vec *state1, real rate, const real *p)
{
    *state0 = NAME(add_scaled)(NAME(multiply)(NAME(broadcast)(p[0]), *state0), p[3], g);
    *state1 = NAME(add_scaled)(NAME(multiply)(NAME(broadcast)(p[1]), *state1), p[4], NAME(multiply)(g, g));
    return NAME(against_root)(w, *state0, *state1, rate, p[2]);
}

/* Write access has to be asked for, too: weights that other cores have read, theirs have to drop. */
static void NAME(expect)(int64_t bytes, const void *memory)
{
    for (int64_t i = 0; i < bytes; i += 64) FNN_PREFETCH_TO_WRITE((const char *)memory + i);
}

/* What a step multiplies by, as reals. constants: the optimiser's numbers, then 1 - the first and 1 - the second from
 * place 3 on. */
typedef struct {
    real rate, shrink, clip, l2, constants[5];
} NAME(rule);

FNN_INLINE NAME(rule) NAME(rule_of)(int count, const fnn_step *step)
{
    NAME(rule) rule = {
        .rate = (real)step->rate, .shrink = (real)step->shrink, .clip = (real)step->clip, .l2 = (real)step->l2,
    };
    /* An epsilon that would be flushed to zero would make 0 / 0 of a weight whose gradient has always been zero. */
    const double least = sizeof(real) == sizeof(float) ? FLT_MIN : DBL_MIN;
    for (int i = 0; i < count; i++) rule.constants[i] = (real)(step->p[i] > 0 ? fmax(step->p[i], least) : step->p[i]);
    rule.constants[3] = (real)(1 - step->p[0]);
    rule.constants[4] = count > 1 ? (real)(1 - step->p[1]) : 0;
    return rule;
}

/* Neither limits gradients nor shrinks weights. */
FNN_INLINE int NAME(is_plain)(const fnn_step *step) { return !(step->clip < INFINITY) && step->shrink == 1; }

/* One vector of weights. Arithmetic bounds the loop where the caches hold what it reads, hence loops without what a fit
 * does not ask for (the two operations of a limit are a seventh of Adam). Squares add up in real lanes, which over the
 * few thousand weights of a call lose no digit that the loss shows. */
#define FNN_OPTIMIZER(name, count, states) \
    FNN_INLINE void NAME(renew_##name)(int plain, int penalized, const NAME(rule) * rule, real *w, const real *g, \
                                       real *state0, real *state1, vec *squares) \
    { \
        vec weight = NAME(load)(w), gradient = NAME(load)(g); \
        if (penalized) { \
            gradient = NAME(add_scaled)(gradient, rule->l2, weight); \
            *squares = NAME(add)(*squares, NAME(multiply)(weight, weight)); \
        } \
        if (!plain) { \
            gradient = NAME(clamp)(gradient, rule->clip); \
            weight = NAME(multiply)(NAME(broadcast)(rule->shrink), weight); \
        } \
        vec first = NAME(load)(state0), second = states > 1 ? NAME(load)(state1) : NAME(zero)(); \
        NAME(store)(w, NAME(step_##name)(weight, gradient, &first, &second, rule->rate, rule->constants)); \
        NAME(store)(state0, first); \
        if (states > 1) NAME(store)(state1, second); \
    } \
    FNN_INLINE double NAME(update_##name##_of)(int plain, int penalized, const fnn_update *u) \
    { \
        const NAME(rule) rule = NAME(rule_of)(count, &u->step); \
        const real *g = u->g; \
        real *w = u->w, *state0 = u->state0, *state1 = u->state1; \
        vec squares = NAME(zero)(); \
        for (int64_t i = 0; i < u->n; i += FNN_LANES) \
            NAME(renew_##name)(plain, penalized, &rule, w + i, g + i, state0 + i, states > 1 ? state1 + i : NULL, \
                               &squares); \
        return penalized ? NAME(sum_of_lanes)(squares) : 0; \
    } \
    static double NAME(update_##name)(const fnn_update *u) \
    { \
        const int plain = NAME(is_plain)(&u->step); \
        if (u->step.l2 != 0) return plain ? NAME(update_##name##_of)(1, 1, u) : NAME(update_##name##_of)(0, 1, u); \
        return plain ? NAME(update_##name##_of)(1, 0, u) : NAME(update_##name##_of)(0, 0, u); \
    }
#include "../optimizers.def"
#undef FNN_OPTIMIZER
