"""Maximum and mean of windows of images; rows are shared between threads."""

from libc.stdint cimport int64_t, uintptr_t

import numpy as np

from fastnn.native.kernels cimport fnn_kernels, fnn_window
from fastnn.native.op cimport Op, Step, at, panels, row_span, rows_of


cdef inline const fnn_window *window_of(const Op *op) noexcept nogil:
    return <const fnn_window *> <uintptr_t> op.number[1]


cdef void max_pool(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef const fnn_window *w = window_of(op)
    cdef int64_t columns = op.number[0], places = w.image[0] * w.image[1], windows = w.output[0] * w.output[1]
    cdef int64_t p, width, x, y
    for p in range(panels(k, columns)):
        x = row_span(step, columns, places, p, &width)
        y = row_span(step, columns, windows, p, &width)
        k.max_pool(w, rows_of(step), width, at(k, op.buffer[0], x), at(k, op.buffer[1], y), at(k, op.buffer[2], y))


cdef void max_pool_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef const fnn_window *w = window_of(op)
    cdef int64_t columns = op.number[0], places = w.image[0] * w.image[1], windows = w.output[0] * w.output[1]
    cdef int64_t p, width, x, y
    for p in range(panels(k, columns)):
        x = row_span(step, columns, places, p, &width)
        y = row_span(step, columns, windows, p, &width)
        k.max_pool_grad(
            w, rows_of(step), width, at(k, op.buffer[0], y), at(k, op.buffer[1], y), at(k, op.buffer[2], x)
        )


cdef void avg_pool(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef const fnn_window *w = window_of(op)
    cdef int64_t columns = op.number[0], places = w.image[0] * w.image[1], windows = w.output[0] * w.output[1]
    cdef int64_t p, width, x, y
    for p in range(panels(k, columns)):
        x = row_span(step, columns, places, p, &width)
        y = row_span(step, columns, windows, p, &width)
        k.avg_pool(w, rows_of(step), width, at(k, op.buffer[0], x), at(k, op.buffer[1], y))


cdef void avg_pool_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef const fnn_window *w = window_of(op)
    cdef int64_t columns = op.number[0], places = w.image[0] * w.image[1], windows = w.output[0] * w.output[1]
    cdef int64_t p, width, x, y
    for p in range(panels(k, columns)):
        x = row_span(step, columns, places, p, &width)
        y = row_span(step, columns, windows, p, &width)
        k.avg_pool_grad(w, rows_of(step), width, at(k, op.buffer[0], y), at(k, op.buffer[1], x))


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
