"""The products of a dense layer with operands rounded to bfloat16: the loops of _dense.pyx over packed operands.

Activations and their gradients stay float32 panels; each product rounds and packs its rows into this thread's scratch,
but for gathered rows, which are rounded once for both products that they are in.
Weights have packed copies, one for the forward product and a transposed one for the input gradient, which the update
renews block by block.
"""

from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memset

from fastnn.native._dense cimport (
    ALL, TURNS, Finish, Portion, Strip, Tasks, activate, begin_update, bias_gradient, block_offset, end_update, locate,
    multiply_by_derivative, next_portion, next_task, share_tasks, update_bias,
)
from fastnn.native.kernels cimport fnn_barrier_wait, fnn_bfloat16_product, fnn_kernels, fnn_take, fnn_update
from fastnn.native.op cimport (
    Half, Op, Step, at, first_row, half_between, height_of, operand_at, panel_stride, panel_width, panels, row_span,
    rows_of, share,
)

from fastnn.native import _dense

cdef enum:
    STRIP = 64       # rows packed side by side: their outputs (16 KB a panel) are in L1 when the activation reads them
    UPDATE_GROUP = 2  # panels that stay in L2 while all blocks go by, beside weights and moments
    BLOCKS = 4       # whose gradients (16 KB each) tiles compute in one go: vectors in between would be slow


cdef inline int64_t blocks_of(const fnn_kernels *k, int64_t depth) noexcept nogil:
    """Blocks of 2 * lanes numbers."""
    return (depth + 2 * k.lanes - 1) // (2 * k.lanes)


cdef inline int64_t square(const fnn_kernels *k) noexcept nogil:
    """Elements of one block of a packed B, `lanes` columns wide."""
    return 2 * k.lanes * k.lanes


