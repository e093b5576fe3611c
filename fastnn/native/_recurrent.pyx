"""Recurrent cells: a thread takes some of its sequences through all steps, without waiting for anyone; the weights'
gradients are shared by (part of the rows, gate, panel of units, block of inputs), each summed over the part's rows and
steps in order.

What goes from step to step lies in scratch, side by side: in the batch, neighbours are a whole sequence apart, a
power of two often, whose multiples fall into the same places of the cache. Sequences are in order of falling length
there, so that at any step those that still run are the first ones.
"""

from libc.stdint cimport int64_t

from fastnn.native._recurrent cimport (
    BACKWARDS, CELL, CHANNELS, GATES, GRU, INPUTS, LSTM, OUTPUTS, ALL_LINES, ROWS, ROWS_SIZE, SIMPLE_RNN, STEPS, UNITS,
    Backward, Forward, Line, Rows, Tasks, add_sums, all_gradients, all_rows, all_rows_grad, dgates_of, gate_of,
    gradient_of, line_at, line_of, lines_of,
)
from fastnn.native.kernels cimport FNN_SUM, fnn_gemm, fnn_kernels
from fastnn.native.op cimport (
    Op, Step, at, first_row, height_of, multiply, padded, panel_stride, panel_width, panels, row_span, rows_of,
    rows_of_panels, share,
)

from fastnn.native._activation import activation_id

cdef enum:
    LINES = 96   # of dgates, that are multiplied with all panels while they are in L2
    TILE_ROWS = 16  # products of bfloat16 read their rows up to a multiple of so many
    DEPTH = 448  # steps whose dgates stay in L2, a panel's gates (448 KB) beside a block of the inputs (112 KB)

# Kind of op -> cell, gates, lines of a step.
CELLS = {"simple_rnn": (SIMPLE_RNN, 1, 1), "lstm": (LSTM, 4, 4), "gru": (GRU, 3, 4)}


