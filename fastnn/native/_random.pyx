"""Dropout and the randomised leaky ReLU; rows are shared between threads.

What is drawn depends on (seed, stream, step, row, column) alone.
"""

from libc.stdint cimport int64_t, uint32_t

from fastnn.native.kernels cimport Op, Step, at, first_row, fnn_kernels, panels, row_span, rows_of


cdef void dropout(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], p, width, offset
    cdef int64_t start = first_row(step), rows = rows_of(step)
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, p, &width)
        k.dropout(
            rows, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset), <uint32_t> op.number[1],
            op.scalar[0], step.seed, p * k.panel, step.row + start, <uint32_t> step.t, <uint32_t> op.number[2],
        )


cdef void rrelu(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], p, width, offset
    cdef int64_t start = first_row(step), rows = rows_of(step)
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, p, &width)
        k.rrelu(
            rows, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset), op.scalar[0], op.scalar[1],
            step.seed, p * k.panel, step.row + start, <uint32_t> step.t, <uint32_t> op.number[1],
        )


cdef void rrelu_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], p, width, offset
    cdef int64_t start = first_row(step), rows = rows_of(step)
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, p, &width)
        k.rrelu_grad(
            rows, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset), at(k, op.buffer[2], offset),
            op.scalar[0], op.scalar[1],
            step.seed, p * k.panel, step.row + start, <uint32_t> step.t, <uint32_t> op.number[1],
        )


def bind_dropout(op, layout):
    rate = op.attributes["rate"]
    numbers = [layout.columns(op.outputs[0]), int(rate * 2**32), op.attributes["stream"]]
    return [*op.inputs, *op.outputs], numbers, [1.0 / (1.0 - rate)]


def bind_rrelu(op, layout):
    attributes = op.attributes
    numbers = [layout.columns(op.outputs[0]), attributes["stream"]]
    return [*op.inputs, *op.outputs], numbers, [attributes["lower"], attributes["upper"]]


OPS = {
    "dropout": (<size_t> &dropout, bind_dropout),
    "dropout_grad": (<size_t> &dropout, bind_dropout),
    "rrelu": (<size_t> &rrelu, bind_rrelu),
    "rrelu_grad": (<size_t> &rrelu_grad, bind_rrelu),
}
