"""Maximum and mean of windows of images; rows are shared between threads."""

from libc.stdint cimport int64_t, uintptr_t

import numpy as np

from fastnn.native.kernels cimport fnn_kernels, fnn_window
from fastnn.native.op cimport Op, Step, at, panels, row_span, rows_of


# This thread's images and their windows in one panel: where they start in buffers of images and of windows.
cdef struct Images:
    const fnn_window *window
    int64_t n, width, places, windows


cdef inline Images images_of(const Op *op, const Step *step, int64_t p) noexcept nogil:
    cdef const fnn_window *w = <const fnn_window *> <uintptr_t> op.number[1]
    cdef Images images
    images.window, images.n = w, rows_of(step)
    images.places = row_span(step, op.number[0], w.image[0] * w.image[1], p, &images.width)
    images.windows = row_span(step, op.number[0], w.output[0] * w.output[1], p, &images.width)
    return images


cdef void max_pool(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef Images i
    cdef int64_t p
    for p in range(panels(k, op.number[0])):
        i = images_of(op, step, p)
        k.max_pool(
            i.window, i.n, i.width, at(k, op.buffer[0], i.places), at(k, op.buffer[1], i.windows),
            at(k, op.buffer[2], i.windows),
        )


cdef void max_pool_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef Images i
    cdef int64_t p
    for p in range(panels(k, op.number[0])):
        i = images_of(op, step, p)
        k.max_pool_grad(
            i.window, i.n, i.width, at(k, op.buffer[0], i.windows), at(k, op.buffer[1], i.windows),
            at(k, op.buffer[2], i.places),
        )


cdef void avg_pool(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef Images i
    cdef int64_t p
    for p in range(panels(k, op.number[0])):
        i = images_of(op, step, p)
        k.avg_pool(i.window, i.n, i.width, at(k, op.buffer[0], i.places), at(k, op.buffer[1], i.windows))


cdef void avg_pool_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef Images i
    cdef int64_t p
    for p in range(panels(k, op.number[0])):
        i = images_of(op, step, p)
        k.avg_pool_grad(i.window, i.n, i.width, at(k, op.buffer[0], i.windows), at(k, op.buffer[1], i.places))


def bind(op, layout):
    """The geometry goes by address: an fnn_window is more numbers than an op holds."""
    g = op.attributes["geometry"]
    before = [sides[0] for sides in g.padding]
    window = np.array([*g.image, *g.output, *g.kernel, *g.stride, *g.dilation, *before], np.int64)
    return [*op.inputs, *op.outputs], [layout.columns(op.inputs[0]), layout.table(window)], []


OPS = {
    "max_pool": (<size_t> &max_pool, bind),
    "max_pool_grad": (<size_t> &max_pool_grad, bind),
    "avg_pool": (<size_t> &avg_pool, bind),
    "avg_pool_grad": (<size_t> &avg_pool_grad, bind),
}
