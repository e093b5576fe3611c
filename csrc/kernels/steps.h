/* Mean and maximum over the steps of one sequence, one panel of its channels, and their gradients. */

static void NAME(mean_over_steps)(int64_t steps, int64_t width, const void *x_, void *y_)
{
    const real *x = x_, inverse = 1 / (real)steps;
    for (int64_t j = 0; j < width; j += FNN_LANES) {
        vec sum = NAME(zero)();
        for (int64_t t = 0; t < steps; t++) sum = NAME(add)(sum, NAME(load)(x + t * width + j));
        NAME(store)((real *)y_ + j, NAME(multiply)(sum, NAME(broadcast)(inverse)));
    }
}

static void NAME(mean_over_steps_grad)(int64_t steps, int64_t width, const void *dy_, void *dx_)
{
    const real *dy = dy_, inverse = 1 / (real)steps;
    for (int64_t j = 0; j < width; j += FNN_LANES) {
        const vec part = NAME(multiply)(NAME(load)(dy + j), NAME(broadcast)(inverse));
        for (int64_t t = 0; t < steps; t++) NAME(store)((real *)dx_ + t * width + j, part);
    }
}

static void NAME(max_over_steps)(int64_t steps, int64_t width, const void *x_, void *y_, void *index_)
{
    const real *x = x_;
    for (int64_t j = 0; j < width; j += FNN_LANES) {
        vec best = NAME(load)(x + j), place = NAME(zero)();
        for (int64_t t = 1; t < steps; t++) {
            const vec value = NAME(load)(x + t * width + j);
            place = NAME(where_beats)(value, best, NAME(broadcast)((real)t), place);
            best = NAME(where_beats)(value, best, value, best);
        }
        NAME(store)((real *)y_ + j, best);
        NAME(store)((real *)index_ + j, place);
    }
}

static void NAME(max_over_steps_grad)(int64_t steps, int64_t width, const void *dy_, const void *index_, void *dx_)
{
    const real *dy = dy_, *index = index_;
    for (int64_t j = 0; j < width; j += FNN_LANES) {
        const vec gradient = NAME(load)(dy + j), place = NAME(load)(index + j);
        for (int64_t t = 0; t < steps; t++) {
            const vec here = NAME(where_equal)(place, NAME(broadcast)((real)t), gradient, NAME(zero)());
            NAME(store)((real *)dx_ + t * width + j, here);
        }
    }
}
