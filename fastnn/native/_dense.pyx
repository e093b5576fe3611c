"""The three products of a dense layer as loops over register tiles.

A layer of few outputs has its weights turned, (out, in): see ``Layout.turned``. Then dW is the product the other way
round, dz^T x, and the forward product has a kernel of its own.

Forward and input gradient run over column panels outside and rows inside, so that a panel of weights stays in the
cache; weight gradients run over (block of inputs, panel of outputs) tasks, each summing over all rows in order.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.native.kernels cimport (
    Op, Step, at, first_row, fnn_gemm, fnn_kernels, fnn_step, multiply, padded, panel_stride, panel_width, panels,
    rows_of, rows_of_panels, share,
)

from fastnn.native._activation import activation_id
from fastnn.native._update import OPTIMIZERS

cdef enum:
    ROW_BLOCK = 48   # rows whose fresh outputs (12 KB a panel) are still in L1 when the activation reads them


ctypedef void (*Finish)(const Op *op, const Step *step, int64_t offset, int64_t n) noexcept nogil


cdef inline void product(
    const Op *op, const Step *step, int64_t depth, int64_t columns, const char *bias, char *c, Finish finish
) noexcept nogil:
    """c = (first buffer) (second buffer) + bias for this thread's rows or columns, (rows, depth) by (depth, columns).

    `finish` is called on n fresh elements at `offset` of c while they are in L1, where the op has an activation.
    """
    cdef const fnn_kernels *k = step.kernels
    cdef bint by_columns = op.number[2] != 0, finished = op.number[3] >= 0
    cdef int64_t positions = op.number[4], stride = panel_stride(step, positions)
    cdef int64_t n = panels(k, columns), p, width, r, block, base
    cdef int64_t first_panel = share(n, step.thread, step.threads) if by_columns else 0
    cdef int64_t last_panel = share(n, step.thread + 1, step.threads) if by_columns else n
    cdef int64_t first = 0 if by_columns else first_row(step) * positions
    cdef int64_t last = step.n * positions if by_columns else first + rows_of(step) * positions
    cdef fnn_gemm rows, g
    rows_of_panels(k, op.buffer[0], depth, stride, &rows)
    for p in range(first_panel, last_panel):
        width = panel_width(k, columns, p)
        base = p * stride
        g = rows
        g.a = at(k, g.a, first * g.a_row)
        g.tail = at(k, g.tail, first * g.tail_row)
        g.b = at(k, op.buffer[1], p * depth * k.panel)
        g.b_row = width
        g.init = at(k, bias, p * k.panel) if bias != NULL else NULL
        g.init_row = 0
        g.c = at(k, c, base + first * width)
        g.c_row = width
        r = first
        while r < last:
            block = min(<int64_t> ROW_BLOCK, last - r)
            multiply(k, &g, width // k.lanes, block)
            if finished:
                finish(op, step, base + r * width, block * width)
            r += block


cdef void activate(const Op *op, const Step *step, int64_t offset, int64_t n) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef char *z = op.buffer[4] if op.buffer[4] != NULL else op.buffer[3]
    k.activation[op.number[3]](n, at(k, z, offset), at(k, op.buffer[3], offset), op.scalar)


cdef void multiply_by_derivative(const Op *op, const Step *step, int64_t offset, int64_t n) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef char *dx = at(k, op.buffer[2], offset)
    k.activation_grad[op.number[3]](n, dx, at(k, op.buffer[3], offset), dx, op.scalar)


cdef void narrow_product(const Op *op, const Step *step, char *z) noexcept nogil:
    """z = x W + b with turned weights; a row of z is one vector."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t positions = op.number[4], first = first_row(step) * positions, n = rows_of(step) * positions
    k.narrow_product(
        first, n, op.number[0], op.number[1], panel_stride(step, positions), op.buffer[0], op.buffer[1], op.buffer[2], z
    )
    if op.number[3] >= 0:
        activate(op, step, first * k.lanes, n * k.lanes)


cdef void dense(const Op *op, const Step *step) noexcept nogil:
    cdef char *z = op.buffer[4] if op.buffer[4] != NULL else op.buffer[3]
    if op.number[5]:
        narrow_product(op, step, z)
        return
    product(op, step, op.number[0], op.number[1], op.buffer[2], z, activate)


cdef void dense_grad_input(const Op *op, const Step *step) noexcept nogil:
    product(op, step, op.number[1], op.number[0], NULL, op.buffer[2], multiply_by_derivative)


