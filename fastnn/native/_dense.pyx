"""The three products of a dense layer as loops over register tiles.

A layer of few outputs has its weights turned, (out, in): see ``Layout.turned``. Then dW is the product the other way
round, dz^T x, and the forward product has a kernel of its own.

Forward and input gradient run over column panels outside and rows inside, so that a panel of weights stays in the
cache; weight gradients run over (block of inputs, panel of outputs) tasks, each summing over all rows in order.

Where bits tell which numbers of x are not zero, or x is a sparse matrix that is read entry by entry, the products with
the others are left out: that changes no bit of a sum of finite numbers, but the sign of a zero.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from fastnn.native._dense cimport (
    ALL, COLUMNS, HALVES, Finish, Portion, Strip, Tasks, activate, bias_gradient, block_offset, expect_rows, has_bias,
    locate, multiply_by_derivative, next_portion, next_task, share_tasks, update_bias, update_strip,
)
from fastnn.native._entries cimport ENTRIES, ROUNDED_ENTRIES, ROWS, Span, entries_of, find_block, span_of
from fastnn.native.kernels cimport (
    FNN_SUM, FNN_SUM_RELU, FNN_SUM_RELU_GRAD, FNN_ACTIVATION_relu, fnn_entries, fnn_finish, fnn_gemm, fnn_kernels,
    fnn_masked,
)
from fastnn.native.op cimport (
    Half, Op, Step, at, first_row, half_between, height_of, multiply, panel_stride, panel_width, panels, reads_in_place,
    rows_in_place, rows_of, rows_of_panels,
)

from fastnn.native._activation import activation_of
from fastnn.native._update import OPTIMIZERS

cdef enum:
    ROW_BLOCK = 48   # rows whose fresh outputs (12 KB a panel) are still in L1 when the activation reads them
    PORTION = 96     # rows of what a thread takes at a time, a panel of outputs wide
    SLICE = 32       # panels of inputs that a product takes at a time: of a panel of weights 512 KB
    TILES = 4        # of a strip of weights: 24 rows of 64 with gradient and states of Adam are half of L1


cdef inline void product(
    const Op *op, const Step *step, const Half *part, const Portion *portion, int64_t depth, int64_t columns,
    const char *bias, char *c, fnn_finish with_relu, Finish finish,
) noexcept nogil:
    """c = (first buffer) (second buffer) + bias for some rows and panels of (rows, depth) by (depth, columns), or of a
    part of the first buffer's columns.

    Where there is a sixth buffer, whole panels of the second matrix are read there, row-major with all columns.
    Where the op has an activation, relu is part of the tiles if nobody asks for the sum before it, and for others
    `finish` is called on n fresh elements at `offset` of c while they are in L1. A deep product goes slice by slice, so
    that each tile finds the weights of a slice in the second cache (200 x 50 000 by 100: 0.7 of the time).
    """
    cdef const fnn_kernels *k = step.kernels
    cdef bint relu = op.number[3] == FNN_ACTIVATION_relu and op.buffer[4] == NULL
    cdef bint finished = op.number[3] >= 0 and not relu, complete = False
    cdef int64_t positions = op.number[4], stride = panel_stride(step, positions), start = 0, p, width, r, block, base
    cdef const char *given = op.buffer[5]
    cdef int64_t first = part.first * positions, last = first + part.rows * positions
    cdef fnn_gemm rows, slice, g
    if reads_in_place(op, step):
        rows_in_place(step, part, &rows)
    else:
        rows_of_panels(k, at(k, op.buffer[0], part.column // k.panel * stride), part.columns, stride, &rows)
        rows.scattered = op.number[2] == COLUMNS and step.threads > 1
    while not complete:
        complete = start + SLICE >= rows.blocks
        slice = rows
        slice.a = at(k, rows.a, first * rows.a_row + start * rows.a_block)
        slice.tail = at(k, rows.tail, first * rows.tail_row)
        slice.blocks = min(<int64_t> SLICE, rows.blocks - start)
        slice.tail_depth = rows.tail_depth if complete else 0
        for p in range(portion.first_panel, portion.last_panel):
            width = panel_width(k, columns, p)
            base = p * stride
            g = slice
            g.b = at(k, op.buffer[1], p * depth * k.panel + part.column * width)
            g.b_row = width
            if given != NULL and columns - p * k.panel >= k.panel:
                g.b = at(k, given, p * k.panel)
                g.b_row = columns
            g.b = at(k, g.b, start * k.panel * g.b_row)
            g.c = at(k, c, base + first * width)
            g.c_row = width
            g.init = g.c if start > 0 else at(k, bias, p * k.panel) if bias != NULL else NULL
            g.init_row = width if start > 0 else 0
            if relu and complete:
                g.finish = with_relu
                g.y = at(k, op.buffer[3], base + first * width)
            r = first
            while r < last:
                block = min(<int64_t> ROW_BLOCK, last - r) if finished else last - r
                multiply(k, &g, width >> k.lane_bits, block)
                if finished and complete:
                    finish(op, step, base + r * width, block * width)
                r += block
        start += SLICE


cdef void narrow_product(const Op *op, const Step *step, char *z) noexcept nogil:
    """z = x W + b with turned weights; a row of z is one vector."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t positions = op.number[4], first = first_row(step) * positions, n = rows_of(step) * positions
    k.narrow_product(
        first, n, op.number[0], op.number[1], panel_stride(step, positions), op.buffer[0], op.buffer[1], op.buffer[2], z
    )
    if op.number[3] >= 0:
        activate(op, step, first * k.lanes, n * k.lanes)


