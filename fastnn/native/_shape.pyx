"""Rows in another shape, sums of two buffers, and columns side by side; rows are shared between threads."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport fnn_kernels
from fastnn.native.op cimport Op, Step, at, first_row, panel_stride, panels, row_span, rows_of

from fastnn.native._activation import activation_of


cdef void reshape(const Op *op, const Step *step) noexcept nogil:
    """An x that lies row by row has one position, and panels 0 apart."""
    cdef int64_t x_positions = op.number[1], y_positions = op.number[3]
    cdef int64_t x_stride = panel_stride(step, x_positions) if op.number[4] else 0
    step.kernels.reshape(
        first_row(step), rows_of(step), x_positions, op.number[0], x_stride, op.buffer[0], y_positions, op.number[2],
        panel_stride(step, y_positions), op.buffer[1],
    )


cdef void add(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, offset, n
    cdef char *z = op.buffer[3] if op.buffer[3] != NULL else op.buffer[2]
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, positions, p, &width)
        n = rows_of(step) * positions * width
        k.add(n, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset), at(k, z, offset))
        if op.number[2] >= 0:
            k.activation[op.number[2]](n, at(k, z, offset), at(k, op.buffer[2], offset), op.scalar)


cdef inline void copy_columns(
    const Op *op, const Step *step, int64_t n, const char *x, int64_t x_columns, int64_t x_first, char *y,
    int64_t y_columns, int64_t y_first,
) noexcept nogil:
    cdef int64_t positions = op.number[0], stride = panel_stride(step, positions)
    step.kernels.copy_columns(
        first_row(step) * positions, rows_of(step) * positions, n, x_columns, x_first, stride, x, y_columns, y_first,
        stride, y,
    )


cdef void concatenate(const Op *op, const Step *step) noexcept nogil:
    cdef int64_t left = op.number[1], right = op.number[2]
    copy_columns(op, step, left, op.buffer[0], left, 0, op.buffer[2], left + right, 0)
    copy_columns(op, step, right, op.buffer[1], right, 0, op.buffer[2], left + right, left)


cdef void take_columns(const Op *op, const Step *step) noexcept nogil:
    cdef int64_t n = op.number[2]
    copy_columns(op, step, n, op.buffer[0], op.number[1], op.number[3], op.buffer[1], n, 0)


def bind_reshape(op, layout):
    x, y = layout.plan.buffers[op.inputs[0]], layout.plan.buffers[op.outputs[0]]
    source = [x.size, 1] if x.layout == "rows" else [x.columns, x.positions]
    return [x.name, y.name], [*source, y.columns, y.positions, x.layout == "panels"], []


def bind_add(op, layout):
    y, *z = op.outputs
    activation, parameters = activation_of(op)
    return [*op.inputs, y, *(z or [None])], [layout.columns(y), layout.positions(y), activation], parameters


def bind_columns(op, layout):
    names = [*op.inputs, *op.outputs]
    columns = [layout.columns(name) for name in names[:2]]
    return names, [layout.positions(names[0]), *columns, op.attributes.get("first", 0)], []


OPS = {
    "reshape": (<size_t> &reshape, bind_reshape),
    "add": (<size_t> &add, bind_add),
    "concatenate": (<size_t> &concatenate, bind_columns),
    "take_columns": (<size_t> &take_columns, bind_columns),
}
