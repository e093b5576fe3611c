/* Maximum and mean of windows of image panels. The taps of a window that lie in the image are found first; the loops
 * over them take whole vectors of channels, as many as a row of the panel has. */

#ifndef FNN_EACH_WINDOW
/* Taps begin .. end of window number `output` along one axis, tap k lying at place origin + k * dilation. */
typedef struct {
    int64_t output, origin, begin, end;
} fnn_taps;

static inline fnn_taps fnn_taps_of(const fnn_window *w, int axis, int64_t output)
{
    const int64_t step = w->dilation[axis], origin = output * w->stride[axis] - w->before[axis];
    const int64_t room = w->image[axis] - origin;
    const int64_t begin = origin < 0 ? (step == 1 ? -origin : (step - 1 - origin) / step) : 0;
    const int64_t end = step == 1 ? room : (room + step - 1) / step;
    const fnn_taps taps = {output, origin, begin, end < w->kernel[axis] ? end : w->kernel[axis]};
    return taps;
}

/* Loops over all windows of `images` images, `out` being the window's place among all outputs. What is done once for an
 * image comes with its first window. */
#define FNN_EACH_WINDOW(w, images) \
    for (int64_t image = 0, out = 0; image < (images); image++) \
        for (fnn_taps down = fnn_taps_of(w, 0, 0); down.output < (w)->output[0]; \
             down = fnn_taps_of(w, 0, down.output + 1)) \
            for (fnn_taps across = fnn_taps_of(w, 1, 0); across.output < (w)->output[1]; \
                 across = fnn_taps_of(w, 1, across.output + 1), out++)

/* Loops over the taps (u, t) of such a window, `in` being the tap's place among all inputs. */
#define FNN_EACH_TAP(w) \
    for (int64_t u = down.begin; u < down.end; u++) \
        for (int64_t t = across.begin, line = (image * (w)->image[0] + down.origin + u * (w)->dilation[0]), \
                     in = line * (w)->image[1] + across.origin + t * (w)->dilation[1]; \
             t < across.end; t++, in += (w)->dilation[1])

/* Whether each place of the image is in exactly one window: its gradient is then written, not added to zero. */
static inline int fnn_covers_once(const fnn_window *w)
{
    for (int axis = 0; axis < 2; axis++) {
        const int64_t end = w->output[axis] * w->stride[axis] - w->before[axis];
        if (w->kernel[axis] != w->stride[axis] || w->dilation[axis] != 1 || end < w->image[axis]) return 0;
    }
    return 1;
}
#endif

FNN_INLINE void NAME(max_pool_vectors)(int vectors, const fnn_window *w, int64_t images, const real *x, real *y,
                                       real *index)
{
    const int64_t width = vectors * FNN_LANES;
    FNN_EACH_WINDOW(w, images) {
        vec best[FNN_MAX_VECTORS], place[FNN_MAX_VECTORS];
        const vec first = NAME(broadcast)((real)(down.begin * w->kernel[1] + across.begin));
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) {
            best[v] = NAME(broadcast)(-(real)INFINITY);
            place[v] = first;
        }
        FNN_EACH_TAP(w) {
            const vec number = NAME(broadcast)((real)(u * w->kernel[1] + t));
            FNN_UNROLL
            for (int v = 0; v < vectors; v++) {
                const vec value = NAME(load)(x + in * width + v * FNN_LANES);
                place[v] = NAME(where_beats)(value, best[v], number, place[v]);
                best[v] = NAME(where_beats)(value, best[v], value, best[v]);
            }
        }
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) {
            NAME(store)(y + out * width + v * FNN_LANES, best[v]);
            NAME(store)(index + out * width + v * FNN_LANES, place[v]);
        }
    }
}

static void NAME(max_pool)(const fnn_window *w, int64_t images, int64_t width, const void *x, void *y, void *index)
{
    FNN_BY_VECTORS(width, NAME(max_pool_vectors), w, images, x, y, index);
}

