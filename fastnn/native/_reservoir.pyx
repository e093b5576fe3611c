"""The states of a reservoir: one product drives all steps, then the steps follow each other.

Dense weights multiply all sequences of a step at once, tile by tile. Sparse ones take as many sequences as a vector has
lanes through all steps: unit by unit, one vector of sequences each, in this thread's scratch; a sequence that is left
over goes alone. The order of every sum is the same in all these cases.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

import numpy as np

from fastnn.native.kernels cimport (
    Op, Step, at, first_row, fnn_gemm, fnn_kernels, multiply, padded, panel_width, panels, rows_of,
)

from fastnn.native._activation import activation_id


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
                k.leak(width, op.scalar[0], s, row_of(k, &before, t, units, p, r), s)


cdef inline void load_lanes(
    const Op *op, const Step *step, int64_t t, int64_t first, int64_t sequences, int64_t width, char *lanes
) noexcept nogil:
    """States before step t of some sequences, one after the other: (units, width), a lane for each sequence."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t units = op.number[2], p, size
    cdef Place place = states_at(op, step, t)
    for p in range(panels(k, units)):
        if width == 1:
            size = panel_width(k, units, p) * k.itemsize
            memcpy(at(k, lanes, p * k.panel), row_of(k, &place, t, units, p, first), size)
            continue
        k.transpose(
            sequences, min(k.panel, units - p * k.panel), row_of(k, &place, t, units, p, first),
            place.row * panel_width(k, units, p), at(k, lanes, p * k.panel * width), width,
        )


cdef inline void store_lanes(
    const Op *op, const Step *step, int64_t t, int64_t first, int64_t sequences, int64_t width, const char *lanes
) noexcept nogil:
    """The reverse of load_lanes."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t units = op.number[2], p, size
    cdef Place place = states_at(op, step, t)
    for p in range(panels(k, units)):
        if width == 1:
            size = panel_width(k, units, p) * k.itemsize
            memcpy(row_of(k, &place, t, units, p, first), at(k, lanes, p * k.panel), size)
            continue
        k.transpose(
            min(k.panel, units - p * k.panel), sequences, at(k, lanes, p * k.panel * width), width,
            row_of(k, &place, t, units, p, first), place.row * panel_width(k, units, p),
        )


cdef void run_links(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[0], units = op.number[2], t, width, sequences
    cdef int64_t first = first_row(step), stop = first + rows_of(step)
    cdef const int32_t *source = <const int32_t *> op.number[5]
    cdef char *s = step.scratch
    cdef char *z = at(k, s, padded(k, units) * k.lanes)
    while first < stop:
        sequences = min(k.lanes, stop - first)
        width = 1 if sequences == 1 else k.lanes
        # Lanes without a sequence, and pads beyond the last unit, must hold numbers.
        memset(s, 0, 2 * padded(k, units) * k.lanes * k.itemsize)
        load_lanes(op, step, 0, first, sequences, width, s)
        for t in range(time):
            load_lanes(op, step, t + 1, first, sequences, width, z)
            k.links(units, op.number[4], width, source, op.buffer[4], s, z)
            k.activation[op.number[3]](padded(k, units) * width, z, z, &op.scalar[1])
            k.leak(padded(k, units) * width, op.scalar[0], z, s, s)
            store_lanes(op, step, t + 1, first, sequences, width, s)
        first += sequences


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
        source = links.source
        inside = 0 <= source.min(initial=0) and source.max(initial=0) < units
        if source.dtype != np.int32 or len(source) != units or not inside:
            raise ValueError(f"reservoir: links must be int32 numbers of units, one row for each of {units}")
        numbers[4:] = [source.shape[1], layout.table(source)]
        layout.scratch(2 * layout.padded(units) * layout.lanes)
    return [*op.inputs, s.name], numbers, [op.attributes["leak"], *parameters]


OPS = {"reservoir": (<size_t> &reservoir, bind_reservoir)}
