"""Dropout, the randomised leaky ReLU and the mixing of rows; rows are shared between threads.

What is drawn depends on (seed, stream, step, row, column) alone, and each position of a row counts as a row of its own,
except where whole channels are dropped.
"""

from libc.math cimport pow
from libc.stdint cimport int64_t, uint32_t

from fastnn.native.kernels cimport fnn_kernels, fnn_philox
from fastnn.native.op cimport Op, Step, at, first_row, panel_width, panels, row_span, rows_of


cdef void dropout(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], repeats = op.number[4], p, width, offset
    cdef int64_t lines = positions // repeats, row = (step.row + first_row(step)) * lines
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, positions, p, &width)
        k.dropout(
            rows_of(step) * lines, repeats, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset),
            <uint32_t> op.number[2], op.scalar[0], step.seed, p * k.panel, row, <uint32_t> step.t,
            <uint32_t> op.number[3],
        )


cdef void state_mask(const Op *op, const Step *step) noexcept nogil:
    """Dropout of ones."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t p, width, offset
    for p in range(panels(k, op.number[0])):
        offset = row_span(step, op.number[0], 1, p, &width)
        k.fill(rows_of(step) * width, 1.0, at(k, op.buffer[0], offset))
    dropout(op, step)


cdef void rrelu(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, offset
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, positions, p, &width)
        k.rrelu(
            rows_of(step) * positions, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset),
            op.scalar[0], op.scalar[1], step.seed, p * k.panel, (step.row + first_row(step)) * positions,
            <uint32_t> step.t, <uint32_t> op.number[2],
        )


cdef void rrelu_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, offset
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, positions, p, &width)
        k.rrelu_grad(
            rows_of(step) * positions, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset),
            at(k, op.buffer[2], offset), op.scalar[0], op.scalar[1], step.seed, p * k.panel,
            (step.row + first_row(step)) * positions, <uint32_t> step.t, <uint32_t> op.number[2],
        )


cdef double beta(double exponent, const Step *step, int64_t row, uint32_t stream) noexcept nogil:
    """A number of Beta(alpha, alpha), 0 < alpha = 1 / exponent <= 1, by Johnk's rejection over counters 0, 1, 2, ..."""
    cdef uint32_t[4] words
    cdef uint32_t trial = 0
    cdef double a = 1.0, b = 1.0
    while not 0.0 < a + b <= 1.0:
        fnn_philox(step.seed, trial, <uint32_t> row, <uint32_t> step.t, stream, words)
        a = pow((words[0] + 0.5) / 4294967296.0, exponent)
        b = pow((words[1] + 0.5) / 4294967296.0, exponent)
        trial += 1
    return a / (a + b)


cdef void mix(const Op *op, const Step *step) noexcept nogil:
    """Row by row; one that lies in one piece (0 columns) is mixed as a whole, else panel by panel."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], r, p, n, offset
    cdef double share
    for r in range(first_row(step), first_row(step) + rows_of(step)):
        share = beta(op.scalar[0], step, step.row + r, <uint32_t> op.number[2])
        for p in range(max(1, panels(k, columns))):
            n = positions * (panel_width(k, columns, p) if columns else 1)
            offset = p * step.capacity * positions * k.panel + r * n
            k.mix(n, share, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset), at(k, op.buffer[2], offset))


def bind_dropout(op, layout):
    rate, y = op.attributes["rate"], op.outputs[0]
    positions = layout.positions(y)
    repeats = positions if op.attributes.get("channels", False) else 1
    numbers = [layout.columns(y), positions, int(rate * 2**32), op.attributes["stream"], repeats]
    return [*op.inputs, y], numbers, [1.0 / (1.0 - rate)]


def bind_state_mask(op, layout):
    return bind_dropout(op.with_(inputs=op.outputs), layout)


def bind_rrelu(op, layout):
    attributes, y = op.attributes, op.outputs[0]
    numbers = [layout.columns(y), layout.positions(y), attributes["stream"]]
    return [*op.inputs, y], numbers, [attributes["lower"], attributes["upper"]]


def bind_mix(op, layout):
    y = layout.plan.buffers[op.outputs[0]]
    size = [0, y.size] if y.layout == "rows" else [y.columns, y.positions]
    return [*op.inputs, y.name], [*size, op.attributes["stream"]], [1.0 / op.attributes["alpha"]]


OPS = {
    "dropout": (<size_t> &dropout, bind_dropout),
    "dropout_grad": (<size_t> &dropout, bind_dropout),
    "state_mask": (<size_t> &state_mask, bind_state_mask),
    "rrelu": (<size_t> &rrelu, bind_rrelu),
    "rrelu_grad": (<size_t> &rrelu_grad, bind_rrelu),
    "mix": (<size_t> &mix, bind_mix),
}