FNN_INLINE void NAME(max_pool_grad_vectors)(int vectors, const fnn_window *w, int64_t images, const real *dy,
                                            const real *index, real *dx)
{
    const int64_t width = vectors * FNN_LANES;
    const int once = fnn_covers_once(w);
    const int64_t size = w->image[0] * w->image[1] * width, windows = w->output[0] * w->output[1];
    FNN_EACH_WINDOW(w, images) {
        if (!once && out == image * windows) memset(dx + image * size, 0, (size_t)size * sizeof(real));
        vec gradient[FNN_MAX_VECTORS], place[FNN_MAX_VECTORS];
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) {
            gradient[v] = NAME(load)(dy + out * width + v * FNN_LANES);
            place[v] = NAME(load)(index + out * width + v * FNN_LANES);
        }
        FNN_EACH_TAP(w) {
            const vec number = NAME(broadcast)((real)(u * w->kernel[1] + t));
            FNN_UNROLL
            for (int v = 0; v < vectors; v++) {
                real *to = dx + in * width + v * FNN_LANES;
                const vec here = NAME(where_equal)(place[v], number, gradient[v], NAME(zero)());
                NAME(store)(to, once ? here : NAME(add)(NAME(load)(to), here));
            }
        }
    }
}

static void NAME(max_pool_grad)(const fnn_window *w, int64_t images, int64_t width, const void *dy, const void *index,
                                void *dx)
{
    FNN_BY_VECTORS(width, NAME(max_pool_grad_vectors), w, images, dy, index, dx);
}

FNN_INLINE void NAME(avg_pool_vectors)(int vectors, const fnn_window *w, int64_t images, const real *x, real *y)
{
    const int64_t width = vectors * FNN_LANES;
    FNN_EACH_WINDOW(w, images) {
        vec sum[FNN_MAX_VECTORS];
        const vec inverse = NAME(broadcast)(1 / (real)((down.end - down.begin) * (across.end - across.begin)));
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) sum[v] = NAME(zero)();
        FNN_EACH_TAP(w) {
            FNN_UNROLL
            for (int v = 0; v < vectors; v++) sum[v] = NAME(add)(sum[v], NAME(load)(x + in * width + v * FNN_LANES));
        }
        FNN_UNROLL
        for (int v = 0; v < vectors; v++) NAME(store)(y + out * width + v * FNN_LANES, NAME(multiply)(sum[v], inverse));
    }
}

static void NAME(avg_pool)(const fnn_window *w, int64_t images, int64_t width, const void *x, void *y)
{
    FNN_BY_VECTORS(width, NAME(avg_pool_vectors), w, images, x, y);
}

FNN_INLINE void NAME(avg_pool_grad_vectors)(int vectors, const fnn_window *w, int64_t images, const real *dy, real *dx)
{
    const int64_t width = vectors * FNN_LANES;
    const int once = fnn_covers_once(w);
    const int64_t size = w->image[0] * w->image[1] * width, windows = w->output[0] * w->output[1];
    FNN_EACH_WINDOW(w, images) {
        if (!once && out == image * windows) memset(dx + image * size, 0, (size_t)size * sizeof(real));
        vec share[FNN_MAX_VECTORS];
        const vec inverse = NAME(broadcast)(1 / (real)((down.end - down.begin) * (across.end - across.begin)));
        FNN_UNROLL
        for (int v = 0; v < vectors; v++)
            share[v] = NAME(multiply)(NAME(load)(dy + out * width + v * FNN_LANES), inverse);
        FNN_EACH_TAP(w) {
            FNN_UNROLL
            for (int v = 0; v < vectors; v++) {
                real *to = dx + in * width + v * FNN_LANES;
                NAME(store)(to, once ? share[v] : NAME(add)(NAME(load)(to), share[v]));
            }
        }
    }
}

static void NAME(avg_pool_grad)(const fnn_window *w, int64_t images, int64_t width, const void *dy, void *dx)
{
    FNN_BY_VECTORS(width, NAME(avg_pool_grad_vectors), w, images, dy, dx);
}