cdef void masked_product(
    const Op *op, const Step *step, const Half *part, const Portion *portion, const char *bias, char *z
) noexcept nogil:
    """z = x W + b without the zeros of x, for some rows and panels, or a part of the inputs.

    A panel of inputs after the other, so that the weights of two panels of outputs (32 KB) stay in the first cache.
    """
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[0], outputs = op.number[1], last_panel = portion.last_panel, p, q, width, panel, i
    cdef int64_t stride = panel_stride(step, 1), first = part.first, start = part.column // k.panel
    cdef const uint64_t *bits = <const uint64_t *> op.buffer[6]
    cdef fnn_masked g
    g.rows, g.blocks = part.rows, 1
    g.mask_row, g.mask_block, g.a_step = 1, 0, 1
    for p in range(portion.first_panel, last_panel, 2):
        width = panel_width(k, outputs, p)
        if p + 1 < last_panel:
            width += panel_width(k, outputs, p + 1)
        g.bias = at(k, bias, p * k.panel) if bias != NULL else NULL
        for q in range(start, panels(k, part.column + part.columns)):
            g.mask = bits + q * step.capacity + first
            g.a_row = panel_width(k, inputs, q)
            g.a = at(k, op.buffer[0], q * stride + first * g.a_row)
            for i in range(2 if p + 1 < last_panel else 1):
                panel = panel_width(k, outputs, p + i)
                g.b[i] = at(k, op.buffer[1], block_offset(k, inputs, outputs, q, p + i))
                g.c[i] = at(k, z, (p + i) * stride + first * panel)
            g.accumulate = q > start
            k.masked[width // k.lanes](&g)
        for i in range(p, min(p + 2, last_panel) if op.number[3] >= 0 else p):
            panel = panel_width(k, outputs, i)
            activate(op, step, i * stride + first * panel, g.rows * panel)


cdef void entries_product(
    const Op *op, const Step *step, const Half *part, const Portion *portion, const char *bias, char *z
) noexcept nogil:
    """z = x W + b entry by entry, for some rows and panels, or a part of the inputs."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[0], outputs = op.number[1], p, r, width, offset
    cdef fnn_entries x
    for p in range(portion.first_panel, portion.last_panel):
        width = panel_width(k, outputs, p)
        offset = p * panel_stride(step, 1) + part.first * width
        for r in range(part.rows):
            x = entries_of(step, span_of(step, op.buffer[0], part.column > 0, part.first + r), op.number[7])
            k.entries_product(
                &x, width, at(k, op.buffer[1], p * inputs * k.panel),
                at(k, bias, p * k.panel) if bias != NULL else NULL, at(k, z, offset + r * width),
            )
        if op.number[3] >= 0:
            activate(op, step, offset, part.rows * width)


cdef void dense(const Op *op, const Step *step) noexcept nogil:
    cdef char *z = op.buffer[4] if op.buffer[4] != NULL else op.buffer[3]
    cdef int64_t inputs = op.number[0], outputs = op.number[1], cut = op.number[6]
    cdef int64_t rows = 2 * step.n if cut else step.n
    cdef bint masked = op.buffer[6] != NULL
    cdef int half
    cdef Half part
    cdef Portion portion
    cdef const char *bias
    memset(&portion, 0, sizeof(Portion))
    if op.number[5]:
        narrow_product(op, step, z)
        return
    # Products without zeros read the weights of a portion anew, so all rows stay together. (784-100, batch 200:
    # portions of 67 rows took a fifth longer, and what another thread had read of the weights slowed their update.)
    while next_portion(
        step, rows, panels(step.kernels, outputs), op.number[2], rows if masked else PORTION, 2 if masked else 1,
        &portion,
    ):
        for half in range(2 if cut else 1):
            part = half_between(step, inputs, cut, half, portion.first, portion.last)
            bias = NULL if half else op.buffer[2]
            if cut:
                z = op.buffer[3 + half]
            if op.number[7] != ROWS:
                entries_product(op, step, &part, &portion, bias, z)
            elif masked:
                masked_product(op, step, &part, &portion, bias, z)
            else:
                product(op, step, &part, &portion, inputs, outputs, bias, z, FNN_SUM_RELU, activate)


cdef void dense_grad_input(const Op *op, const Step *step) noexcept nogil:
    cdef int64_t columns = op.number[0], depth = op.number[1]
    cdef Half part
    cdef Portion portion
    memset(&portion, 0, sizeof(Portion))
    while next_portion(step, step.n, panels(step.kernels, columns), op.number[2], PORTION, 1, &portion):
        part = half_between(step, depth, 0, 0, portion.first, portion.last)
        product(
            op, step, &part, &portion, depth, columns, NULL, op.buffer[2], FNN_SUM_RELU_GRAD, multiply_by_derivative
        )


cdef inline int64_t words_for(int64_t rows) noexcept nogil:
    return (rows + 63) // 64


# What is known of the numbers of a block of inputs, in the scratch behind it: of each input the rows that are not zero,
# 64 in a word, or the entries of each row, or nothing.
cdef struct Known:
    int64_t block
    int64_t form
    uint64_t *masks
    Span *spans


cdef inline void look_at(
    const Op *op, const Step *step, int64_t block, const char *bits, Known *known
) noexcept nogil:
    """Fills in what is known of another block than before; at first `known` is that of block -1 and nothing."""
    cdef const fnn_kernels *k = step.kernels
    cdef void *room = at(k, step.scratch, k.panel * k.panel)
    cdef const uint64_t *words
    cdef int64_t height = height_of(k, op.number[0], block), n = words_for(step.n), i, beside
    if block == known.block:
        return
    if known.form != ROWS:
        beside = block - known.block if known.spans != NULL else 0
        find_block(step, op.buffer[0], block * k.panel, height, beside, <Span *> room)
        known.spans = <Span *> room
    elif bits != NULL:
        known.masks = <uint64_t *> room
        words = <const uint64_t *> bits + block * step.capacity
        for i in range(n):
            k.transpose_bits(min(<int64_t> 64, step.n - 64 * i), words + 64 * i, height, known.masks + i, n)
    known.block = block


cdef inline void masked_weight_gradient(
    const Step *step, const Op *op, int64_t block, int64_t p, const uint64_t *masks, char *dW, bint accumulate
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[0], width = panel_width(k, op.number[1], p), stride = panel_stride(step, 1)
    cdef fnn_masked g
    g.rows, g.blocks = height_of(k, inputs, block), words_for(step.n)
    g.mask, g.mask_row, g.mask_block = masks, g.blocks, 1
    g.a, g.a_row, g.a_step = at(k, op.buffer[0], block * stride), 1, panel_width(k, inputs, block)
    g.b[0] = at(k, op.buffer[1], p * stride)
    g.bias, g.accumulate = NULL, accumulate
    g.c[0] = dW
    k.masked[width // k.lanes](&g)


cdef inline void entries_gradient(
    const Step *step, const Op *op, int64_t block, int64_t p, const Known *known, char *dW, bint accumulate
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t width = panel_width(k, op.number[1], p), r
    cdef const char *dz = at(k, op.buffer[1], p * panel_stride(step, 1))
    cdef fnn_entries x
    if not accumulate:
        memset(dW, 0, height_of(k, op.number[0], block) * width * k.itemsize)
    for r in range(step.n):
        x = entries_of(step, &known.spans[r], known.form)
        if x.n > 0:
            k.add_entries(&x, width, block * k.panel, at(k, dz, r * width), dW)


cdef inline void gradient_by_known(
    const Step *step, const Op *op, int64_t block, int64_t p, const Known *known, char *dW, bint accumulate
) noexcept nogil:
    """The same for a block of whose numbers something is known."""
    if known.spans != NULL:
        entries_gradient(step, op, block, p, known, dW, accumulate)
    else:
        masked_weight_gradient(step, op, block, p, known.masks, dW, accumulate)


cdef inline bint knows(const Known *known) noexcept nogil:
    return known.masks != NULL or known.spans != NULL


cdef inline fnn_gemm gradient_of_rows(
    const Step *step, const Op *op, int64_t block, int64_t p, int64_t positions, char *dW, bint accumulate
) noexcept nogil:
    """The product that yields dW of inputs [block * panel, ...) and output panel p, row by row."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[0], outputs = op.number[1], width = panel_width(k, outputs, p)
    cdef int64_t stride = panel_stride(step, positions)
    cdef fnn_gemm g
    g.a = at(k, op.buffer[0], block * stride)
    g.a_row = 1
    g.a_step = panel_width(k, inputs, block)
    g.a_block = 0
    g.blocks = 1
    g.depth = step.n * positions
    g.tail = g.a
    g.tail_row = 0
    g.tail_depth = 0
    g.tail_b = NULL
    g.finish = FNN_SUM
    g.scattered = False
    g.b = at(k, op.buffer[1], p * stride)
    g.b_row = width
    g.b_skip = 0
    g.init = dW if accumulate else NULL
    g.init_row = width
    g.c = dW
    g.c_row = width
    return g


cdef inline void weight_gradient(
    const Step *step, const Op *op, int64_t block, int64_t p, int64_t positions, const Known *known, char *dW,
    bint accumulate,
) noexcept nogil:
    """dW of inputs [block * panel, ...) and output panel p, stored as rows of that panel's width."""
    cdef const fnn_kernels *k = step.kernels
    cdef fnn_gemm g
    if knows(known):
        gradient_by_known(step, op, block, p, known, dW, accumulate)
        return
    g = gradient_of_rows(step, op, block, p, positions, dW, accumulate)
    multiply(k, &g, panel_width(k, op.number[1], p) >> k.lane_bits, height_of(k, op.number[0], block))


cdef inline void clear_pads(
    const fnn_kernels *k, int64_t rows, int64_t columns, int64_t p, char *dW
) noexcept nogil:
    """Zeros in the pads of panel p of turned dW: those of the x that it was made from are any numbers."""
    cdef int64_t width = panel_width(k, columns, p), used = min(k.panel, columns - p * k.panel), r
    for r in range(rows if used < width else 0):
        memset(at(k, dW, r * width + used), 0, (width - used) * k.itemsize)


cdef void dense_grad_weights(const Op *op, const Step *step) noexcept nogil:
    """dW = x^T dz; turned, buffers and sizes come the other way round, and dW^T = dz^T x."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[0], outputs = op.number[1], positions = op.number[2], block, p
    cdef bint turned = op.number[3] != 0
    cdef char *dW
    cdef Known known = Known(-1, op.number[4], NULL, NULL)
    cdef Tasks tasks
    memset(&tasks, 0, sizeof(Tasks))
    while next_task(step, inputs, outputs, ALL, 0, &tasks, &block, &p):
        dW = at(k, op.buffer[2], block_offset(k, inputs, outputs, block, p))
        look_at(op, step, block, op.buffer[4], &known)
        weight_gradient(step, op, block, p, positions, &known, dW, step.chunk > 0)
        if turned:
            clear_pads(k, inputs, outputs, p, dW)
        if has_bias(turned, block, p):
            bias_gradient(
                op, step, inputs if turned else outputs, p, positions, turned, step.chunk > 0,
                at(k, op.buffer[3], p * k.panel),
            )


cdef inline void update_block(
    const Op *op, const Step *step, int64_t block, int64_t p, const Known *known
) noexcept nogil:
    """Strip by strip gradient, penalty and optimiser, so that weights and states come while the product runs.

    They come from memory, or, of weights that all threads have read, from the other cores' caches (256 x 128 on two
    threads: 0.92 of the time). A single thread has small ones in its own (30 x 100, batch 32: asking took a 25th of the
    step). Where zeros are left out the whole gradient comes first: its product is too short to wait behind. A penalty
    is summed by strips all the same, so that this changes no bit of it.
    """
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t outputs = op.number[1], width = panel_width(k, outputs, p), vectors = width >> k.lane_bits
    cdef int64_t height = height_of(k, op.number[0], block), strip = TILES * k.tile_rows[vectors], first = 0, rows
    cdef char *gradient
    cdef Strip part
    cdef fnn_gemm g
    if knows(known):
        gradient_by_known(step, op, block, p, known, step.scratch, False)
        if op.buffer[8] == NULL:
            strip = height
    else:
        g = gradient_of_rows(step, op, block, p, op.number[4], step.scratch, False)
    while first < height:
        rows = min(strip, height - first)
        if not knows(known):
            if step.threads > 1:
                expect_rows(op, step, block, p, first, rows)
            multiply(k, &g, vectors, rows)
        gradient = at(k, step.scratch, first * width)
        if op.number[5]:
            clear_pads(k, rows, outputs, p, gradient)
        part = Strip(block, p, first, rows, gradient)
        update_strip(op, step, &part)
        first += rows


cdef inline void copy_block(const Op *op, const Step *step, int64_t block, int64_t p) noexcept nogil:
    """A block of the weights in the copies that there are: rounded to bfloat16, transposed."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[0], outputs = op.number[1], width = panel_width(k, outputs, p)
    cdef int64_t height = height_of(k, inputs, block), offset = block_offset(k, inputs, outputs, block, p)
    cdef const char *W = at(k, op.buffer[2], offset)
    if op.buffer[11] != NULL:
        step.bfloat16.round(height * width, <const float *> W, <float *> at(k, op.buffer[11], offset))
        W = at(k, op.buffer[11], offset)
    if op.buffer[9] != NULL:
        k.transpose(
            height, min(k.panel, outputs - p * k.panel), W, width,
            at(k, op.buffer[9], block_offset(k, outputs, inputs, p, block)), panel_width(k, inputs, block),
        )


