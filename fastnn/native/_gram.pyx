"""Products of all columns with each other: a tile for every pair of column panels on or above the diagonal, each
summing over all rows in order. The tiles are what threads share."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport (
    Op, Step, at, fnn_gemm, fnn_kernels, multiply, panel_width, panels, share,
)


cdef void add_products(const Op *op, const Step *step, int64_t block, int64_t p) noexcept nogil:
    """Adds the products of the columns of panels `block` and p."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], width = panel_width(k, columns, p)
    cdef fnn_gemm g
    g.a = at(k, op.buffer[0], block * step.capacity * k.panel)
    g.a_row = 1
    g.a_step = panel_width(k, columns, block)
    g.a_block = 0
    g.blocks = 1
    g.depth = step.n
    g.tail = g.a
    g.tail_row = 0
    g.tail_depth = 0
    g.b = at(k, op.buffer[0], p * step.capacity * k.panel)
    g.b_row = width
    g.b_skip = 0
    g.c = at(k, op.buffer[1], p * columns * k.panel + block * k.panel * width)
    g.c_row = width
    g.init = g.c
    g.init_row = width
    multiply(k, &g, width // k.lanes, min(k.panel, columns - block * k.panel))


cdef void gram(const Op *op, const Step *step) noexcept nogil:
    cdef int64_t n = panels(step.kernels, op.number[0]), p, block, tile = 0
    cdef int64_t first = share(n * (n + 1) // 2, step.thread, step.threads)
    cdef int64_t last = share(n * (n + 1) // 2, step.thread + 1, step.threads)
    for p in range(n):
        for block in range(p + 1):
            if first <= tile < last:
                add_products(op, step, block, p)
            tile += 1


def bind_gram(op, layout):
    return [*op.inputs, *op.outputs], [layout.columns(op.inputs[0])], []


OPS = {"gram": (<size_t> &gram, bind_gram)}
