"""Recurrent cells with the operands of their products rounded to bfloat16: the loops of _recurrent.pyx over packed
operands.

States stay float32; each product rounds and packs its rows into this thread's scratch. What the gates hold, and their
gradients, which only products read, is kept as bfloat16: a batch leaves the caches half as often. Of the weights there
are packed copies: W above U, so that one product takes x and the state before it side by side, and each of them
transposed.
"""

from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memcpy, memset

from fastnn.native._recurrent cimport (
    ALL_LINES, BACKWARDS, CELL, CHANNELS, GATES, GRU, INPUTS, LINES_OF_STEP, OUTPUTS, STEPS, UNITS,
    Backward, Forward, Line, Rows, Tasks, all_gradients, all_rows, all_rows_grad, blocks_of, gate_of, gradient_of,
    line_at, packed_of, packed_row, sums_of,
)
from fastnn.native.kernels cimport fnn_bfloat16_product, fnn_kernels
from fastnn.native.op cimport (
    Op, Step, at, first_row, height_of, padded, panel_stride, panel_width, panels, rows_of, share,
)

from fastnn.native import _recurrent

cdef enum:
    TILE_ROWS = 16  # A is read up to a multiple of so many rows
    LINES = 64      # of dgates, that are multiplied with all panels while they are in L1
    STRETCH = 1024  # steps that are packed together: sums of weights' gradients come and go once in so many
    PIECE = 64      # states among these on their way through L1


cdef inline int64_t square(const fnn_kernels *k) noexcept nogil:
    """Elements of one block of a packed B, `lanes` columns wide."""
    return 2 * k.lanes * k.lanes


