"""Batch norm (column panels shared between threads, each over all rows) and layer norm (rows shared)."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport Op, Step, at, first_row, fnn_kernels, panel_width, panels, row_span, rows_of, share


cdef void batch_norm(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], p, width, offset, vector, n = panels(k, columns)
    for p in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        width = panel_width(k, columns, p)
        offset = p * step.capacity * k.panel
        vector = p * k.panel
        k.batch_norm(
            step.n, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], vector), at(k, op.buffer[2], vector),
            op.scalar[0], op.scalar[1], at(k, op.buffer[3], offset), at(k, op.buffer[4], vector),
            at(k, op.buffer[5], vector), at(k, op.buffer[6], vector), at(k, op.buffer[7], vector),
        )


cdef void batch_norm_inference(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], p, width, offset, vector
    cdef int64_t rows = rows_of(step)
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, p, &width)
        vector = p * k.panel
        k.batch_norm_inference(
            rows, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], vector), at(k, op.buffer[2], vector),
            at(k, op.buffer[3], vector), at(k, op.buffer[4], vector), op.scalar[0], at(k, op.buffer[5], offset),
        )


cdef void batch_norm_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], p, width, offset, vector, n = panels(k, columns)
    for p in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        width = panel_width(k, columns, p)
        offset = p * step.capacity * k.panel
        vector = p * k.panel
        k.batch_norm_grad(
            step.n, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset), at(k, op.buffer[2], vector),
            at(k, op.buffer[3], vector), at(k, op.buffer[4], vector), at(k, op.buffer[5], offset),
            at(k, op.buffer[6], vector), at(k, op.buffer[7], vector),
        )


cdef void layer_norm(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t start = first_row(step), rows = rows_of(step)
    k.layer_norm(
        start, rows, op.number[0], step.capacity * k.panel, op.buffer[0], op.buffer[1], op.buffer[2],
        op.scalar[0], op.buffer[3], op.buffer[4], op.buffer[5],
    )


cdef void layer_norm_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t start = first_row(step), rows = rows_of(step)
    k.layer_norm_grad(
        start, rows, op.number[0], step.capacity * k.panel, op.buffer[0], op.buffer[1], op.buffer[2],
        op.buffer[3], op.buffer[4], op.buffer[5],
    )


cdef void layer_norm_grad_parameters(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], p, offset, n = panels(k, columns)
    for p in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        offset = p * step.capacity * k.panel
        k.layer_norm_grad_parameters(
            step.n, panel_width(k, columns, p), at(k, op.buffer[0], offset), at(k, op.buffer[1], offset),
            op.buffer[2], op.buffer[3], step.chunk > 0,
            at(k, op.buffer[4], p * k.panel), at(k, op.buffer[5], p * k.panel),
        )


def bind(op, layout):
    buffers = [*op.inputs, *op.outputs]
    scalars = [op.attributes[name] for name in ("epsilon", "momentum") if name in op.attributes]
    return buffers, [layout.columns(op.inputs[0])], scalars


def bind_batch_norm(op, layout):
    return [*op.inputs[:3], *op.outputs], *bind(op, layout)[1:]


OPS = {
    "batch_norm": (<size_t> &batch_norm, bind_batch_norm),
    "batch_norm_inference": (<size_t> &batch_norm_inference, bind),
    "batch_norm_grad": (<size_t> &batch_norm_grad, bind),
    "layer_norm": (<size_t> &layer_norm, bind),
    "layer_norm_grad": (<size_t> &layer_norm_grad, bind),
    "layer_norm_grad_parameters": (<size_t> &layer_norm_grad_parameters, bind),
}
