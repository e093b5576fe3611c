"""What the products of a dense layer share whatever their operands are: the activations behind them, the blocks that
threads share, and what follows the gradient of a block."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport fnn_kernels, fnn_step, fnn_take, fnn_take_of, fnn_update
from fastnn.native.op cimport Op, Step, at, height_of, padded, panel_stride, panel_width, panels, share

ctypedef void (*Finish)(const Op *op, const Step *step, int64_t offset, int64_t n) noexcept nogil


cdef inline void activate(const Op *op, const Step *step, int64_t offset, int64_t n) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef char *z = op.buffer[4] if op.buffer[4] != NULL else op.buffer[3]
    k.activation[op.number[3]](n, at(k, z, offset), at(k, op.buffer[3], offset), op.scalar)


cdef inline void multiply_by_derivative(const Op *op, const Step *step, int64_t offset, int64_t n) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef char *dx = at(k, op.buffer[2], offset)
    k.activation_grad[op.number[3]](n, dx, at(k, op.buffer[3], offset), dx, op.scalar)


cdef inline int64_t block_offset(
    const fnn_kernels *k, int64_t rows, int64_t columns, int64_t block, int64_t p
) noexcept nogil:
    """Where rows [block * panel, ...) of panel p of a (rows, columns) matrix start."""
    return p * rows * k.panel + block * k.panel * panel_width(k, columns, p)


# Which panels are a thread's: all, because it has rows or blocks of its own; a fixed share of them; or those that it
# takes in turns with the other threads. HALVES are rows of its own in one half of a matrix or both.
cdef enum:
    ALL, COLUMNS, TURNS, HALVES


cdef struct Tasks:
    # A lot of (block of inputs, panel) tasks: task first + i is block (first + i) // panels, panel first_panel +
    # (first + i) % panels. Neighbours share a block, which the cache then holds for all panels.
    int64_t first_panel, panels, first, last
    int64_t begun            # lots so far: turns, or threads whose tasks these were
    int owner                # where threads do not take turns: whose tasks these are


cdef inline void locate(const Tasks *tasks, int64_t task, int64_t *block, int64_t *p) noexcept nogil:
    block[0] = task // tasks.panels
    p[0] = tasks.first_panel + task - block[0] * tasks.panels


cdef inline int64_t next_turn(
    const Step *step, int64_t n, int64_t group, int64_t turns, int64_t *first_panel
) noexcept nogil:
    """How many of n panels are this thread's next turn, at most `group`, after so many turns; 0 if none is left."""
    cdef int64_t turn = fnn_take(step.taken) if step.threads > 1 else turns
    first_panel[0] = min(n, turn * group)
    return min(n, (turn + 1) * group) - first_panel[0]


cdef struct Portion:
    # Some rows and panels of a product; rows of a matrix in halves are counted twice, see half_between.
    int64_t first, last, first_panel, last_panel
    int64_t begun            # turns, or threads whose portions this thread has asked for


cdef inline int64_t parts_of(int64_t n, int64_t most) noexcept nogil:
    return (n + most - 1) // most


cdef inline int64_t take_portion(const Step *step, int64_t split, int64_t n, int owner) noexcept nogil:
    """One of n portions of a thread; -1 if none is left. Halves are filled without a barrier before the product: none
    of a thread that has not come to it."""
    cdef int64_t *taken = step.taken + owner * step.taken_stride
    if owner != step.thread and split == HALVES and taken[0] == 0:
        return -1
    return fnn_take_of(taken, n, owner != step.thread)


cdef inline bint next_portion(
    const Step *step, int64_t rows, int64_t n, int64_t split, int64_t height, int64_t width, Portion *portion
) noexcept nogil:
    """The next portion of a product of so many rows and n panels; False if there is none. Where a barrier follows,
    rows and panels of a thread are cut into portions of up to height x width, of which others take the last ones."""
    cdef int64_t first = 0, last = rows, first_panel = 0, last_panel = n, down, across, i
    cdef int owner
    if split == TURNS:
        portion.first, portion.last = 0, rows
        portion.last_panel = next_turn(step, n, width, portion.begun, &portion.first_panel) + portion.first_panel
        portion.begun += 1
        return portion.first_panel < n
    if split == ALL or step.threads == 1:
        portion.first, portion.last = share(rows, step.thread, step.threads), share(rows, step.thread + 1, step.threads)
        portion.first_panel, portion.last_panel = 0, n
        portion.begun += 1
        return portion.begun == 1
    while portion.begun < step.threads:
        owner = <int> ((step.thread + portion.begun) % step.threads)
        if split == COLUMNS:
            first_panel, last_panel = share(n, owner, step.threads), share(n, owner + 1, step.threads)
        else:
            first, last = share(rows, owner, step.threads), share(rows, owner + 1, step.threads)
        down, across = parts_of(last - first, height), parts_of(last_panel - first_panel, width)
        i = take_portion(step, split, down * across, owner)
        if i >= 0:
            portion.first = first + (last - first) * (i % down) // down
            portion.last = first + (last - first) * (i % down + 1) // down
            portion.first_panel = first_panel + i // down * width
            portion.last_panel = min(portion.first_panel + width, last_panel)
            return True
        portion.begun += 1
    return False


