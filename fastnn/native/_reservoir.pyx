"""The states of a reservoir: one product drives all steps, then the steps follow each other.

Dense weights multiply all sequences of a step at once, tile by tile. Sparse ones take four sequences through all steps
side by side, one alone where fewer are left: their states lie in this thread's scratch, twice in a row, so that the
unit any number of places on is found without looking where the circle closes. The order of every sum is the same in
all these cases.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

import numpy as np

from fastnn.native.kernels cimport FNN_SUM, fnn_gemm, fnn_kernels
from fastnn.native.op cimport Op, Step, at, first_row, multiply, padded, panel_width, panels, rows_of

from fastnn.native._activation import activation_id


cdef enum:
    SIDE_BY_SIDE = 4  # sequences that share the weights of their links


# Where a matrix of states lies: panels `stride` apart, a row every `row` lines.
cdef struct Place:
    char *start
    int64_t stride, row


cdef inline Place states_at(const Op *op, const Step *step, int64_t t) noexcept nogil:
    """The states before step t: those of step t - 1, or the ones to start from."""
    cdef Place place
    cdef int64_t time = op.number[0]
    place.row = time if t > 0 else 1
    place.stride = step.capacity * place.row * step.kernels.panel
    place.start = op.buffer[5] if t > 0 else op.buffer[1]
    return place


cdef inline char *row_of(
    const fnn_kernels *k, const Place *place, int64_t t, int64_t units, int64_t p, int64_t r
) noexcept nogil:
    """Panel p of the states of sequence r before step t."""
    cdef int64_t line = r * place.row + (t - 1 if t > 0 else 0)
    return at(k, place.start, p * place.stride + line * panel_width(k, units, p))


cdef void drive(const Op *op, const Step *step) noexcept nogil:
    """u W_in + b of all steps, into the place of the states."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[0], channels = op.number[1], units = op.number[2], p, width
    cdef int64_t first = first_row(step) * time, lines = rows_of(step) * time
    cdef fnn_gemm g
    for p in range(panels(k, units)):
        width = panel_width(k, units, p)
        g.a = at(k, op.buffer[0], first * channels)
        g.a_row = channels
        g.a_step = 1
        g.a_block = 0
        g.blocks = 1
        g.depth = channels
        g.tail = g.a
        g.tail_row = 0
        g.tail_depth = 0
        g.tail_b = NULL
        g.finish = FNN_SUM
        g.scattered = False
        g.b = at(k, op.buffer[2], p * channels * k.panel)
        g.b_row = width
        g.b_skip = 0
        g.init = at(k, op.buffer[3], p * k.panel)
        g.init_row = 0
        g.c = at(k, op.buffer[5], p * step.capacity * time * k.panel + first * width)
        g.c_row = width
        multiply(k, &g, width // k.lanes, lines)


cdef void add_product(const Op *op, const Step *step, int64_t t) noexcept nogil:
    """Adds s[t - 1] W to what drives step t."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[0], units = op.number[2], p, width, whole = units // k.panel, r = first_row(step)
    cdef Place before = states_at(op, step, t), after = states_at(op, step, time)
    cdef fnn_gemm g
    for p in range(panels(k, units)):
        width = panel_width(k, units, p)
        g.a = row_of(k, &before, t, units, 0, r)
        g.a_row = before.row * k.panel
        g.a_step = 1
        g.a_block = before.stride
        g.blocks = whole
        g.depth = k.panel
        g.tail_depth = units - whole * k.panel
        g.tail_row = before.row * panel_width(k, units, whole) if g.tail_depth > 0 else 0
        g.tail = row_of(k, &before, t, units, whole, r) if g.tail_depth > 0 else g.a
        g.b = at(k, op.buffer[4], p * units * k.panel)
        g.tail_b = NULL
        g.finish = FNN_SUM
        g.scattered = False
        g.b_row = width
        g.b_skip = 0
        g.c = row_of(k, &after, t + 1, units, p, r)
        g.c_row = time * width
        g.init = g.c
        g.init_row = g.c_row
        multiply(k, &g, width // k.lanes, rows_of(step))


cdef void run_dense(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[0], units = op.number[2], t, r, p, width
    cdef Place before, after = states_at(op, step, time)
    cdef char *s
    for t in range(time):
        before = states_at(op, step, t)
        add_product(op, step, t)
        for p in range(panels(k, units)):
            width = panel_width(k, units, p)
            for r in range(first_row(step), first_row(step) + rows_of(step)):
                s = row_of(k, &after, t + 1, units, p, r)
                k.activation[op.number[3]](width, s, s, &op.scalar[1])
                k.leak(width, op.scalar[0], s, row_of(k, &before, t, units, p, r), s, s)


cdef inline int64_t circle(const fnn_kernels *k, int64_t units) noexcept nogil:
    """Elements of one sequence's states twice in a row, with room for the vector that reaches beyond them."""
    return padded(k, 2 * units) + k.lanes


cdef inline void start_circle(const Op *op, const Step *step, int64_t r, char *s) noexcept nogil:
    """The states that sequence r starts from, into the first of their two places."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t units = op.number[2], p
    cdef Place place = states_at(op, step, 0)
    for p in range(panels(k, units)):
        memcpy(at(k, s, p * k.panel), row_of(k, &place, 0, units, p, r), panel_width(k, units, p) * k.itemsize)


cdef void run_links(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[0], units = op.number[2], links = op.number[4], t, p, r, n, width
    cdef int64_t first = first_row(step), stop = first + rows_of(step), row = circle(k, units)
    cdef const int32_t *shift = <const int32_t *> op.number[5]
    cdef Place states = states_at(op, step, time)
    cdef char *before = step.scratch
    cdef char *after = at(k, before, SIDE_BY_SIDE * row)
    cdef char *s
    while first < stop:
        n = SIDE_BY_SIDE if stop - first >= SIDE_BY_SIDE else 1
        # Weights of pads are 0, but what they multiply must be numbers.
        memset(step.scratch, 0, 2 * SIDE_BY_SIDE * row * k.itemsize)
        for r in range(n):
            start_circle(op, step, first + r, at(k, before, r * row))
        for t in range(time):
            for r in range(n):
                memcpy(at(k, before, r * row + units), at(k, before, r * row), units * k.itemsize)
            for p in range(panels(k, units)):
                width = panel_width(k, units, p)
                s = row_of(k, &states, t + 1, units, p, first)
                k.links(
                    n, width, links, shift, at(k, op.buffer[4], p * links * k.panel), at(k, before, p * k.panel), row,
                    s, time * width,
                )
                for r in range(n):
                    k.activation[op.number[3]](width, s, s, &op.scalar[1])
                    k.leak(
                        width, op.scalar[0], s, at(k, before, r * row + p * k.panel), s,
                        at(k, after, r * row + p * k.panel),
                    )
                    s = at(k, s, time * width)
            before, after = after, before
        first += n


cdef void reservoir(const Op *op, const Step *step) noexcept nogil:
    drive(op, step)
    if op.number[4] > 0:
        run_links(op, step)
    else:
        run_dense(op, step)


def bind_reservoir(op, layout):
    u, s = layout.plan.buffers[op.inputs[0]], layout.plan.buffers[op.outputs[0]]
    time, units = s.shape
    name, *parameters = op.attributes["activation"]
    links = op.attributes["links"]
    numbers = [time, u.columns, units, activation_id(name), 0, 0]
    if links is not None:
        shift = links.shift
        if shift.dtype != np.int32 or not 0 <= shift.min(initial=0) <= shift.max(initial=0) < units:
            raise ValueError(f"reservoir: links must be int32 numbers below {units}, the number of units")
        numbers[4:] = [len(shift), layout.table(shift)]
        layout.scratch(2 * SIDE_BY_SIDE * (layout.padded(2 * units) + layout.lanes))
    return [*op.inputs, s.name], numbers, [op.attributes["leak"], *parameters]


OPS = {"reservoir": (<size_t> &reservoir, bind_reservoir)}
