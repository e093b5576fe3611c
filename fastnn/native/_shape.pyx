"""Rows in another shape, and sums of two buffers; rows are shared between threads."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport (
    Op, Step, at, first_row, fnn_kernels, panel_stride, panels, row_span, rows_of,
)


cdef void reshape(const Op *op, const Step *step) noexcept nogil:
    """Row by row out of the panels of x into scratch, and from there into the panels of y.

    Of an x that lies row by row (0 positions) only the second half is left.
    """
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t x_columns = op.number[0], x_positions = op.number[1], y_columns = op.number[2]
    cdef int64_t y_positions = op.number[3], start = first_row(step), r
    cdef int64_t x_stride = panel_stride(step, x_positions), y_stride = panel_stride(step, y_positions)
    if x_positions == 0:
        k.gather(
            rows_of(step) * y_positions, y_columns, NULL, at(k, op.buffer[0], start * x_columns), y_columns,
            k.itemsize, 1.0, op.buffer[1], y_stride, start * y_positions,
        )
        return
    for r in range(start, start + rows_of(step)):
        k.store(x_positions, x_columns, op.buffer[0], x_stride, r * x_positions, step.scratch, x_columns)
        k.gather(
            y_positions, y_columns, NULL, step.scratch, y_columns, k.itemsize, 1.0, op.buffer[1], y_stride,
            r * y_positions,
        )


cdef void add(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, offset
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, positions, p, &width)
        k.add(
            rows_of(step) * positions * width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset),
            at(k, op.buffer[2], offset),
        )


def bind_reshape(op, layout):
    x, y = layout.plan.buffers[op.inputs[0]], layout.plan.buffers[op.outputs[0]]
    if x.layout == "rows":
        source = [x.size, 0]
    else:
        source = [x.columns, x.positions]
        layout.scratch(x.size)
    return [x.name, y.name], [*source, y.columns, y.positions], []


def bind_add(op, layout):
    y = op.outputs[0]
    return [*op.inputs, y], [layout.columns(y), layout.positions(y)], []


OPS = {"reshape": (<size_t> &reshape, bind_reshape), "add": (<size_t> &add, bind_add)}