cdef inline int64_t task_at(const Step *step, int64_t inputs, int64_t outputs, int thread) noexcept nogil:
    """The first task by which tasks worth thread / threads of all weights have been seen, to the nearest panel: the
    last block and the last panel are smaller than the others."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t width = padded(k, outputs), goal = inputs * width * thread // step.threads
    cdef int64_t block, columns, p
    if goal == 0:
        return 0
    block = goal // (k.panel * width)
    if block >= panels(k, inputs):
        return panels(k, inputs) * panels(k, outputs)
    columns = (goal - block * k.panel * width) // height_of(k, inputs, block)
    p = columns // k.panel
    if columns - p * k.panel > panel_width(k, outputs, p) // 2:
        p += 1
    return block * panels(k, outputs) + p


cdef inline void share_tasks(
    const Step *step, int64_t inputs, int64_t outputs, bint own_columns, int thread, Tasks *tasks
) noexcept nogil:
    """A thread's equal part of all weights, or all weights of the columns that are its own in the forward product."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t n = panels(k, outputs)
    if own_columns:
        tasks.first_panel = share(n, thread, step.threads)
        tasks.panels = share(n, thread + 1, step.threads) - tasks.first_panel
        tasks.first, tasks.last = 0, panels(k, inputs) * tasks.panels
    else:
        tasks.first_panel, tasks.panels = 0, n
        tasks.first = task_at(step, inputs, outputs, thread)
        tasks.last = task_at(step, inputs, outputs, thread + 1)


cdef inline bint next_lot(
    const Step *step, int64_t inputs, int64_t outputs, int64_t split, int64_t group, Tasks *tasks
) noexcept nogil:
    """The tasks of this thread's next turn; without turns its own tasks, then those of each other thread."""
    if split == TURNS:
        tasks.panels = next_turn(step, panels(step.kernels, outputs), group, tasks.begun, &tasks.first_panel)
        tasks.first, tasks.last = 0, panels(step.kernels, inputs) * tasks.panels
        tasks.begun += 1
        return tasks.panels > 0
    if tasks.begun == step.threads:
        return False
    tasks.owner = <int> ((step.thread + tasks.begun) % step.threads)
    share_tasks(step, inputs, outputs, split == COLUMNS, tasks.owner, tasks)
    tasks.begun += 1
    return True


cdef inline int64_t take(const Step *step, int64_t split, Tasks *tasks) noexcept nogil:
    """A task that no thread has begun; -1 if none is left. Without turns every other step takes them from the last one
    on, and finds the weights that the step before had left in the cache (784-256-128 in bfloat16: 1.05 times as fast;
    of weights that are many times as large as the caches nothing is left)."""
    cdef int64_t n = tasks.last - tasks.first, i
    cdef bint backwards = split != TURNS and step.t % 2 == 1
    if n <= 0:
        return -1
    if split != TURNS and step.threads > 1:
        i = fnn_take_of(step.taken + tasks.owner * step.taken_stride, n, tasks.owner != step.thread)
        if i < 0:
            return -1
        return tasks.last - 1 - i if backwards else tasks.first + i
    if backwards:
        tasks.last -= 1
        return tasks.last
    tasks.first += 1
    return tasks.first - 1


cdef inline bint next_task(
    const Step *step, int64_t inputs, int64_t outputs, int64_t split, int64_t group, Tasks *tasks, int64_t *block,
    int64_t *p,
) noexcept nogil:
    """The next task of this thread; False if there is none. Where threads do not take turns it has tasks of its own,
    the same in every step, whose weights its caches hold, and then helps the others with theirs."""
    cdef int64_t task = take(step, split, tasks)
    while task < 0:
        if not next_lot(step, inputs, outputs, split, group, tasks):
            return False
        task = take(step, split, tasks)
    locate(tasks, task, block, p)
    return True


