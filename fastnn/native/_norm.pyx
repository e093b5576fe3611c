"""Batch norm (sums over rows part by part, the rest column by column or row by row) and layer norm (rows shared between
threads)."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport fnn_kernels
from fastnn.native.op cimport Op, Step, at, first_row, panel_stride, panel_width, panels, row_span, rows_of, share


cdef void batch_norm_sums(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, rows, offset
    cdef int parts = <int> op.number[2], part
    cdef char *partial
    for part in range(share(parts, step.thread, step.threads), share(parts, step.thread + 1, step.threads)):
        rows = share(step.n, part + 1, parts) - share(step.n, part, parts)
        for p in range(panels(k, columns)):
            width = panel_width(k, columns, p)
            offset = p * panel_stride(step, positions) + share(step.n, part, parts) * positions * width
            partial = at(k, op.buffer[1], 2 * (p * parts * k.panel + part * width))
            k.batch_norm_sums(
                rows * positions, width, at(k, op.buffer[0], offset), partial, at(k, partial, width)
            )


cdef void batch_norm_statistics(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], parts = op.number[2], p, vector, n = panels(k, columns)
    for p in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        vector = p * k.panel
        k.batch_norm_statistics(
            step.n, op.number[1], parts, panel_width(k, columns, p), at(k, op.buffer[0], 2 * parts * vector),
            op.scalar[0], op.scalar[1], at(k, op.buffer[1], vector), at(k, op.buffer[2], vector),
            at(k, op.buffer[3], vector), at(k, op.buffer[4], vector),
        )


cdef void batch_norm(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, offset, vector
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, positions, p, &width)
        vector = p * k.panel
        k.batch_norm(
            rows_of(step) * positions, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], vector),
            at(k, op.buffer[2], vector), at(k, op.buffer[3], vector), at(k, op.buffer[4], vector),
            at(k, op.buffer[5], offset),
        )


cdef void batch_norm_inference(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, offset, vector
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, positions, p, &width)
        vector = p * k.panel
        k.batch_norm_inference(
            rows_of(step) * positions, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], vector),
            at(k, op.buffer[2], vector), at(k, op.buffer[3], vector), at(k, op.buffer[4], vector), op.scalar[0],
            at(k, op.buffer[5], offset),
        )


cdef void batch_norm_grad_sums(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, rows, offset, vector
    cdef int parts = <int> op.number[2], part
    cdef char *partial
    for part in range(share(parts, step.thread, step.threads), share(parts, step.thread + 1, step.threads)):
        rows = share(step.n, part + 1, parts) - share(step.n, part, parts)
        for p in range(panels(k, columns)):
            width = panel_width(k, columns, p)
            offset = p * panel_stride(step, positions) + share(step.n, part, parts) * positions * width
            vector = p * k.panel
            partial = at(k, op.buffer[4], 2 * (parts * vector + part * width))
            k.batch_norm_grad_sums(
                rows * positions, width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset),
                at(k, op.buffer[2], vector), at(k, op.buffer[3], vector), partial, at(k, partial, width),
            )


cdef void batch_norm_grad_parameters(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], parts = op.number[2], p, vector, n = panels(k, columns)
    for p in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        vector = p * k.panel
        k.batch_norm_grad_parameters(
            parts, panel_width(k, columns, p), at(k, op.buffer[0], 2 * parts * vector), at(k, op.buffer[1], vector),
            at(k, op.buffer[2], vector),
        )


cdef void batch_norm_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, offset, vector
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, positions, p, &width)
        vector = p * k.panel
        k.batch_norm_grad(
            rows_of(step) * positions, width, step.n * positions, at(k, op.buffer[0], offset),
            at(k, op.buffer[1], offset), at(k, op.buffer[2], vector), at(k, op.buffer[3], vector),
            at(k, op.buffer[4], vector), at(k, op.buffer[5], vector), at(k, op.buffer[6], vector),
            at(k, op.buffer[7], offset),
        )


cdef void fold_norm(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], rows = op.number[1], p, vector, n = panels(k, columns)
    for p in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        vector = p * k.panel
        k.fold_norm(
            rows, panel_width(k, columns, p), at(k, op.buffer[0], rows * vector),
            at(k, op.buffer[1], vector) if op.buffer[1] != NULL else NULL, at(k, op.buffer[2], vector),
            at(k, op.buffer[3], vector), at(k, op.buffer[4], vector), at(k, op.buffer[5], vector), op.scalar[0],
            at(k, op.buffer[6], rows * vector), at(k, op.buffer[7], vector),
        )


cdef void layer_norm(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t positions = op.number[1]
    k.layer_norm(
        first_row(step) * positions, rows_of(step) * positions, op.number[0], panel_stride(step, positions),
        op.buffer[0], op.buffer[1], op.buffer[2], op.scalar[0], op.buffer[3], op.buffer[4], op.buffer[5],
    )


cdef void layer_norm_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t positions = op.number[1]
    k.layer_norm_grad(
        first_row(step) * positions, rows_of(step) * positions, op.number[0], panel_stride(step, positions),
        op.buffer[0], op.buffer[1], op.buffer[2], op.buffer[3], op.buffer[4], op.buffer[5],
    )


cdef void layer_norm_grad_parameters(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, offset, n = panels(k, columns)
    for p in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        offset = p * panel_stride(step, positions)
        k.layer_norm_grad_parameters(
            step.n * positions, panel_width(k, columns, p), at(k, op.buffer[0], offset), at(k, op.buffer[1], offset),
            op.buffer[2], op.buffer[3], step.chunk > 0,
            at(k, op.buffer[4], p * k.panel), at(k, op.buffer[5], p * k.panel),
        )


def bind(op, layout):
    x = op.inputs[0]
    numbers = [layout.columns(x), op.attributes.get("positions") or layout.positions(x), op.attributes.get("parts", 0)]
    scalars = [op.attributes[name] for name in ("epsilon", "momentum") if name in op.attributes]
    return [*op.inputs, *op.outputs], numbers, scalars


def bind_statistics(op, layout):
    """The running statistics are among inputs and outputs, in the same place."""
    return [op.inputs[0], *op.outputs], *bind(op, layout)[1:]


def bind_fold_norm(op, layout):
    W, *rest = op.inputs
    rows, columns = layout.shape(W)
    missing = [] if op.attributes["bias"] else [None]
    return [W, *missing, *rest, *op.outputs], [columns, rows], [op.attributes["epsilon"]]


OPS = {
    "batch_norm_sums": (<size_t> &batch_norm_sums, bind),
    "batch_norm_statistics": (<size_t> &batch_norm_statistics, bind_statistics),
    "batch_norm": (<size_t> &batch_norm, bind),
    "batch_norm_inference": (<size_t> &batch_norm_inference, bind),
    "batch_norm_grad_sums": (<size_t> &batch_norm_grad_sums, bind),
    "batch_norm_grad_parameters": (<size_t> &batch_norm_grad_parameters, bind),
    "batch_norm_grad": (<size_t> &batch_norm_grad, bind),
    "layer_norm": (<size_t> &layer_norm, bind),
    "layer_norm_grad": (<size_t> &layer_norm_grad, bind),
    "layer_norm_grad_parameters": (<size_t> &layer_norm_grad_parameters, bind),
    "fold_norm": (<size_t> &fold_norm, bind_fold_norm),
}
