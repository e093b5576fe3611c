"""Which numbers of gathered rows are not zero, as bits; rows are shared between threads."""

from libc.stdint cimport int64_t, uint64_t

from fastnn.native.kernels cimport fnn_kernels
from fastnn.native.op cimport Half, Op, Step, at, half_of, panel_stride, panel_width, panels


cdef void nonzero(const Op *op, const Step *step) noexcept nogil:
    """A word for each row of a panel, panel after panel."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], cut = op.number[1], p, width
    cdef Half h
    for p in range(panels(k, columns)):
        width = panel_width(k, columns, p)
        h = half_of(step, columns, cut, cut and p * k.panel >= cut)
        k.nonzero(
            h.rows, width, at(k, op.buffer[0], p * panel_stride(step, 1) + h.first * width),
            <uint64_t *> op.buffer[1] + p * step.capacity + h.first,
        )


def bind_nonzero(op, layout):
    return [op.inputs[0], op.outputs[0]], [layout.columns(op.inputs[0]), op.attributes.get("cut", 0)], []


OPS = {"nonzero": (<size_t> &nonzero, bind_nonzero)}