cdef inline bint has_bias(bint turned, int64_t block, int64_t p) noexcept nogil:
    """Whether the gradient of a panel of the bias goes with this task."""
    return block == 0 and (p == 0 or not turned)


cdef inline void bias_gradient(
    const Op *op, const Step *step, int64_t units, int64_t p, int64_t positions, bint turned, bint accumulate, char *db
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef char *dz = op.buffer[0] if turned else op.buffer[1]
    cdef int64_t width = panel_width(k, units, p)
    k.column_sum(step.n * positions, width, at(k, dz, p * panel_stride(step, positions)), width, accumulate, db)


cdef inline fnn_step optimizer_step(const Op *op, const Step *step, double decay) noexcept nogil:
    cdef fnn_step s
    s.rate, s.clip, s.p = step.corrected_rate, op.scalar[2], &op.scalar[4]
    s.shrink, s.l2 = 1.0 - step.rate * decay, 0.0
    return s


cdef inline void expect_rows(
    const Op *op, const Step *step, int64_t block, int64_t p, int64_t first, int64_t rows
) noexcept nogil:
    """Asks for the weights and states of some rows of a block, which the update will write."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t width = panel_width(k, op.number[1], p), bytes = rows * width * k.itemsize
    cdef int64_t offset = block_offset(k, op.number[0], op.number[1], block, p) + first * width
    k.expect(bytes, at(k, op.buffer[2], offset))
    k.expect(bytes, at(k, op.buffer[4], offset))
    if op.buffer[5] != NULL:
        k.expect(bytes, at(k, op.buffer[5], offset))


cdef struct Strip:
    # Some rows of a block of weights, and the gradient of these.
    int64_t block, p, first, rows
    char *gradient


cdef inline double begin_update(const Op *op, const Step *step, const Strip *strip, fnn_update *u) noexcept nogil:
    """What the optimiser does with the strip. Returns the penalty that is in its gradient already."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[0], outputs = op.number[1], width = panel_width(k, outputs, strip.p)
    cdef int64_t offset = block_offset(k, inputs, outputs, strip.block, strip.p) + strip.first * width
    cdef double l1 = op.scalar[0], l2 = op.scalar[1]
    u.n = strip.rows * width
    u.w, u.g = at(k, op.buffer[2], offset), strip.gradient
    u.state0, u.state1 = at(k, op.buffer[4], offset), at(k, op.buffer[5], offset)
    u.step = optimizer_step(op, step, op.scalar[3])
    if op.buffer[8] == NULL:
        return 0.0
    if l1 == 0.0:
        u.step.l2 = step.inverse_weight * l2
        return 0.0
    return k.penalty(u.n, u.w, strip.gradient, l1, l2, step.inverse_weight)


cdef inline void end_update(
    const Op *op, const Step *step, const Strip *strip, const fnn_update *u, double added, double squares
) noexcept nogil:
    """Adds up the penalty of the strip's block. `squares`: what the optimiser's step has returned."""
    cdef double *penalty = <double *> op.buffer[8]
    if penalty == NULL:
        return
    penalty += strip.block * panels(step.kernels, op.number[1]) + strip.p
    if strip.first == 0:
        penalty[0] = 0.0
    penalty[0] += added + 0.5 * u.step.l2 * squares


cdef inline void update_strip(const Op *op, const Step *step, const Strip *strip) noexcept nogil:
    """Penalty and optimiser."""
    cdef fnn_update u
    cdef double added = begin_update(op, step, strip, &u), squares
    squares = step.kernels.update[op.number[2]](&u)
    end_update(op, step, strip, &u, added, squares)


cdef inline void update_bias(
    const Op *op, const Step *step, int64_t block, int64_t p, char *gradient
) noexcept nogil:
    """Gradient and optimiser of the panel of the bias that goes with a block, if one does; there is room for it."""
    cdef const fnn_kernels *k = step.kernels
    cdef bint turned = op.number[5] != 0
    cdef int64_t units = op.number[0] if turned else op.number[1]
    cdef fnn_update u
    if not has_bias(turned, block, p):
        return
    bias_gradient(op, step, units, p, op.number[4], turned, False, gradient)
    u.n = panel_width(k, units, p)
    u.w, u.g = at(k, op.buffer[3], p * k.panel), gradient
    u.state0, u.state1 = at(k, op.buffer[6], p * k.panel), at(k, op.buffer[7], p * k.panel)
    u.step = optimizer_step(op, step, 0.0)
    k.update[op.number[2]](&u)