cdef inline void add_product(
    const fnn_kernels *k, const char *a, int64_t stride, int64_t depth, const char *b, int64_t width,
    const char *init, int64_t init_row, char *c, int64_t n
) noexcept nogil:
    """c = init + a b for n rows of a panel matrix and one panel of b; without a, only init."""
    cdef fnn_gemm g
    rows_of_panels(k, a, depth if a != NULL else 0, stride, &g)
    g.b = b
    g.b_row = width
    g.init = init
    g.init_row = init_row
    g.c = c
    g.c_row = width
    multiply(k, &g, width // k.lanes, n)


cdef inline void pre_activations(
    const Op *op, const fnn_kernels *k, const Rows *rows, int64_t n, const Forward *s, int64_t p, int64_t gate,
    const char *heard
) noexcept nogil:
    """z = b + x W + h U of a gate. One sum, with x as its tail, is 1.07 times as fast as two (128 units, 28 channels);
    it takes a state of whole panels, and an x of one."""
    cdef int64_t channels = op.number[CHANNELS], units = op.number[UNITS], width = panel_width(k, units, p)
    cdef int64_t line = p * k.panel * op.number[GATES] + gate * width, stride = rows.n * k.panel
    cdef const char *W = at(k, op.buffer[1], line * channels)
    cdef const char *U = at(k, op.buffer[2], line * units)
    cdef const char *b = at(k, op.buffer[3], line)
    cdef char *z = at(k, s.z, gate * rows.n * width)
    cdef fnn_gemm g
    if heard == NULL or units % k.panel != 0 or channels > k.panel:
        add_product(k, s.x, stride, channels, W, width, b, 0, z, n)
        if heard != NULL:
            add_product(k, heard, stride, units, U, width, z, width, z, n)
        return
    rows_of_panels(k, heard, units, stride, &g)
    g.tail, g.tail_row, g.tail_depth = s.x, padded(k, channels), channels
    g.b, g.tail_b, g.b_row = U, W, width
    g.init, g.init_row = b, 0
    g.c, g.c_row = z, width
    multiply(k, &g, width // k.lanes, n)


cdef void products(
    const Op *op, const Step *step, const Rows *rows, int64_t n, const Forward *s, int64_t p, bint starts
) noexcept nogil:
    """Pre-activations of panel p. Where all sequences start, their states are zero and are left out."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t units = op.number[UNITS], gates = op.number[GATES], width = panel_width(k, units, p), gate
    cdef const char *heard = NULL if starts else s.heard
    cdef bint apart  # the products of the state with the candidate's weights, which the reset gate scales
    for gate in range(gates):
        apart = op.number[CELL] == GRU and gate == 2
        pre_activations(op, k, rows, n, s, p, gate, NULL if apart else heard)
        if apart:
            add_product(
                k, heard, rows.n * k.panel, units, at(k, op.buffer[2], (p * k.panel * gates + gate * width) * units),
                width, at(k, op.buffer[4], p * k.panel), 0, at(k, s.z, 3 * rows.n * width), n,
            )


cdef void recurrent(const Op *op, const Step *step) noexcept nogil:
    all_rows(op, step, products, False)


cdef void carry(
    const Op *op, const Step *step, const Rows *rows, int64_t n, const Backward *s, int64_t t
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t units = op.number[UNITS], gates = op.number[GATES], p, q, width, start
    cdef fnn_gemm g
    g.a_step, g.tail_b, g.finish, g.scattered = 1, NULL, FNN_SUM, False
    g.blocks = 2 if op.number[CELL] == GRU else gates  # whose third one is the tail
    for q in range(panels(k, units)):
        width, start = panel_width(k, units, q), q * rows.n * k.panel
        g.b_row = g.init_row = g.c_row = width
        for p in range(panels(k, units)):
            g.a = lines_of(op, step, rows, s, p, t, &g.a_row)
            g.a_block, g.depth = panel_width(k, units, p), height_of(k, units, p)
            g.tail, g.tail_row = at(k, g.a, line_of(op, gates - 1) * g.a_block), g.a_row
            g.tail_depth = g.depth if g.blocks < gates else 0
            g.b = at(k, op.buffer[1], q * gates * units * k.panel + p * k.panel * width)
            g.b_skip = (units - g.depth) * width
            g.c = at(k, s.dh if s.mask == NULL else s.dheard, start)
            g.init = g.c if s.mask == NULL or p > 0 else NULL
            multiply(k, &g, width // k.lanes, n)
        if s.mask != NULL:
            k.add_products(n * width, at(k, s.dheard, start), at(k, s.mask, start), at(k, s.dh, start))


cdef void recurrent_grad(const Op *op, const Step *step) noexcept nogil:
    all_rows_grad(op, step, carry, False)


cdef void recurrent_grad_input(const Op *op, const Step *step) noexcept nogil:
    """dx = sum over gates of dgates WT, of stretches of lines."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[0], channels = op.number[1], units = op.number[2], gates = op.number[3]
    cdef int64_t lines = op.number[4], line = first_row(step) * time, last = line + rows_of(step) * time
    cdef int64_t p, q, n, width
    cdef fnn_gemm g
    g.a_step, g.blocks, g.tail_row, g.tail_depth, g.tail_b = 1, gates, 0, 0, NULL
    g.finish = FNN_SUM
    g.scattered = False
    while line < last:
        n = min(<int64_t> LINES, last - line)
        for q in range(panels(k, channels)):
            width = panel_width(k, channels, q)
            g.b_row = g.c_row = g.init_row = width
            for p in range(panels(k, units)):
                g.depth = height_of(k, units, p)
                g.b_skip = (units - g.depth) * width
                g.a_block = panel_width(k, units, p)
                g.a_row = lines * g.a_block
                g.a = at(k, op.buffer[0], p * panel_stride(step, time * lines) + line * g.a_row)
                g.tail = g.a
                g.b = at(k, op.buffer[1], q * gates * units * k.panel + p * k.panel * width)
                g.c = at(k, op.buffer[2], q * panel_stride(step, time) + line * width)
                g.init = g.c if p > 0 else NULL
                multiply(k, &g, width // k.lanes, n)
        line += n


# A stretch of steps of some rows of a part: the first of them all, rows, and steps of each.
cdef struct Stretch:
    int64_t part, row, t, rows, depth


cdef inline void add_gradient(
    const Op *op, const Step *step, const Line *of, const Stretch *s, bint of_state, int64_t gate, int64_t block
) noexcept nogil:
    """dW += x^T dz or dU += h^T dz for a block of inputs and a line of dgates; h is that of the step before."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[OUTPUTS if of_state else INPUTS], steps = op.number[STEPS], t = s.t
    cdef int64_t width = panel_width(k, op.number[OUTPUTS], of.p)
    cdef fnn_gemm g
    g.depth, g.b_row, g.b_skip = s.depth, op.number[ALL_LINES] * width, 0
    g.b = dgates_of(op, step, of, s.row * steps + t)
    if of_state and op.number[BACKWARDS]:
        t += 1
        if t + g.depth > steps:
            g.depth, g.b_skip = g.depth - 1, g.b_row
    elif of_state:
        t -= 1
        if t < 0:
            t, g.depth, g.b, g.b_skip = 0, g.depth - 1, at(k, g.b, g.b_row), g.b_row
    if g.depth == 0:
        return
    g.a_row = 1
    g.a_step = panel_width(k, inputs, block)
    g.a_block = steps * g.a_step
    g.blocks = s.rows
    g.a = at(k, op.buffer[1 if of_state else 0], block * panel_stride(step, steps) + s.row * g.a_block + t * g.a_step)
    g.tail, g.tail_row, g.tail_depth, g.tail_b = g.a, 0, 0, NULL
    g.finish = FNN_SUM
    g.scattered = False
    g.c = gradient_of(op, step, gate, of.p, s.part, of_state, block)
    g.init = g.c
    g.init_row, g.c_row = width, width
    multiply(k, &g, width // k.lanes, height_of(k, inputs, block))


cdef void gradients_of_line(
    const Op *op, const Step *step, const Line *of, const Stretch *s
) noexcept nogil:
    """What one line of a stretch's dgates yields with blocks of x and h; the sums of dgates go with the first block."""
    cdef int64_t block, gate
    for block in range(of.first, of.last):
        gate = gate_of(op, of.line, block >= of.of_x)
        if gate >= 0:
            add_gradient(op, step, of, s, block >= of.of_x, gate, block - of.of_x if block >= of.of_x else block)
    if of.first == 0:
        add_sums(op, step, of, s.part, s.row * op.number[STEPS] + s.t, s.rows * s.depth)


cdef void sum_rows(const Op *op, const Step *step, const Tasks *tasks, int64_t first, int64_t last) noexcept nogil:
    """Stretch by stretch of DEPTH steps or less, whose x and h come from memory once for all tasks."""
    cdef int64_t steps = op.number[STEPS], task
    cdef Line line
    cdef Stretch s
    s.part, s.row = tasks.part, first
    while s.row < last:
        s.rows = min(last - s.row, max(1, DEPTH // steps))
        s.t = 0
        while s.t < steps:
            s.depth = min(<int64_t> DEPTH, steps - s.t)
            task = tasks.first
            while task < tasks.last:
                line = line_at(op, step, tasks, task)
                gradients_of_line(op, step, &line, &s)
                task = line.next
            s.t += s.depth
        s.row += s.rows


cdef void grad_weights(const Op *op, const Step *step) noexcept nogil:
    all_gradients(op, step, sum_rows)


cdef void masked_states(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[0], units = op.number[1], p, width, x, mask
    for p in range(panels(k, units)):
        x = row_span(step, units, time, p, &width)
        mask = row_span(step, units, 1, p, &width)
        k.mask_lines(
            rows_of(step), time, width, at(k, op.buffer[0], x), at(k, op.buffer[1], mask), at(k, op.buffer[2], x)
        )


cdef void transpose_gates(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t gates = op.number[0], rows = op.number[1], columns = op.number[2], task, gate, block, p
    cdef int64_t blocks = panels(k, rows), n = gates * blocks * panels(k, columns), source, to
    for task in range(share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)):
        p, gate, block = task // (gates * blocks), task // blocks % gates, task % blocks
        source = p * gates * rows * k.panel + (gate * rows + block * k.panel) * panel_width(k, columns, p)
        to = block * gates * columns * k.panel + (gate * columns + p * k.panel) * panel_width(k, rows, block)
        k.transpose(
            height_of(k, rows, block), min(k.panel, columns - p * k.panel), at(k, op.buffer[0], source),
            panel_width(k, columns, p), at(k, op.buffer[1], to), panel_width(k, rows, block),
        )


def _cell_numbers(op, layout, sequence, cell, gates, lines, channels=0):
    time, *_, units = layout.plan.buffers[sequence].shape
    attributes = op.attributes
    name, *parameters = attributes["activation"] or (None,)
    activation = -1 if name is None else activation_id(name)
    numbers = [cell, time, channels, units, gates, lines, int(attributes["reverse"]), attributes["truncate"] or 0]
    return [*numbers, activation, int(attributes.get("last", False))], parameters


def _operands(op):
    """The op's operands, and of its optional ones the mask and the lengths, or None."""
    operands = list(op.inputs)
    lengths = operands.pop() if op.attributes["lengths"] else None
    mask = operands.pop() if op.attributes["mask"] else None
    return operands, mask, lengths


def _padded_to(count, names):
    return [*names, *[None] * (count - len(names))]


def bind_recurrent(op, layout, packed=0):
    """`packed`: numbers of bfloat16 that each row needs room for, too."""
    cell, gates, lines = CELLS[op.kind]
    operands, mask, lengths = _operands(op)
    buffers = [*_padded_to(5, operands), mask, lengths, *_padded_to(3, op.outputs)]
    h, channels = op.outputs[0], layout.columns(op.inputs[0])
    numbers, scalars = _cell_numbers(op, layout, h, cell, gates, lines, channels)
    units = layout.padded(layout.columns(h))
    _scratch(layout, 5 * units + layout.padded(channels) + lines * layout.panel, packed)
    return buffers, numbers, scalars


def bind_recurrent_grad(op, layout, packed=0):
    """`packed`: numbers of bfloat16 that each row needs room for, too."""
    cell, gates, lines = CELLS[op.kind.removesuffix("_grad")]
    (dh, UT, *saved), mask, lengths = _operands(op)
    kept, state = saved if len(saved) == 2 else (None, saved[0])
    numbers, scalars = _cell_numbers(op, layout, op.outputs[0], cell, gates, lines)
    _scratch(layout, (4 + lines) * layout.padded(layout.columns(dh)), packed)
    return [dh, UT, kept, state, None, mask, lengths, op.outputs[0]], numbers, scalars


def _scratch(layout, values, packed):
    """Room for the numbers of the rows that go through the steps together, packed ones filled up to whole tiles."""
    rows = min(ROWS, layout.rows)
    layout.scratch(ROWS_SIZE // layout.dtype.itemsize + rows * values + (rows + TILE_ROWS) * packed // 2)


def bind_grad_input(op, layout):
    dgates, WT = op.inputs
    dx, lines = op.outputs[0], op.attributes["lines"]
    time, channels = layout.plan.buffers[dx].shape
    _, all_lines, units = layout.plan.buffers[dgates].shape
    if lines != tuple(range(len(lines))):
        raise ValueError(f"recurrent_grad_input: lines must be the first ones, got {lines}")
    return [dgates, WT, dx], [time, channels, units, len(lines), all_lines], []


def bind_grad_weights(op, layout):
    x, _, dgates = op.inputs
    time, all_lines, units = layout.plan.buffers[dgates].shape
    lines, attributes = op.attributes["state_lines"], op.attributes
    if attributes["lines"] != tuple(range(len(lines))):
        raise ValueError(f"recurrent_grad_weights: lines must be the first ones, got {attributes['lines']}")
    numbers = [layout.columns(x), units, all_lines, time, int(attributes["reverse"]), len(lines), len(lines)]
    numbers += [attributes["part_rows"], *lines]
    return [*op.inputs, *op.outputs], numbers, []


def bind_masked_states(op, layout):
    h = op.inputs[0]
    return [*op.inputs, *op.outputs], [layout.positions(h), layout.columns(h)], []


def bind_transpose_gates(op, layout):
    *gates, rows, columns = layout.plan.buffers[op.inputs[0]].shape
    return [*op.inputs, *op.outputs], [*(gates or [1]), rows, columns], []


OPS = {
    **dict.fromkeys(CELLS, (<size_t> &recurrent, bind_recurrent)),
    **dict.fromkeys((f"{kind}_grad" for kind in CELLS), (<size_t> &recurrent_grad, bind_recurrent_grad)),
    "recurrent_grad_input": (<size_t> &recurrent_grad_input, bind_grad_input),
    "recurrent_grad_weights": (<size_t> &grad_weights, bind_grad_weights),
    "masked_states": (<size_t> &masked_states, bind_masked_states),
    "transpose_gates": (<size_t> &transpose_gates, bind_transpose_gates),
}