cdef inline uint16_t *packed_at(
    const fnn_kernels *k, const void *packed, int64_t depth, int64_t block, int64_t column
) noexcept nogil:
    """Where in a packed B of so much depth a block starts, for a column that is a multiple of lanes."""
    return <uint16_t *> packed + (column // k.lanes * blocks_of(k, depth) + block) * square(k)


cdef inline int64_t packed_strip(const fnn_kernels *k, int64_t depth) noexcept nogil:
    """Elements of a packed strip."""
    return STRIP * 2 * k.lanes * blocks_of(k, depth)


cdef inline void pack_strip(
    const Step *step, const char *x, int64_t columns, int64_t stride, int64_t first, int64_t rows, uint16_t *to
) noexcept nogil:
    """Packs up to STRIP rows of a panel matrix as A with `columns` as depth, all STRIP rows of a block side by side."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t p, width
    for p in range(panels(k, columns)):
        width = panel_width(k, columns, p)
        step.bfloat16.pack_rows(
            rows, width, <const float *> at(k, x, p * stride + first * width), width,
            to + p * k.panel * STRIP, 2 * k.lanes, STRIP * 2 * k.lanes,
        )


cdef inline void pack_strips(
    const Step *step, const char *x, int64_t columns, int64_t stride, int64_t rows, uint16_t *to
) noexcept nogil:
    """Packs all rows for all threads."""
    cdef int64_t size = packed_strip(step.kernels, columns), strip, first
    fnn_barrier_wait(step.barrier, step.threads)  # until nobody reads what was there
    strip = fnn_take(step.taken + 1)
    while strip * STRIP < rows:
        first = strip * STRIP
        pack_strip(step, x, columns, stride, first, min(<int64_t> STRIP, rows - first), to + strip * size)
        strip = fnn_take(step.taken + 1)
    fnn_barrier_wait(step.barrier, step.threads)


cdef inline void product(
    const Op *op, const Step *step, const Half *part, const Portion *portion, bint packed, int64_t depth,
    int64_t columns, const char *bias, char *c, Finish finish,
) noexcept nogil:
    """c = (first buffer) (second buffer) + bias for some rows and panels, see _dense.pyx. `packed`: all rows lie packed
    in the common memory. number[7]: they were an operand from the start."""
    cdef const fnn_kernels *k = step.kernels
    cdef bint finished = op.number[3] >= 0, operand = op.number[7] != 0
    cdef int64_t positions = op.number[4], stride = panel_stride(step, positions), last, p, width, strip, r, base
    cdef int64_t first = part.first * positions, rows = part.rows * positions, group = portion.first_panel
    cdef const char *x = at(k, op.buffer[0], part.column // k.panel * stride)
    cdef uint16_t *a = <uint16_t *> (step.common if packed else step.scratch)
    cdef fnn_bfloat16_product g
    memset(&g, 0, sizeof(fnn_bfloat16_product))
    g.a_row, g.a_block = 2 * k.lanes, (step.capacity if operand else STRIP) * 2 * k.lanes
    g.blocks = blocks_of(k, part.columns)
    g.spare = 2 * k.lanes * g.blocks - part.columns
    g.b_tile = blocks_of(k, depth) * square(k)
    while group < portion.last_panel:
        last = min(group + step.bfloat16.panels, portion.last_panel)
        for strip in range((rows + STRIP - 1) // STRIP):
            r = strip * STRIP
            g.a = a + strip * packed_strip(k, part.columns)
            g.rows = min(<int64_t> STRIP, rows - r)
            if operand:
                g.a = operand_at(step, op.buffer[0], part.column, first + r)
            elif not packed:
                pack_strip(step, x, part.columns, stride, first + r, g.rows, <uint16_t *> g.a)
            for p in range(group, last):
                width = panel_width(k, columns, p)
                base = p * stride + (first + r) * width
                g.b = packed_at(k, op.buffer[1], depth, part.column // (2 * k.lanes), p * k.panel)
                g.init = <const float *> at(k, bias, p * k.panel) if bias != NULL else NULL
                g.c = <float *> at(k, c, base)
                g.c_row = width
                g.tiles = width // k.lanes
                step.bfloat16.multiply(&g)
                if finished:
                    finish(op, step, base, g.rows * width)
        packed, group = True, last


cdef inline void products(
    const Op *op, const Step *step, int64_t depth, int64_t columns, int64_t cut, const char *bias, char *c,
    Finish finish,
) noexcept nogil:
    """This thread's turns or rows or columns of a product, or of those of both halves of the rows that are cut."""
    cdef int64_t n = panels(step.kernels, columns), split = op.number[2], positions = op.number[4]
    cdef int64_t rows = 2 * step.n if cut else step.n
    cdef bint common = split == TURNS and step.threads > 1
    cdef int half
    cdef Half part
    cdef Portion portion
    memset(&portion, 0, sizeof(Portion))
    if common and not op.number[7]:
        pack_strips(
            step, op.buffer[0], depth, panel_stride(step, positions), step.n * positions, <uint16_t *> step.common
        )
    step.bfloat16.enter()
    while next_portion(step, rows, n, split, rows, step.bfloat16.panels if common else n, &portion):
        for half in range(2 if cut else 1):
            part = half_between(step, depth, cut, half, portion.first, portion.last)
            product(
                op, step, &part, &portion, common, depth, columns, NULL if half else bias,
                op.buffer[3 + half] if cut else c, finish,
            )
    step.bfloat16.leave()


cdef void dense(const Op *op, const Step *step) noexcept nogil:
    cdef char *z = op.buffer[4] if op.buffer[4] != NULL else op.buffer[3]
    products(op, step, op.number[0], op.number[1], op.number[6], op.buffer[2], z, activate)


cdef void dense_grad_input(const Op *op, const Step *step) noexcept nogil:
    products(op, step, op.number[1], op.number[0], 0, NULL, op.buffer[2], multiply_by_derivative)


# The packed operands of a thread's weight gradients: x, transposed, either the block at hand in its scratch or all
# blocks, which the threads have packed together; and the panels of dz that its tasks need, in its scratch.
cdef struct Gradients:
    uint16_t *x
    uint16_t *dz
    int64_t block, first_panel, panels, rows, stride, positions
    bint common, operand


cdef inline int64_t packed_block(const fnn_kernels *k, int64_t rows) noexcept nogil:
    """Elements of a packed block of x."""
    return 2 * k.lanes * blocks_of(k, rows) * k.panel


cdef inline Gradients gradients_of(
    const Step *step, int64_t positions, int64_t split, bint operand
) noexcept nogil:
    """`operand`: x is one already, of the forward product."""
    cdef const fnn_kernels *k = step.kernels
    cdef Gradients g
    g.positions, g.rows, g.stride = positions, step.n * positions, panel_stride(step, positions)
    g.common, g.operand = split == TURNS and step.threads > 1, operand
    g.x = <uint16_t *> at(k, step.scratch, (BLOCKS * k.panel + 1) * k.panel)
    g.dz = g.x + packed_block(k, g.rows)
    if g.common:
        g.x = <uint16_t *> step.common
    g.block, g.first_panel, g.panels = -1, 0, 0
    return g


cdef inline void pack_inputs(const Op *op, const Step *step, const Gradients *g, int64_t block) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t width = panel_width(k, op.number[0], block), depth = 2 * k.lanes, column = 0
    cdef uint16_t *to = g.x + (block * packed_block(k, g.rows) if g.common else 0)
    if not g.operand:
        step.bfloat16.pack_columns(
            g.rows, width, <const float *> at(k, op.buffer[0], block * g.stride), width, to, depth, depth * width
        )
        return
    while column < width:
        step.bfloat16.copy_columns(
            g.rows, min(depth, width - column), operand_at(step, op.buffer[0], block * k.panel + column, 0), depth,
            to + column * depth, depth, depth * width,
        )
        column += depth


cdef inline void pack_all_inputs(const Op *op, const Step *step, const Gradients *g) noexcept nogil:
    """Packs all blocks of x for all threads."""
    cdef int64_t n = panels(step.kernels, op.number[0]), block
    fnn_barrier_wait(step.barrier, step.threads)  # until nobody reads what was there
    block = fnn_take(step.taken + 1)
    while block < n:
        pack_inputs(op, step, g, block)
        block = fnn_take(step.taken + 1)
    fnn_barrier_wait(step.barrier, step.threads)


cdef inline void pack_gradients(const Op *op, const Step *step, Gradients *g, const Tasks *tasks) noexcept nogil:
    """Packs the panels of dz of these tasks, unless they are what is there."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t i, p, width
    if g.first_panel == tasks.first_panel and g.panels == tasks.panels:
        return
    g.first_panel, g.panels = tasks.first_panel, tasks.panels
    for i in range(tasks.panels):
        p = tasks.first_panel + i
        width = panel_width(k, op.number[1], p)
        step.bfloat16.pack_pairs(
            g.rows, width, <const float *> at(k, op.buffer[1], p * g.stride), width,
            packed_at(k, g.dz, g.rows, 0, i * k.panel), blocks_of(k, g.rows) * square(k),
        )


cdef inline fnn_bfloat16_product product_of(
    const Op *op, const Step *step, Gradients *g, const Strip *strip, bint accumulate
) noexcept nogil:
    """The one whose result is the strip's gradient, stored as rows of its panel's width."""
    cdef const fnn_kernels *k = step.kernels
    cdef fnn_bfloat16_product q
    memset(&q, 0, sizeof(fnn_bfloat16_product))
    q.a_row = 2 * k.lanes
    q.a_block = q.a_row * panel_width(k, op.number[0], strip.block)
    if g.block != strip.block and not g.common:
        pack_inputs(op, step, g, strip.block)
        g.block = strip.block
    q.a = g.x + (strip.block * packed_block(k, g.rows) if g.common else 0) + strip.first * q.a_row
    q.blocks = blocks_of(k, g.rows)
    q.spare = 2 * k.lanes * q.blocks - g.rows
    q.b = packed_at(k, g.dz, g.rows, 0, (strip.p - g.first_panel) * k.panel)
    q.b_tile = q.blocks * square(k)
    q.c = <float *> strip.gradient
    q.c_row = panel_width(k, op.number[1], strip.p)
    q.init = q.c if accumulate else NULL
    q.init_row = q.c_row
    q.rows = strip.rows
    q.tiles = q.c_row // k.lanes
    return q


cdef void dense_grad_weights(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[0], outputs = op.number[1], block, p
    cdef Gradients g = gradients_of(step, op.number[2], ALL, op.number[4] != 0)
    cdef Strip whole
    cdef fnn_bfloat16_product q
    cdef Tasks tasks
    memset(&tasks, 0, sizeof(Tasks))
    step.bfloat16.enter()
    while next_task(step, inputs, outputs, ALL, 0, &tasks, &block, &p):
        pack_gradients(op, step, &g, &tasks)
        whole = Strip(block, p, 0, height_of(k, inputs, block), NULL)
        whole.gradient = at(k, op.buffer[2], block_offset(k, inputs, outputs, block, p))
        q = product_of(op, step, &g, &whole, step.chunk > 0)
        step.bfloat16.multiply(&q)
        if block == 0:
            bias_gradient(op, step, outputs, p, op.number[2], False, step.chunk > 0, at(k, op.buffer[3], p * k.panel))
    step.bfloat16.leave()


# Rows of W, and where they go in its packed copies, those of them that there are.
cdef struct Copies:
    const float *source
    int64_t rows, width, packed_tile, transposed_tile
    uint16_t *packed
    uint16_t *transposed


cdef inline Copies copies_of(
    const Step *step, int64_t inputs, int64_t outputs, const Strip *strip, const char *W, char *packed,
    char *transposed,
) noexcept nogil:
    """Of rows from a multiple of 2 * lanes on."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t p = strip.p, row = strip.block * k.panel + strip.first, depth = 2 * k.lanes
    cdef Copies c
    c.rows, c.width = strip.rows, panel_width(k, outputs, p)
    c.source = <const float *> at(k, W, block_offset(k, inputs, outputs, strip.block, p) + strip.first * c.width)
    c.packed = c.transposed = NULL
    c.packed_tile, c.transposed_tile = blocks_of(k, inputs) * square(k), blocks_of(k, outputs) * square(k)
    if packed != NULL:
        c.packed = packed_at(k, packed, inputs, row // depth, p * k.panel)
    if transposed != NULL:
        c.transposed = packed_at(k, transposed, outputs, p * k.panel // depth, row)
    return c


cdef inline Copies copies_to_renew(const Op *op, const Step *step, const Strip *strip) noexcept nogil:
    return copies_of(step, op.number[0], op.number[1], strip, op.buffer[2], op.buffer[10], op.buffer[9])


cdef inline void expect_copies(const Step *step, const Copies *c) noexcept nogil:
    """Asks for the copies, which the other threads have read."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t i
    for i in range(c.width // k.lanes if c.packed != NULL else 0):
        k.expect(2 * blocks_of(k, c.rows) * square(k), c.packed + i * c.packed_tile)
    for i in range((c.rows + k.lanes - 1) // k.lanes if c.transposed != NULL else 0):
        k.expect(2 * blocks_of(k, c.width) * square(k), c.transposed + i * c.transposed_tile)


cdef inline void write_copies(const Step *step, const Copies *c) noexcept nogil:
    if c.packed != NULL:
        step.bfloat16.pack_pairs(c.rows, c.width, c.source, c.width, c.packed, c.packed_tile)
    if c.transposed != NULL:
        step.bfloat16.pack_transposed(c.rows, c.width, c.source, c.width, c.transposed, c.transposed_tile)


cdef inline Strip strip_of(const Op *op, const Step *step, int64_t block, int64_t p, int64_t first) noexcept nogil:
    """2 * lanes rows of a block, or those that are left."""
    cdef const fnn_kernels *k = step.kernels
    return Strip(block, p, first, min(2 * k.lanes, height_of(k, op.number[0], block) - first), step.scratch)


cdef inline void renew_strip(
    const Op *op, const Step *step, const Strip *strip, const fnn_bfloat16_product *beside
) noexcept nogil:
    """Penalty, optimiser and copies; where tiles multiply, during a product unless that is NULL."""
    cdef fnn_update u
    cdef double added = begin_update(op, step, strip, &u), squares
    cdef Copies copies = copies_to_renew(op, step, strip)
    if step.bfloat16.renew[op.number[2]] == NULL:
        squares = step.kernels.update[op.number[2]](&u)
    else:
        squares = step.bfloat16.renew[op.number[2]](&u, copies.width, copies.packed, copies.packed_tile, beside)
        copies.packed = NULL
    end_update(op, step, strip, &u, added, squares)
    write_copies(step, &copies)


cdef inline Strip multiply_block(
    const Op *op, const Step *step, Gradients *g, int64_t block, int64_t p, char *gradient
) noexcept nogil:
    """The gradient of a block. For vectors its copies come meanwhile (256 x 128 on two threads: 0.89 of the time)."""
    cdef Strip whole = Strip(block, p, 0, height_of(step.kernels, op.number[0], block), gradient)
    cdef fnn_bfloat16_product q = product_of(op, step, g, &whole, False)
    cdef Copies copies = copies_to_renew(op, step, &whole)
    step.bfloat16.multiply(&q)
    if step.bfloat16.renew[op.number[2]] == NULL:
        expect_copies(step, &copies)
    return whole


cdef inline void renew_block(const Op *op, const Step *step, const Strip *whole) noexcept nogil:
    """Strip by strip, so that the copies find the weights in L1."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t width = panel_width(k, op.number[1], whole.p), first = 0
    cdef Strip strip
    while first < whole.rows:
        strip = strip_of(op, step, whole.block, whole.p, first)
        strip.gradient = at(k, whole.gradient, first * width)
        renew_strip(op, step, &strip, NULL)
        first += strip.rows


cdef inline void renew_beside(
    const Op *op, const Step *step, Gradients *g, int64_t block, int64_t p, Strip *before
) noexcept nogil:
    """Each strip of a block is renewed during the product of the next one. `before`: the last strip of the block
    before; becomes the last one of this block. Two strips have room for their gradients."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t height = height_of(k, op.number[0], block), first = 0
    cdef Strip strip
    cdef fnn_bfloat16_product q
    while first < height:
        strip = strip_of(op, step, block, p, first)
        if before.gradient == step.scratch:
            strip.gradient = at(k, step.scratch, 2 * k.lanes * k.panel)
        q = product_of(op, step, g, &strip, False)
        if before.rows > 0:
            renew_strip(op, step, before, &q)
        else:
            step.bfloat16.multiply(&q)
        before[0] = strip
        first += strip.rows


cdef inline bint next_block(
    const Op *op, const Step *step, Gradients *g, Tasks *tasks, int64_t *block, int64_t *p
) noexcept nogil:
    """The next block of the weights; its panel of dz is packed, and the bias that goes with it renewed."""
    cdef const fnn_kernels *k = step.kernels
    if not next_task(step, op.number[0], op.number[1], op.number[3], UPDATE_GROUP, tasks, block, p):
        return False
    pack_gradients(op, step, g, tasks)
    update_bias(op, step, block[0], p[0], at(k, step.scratch, BLOCKS * k.panel * k.panel))
    return True


cdef inline void update_in_turn(const Op *op, const Step *step, Gradients *g) noexcept nogil:
    """The gradients of up to BLOCKS blocks, then what becomes of them."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t block, p
    cdef int n, most = BLOCKS if step.bfloat16.renew[op.number[2]] != NULL else 1, i
    cdef Strip blocks[BLOCKS]
    cdef Tasks tasks
    memset(&tasks, 0, sizeof(Tasks))
    n = most
    while n == most:
        n = 0
        while n < most and next_block(op, step, g, &tasks, &block, &p):
            blocks[n] = multiply_block(op, step, g, block, p, at(k, step.scratch, n * k.panel * k.panel))
            n += 1
        for i in range(n):
            renew_block(op, step, &blocks[i])


cdef inline void update_beside(const Op *op, const Step *step, Gradients *g) noexcept nogil:
    """Products of tiles, and beside each what becomes of the gradient before."""
    cdef int64_t block, p
    cdef Strip before = Strip(0, 0, 0, 0, NULL)
    cdef Tasks tasks
    memset(&tasks, 0, sizeof(Tasks))
    while next_block(op, step, g, &tasks, &block, &p):
        renew_beside(op, step, g, block, p, &before)
    if before.rows > 0:
        renew_strip(op, step, &before, NULL)


cdef void dense_update(const Op *op, const Step *step) noexcept nogil:
    cdef Gradients g = gradients_of(step, op.number[4], op.number[3], op.number[6] != 0)
    if g.common:
        pack_all_inputs(op, step, &g)
    step.bfloat16.enter()
    if op.number[3] == TURNS and step.bfloat16.renew[op.number[2]] != NULL:
        update_beside(op, step, &g)
    else:
        update_in_turn(op, step, &g)
    step.bfloat16.leave()


cdef void pack(const Op *op, const Step *step) noexcept nogil:
    """Buffers: W, packed copy or None, packed transposed copy or None."""
    cdef int64_t inputs = op.number[0], outputs = op.number[1], task, block, p
    cdef Tasks tasks
    cdef Strip whole
    cdef Copies c
    share_tasks(step, inputs, outputs, False, step.thread, &tasks)
    for task in range(tasks.first, tasks.last):
        locate(&tasks, task, &block, &p)
        whole = Strip(block, p, 0, height_of(step.kernels, inputs, block), NULL)
        c = copies_of(step, inputs, outputs, &whole, op.buffer[0], op.buffer[1], op.buffer[2])
        write_copies(step, &c)


cdef inline void round_from(const Op *op, const Step *step, int64_t first, int64_t n) noexcept nogil:
    cdef const float *x = <const float *> at(step.kernels, op.buffer[0], first)
    if op.number[4]:
        step.bfloat16.narrow(n, x, <uint16_t *> op.buffer[1] + first)
    else:
        step.bfloat16.round(n, x, <float *> op.buffer[1] + first)


cdef void round_numbers(const Op *op, const Step *step) noexcept nogil:
    """Numbers: whether there are rows of a batch, whether they lie without panels, columns, positions, whether they
    become bfloat16 and not only such numbers."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[2], positions = op.number[3], p, width, first, rows
    if op.number[1]:
        first = first_row(step) * positions * columns
        round_from(op, step, first, rows_of(step) * positions * columns)
        return
    for p in range(panels(k, columns)):
        width = panel_width(k, columns, p)
        if op.number[0]:
            first = row_span(step, columns, positions, p, &width)
            rows = rows_of(step) * positions
        else:
            first = share(positions, step.thread, step.threads)
            rows = share(positions, step.thread + 1, step.threads) - first
            first = p * positions * k.panel + first * width
        round_from(op, step, first, rows * width)


def _split(op, by_columns):
    """What `Tasks` calls the op's split."""
    return TURNS if op.attributes.get("turns") else by_columns


def _rows_scratch(layout, depth, positions, split):
    """Asks for room for all rows of a chunk as A, in units of a float32 number."""
    size = (layout.rows * positions + STRIP) * layout.deep(depth) // 2
    layout.scratch(size)
    if split == TURNS:
        layout.common(size)


def bind_dense(op, layout):
    buffers, (*numbers, _form, _in_place), parameters = _dense.bind_dense(op, layout)
    numbers[2] = _split(op, numbers[2])
    operand = layout.is_operand(op.inputs[0])
    if not operand:
        _rows_scratch(layout, numbers[0], numbers[4], numbers[2])
    return buffers, [*numbers, operand], parameters


def bind_dense_grad_input(op, layout):
    buffers, numbers, parameters = _dense.bind_dense_grad_input(op, layout)
    numbers[2] = _split(op, numbers[2])
    _rows_scratch(layout, numbers[1], numbers[4], numbers[2])
    return buffers, numbers, parameters


def _gradients_scratch(layout, dW, positions):
    columns = layout.panel + layout.padded(layout.columns(dW)) + layout.panel
    layout.scratch((BLOCKS * layout.panel + 1) * layout.panel + columns * layout.deep(layout.rows * positions) // 2)


def bind_dense_grad_weights(op, layout):
    _gradients_scratch(layout, op.outputs[0], layout.positions(op.inputs[0]))
    buffers, (*numbers, _form), scalars = _dense.bind_dense_grad_weights(op, layout)
    return buffers, [*numbers, layout.is_operand(op.inputs[0])], scalars


def bind_dense_update(op, layout):
    *outputs, packed = op.outputs
    buffers, (*numbers, _form), scalars = _dense.bind_dense_update(op.with_(outputs=tuple(outputs)), layout)
    numbers[3] = _split(op, numbers[3])
    positions = layout.positions(op.inputs[0])
    _gradients_scratch(layout, op.inputs[2], positions)
    if numbers[3] == TURNS:
        layout.common((numbers[0] + layout.panel) * layout.deep(layout.rows * positions) // 2)
    *buffers, _bits, _rounded = buffers  # which only products of float32 read, as they do _form
    return [*buffers, packed], [*numbers, layout.is_operand(op.inputs[0])], scalars


def bind_pack(op, layout):
    shape = layout.shape(op.inputs[0])
    layout.packed(op.outputs[0], *shape)
    return [op.inputs[0], op.outputs[0], None], list(shape), []


def bind_transpose(op, layout):
    shape = layout.shape(op.inputs[0])
    layout.packed(op.outputs[0], *shape[::-1])
    return [op.inputs[0], None, op.outputs[0]], list(shape), []


def bind_round(op, layout):
    x, y = op.inputs + op.outputs
    rows, columns = (layout.positions(x), layout.columns(x)) if layout.has_rows(x) else layout.shape(x)
    numbers = [layout.has_rows(x), layout.in_rows(x), columns, rows]
    return [x, y], [*numbers, layout.plan.buffers[y].layout == "rounded"], []


# Ops with precision="bfloat16".
OPS = {
    "dense": (<size_t> &dense, bind_dense),
    "dense_grad_input": (<size_t> &dense_grad_input, bind_dense_grad_input),
    "dense_grad_weights": (<size_t> &dense_grad_weights, bind_dense_grad_weights),
    "dense_update": (<size_t> &dense_update, bind_dense_update),
    "pack": (<size_t> &pack, bind_pack),
    "round": (<size_t> &round_numbers, bind_round),
    "transpose": (<size_t> &pack, bind_transpose),
}