cdef void dense_update(const Op *op, const Step *step) noexcept nogil:
    """Weight gradient of a block into this thread's scratch, then penalty and optimiser on it while it is in L1."""
    cdef int64_t inputs = op.number[0], outputs = op.number[1], block, p
    cdef Known known = Known(-1, op.number[6], NULL, NULL)
    cdef Tasks tasks
    memset(&tasks, 0, sizeof(Tasks))
    while next_task(step, inputs, outputs, op.number[3], 0, &tasks, &block, &p):
        look_at(op, step, block, op.buffer[10], &known)
        update_block(op, step, block, p, &known)
        update_bias(op, step, block, p, step.scratch)
        copy_block(op, step, block, p)


cdef void transpose(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t rows = op.number[0], columns = op.number[1], task, block, p
    cdef Tasks tasks
    share_tasks(step, rows, columns, False, step.thread, &tasks)
    for task in range(tasks.first, tasks.last):
        locate(&tasks, task, &block, &p)
        k.transpose(
            height_of(k, rows, block), min(k.panel, columns - p * k.panel),
            at(k, op.buffer[0], block_offset(k, rows, columns, block, p)), panel_width(k, columns, p),
            at(k, op.buffer[1], block_offset(k, columns, rows, p, block)), panel_width(k, rows, block),
        )


# What _dense.pxd calls an op's split.
SPLITS = {"rows": ALL, "columns": COLUMNS, "halves": HALVES}


def _turned(op, turned):
    """x and dz, turned dz and x."""
    return op.inputs[1::-1] if turned else op.inputs[:2]


def _nonzero(op, turned):
    """The buffer that tells which numbers of x are not zero, or None."""
    return op.inputs[len(op.inputs) - 1] if op.attributes.get("nonzero") and not turned else None


def _masked(op, layout, turned):
    """The same for a weight gradient, which needs room in the scratch then."""
    bits = _nonzero(op, turned)
    if bits is not None:
        layout.scratch(layout.panel**2 + layout.panel * -(-layout.rows // 64) * 8 // layout.dtype.itemsize)
    return bits


def _form(op):
    """How a product reads x."""
    if not op.attributes.get("entries"):
        return ROWS
    return ROUNDED_ENTRIES if op.attributes["entries"] == "rounded" else ENTRIES


def _form_of_gradient(op, layout):
    """The same for a weight gradient, which needs room in the scratch for what it knows of entries."""
    form = _form(op)
    if form != ROWS:
        layout.scratch(layout.panel**2 + layout.rows * 16 // layout.dtype.itemsize)
    return form


def bind_dense(op, layout):
    x, W, b = op.inputs[:3]
    activation, parameters = activation_of(op)
    turned = W in layout.turned
    numbers = [*layout.shape(W)[:: -1 if turned else 1], SPLITS[op.split], activation]
    numbers += [layout.positions(x), int(turned), op.attributes.get("cut", 0), _form(op), int(x in layout.in_place)]
    z = op.outputs[1] if len(op.outputs) > 1 else None
    return [x, W, b, op.outputs[0], z, None, _nonzero(op, turned)], numbers, parameters


def bind_dense_grad_input(op, layout):
    dz, WT = op.inputs[:2]
    activation, parameters = activation_of(op)
    numbers = [*layout.shape(WT)[::-1], SPLITS[op.split], activation, layout.positions(dz)]
    return [dz, WT, op.outputs[0], op.inputs[2] if len(op.inputs) > 2 else None], numbers, parameters


def bind_dense_grad_weights(op, layout):
    turned = op.outputs[0] in layout.turned
    numbers = [*layout.shape(op.outputs[0]), layout.positions(op.inputs[0]), int(turned), _form_of_gradient(op, layout)]
    return [*_turned(op, turned), *op.outputs, _masked(op, layout, turned)], numbers, []


def bind_dense_update(op, layout):
    attributes = op.attributes
    W, b, *states = op.inputs[2 : len(op.inputs) - attributes.get("nonzero", False)]
    turned = W in layout.turned
    extra = list(op.outputs[2 + len(states) :])
    n = attributes["states"]
    penalty = extra.pop(0) if attributes["penalty"] else None
    if penalty is not None:
        layout.partials(penalty, layout.tasks(W))
    pad = [None] * (2 - n)
    rounded = extra.pop() if attributes.get("rounded") else None
    transposed = extra[0] if attributes["transposed"] and not turned else None
    buffers = [*_turned(op, turned), W, b, *states[:n], *pad, *states[n:], *pad, penalty, transposed]
    buffers += [_masked(op, layout, turned), rounded]
    optimizer, *constants = attributes["optimizer"]
    clip = INFINITY if attributes["clip"] is None else attributes["clip"]
    scalars = [attributes["l1"], attributes["l2"], clip, attributes["decay"], *constants]
    numbers = [*layout.shape(W), OPTIMIZERS[optimizer], int(attributes.get("own_columns", False))]
    numbers += [layout.positions(op.inputs[0]), int(turned), _form_of_gradient(op, layout)]
    return buffers, numbers, scalars


def bind_transpose(op, layout):
    # The copy of turned weights is the weights themselves: nothing to do.
    shape = (0, 0) if op.inputs[0] in layout.turned else layout.shape(op.inputs[0])
    return [op.inputs[0], op.outputs[0]], list(shape), []


OPS = {
    "dense": (<size_t> &dense, bind_dense),
    "dense_grad_input": (<size_t> &dense_grad_input, bind_dense_grad_input),
    "dense_grad_weights": (<size_t> &dense_grad_weights, bind_dense_grad_weights),
    "dense_update": (<size_t> &dense_update, bind_dense_update),
    "transpose": (<size_t> &transpose, bind_transpose),
}
