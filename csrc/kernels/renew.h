/* An optimiser's step on rows of weights with their packed copy, which costs little while the step waits for the unit
 * that divides: alone, or between the tiles of a product for other weights.
 *
 * Between them weights and moments come from memory meanwhile (1024-2048-2048-10, batches of 512: updates take 0.8 of
 * the time of products and steps in turn). But beside tiles, and shortly after them, vectors compute at half their
 * speed, so that what the second cache holds has nothing to gain. */

/* What goes by with each step of the depth: pairs of rows, of which so many are done. */
typedef struct {
    const fnn_update *update;
    NAME(rule) rule;
    int penalized;
    int64_t width, rows, done, each;
    uint16_t *packed;
    int64_t packed_tile;
    vec squares;
} fnn_work;

/* Whether a product is one of two by two tiles only, and there is something to multiply. */
FNN_INLINE int fnn_in_fours(const fnn_bfloat16_product *p)
{
    return p->rows % (2 * FNN_TILE) == 0 && p->tiles % 2 == 0 && !p->a_part && p->rows * p->tiles * p->blocks > 0;
}

#define FNN_OPTIMIZER(name, count, states) \
    FNN_INLINE void fnn_renew_vector_##name(fnn_work *work, int64_t i) \
    { \
        const fnn_update *u = work->update; \
        NAME(renew_##name)(1, work->penalized, &work->rule, (real *)u->w + i, (const real *)u->g + i, \
                           (real *)u->state0 + i, states > 1 ? (real *)u->state1 + i : NULL, &work->squares); \
    } \
    FNN_INLINE void fnn_renew_some_##name(void *work_) \
    { \
        fnn_work *work = work_; \
        const int64_t width = work->width, next = work->done + work->each; \
        for (; work->done < (next < work->rows ? next : work->rows); work->done += 2) { \
            const int64_t even = work->done * width, odd = even + width; \
            const real *w = work->update->w; \
            uint16_t *to = work->packed + work->done * FNN_LANES; \
            for (int64_t j = 0; j < width; j += FNN_LANES) fnn_renew_vector_##name(work, even + j); \
            for (int64_t j = 0; j < width; j += FNN_LANES, to += work->packed_tile) { \
                fnn_renew_vector_##name(work, odd + j); \
                fnn_round_pairs(w + even + j, w + odd + j, (uint32_t *)to); \
            } \
        } \
    } \
    FNN_INLINE double fnn_renew_rows_##name(int penalized, const fnn_update *u, int64_t width, uint16_t *packed, \
                                            int64_t packed_tile, const fnn_bfloat16_product *p) \
    { \
        const int64_t rows = u->n / width, steps = p ? p->rows / FNN_TILE * p->tiles / 4 * p->blocks : 1; \
        fnn_work work = { \
            .update = u, \
            .rule = NAME(rule_of)(count, &u->step), \
            .penalized = penalized, \
            .width = width, \
            .rows = rows, \
            .each = (rows / 2 + steps - 1) / steps * 2, \
            .packed = packed, \
            .packed_tile = packed_tile, \
            .squares = NAME(zero)(), \
        }; \
        if (!p) fnn_renew_some_##name(&work); \
        for (int64_t j = 0; p && j < p->tiles; j += 2) \
            for (int64_t i = 0; i < p->rows / FNN_TILE; i += 2) \
                fnn_tiles(2, 2, p, i, j, fnn_renew_some_##name, &work); \
        return penalized ? NAME(sum_of_lanes)(work.squares) : 0; \
    } \
    static double fnn_renew_##name(const fnn_update *u, int64_t width, uint16_t *packed, int64_t packed_tile, \
                                   const fnn_bfloat16_product *p) \
    { \
        const int in_pairs = u->n % (2 * width) == 0 && NAME(is_plain)(&u->step); \
        if (p && !(in_pairs && fnn_in_fours(p))) { \
            fnn_multiply(p); \
            p = NULL; \
        } \
        if (in_pairs) \
            return u->step.l2 != 0 ? fnn_renew_rows_##name(1, u, width, packed, packed_tile, p) \
                                   : fnn_renew_rows_##name(0, u, width, packed, packed_tile, p); \
        const double squares = NAME(update_##name)(u); \
        fnn_pack_pairs(u->n / width, width, u->w, width, packed, packed_tile); \
        return squares; \
    }
#include "../optimizers.def"
#undef FNN_OPTIMIZER
