"""Which numbers of gathered rows are not zero, as bits; rows are shared between threads."""

from libc.stdint cimport int64_t, uint64_t

from fastnn.native.kernels cimport Op, Step, at, fnn_kernels, first_row, panels, row_span, rows_of


cdef void nonzero(const Op *op, const Step *step) noexcept nogil:
    """A word for each row of a panel, panel after panel."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t p, start, width
    for p in range(panels(k, op.number[0])):
        start = row_span(step, op.number[0], 1, p, &width)
        k.nonzero(
            rows_of(step), width, at(k, op.buffer[0], start),
            <uint64_t *> op.buffer[1] + p * step.capacity + first_row(step),
        )


def bind_nonzero(op, layout):
    return [op.inputs[0], op.outputs[0]], [layout.columns(op.inputs[0])], []


OPS = {"nonzero": (<size_t> &nonzero, bind_nonzero)}
