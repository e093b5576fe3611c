"""Penalty, clipping and optimiser steps on whole parameters; blocks of a parameter are shared between threads.

A parameter is cut into the same blocks everywhere, (panel rows) x (one column panel), so partial sums have one order.
"""

from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int64_t

from fastnn.native.kernels cimport fnn_kernels, fnn_update
from fastnn.native.op cimport Op, Step, at, panel_width, panels, share

cdef extern from *:
    """
    static const char *fnn_optimizer_names[] = {
    #define FNN_OPTIMIZER(name, ...) #name,
    #include "optimizers.def"
    #undef FNN_OPTIMIZER
        0
    };
    """
    const char *fnn_optimizer_names[]

OPTIMIZERS = {}
while fnn_optimizer_names[len(OPTIMIZERS)] != NULL:
    OPTIMIZERS[fnn_optimizer_names[len(OPTIMIZERS)].decode()] = len(OPTIMIZERS)


cdef inline int64_t tasks(const fnn_kernels *k, int64_t rows, int64_t columns) noexcept nogil:
    return panels(k, rows) * panels(k, columns)


cdef inline int64_t block(
    const fnn_kernels *k, int64_t rows, int64_t columns, int64_t task, int64_t *size
) noexcept nogil:
    """Offset and size of the task-th block of a (rows, columns) parameter."""
    cdef int64_t blocks = panels(k, rows), p = task // blocks, b = task - p * blocks
    cdef int64_t width = panel_width(k, columns, p)
    size[0] = min(k.panel, rows - b * k.panel) * width
    return p * rows * k.panel + b * k.panel * width


cdef void penalty(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t rows = op.number[0], columns = op.number[1], n = tasks(k, rows, columns), task, size, offset
    for task in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        offset = block(k, rows, columns, task, &size)
        (<double *> op.buffer[2])[task] = k.penalty(
            size, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset), op.scalar[0], op.scalar[1],
            step.inverse_weight,
        )


cdef void clip_value(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t rows = op.number[0], columns = op.number[1], n = tasks(k, rows, columns), task, size, offset
    for task in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        offset = block(k, rows, columns, task, &size)
        k.clip(size, at(k, op.buffer[0], offset), op.scalar[0])


cdef void square_sum(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t rows = op.number[0], columns = op.number[1], n = tasks(k, rows, columns), task, size, offset
    for task in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        offset = block(k, rows, columns, task, &size)
        (<double *> op.buffer[1])[task] = k.square_sum(size, at(k, op.buffer[0], offset))


cdef void clip_norm(const Op *op, const Step *step) noexcept nogil:
    """Every thread adds up all partial sums, which lie side by side, in the same order."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t rows = op.number[0], columns = op.number[1], n = tasks(k, rows, columns), task, size, offset, i
    cdef double *squares = <double *> op.buffer[1]
    cdef double total = 0.0, factor
    for i in range((<double *> op.buffer[2]) - squares + op.number[2]):
        total += squares[i]
    factor = op.scalar[0] / sqrt(total)
    if not factor < 1.0:
        return
    for task in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        offset = block(k, rows, columns, task, &size)
        k.scale(size, factor, at(k, op.buffer[0], offset))


cdef void update(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t rows = op.number[0], columns = op.number[1], n = tasks(k, rows, columns), task, offset
    cdef fnn_update u
    u.step.rate = step.corrected_rate
    u.step.shrink = 1.0 - step.rate * op.scalar[0]
    u.step.clip, u.step.l2 = INFINITY, 0.0
    u.step.p = &op.scalar[1]
    for task in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        offset = block(k, rows, columns, task, &u.n)
        u.w, u.g = at(k, op.buffer[0], offset), at(k, op.buffer[1], offset)
        u.state0, u.state1 = at(k, op.buffer[2], offset), at(k, op.buffer[3], offset)
        k.update[op.number[2]](&u)


def bind_penalty(op, layout):
    layout.partials(op.outputs[1], layout.tasks(op.inputs[0]))
    buffers = [op.inputs[0], *op.outputs]
    return buffers, list(layout.shape(op.inputs[0])), [op.attributes["l1"], op.attributes["l2"]]


def bind_clip_value(op, layout):
    return [op.inputs[0]], list(layout.shape(op.inputs[0])), [op.attributes["limit"]]


def bind_square_sum(op, layout):
    layout.partials(op.outputs[0], layout.tasks(op.inputs[0]))
    return [op.inputs[0], op.outputs[0]], list(layout.shape(op.inputs[0])), []


def bind_clip_norm(op, layout):
    gradient, first, last = op.inputs[0], op.inputs[1], op.inputs[len(op.inputs) - 1]
    numbers = [*layout.shape(gradient), layout.partial_sizes[last]]
    return [gradient, first, last], numbers, [op.attributes["limit"]]


def bind_update(op, layout):
    optimizer, *constants = op.attributes["optimizer"]
    numbers = [*layout.shape(op.inputs[0]), OPTIMIZERS[optimizer]]
    return list(op.inputs), numbers, [op.attributes["decay"], *constants]


OPS = {
    "penalty": (<size_t> &penalty, bind_penalty),
    "clip_value": (<size_t> &clip_value, bind_clip_value),
    "square_sum": (<size_t> &square_sum, bind_square_sum),
    "clip_norm": (<size_t> &clip_norm, bind_clip_norm),
    "update": (<size_t> &update, bind_update),
}