cdef inline int64_t block_of_rows(const fnn_kernels *k, int64_t rows) noexcept nogil:
    """Elements from block to block of a packed A."""
    return (rows + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS * 2 * k.lanes


cdef inline uint16_t *block_at(
    const fnn_kernels *k, const uint16_t *packed, int64_t p, int64_t to_block
) noexcept nogil:
    """Where in a packed A panel p starts."""
    return <uint16_t *> packed + p * k.panel // (2 * k.lanes) * to_block


cdef inline void pack_state(
    const Step *step, const char *x, int64_t columns, int64_t stride, int64_t n, uint16_t *to, int64_t to_block
) noexcept nogil:
    """n rows of a panel matrix as A."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t p, width
    for p in range(panels(k, columns)):
        width = panel_width(k, columns, p)
        step.bfloat16.pack_rows(
            n, width, <const float *> at(k, x, p * stride), width, block_at(k, to, p, to_block), 2 * k.lanes, to_block
        )


cdef void products(
    const Op *op, const Step *step, const Rows *rows, int64_t n, const Forward *s, int64_t p, bint starts
) noexcept nogil:
    """With the first panel, x and the state are packed, side by side."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t channels = op.number[CHANNELS], units = op.number[UNITS], gates = op.number[GATES], g
    cdef int64_t width = panel_width(k, units, p), stride = rows.n * k.panel
    cdef int64_t of_x = blocks_of(k, channels), of_h = blocks_of(k, units)
    cdef uint16_t *a = <uint16_t *> at(k, s.z, op.number[LINES_OF_STEP] * stride)
    cdef fnn_bfloat16_product q
    memset(&q, 0, sizeof(fnn_bfloat16_product))
    q.a_row, q.a_block = 2 * k.lanes, block_of_rows(k, rows.n)
    if p == 0:
        pack_state(step, s.x, channels, stride, n, a, q.a_block)
    if p == 0 and not starts:
        pack_state(step, s.heard, units, stride, n, a + of_x * q.a_block, q.a_block)
    q.b_tile = (of_x + of_h) * square(k)
    q.c_row, q.rows, q.tiles = width, n, width // k.lanes
    for g in range(gates):
        q.a, q.blocks = a, of_x + of_h
        if starts or op.number[CELL] == GRU and g == 2:
            q.blocks = of_x
        q.b = <uint16_t *> op.buffer[1] + (p * k.panel * gates + g * width) // k.lanes * q.b_tile
        q.init = NULL if s.rounded else <const float *> at(k, op.buffer[3], p * k.panel * gates + g * width)
        q.c = <float *> at(k, s.z, g * rows.n * width)
        step.bfloat16.multiply(&q)
    if op.number[CELL] == GRU:
        q.a, q.blocks = a + of_x * q.a_block, 0 if starts else of_h
        q.b += of_x * square(k)
        q.init = NULL if s.rounded else <const float *> at(k, op.buffer[4], p * k.panel)
        q.c = <float *> at(k, s.z, 3 * rows.n * width)
        step.bfloat16.multiply(&q)


cdef void recurrent(const Op *op, const Step *step) noexcept nogil:
    step.bfloat16.enter()
    all_rows(op, step, products, True)
    step.bfloat16.leave()


cdef void carry(
    const Op *op, const Step *step, const Rows *rows, int64_t n, const Backward *s, int64_t t
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t units = op.number[UNITS], p, width, start
    cdef fnn_bfloat16_product q
    memset(&q, 0, sizeof(fnn_bfloat16_product))
    q.a, q.a_row, q.a_block = packed_of(op, step, rows, s), packed_row(op, k), 2 * k.lanes
    q.blocks = op.number[GATES] * blocks_of(k, units)
    q.b_tile = q.blocks * square(k)
    q.rows = n
    for p in range(panels(k, units)):
        width, start = panel_width(k, units, p), p * rows.n * k.panel
        q.b = <uint16_t *> op.buffer[1] + p * k.panel // k.lanes * q.b_tile
        q.c = <float *> at(k, s.dh if s.mask == NULL else s.dheard, start)
        q.init = q.c if s.mask == NULL and op.number[CELL] == GRU else NULL  # other cells leave zeros in dh
        q.c_row = q.init_row = width
        q.tiles = width // k.lanes
        step.bfloat16.multiply(&q)
        if s.mask != NULL:
            k.add_products(n * width, at(k, s.dheard, start), at(k, s.mask, start), at(k, s.dh, start))


cdef void recurrent_grad(const Op *op, const Step *step) noexcept nogil:
    step.bfloat16.enter()
    all_rows_grad(op, step, carry, True)
    step.bfloat16.leave()


cdef void recurrent_grad_input(const Op *op, const Step *step) noexcept nogil:
    """dx = sum over gates of dgates WT, of stretches of lines."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[0], channels = op.number[1], units = op.number[2], gates = op.number[3]
    cdef int64_t lines = op.number[4], line = first_row(step) * time, last = line + rows_of(step) * time
    cdef int64_t p, g, n, width, source
    cdef uint16_t *a = <uint16_t *> step.scratch
    cdef fnn_bfloat16_product q
    memset(&q, 0, sizeof(fnn_bfloat16_product))
    q.a, q.a_row, q.a_block = a, 2 * k.lanes, block_of_rows(k, LINES)
    q.blocks = gates * blocks_of(k, units)
    q.b_tile = q.blocks * square(k)
    step.bfloat16.enter()
    while line < last:
        n = min(<int64_t> LINES, last - line)
        for p in range(panels(k, units)):
            width = panel_width(k, units, p)
            source = p * panel_stride(step, time * lines) + line * lines * width
            for g in range(gates):
                step.bfloat16.copy_rows(
                    n, width, <const uint16_t *> op.buffer[0] + source + g * width, lines * width,
                    block_at(k, a + g * blocks_of(k, units) * q.a_block, p, q.a_block), q.a_row, q.a_block,
                )
        q.rows = n
        for p in range(panels(k, channels)):
            q.c_row = panel_width(k, channels, p)
            q.tiles = q.c_row // k.lanes
            q.b = <uint16_t *> op.buffer[1] + p * k.panel // k.lanes * q.b_tile
            q.c = <float *> at(k, op.buffer[2], p * panel_stride(step, time) + line * q.c_row)
            step.bfloat16.multiply(&q)
        line += n
    step.bfloat16.leave()


# A stretch of n steps, of a part's rows in turn, packed for the gradients of the weights: x and h as A, one line of
# dgates as B, and room for a piece of h.
cdef struct Stretch:
    int64_t part, first, n, deep
    float *piece
    uint16_t *x
    uint16_t *h
    uint16_t *dz


cdef inline void take_before(
    const Op *op, const Step *step, int64_t block, int64_t first, int64_t n, float *to
) noexcept nogil:
    """The states before n steps side by side: zeros where a sequence starts."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t steps = op.number[STEPS], width = panel_width(k, op.number[OUTPUTS], block), i, before
    cdef int64_t start = steps - 1 if op.number[BACKWARDS] else 0
    cdef const float *h = <const float *> at(k, op.buffer[1], block * panel_stride(step, steps))
    for i in range(n):
        before = first + i + (1 if op.number[BACKWARDS] else -1)
        if (first + i) % steps == start:
            memset(to + i * width, 0, width * sizeof(float))
        else:
            memcpy(to + i * width, h + before * width, width * sizeof(float))


cdef inline void pack_inputs(const Op *op, const Step *step, const Stretch *s) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t channels = op.number[INPUTS], units = op.number[OUTPUTS], block, width, i, n
    cdef const char *x
    for block in range(panels(k, channels)):
        width = panel_width(k, channels, block)
        x = at(k, op.buffer[0], block * panel_stride(step, op.number[STEPS]) + s.first * width)
        step.bfloat16.pack_columns(
            s.n, width, <const float *> x, width, s.x + block * k.panel * s.deep, 2 * k.lanes, 2 * k.lanes * width
        )
    for block in range(panels(k, units)):
        width = panel_width(k, units, block)
        i = 0
        while i < s.n:
            n = min(<int64_t> PIECE, s.n - i)
            take_before(op, step, block, s.first + i, n, s.piece)
            step.bfloat16.pack_columns(
                n, width, s.piece, width, s.h + block * k.panel * s.deep + i * width, 2 * k.lanes, 2 * k.lanes * width
            )
            i += n


cdef inline void copy_gate(const Op *op, const Step *step, const Stretch *s, const Line *of) noexcept nogil:
    """A line of dgates as B, and with its first block its sums."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t lines = op.number[ALL_LINES], width = panel_width(k, op.number[OUTPUTS], of.p), first
    first = of.p * panel_stride(step, op.number[STEPS] * lines) + (s.first * lines + of.line) * width
    step.bfloat16.copy_pairs(
        s.n, width, <const uint16_t *> op.buffer[2] + first, lines * width, s.dz, s.deep * k.lanes,
        <float *> sums_of(op, step, of.line, of.p, s.part) if of.first == 0 else NULL,
    )


cdef inline void add_gradient(
    const Op *op, const Step *step, const Stretch *s, int64_t line, int64_t p, bint of_state, int64_t block
) noexcept nogil:
    """dW += x^T dz or dU += h^T dz for a block of inputs; h is that of the step before."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[OUTPUTS if of_state else INPUTS], width = panel_width(k, op.number[OUTPUTS], p)
    cdef int64_t gate = gate_of(op, line, of_state)
    cdef fnn_bfloat16_product q
    if gate < 0:
        return
    memset(&q, 0, sizeof(fnn_bfloat16_product))
    q.a = (s.h if of_state else s.x) + block * k.panel * s.deep
    q.a_row = 2 * k.lanes
    q.a_block = q.a_row * panel_width(k, inputs, block)
    q.blocks = s.deep // (2 * k.lanes)
    q.b, q.b_tile = s.dz, s.deep * k.lanes
    q.init = q.c = <float *> gradient_of(op, step, gate, p, s.part, of_state, block)
    q.c_row = q.init_row = width
    q.rows = height_of(k, inputs, block)
    q.tiles = width // k.lanes
    step.bfloat16.multiply(&q)


cdef void sum_rows(const Op *op, const Step *step, const Tasks *tasks, int64_t first, int64_t last) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t task, block, total = last * op.number[STEPS]
    cdef Line of
    cdef Stretch s
    s.part, s.first = tasks.part, first * op.number[STEPS]
    s.piece = <float *> step.scratch
    s.dz = <uint16_t *> at(k, step.scratch, PIECE * k.panel)
    while s.first < total:
        s.n = min(<int64_t> STRETCH, total - s.first)
        s.deep = blocks_of(k, s.n) * 2 * k.lanes
        s.x = s.dz + s.deep * k.panel
        s.h = s.x + s.deep * padded(k, op.number[INPUTS])
        pack_inputs(op, step, &s)
        task = tasks.first
        while task < tasks.last:
            of = line_at(op, step, tasks, task)
            copy_gate(op, step, &s, &of)
            for block in range(of.first, of.last):
                add_gradient(
                    op, step, &s, of.line, of.p, block >= of.of_x, block - of.of_x if block >= of.of_x else block
                )
            task = of.next
        s.first += s.n


cdef void grad_weights(const Op *op, const Step *step) noexcept nogil:
    step.bfloat16.enter()
    all_gradients(op, step, sum_rows)
    step.bfloat16.leave()


cdef void pack_gates(const Op *op, const Step *step) noexcept nogil:
    """W above U, gate by gate."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t gates = op.number[0], channels = op.number[1], units = op.number[2], task, p, gate, width, tile
    cdef int64_t n = gates * panels(k, units), of_x = blocks_of(k, channels), deep = of_x + blocks_of(k, units)
    cdef uint16_t *to
    for task in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        p, gate = task // gates, task % gates
        width = panel_width(k, units, p)
        tile = (p * k.panel * gates + gate * width) // k.lanes
        to = <uint16_t *> op.buffer[2] + tile * deep * square(k)
        step.bfloat16.pack_pairs(
            channels, width, <const float *> at(k, op.buffer[0], (p * gates * k.panel + gate * width) * channels),
            width, to, deep * square(k),
        )
        step.bfloat16.pack_pairs(
            units, width, <const float *> at(k, op.buffer[1], (p * gates * k.panel + gate * width) * units), width,
            to + of_x * square(k), deep * square(k),
        )


cdef void transpose_gates(const Op *op, const Step *step) noexcept nogil:
    """Each gate's matrix transposed, one below the other."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t gates = op.number[0], rows = op.number[1], columns = op.number[2], task, gate, block, p, width
    cdef int64_t blocks = panels(k, rows), n = gates * blocks * panels(k, columns), to, tile
    tile = gates * blocks_of(k, columns) * square(k)
    for task in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        p, gate, block = task // (gates * blocks), task // blocks % gates, task % blocks
        width = panel_width(k, columns, p)
        to = block * k.panel // k.lanes * tile
        to += (gate * blocks_of(k, columns) + p * k.panel // (2 * k.lanes)) * square(k)
        step.bfloat16.pack_transposed(
            height_of(k, rows, block), width,
            <const float *> at(k, op.buffer[0], p * gates * rows * k.panel + (gate * rows + block * k.panel) * width),
            width, <uint16_t *> op.buffer[1] + to, tile,
        )


def bind_recurrent(op, layout):
    x, copy, *rest = op.inputs
    depth = layout.deep(layout.columns(x)) + layout.deep(layout.columns(op.outputs[0]))
    return _recurrent.bind_recurrent(op.with_(inputs=(x, copy, None, *rest)), layout, depth)


def bind_recurrent_grad(op, layout):
    _, gates, _ = _recurrent.CELLS[op.kind.removesuffix("_grad")]
    packed = gates * layout.deep(layout.columns(op.inputs[0])) + layout.deep(1)  # see packed_row
    return _recurrent.bind_recurrent_grad(op, layout, packed)


def bind_grad_input(op, layout):
    layout.scratch(LINES * len(op.attributes["lines"]) * layout.deep(layout.columns(op.inputs[0])) // 2)
    return _recurrent.bind_grad_input(op, layout)


def bind_grad_weights(op, layout):
    bound = _recurrent.bind_grad_weights(op, layout)
    columns = layout.panel + sum(layout.padded(layout.columns(name)) for name in op.inputs[:2])
    layout.scratch(PIECE * layout.panel + STRETCH * columns // 2)
    return bound


def bind_pack_gates(op, layout):
    W, U = op.inputs
    *gates, channels, units = layout.plan.buffers[W].shape
    gates = gates[0] if gates else 1
    layout.packed(op.outputs[0], layout.deep(channels) + layout.deep(units), gates * layout.padded(units))
    return [W, U, *op.outputs], [gates, channels, units], []


def bind_transpose_gates(op, layout):
    buffers, numbers, scalars = _recurrent.bind_transpose_gates(op, layout)
    gates, rows, columns = numbers
    layout.packed(op.outputs[0], gates * layout.deep(columns), rows)
    return buffers, numbers, scalars


# Ops with precision="bfloat16".
OPS = {
    **dict.fromkeys(_recurrent.CELLS, (<size_t> &recurrent, bind_recurrent)),
    **dict.fromkeys((f"{kind}_grad" for kind in _recurrent.CELLS), (<size_t> &recurrent_grad, bind_recurrent_grad)),
    "recurrent_grad_input": (<size_t> &recurrent_grad_input, bind_grad_input),
    "recurrent_grad_weights": (<size_t> &grad_weights, bind_grad_weights),
    "pack_gates": (<size_t> &pack_gates, bind_pack_gates),
    "transpose_gates": (<size_t> &transpose_gates, bind_transpose_gates),
}