cdef inline void weight_gradient(
    const Step *step, const Op *op, int64_t block, int64_t p, int64_t positions, char *dW, bint accumulate
) noexcept nogil:
    """dW of inputs [block * panel, ...) and output panel p, stored as rows of that panel's width."""
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
    g.b = at(k, op.buffer[1], p * stride)
    g.b_row = width
    g.b_skip = 0
    g.init = dW if accumulate else NULL
    g.init_row = width
    g.c = dW
    g.c_row = width
    multiply(k, &g, width // k.lanes, min(k.panel, inputs - block * k.panel))


cdef inline int64_t block_offset(
    const fnn_kernels *k, int64_t rows, int64_t columns, int64_t block, int64_t p
) noexcept nogil:
    """Where rows [block * panel, ...) of panel p of a (rows, columns) matrix start."""
    return p * rows * k.panel + block * k.panel * panel_width(k, columns, p)


cdef struct Tasks:
    # This thread's (block of inputs, panel) tasks: task first + i is block (first + i) // panels, panel
    # first_panel + (first + i) % panels. Neighbours share a block, which the cache then holds for all panels.
    int64_t first_panel, panels, first, last


cdef inline int64_t task_at(const Step *step, int64_t inputs, int64_t outputs, int thread) noexcept nogil:
    """The first task by which tasks worth thread / threads of all weights have been seen, to the nearest one: the last
    block and the last panel are smaller than the others."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t n = panels(k, outputs), task, size, seen = 0
    cdef int64_t goal = inputs * padded(k, outputs) * thread // step.threads
    for task in range(panels(k, inputs) * n):
        size = min(k.panel, inputs - task // n * k.panel) * panel_width(k, outputs, task % n)
        if seen + size // 2 >= goal:
            return task
        seen += size
    return panels(k, inputs) * n


cdef inline Tasks share_tasks(const Step *step, int64_t inputs, int64_t outputs, bint own_columns) noexcept nogil:
    """Equal parts of all weights, or all weights of the columns that are this thread's in the forward product."""
    cdef const fnn_kernels *k = step.kernels
    cdef Tasks tasks
    tasks.first_panel, tasks.panels = 0, panels(k, outputs)
    if own_columns:
        tasks.first_panel = share(panels(k, outputs), step.thread, step.threads)
        tasks.panels = share(panels(k, outputs), step.thread + 1, step.threads) - tasks.first_panel
    if own_columns or step.threads == 1:
        tasks.first, tasks.last = 0, panels(k, inputs) * tasks.panels
    else:
        tasks.first = task_at(step, inputs, outputs, step.thread)
        tasks.last = task_at(step, inputs, outputs, step.thread + 1)
        if step.thread == step.threads - 1:
            tasks.last = panels(k, inputs) * tasks.panels
    return tasks


cdef inline void locate(const Tasks *tasks, int64_t task, int64_t *block, int64_t *p) noexcept nogil:
    block[0] = task // tasks.panels
    p[0] = tasks.first_panel + task - block[0] * tasks.panels


cdef inline void clear_pads(
    const fnn_kernels *k, int64_t rows, int64_t columns, int64_t p, char *dW
) noexcept nogil:
    """Zeros in the pads of panel p of turned dW: those of the x that it was made from are any numbers."""
    cdef int64_t width = panel_width(k, columns, p), used = min(k.panel, columns - p * k.panel), r
    for r in range(rows if used < width else 0):
        memset(at(k, dW, r * width + used), 0, (width - used) * k.itemsize)


cdef inline bint has_bias(bint turned, int64_t block, int64_t p) noexcept nogil:
    """Whether the gradient of a panel of the bias goes with this task."""
    return block == 0 and (p == 0 or not turned)


cdef inline void bias_gradient(
    const Op *op, const Step *step, int64_t units, int64_t p, int64_t positions, bint turned, bint accumulate, char *db
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef char *dz = op.buffer[0] if turned else op.buffer[1]
    dz = at(k, dz, p * panel_stride(step, positions))
    k.column_sum(step.n * positions, panel_width(k, units, p), dz, accumulate, db)


cdef void dense_grad_weights(const Op *op, const Step *step) noexcept nogil:
    """dW = x^T dz; turned, buffers and sizes come the other way round, and dW^T = dz^T x."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[0], outputs = op.number[1], positions = op.number[2], task, block, p
    cdef bint turned = op.number[3] != 0
    cdef char *dW
    cdef Tasks tasks = share_tasks(step, inputs, outputs, False)
    for task in range(tasks.first, tasks.last):
        locate(&tasks, task, &block, &p)
        dW = at(k, op.buffer[2], block_offset(k, inputs, outputs, block, p))
        weight_gradient(step, op, block, p, positions, dW, step.chunk > 0)
        if turned:
            clear_pads(k, inputs, outputs, p, dW)
        if has_bias(turned, block, p):
            bias_gradient(
                op, step, inputs if turned else outputs, p, positions, turned, step.chunk > 0,
                at(k, op.buffer[3], p * k.panel),
            )


cdef void dense_update(const Op *op, const Step *step) noexcept nogil:
    """Weight gradient of a block into this thread's scratch, then penalty and optimiser on it while it is in L1."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[0], outputs = op.number[1], positions = op.number[4], task, block, p
    cdef int64_t width, height, offset, optimizer = op.number[2], units
    cdef bint turned = op.number[5] != 0
    cdef Tasks tasks = share_tasks(step, inputs, outputs, op.number[3] != 0)
    cdef double l1 = op.scalar[0], l2 = op.scalar[1]
    cdef fnn_step s
    s.rate = step.corrected_rate
    s.clip = op.scalar[2]
    s.p = &op.scalar[4]
    for task in range(tasks.first, tasks.last):
        locate(&tasks, task, &block, &p)
        width = panel_width(k, outputs, p)
        height = min(k.panel, inputs - block * k.panel)
        offset = block_offset(k, inputs, outputs, block, p)
        weight_gradient(step, op, block, p, positions, step.scratch, False)
        if turned:
            clear_pads(k, inputs, outputs, p, step.scratch)
        if op.buffer[8] != NULL:
            (<double *> op.buffer[8])[block * panels(k, outputs) + p] = k.penalty(
                height * width, at(k, op.buffer[2], offset), step.scratch, l1, l2, step.inverse_weight
            )
        s.shrink = 1.0 - step.rate * op.scalar[3]
        k.update[optimizer](
            height * width, at(k, op.buffer[2], offset), step.scratch,
            at(k, op.buffer[4], offset), at(k, op.buffer[5], offset), &s,
        )
        if op.buffer[9] != NULL:
            k.transpose(
                height, min(k.panel, outputs - p * k.panel), at(k, op.buffer[2], offset), width,
                at(k, op.buffer[9], block_offset(k, outputs, inputs, p, block)), panel_width(k, inputs, block),
            )
        if has_bias(turned, block, p):
            units = inputs if turned else outputs
            bias_gradient(op, step, units, p, positions, turned, False, step.scratch)
            s.shrink = 1.0
            k.update[optimizer](
                panel_width(k, units, p), at(k, op.buffer[3], p * k.panel), step.scratch,
                at(k, op.buffer[6], p * k.panel), at(k, op.buffer[7], p * k.panel), &s,
            )


cdef void transpose(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t rows = op.number[0], columns = op.number[1], task, block, p
    cdef Tasks tasks = share_tasks(step, rows, columns, False)
    for task in range(tasks.first, tasks.last):
        locate(&tasks, task, &block, &p)
        k.transpose(
            min(k.panel, rows - block * k.panel), min(k.panel, columns - p * k.panel),
            at(k, op.buffer[0], block_offset(k, rows, columns, block, p)), panel_width(k, columns, p),
            at(k, op.buffer[1], block_offset(k, columns, rows, p, block)), panel_width(k, rows, block),
        )


def _activation(op):
    activation = op.attributes["activation"]
    return (-1, []) if activation is None else (activation_id(activation[0]), list(activation[1:]))


def _turned(op, turned):
    """x and dz, turned dz and x."""
    return op.inputs[1::-1] if turned else op.inputs[:2]


def bind_dense(op, layout):
    x, W, b = op.inputs
    activation, parameters = _activation(op)
    turned, split = W in layout.turned, int(op.split == "columns")
    numbers = [*layout.shape(W)[:: -1 if turned else 1], split, activation, layout.positions(x), int(turned)]
    return [x, W, b, op.outputs[0], op.outputs[1] if len(op.outputs) > 1 else None], numbers, parameters


def bind_dense_grad_input(op, layout):
    dz, WT = op.inputs[:2]
    activation, parameters = _activation(op)
    numbers = [*layout.shape(WT)[::-1], int(op.split == "columns"), activation, layout.positions(dz)]
    return [dz, WT, op.outputs[0], op.inputs[2] if len(op.inputs) > 2 else None], numbers, parameters


def bind_dense_grad_weights(op, layout):
    turned = op.outputs[0] in layout.turned
    numbers = [*layout.shape(op.outputs[0]), layout.positions(op.inputs[0]), int(turned)]
    return [*_turned(op, turned), *op.outputs], numbers, []


def bind_dense_update(op, layout):
    W, b, *states = op.inputs[2:]
    turned = W in layout.turned
    attributes, extra = op.attributes, list(op.outputs[len(op.inputs) - 2 :])
    n = attributes["states"]
    penalty = extra.pop(0) if attributes["penalty"] else None
    if penalty is not None:
        layout.partials(penalty, layout.tasks(W))
    pad = [None] * (2 - n)
    transposed = extra[0] if attributes["transposed"] and not turned else None
    buffers = [*_turned(op, turned), W, b, *states[:n], *pad, *states[n:], *pad, penalty, transposed]
    optimizer, *constants = attributes["optimizer"]
    clip = INFINITY if attributes["clip"] is None else attributes["clip"]
    scalars = [attributes["l1"], attributes["l2"], clip, attributes["decay"], *constants]
    own_columns, positions = int(attributes.get("own_columns", False)), layout.positions(op.inputs[0])
    numbers = [*layout.shape(W), OPTIMIZERS[optimizer], own_columns, positions, int(turned)]
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
