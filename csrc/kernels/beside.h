/* Tile products with an optimiser's step on other weights in between: while the tiles multiply, vectors compute and
 * weights and moments come from memory (1024-2048-2048-10, batches of 512: updates take 0.8 of the time of products and
 * steps in turn). What the second cache holds gains 0 to 1 %: there both wait for the way from it to the first. */

/* What goes by with each step of the depth, and how much has gone. */
typedef struct {
    const fnn_update *update;
    NAME(rule) rule;
    int penalized;
    int64_t each, done;
    vec squares;
} fnn_work;

#define FNN_OPTIMIZER(name, count, states) \
    FNN_INLINE void fnn_some_##name(void *work_) \
    { \
        fnn_work *work = work_; \
        const fnn_update *u = work->update; \
        const int64_t left = u->n - work->done, stop = work->done + (left < work->each ? left : work->each); \
        for (int64_t i = work->done; i < stop; i += FNN_LANES) \
            NAME(renew_##name)(1, work->penalized, &work->rule, (real *)u->w + i, (const real *)u->g + i, \
                               (real *)u->state0 + i, states > 1 ? (real *)u->state1 + i : NULL, &work->squares); \
        work->done = stop; \
    } \
    FNN_INLINE double fnn_beside_##name(int penalized, const fnn_bfloat16_product *p, const fnn_update *u) \
    { \
        const int64_t rows = p->rows / FNN_TILE, steps = rows * p->tiles / 4 * p->blocks, vectors = u->n / FNN_LANES; \
        fnn_work work = { \
            .update = u, \
            .rule = NAME(rule_of)(count, &u->step), \
            .penalized = penalized, \
            .each = (vectors + steps - 1) / steps * FNN_LANES, \
            .squares = NAME(zero)(), \
        }; \
        for (int64_t j = 0; j < p->tiles; j += 2) \
            for (int64_t i = 0; i < rows; i += 2) fnn_tiles(2, 2, p, i, j, fnn_some_##name, &work); \
        return penalized ? NAME(sum_of_lanes)(work.squares) : 0; \
    } \
    static double fnn_multiply_beside_##name(const fnn_bfloat16_product *p, const fnn_update *u) \
    { \
        const int64_t rows = p->rows / FNN_TILE, are_pairs = p->rows % (2 * FNN_TILE) == 0 && p->tiles % 2 == 0; \
        if (!are_pairs || p->a_part || rows * p->tiles * p->blocks == 0 || !NAME(is_plain)(&u->step)) { \
            fnn_multiply(p); \
            return NAME(update_##name)(u->n, u->w, u->g, u->state0, u->state1, &u->step); \
        } \
        return u->step.l2 != 0 ? fnn_beside_##name(1, p, u) : fnn_beside_##name(0, p, u); \
    }
#include "../optimizers.def"
#undef FNN_OPTIMIZER
