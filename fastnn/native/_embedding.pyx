"""Rows of a matrix by their numbers (sequences are shared between threads), and the sum of what comes back to each of
them (vectors of columns are)."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn.native.kernels cimport fnn_kernels
from fastnn.native.op cimport (
    Op, Step, at, first_row, padded, panel_stride, panel_width, panels, real_at, rows_of, share,
)


cdef inline int64_t token(const fnn_kernels *k, const char *x, int64_t place, int64_t tokens) noexcept nogil:
    """The number of a row, the nearest one where there is no such row, 0 for NaN."""
    cdef double number = real_at(k, x, place)
    if number >= <double> tokens:
        return tokens - 1
    return <int64_t> number if number >= 0.0 else 0


cdef void embedding(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t tokens = op.number[0], units = op.number[1], time = op.number[2], p, line, width
    cdef int64_t first = first_row(step) * time, last = first + rows_of(step) * time
    cdef const char *W
    cdef char *y
    for p in range(panels(k, units)):
        width = panel_width(k, units, p)
        W = at(k, op.buffer[1], p * tokens * k.panel)
        y = at(k, op.buffer[2], p * panel_stride(step, time))
        for line in range(first, last):
            memcpy(
                at(k, y, line * width), at(k, W, token(k, op.buffer[0], line, tokens) * width), width * k.itemsize
            )


cdef void embedding_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t tokens = op.number[0], units = op.number[1], time = op.number[2], p, line, width, begin, n
    cdef int64_t vectors = padded(k, units) // k.lanes
    cdef int64_t first = share(vectors, step.thread, step.threads) * k.lanes
    cdef int64_t last = share(vectors, step.thread + 1, step.threads) * k.lanes
    cdef char *dW
    cdef char *dy
    cdef char *to
    for p in range(panels(k, units)):
        width = panel_width(k, units, p)
        begin = max(0, first - p * k.panel)
        n = min(width, last - p * k.panel) - begin
        if n <= 0:
            continue
        dW = at(k, op.buffer[2], p * tokens * k.panel + begin)
        dy = at(k, op.buffer[1], p * panel_stride(step, time) + begin)
        for line in range(tokens if step.chunk == 0 else 0):
            memset(at(k, dW, line * width), 0, n * k.itemsize)
        for line in range(step.n * time):
            to = at(k, dW, token(k, op.buffer[0], line, tokens) * width)
            k.add(n, to, at(k, dy, line * width), to)


def bind_embedding(op, layout):
    x, W = op.inputs
    return [x, W, op.outputs[0]], [*layout.shape(W), layout.positions(x)], []


def bind_embedding_grad(op, layout):
    x, dy = op.inputs
    return [x, dy, op.outputs[0]], [*layout.shape(op.outputs[0]), layout.positions(x)], []


OPS = {
    "embedding": (<size_t> &embedding, bind_embedding),
    "embedding_grad": (<size_t> &embedding_grad, bind_embedding_grad),
}
