"""Products of all columns with each other: a tile for every pair of column panels on or above the diagonal, each
summing over all rows in order. The tiles are what threads share."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport FNN_SUM, fnn_gemm, fnn_kernels
from fastnn.native.op cimport Op, Step, at, multiply, panel_width, panels, share


cdef void add_products(
    const Op *op, const Step *step, int64_t block, int64_t p, int64_t first, int64_t rows
) noexcept nogil:
    """Adds the products of the columns of panel `block` and those of panel p, of both from the column `first` on."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], width = panel_width(k, columns, p)
    cdef fnn_gemm g
    g.a = at(k, op.buffer[0], block * step.capacity * k.panel + first)
    g.a_row = 1
    g.a_step = panel_width(k, columns, block)
    g.a_block = 0
    g.blocks = 1
    g.depth = step.n
    g.tail = g.a
    g.tail_row = 0
    g.tail_depth = 0
    g.tail_b = NULL
    g.finish = FNN_SUM
    g.scattered = False
    g.b = at(k, op.buffer[0], p * step.capacity * k.panel + first)
    g.b_row = width
    g.b_skip = 0
    g.c = at(k, op.buffer[1], p * columns * k.panel + (block * k.panel + first) * width + first)
    g.c_row = width
    g.init = g.c
    g.init_row = width
    multiply(k, &g, (width - first) // k.lanes, rows)


cdef void gram(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], n = panels(k, columns), p, block, i, width, tile = 0
    cdef int64_t first = share(n * (n + 1) // 2, step.thread, step.threads)
    cdef int64_t last = share(n * (n + 1) // 2, step.thread + 1, step.threads)
    for p in range(n):
        width = min(k.panel, columns - p * k.panel)
        for block in range(p + 1):
            if first <= tile < last and block < p:
                add_products(op, step, block, p, 0, k.panel)
            elif first <= tile < last:  # vector by vector, without most of what is below the diagonal
                for i in range((width + k.lanes - 1) // k.lanes):
                    add_products(op, step, p, p, i * k.lanes, min(k.lanes, width - i * k.lanes))
            tile += 1


def bind_gram(op, layout):
    return [*op.inputs, *op.outputs], [layout.columns(op.inputs[0])], []


OPS = {"gram": (<size_t> &gram, bind_gram)}
