"""What recurrent cells share whatever their operands are: the way of some sequences through the steps and back, what
happens at a step between the products, and which gates the lines of dgates belong to."""

from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memset

from fastnn.native.kernels cimport fnn_cell, fnn_cell_grad, fnn_kernels
from fastnn.native.op cimport (
    Op, Step, at, clear_steps, first_row, length_of, padded, panel_stride, panel_width, panels, rows_of, share,
)

cdef enum:
    ROWS = 64    # sequences that go through the steps together
    ROWS_SIZE = 16 * ROWS  # bytes of their numbers and lengths


cdef enum:
    SIMPLE_RNN, LSTM, GRU


# The numbers of a cell's ops.
cdef enum:
    CELL, TIME, CHANNELS, UNITS, GATES, LINES_OF_STEP, REVERSE, TRUNCATE, ACTIVATION, LAST


# Sequences side by side, longest first: the i-th is row[i] of the chunk, and length[i] of its steps count.
cdef struct Rows:
    int64_t n
    int64_t *row
    int64_t *length


cdef inline char *take_room(const fnn_kernels *k, char **room, int64_t elements) noexcept nogil:
    cdef char *start = room[0]
    room[0] = at(k, start, elements)
    return start


cdef inline void take_rows(
    const Op *op, const Step *step, const char *lengths, int64_t first, int64_t n, Rows *rows
) noexcept nogil:
    """Rows first ... first + n, sorted, in the first 2 * ROWS integers of scratch."""
    cdef int64_t i, j, length
    rows.n = n
    rows.row = <int64_t *> step.scratch
    rows.length = rows.row + ROWS
    for i in range(n):
        length = length_of(step.kernels, lengths, first + i, op.number[TIME])
        j = i
        while j > 0 and rows.length[j - 1] < length:
            rows.row[j], rows.length[j] = rows.row[j - 1], rows.length[j - 1]
            j -= 1
        rows.row[j], rows.length[j] = first + i, length


cdef inline int64_t running(const Rows *rows, int64_t t) noexcept nogil:
    """How many of the sequences have a step t."""
    cdef int64_t n = rows.n
    while n > 0 and rows.length[n - 1] <= t:
        n -= 1
    return n


cdef inline void clear_rest(
    const Op *op, const Step *step, const Rows *rows, char *x, int64_t lines, bint rounded
) noexcept nogil:
    """Zeros for the steps that do not count, of a batch buffer with so many lines a step."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[TIME], units = op.number[UNITS], i, p
    for i in range(rows.n if x != NULL else 0):
        for p in range(panels(k, units) if rows.length[i] < time else 0):
            clear_steps(
                k, at(k, x, p * panel_stride(step, time * lines) >> rounded), rows.row[i], rows.length[i], time,
                lines * panel_width(k, units, p) >> rounded,
            )


cdef inline char *place(
    const Step *step, const char *x, int64_t time, int64_t columns, int64_t lines, int64_t p, int64_t t,
    bint rounded=False
) noexcept nogil:
    """Step t of row 0 in panel p of a batch buffer with so many lines a step, in half the room if they are rounded."""
    cdef const fnn_kernels *k = step.kernels
    return at(k, x, (p * panel_stride(step, time * lines) + t * lines * panel_width(k, columns, p)) >> rounded)


cdef inline void load_step(
    const Step *step, const Rows *rows, int64_t n, const char *x, int64_t time, int64_t columns,
    int64_t t, char *to
) noexcept nogil:
    """Step t of the first n sequences of a batch buffer, side by side."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t p, width
    for p in range(panels(k, columns)):
        width = panel_width(k, columns, p)
        k.take_lines(
            n, width, rows.row, place(step, x, time, columns, 1, p, t), time * width, at(k, to, p * rows.n * k.panel)
        )


# What the steps of some sequences need: rows of x, of h before and after the step, of what is multiplied with U (h
# before the step, maybe masked), of the mask, of c, and the pre-activations of one panel. `rounded`: what gates hold is
# kept as bfloat16, by cells that add the biases themselves.
cdef struct Forward:
    bint rounded
    char *x
    char *before
    char *after
    char *heard
    char *mask
    char *c
    char *z


# Writes the pre-activations of panel p to s.z, without biases where the cell adds them. Where all sequences start,
# their states are zero and are left out.
ctypedef void (*Products)(
    const Op *op, const Step *step, const Rows *rows, int64_t n, const Forward *s, int64_t p, bint starts
) noexcept nogil


cdef inline void run_cell(
    const Op *op, const Step *step, const Rows *rows, int64_t n, const Forward *s, int64_t p, int64_t t
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[TIME], units = op.number[UNITS], lines = op.number[LINES_OF_STEP]
    cdef int64_t start = p * rows.n * k.panel
    cdef bint rounded = s.rounded
    cdef fnn_cell cell
    cell.rows, cell.width, cell.time, cell.row = n, panel_width(k, units, p), time, rows.row
    cell.z, cell.z_line = s.z, rows.n * cell.width
    cell.b, cell.d = at(k, op.buffer[3], p * k.panel * op.number[GATES]), at(k, op.buffer[4], p * k.panel)
    cell.before, cell.after, cell.state = at(k, s.before, start), at(k, s.after, start), at(k, s.c, start)
    cell.h = place(step, op.buffer[7], time, units, 1, p, t)
    cell.gates = place(step, op.buffer[8], time, units, lines, p, t, rounded) if op.buffer[8] != NULL else NULL
    cell.c = place(step, op.buffer[9], time, units, 1, p, t, rounded) if op.buffer[9] != NULL else NULL
    if op.number[CELL] == LSTM:
        (step.bfloat16.lstm_cell if rounded else k.lstm_cell)(&cell)
    elif op.number[CELL] == GRU:
        (step.bfloat16.gru_cell if rounded else k.gru_cell)(&cell)
    else:
        k.activation[op.number[ACTIVATION]](n * cell.width, cell.z, cell.after, op.scalar)
        k.put_lines(n, cell.width, rows.row, cell.after, cell.h, time * cell.width)
        if cell.gates != NULL:
            k.put_lines(n, cell.width, rows.row, cell.z, cell.gates, time * cell.width)


cdef inline void hear(
    const Op *op, const Step *step, const Rows *rows, int64_t n, Forward *s
) noexcept nogil:
    """Turns to the next step: what was after this one is before that one."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t units = op.number[UNITS], start, p
    s.before, s.after = s.after, s.before
    if s.mask == NULL:
        s.heard = s.before
    for p in range(panels(k, units) if s.mask != NULL else 0):
        start = p * rows.n * k.panel
        k.mask_lines(
            n, 1, panel_width(k, units, p), at(k, s.before, start), at(k, s.mask, start), at(k, s.heard, start)
        )


cdef inline void run_rows(
    const Op *op, const Step *step, int64_t first, int64_t n, Products products, bint rounded
) noexcept nogil:
    """Sequences first ... first + n, from their first step to their last."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[TIME], channels = op.number[CHANNELS], units = op.number[UNITS], i, t, p
    cdef int64_t size = n * padded(k, units)
    cdef char *room = at(k, step.scratch, ROWS_SIZE // k.itemsize)
    cdef Forward s
    cdef Rows rows
    take_rows(op, step, op.buffer[6], first, n, &rows)
    memset(room, 0, 4 * size * k.itemsize)
    s.before = take_room(k, &room, size)
    s.after = take_room(k, &room, size)
    s.c = take_room(k, &room, size)
    s.heard = s.before
    s.mask, s.rounded = NULL, rounded
    if op.buffer[5] != NULL:
        s.heard = take_room(k, &room, size)
        s.mask = take_room(k, &room, size)
        load_step(step, &rows, n, op.buffer[5], 1, units, 0, s.mask)
    s.x = take_room(k, &room, n * padded(k, channels))
    s.z = room
    for i in range(time):
        t = time - 1 - i if op.number[REVERSE] else i
        n = running(&rows, t)
        if n == 0:
            continue
        load_step(step, &rows, n, op.buffer[0], time, channels, t, s.x)
        for p in range(panels(k, units)):
            products(op, step, &rows, n, &s, p, i == 0)
            run_cell(op, step, &rows, n, &s, p, t)
        hear(op, step, &rows, n, &s)
    clear_rest(op, step, &rows, op.buffer[7], 1, False)
    clear_rest(op, step, &rows, op.buffer[8], op.number[LINES_OF_STEP], rounded)
    clear_rest(op, step, &rows, op.buffer[9], 1, rounded)


cdef inline void all_rows(const Op *op, const Step *step, Products products, bint rounded) noexcept nogil:
    """This thread's sequences, ROWS at a time or fewer. `rounded`: what gates hold is kept as bfloat16, if it is."""
    cdef int64_t first = first_row(step), n = rows_of(step), parts = (n + ROWS - 1) // ROWS, part
    rounded = rounded and op.buffer[8] != NULL and op.number[CELL] != SIMPLE_RNN
    for part in range(parts):
        run_rows(
            op, step, first + n * part // parts, n * (part + 1) // parts - n * part // parts, products, rounded
        )


# What the steps of some sequences need on the way back: the gradients of h and c, the mask, and the gradients of what
# was multiplied, where the mask comes between; and room for the step's lines of dgates.
cdef struct Backward:
    char *dh
    char *dc
    char *mask
    char *dheard
    char *lines


cdef inline const char *lines_of(
    const Op *op, const Step *step, const Rows *rows, const Backward *s, int64_t p, int64_t t, int64_t *stride
) noexcept nogil:
    """Where the first sequence has a panel's dgates of step t, and how far from there it is to the next one: in the
    batch, if they have their order there, whose lines the next ops would else push out of the cache."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[TIME], units = op.number[UNITS], lines = op.number[LINES_OF_STEP]
    stride[0] = lines * panel_width(k, units, p)
    if op.buffer[6] != NULL:
        return at(k, s.lines, p * rows.n * lines * k.panel)
    stride[0] *= time
    return at(k, place(step, op.buffer[7], time, units, lines, p, t), rows.row[0] * stride[0])


cdef inline int64_t line_of(const Op *op, int64_t gate) noexcept nogil:
    """Which line of dgates has the gradient of the products with a gate of U."""
    return 3 if op.number[CELL] == GRU and gate == 2 else gate


cdef inline int64_t blocks_of(const fnn_kernels *k, int64_t depth) noexcept nogil:
    """Blocks of 2 * lanes numbers."""
    return (depth + 2 * k.lanes - 1) // (2 * k.lanes)


cdef inline int64_t packed_row(const Op *op, const fnn_kernels *k) noexcept nogil:
    """Elements of a sequence's gradients of gates as a row of A, gate by gate; an odd number of lines of the cache, so
    that rows do not fall to the same places."""
    cdef int64_t blocks = op.number[GATES] * blocks_of(k, op.number[UNITS])
    return (blocks + 1 - blocks % 2) * 2 * k.lanes


cdef inline uint16_t *packed_of(const Op *op, const Step *step, const Rows *rows, const Backward *s) noexcept nogil:
    """Where these rows are, behind a step's lines of dgates."""
    cdef const fnn_kernels *k = step.kernels
    return <uint16_t *> at(k, s.lines, op.number[LINES_OF_STEP] * rows.n * padded(k, op.number[UNITS]))


# dh += mask * sum over gates of dz UT: what goes back from step t to the one before through U.
ctypedef void (*Carry)(
    const Op *op, const Step *step, const Rows *rows, int64_t n, const Backward *s, int64_t t
) noexcept nogil


cdef inline void run_cell_grad(
    const Op *op, const Step *step, const Rows *rows, int64_t n, const Backward *s, int64_t p, int64_t t, bint rounded
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[TIME], units = op.number[UNITS], lines = op.number[LINES_OF_STEP]
    cdef int64_t start = p * rows.n * k.panel, before = t + 1 if op.number[REVERSE] else t - 1
    cdef char *dz = at(k, s.lines, lines * start)
    cdef bint of_gates = rounded and op.number[CELL] != SIMPLE_RNN, of_c = rounded and op.number[CELL] == LSTM
    cdef fnn_cell_grad cell
    cell.rows, cell.width, cell.time, cell.row = n, panel_width(k, units, p), time, rows.row
    cell.dh, cell.dc = at(k, s.dh, start), at(k, s.dc, start)
    cell.gates = place(step, op.buffer[2], time, units, lines, p, t, of_gates) if op.buffer[2] != NULL else NULL
    cell.c = place(step, op.buffer[3], time, units, 1, p, t, of_c)
    cell.before = place(step, op.buffer[3], time, units, 1, p, before, of_c) if 0 <= before < time else NULL
    cell.dgates = place(step, op.buffer[7], time, units, lines, p, t, rounded)
    cell.packed, cell.packed_row = packed_of(op, step, rows, s) + p * k.panel, packed_row(op, k)
    cell.packed_line = blocks_of(k, units) * 2 * k.lanes
    if not op.number[LAST]:
        k.add_lines(
            n, cell.width, rows.row, place(step, op.buffer[0], time, units, 1, p, t), time * cell.width, cell.dh
        )
    if op.number[CELL] == LSTM:
        (step.bfloat16.lstm_cell_grad if rounded else k.lstm_cell_grad)(&cell)
    elif op.number[CELL] == GRU:
        (step.bfloat16.gru_cell_grad if rounded else k.gru_cell_grad)(&cell)
    else:
        k.take_lines(n, cell.width, rows.row, cell.c if cell.gates == NULL else cell.gates, time * cell.width, dz)
        k.activation_grad[op.number[ACTIVATION]](n * cell.width, cell.dh, dz, dz, op.scalar)
        if rounded:
            step.bfloat16.round_lines(
                n, cell.width, rows.row, <const float *> dz, <uint16_t *> cell.dgates, time * cell.width
            )
            step.bfloat16.pack_rows(
                n, cell.width, <const float *> dz, cell.width, <uint16_t *> cell.packed, cell.packed_row, 2 * k.lanes
            )
        else:
            k.put_lines(n, cell.width, rows.row, dz, cell.dgates, time * cell.width)
        memset(cell.dh, 0, n * cell.width * k.itemsize)
    if op.buffer[6] != NULL and not rounded:
        k.take_lines(n, lines * cell.width, rows.row, cell.dgates, time * lines * cell.width, dz)


cdef inline void run_rows_grad(
    const Op *op, const Step *step, int64_t first, int64_t n, Carry carry, bint rounded
) noexcept nogil:
    """Sequences first ... first + n, from their last step back to their first. A gradient of the last state alone waits
    in dh until a sequence starts."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[TIME], units = op.number[UNITS], truncate = op.number[TRUNCATE], i, t, p
    cdef int64_t size = n * padded(k, units)
    cdef bint reverse = op.number[REVERSE] != 0
    cdef char *room = at(k, step.scratch, ROWS_SIZE // k.itemsize)
    cdef Backward s
    cdef Rows rows
    take_rows(op, step, op.buffer[6], first, n, &rows)
    memset(room, 0, 2 * size * k.itemsize)
    s.dh = take_room(k, &room, size)
    s.dc = take_room(k, &room, size)
    if op.number[LAST]:
        load_step(step, &rows, n, op.buffer[0], 1, units, 0, s.dh)
    s.dheard, s.mask = NULL, NULL
    if op.buffer[5] != NULL:
        s.dheard = take_room(k, &room, size)
        s.mask = take_room(k, &room, size)
        load_step(step, &rows, n, op.buffer[5], 1, units, 0, s.mask)
    s.lines = room
    if rounded:  # pads, too
        memset(packed_of(op, step, &rows, &s), 0, rows.n * packed_row(op, k) * sizeof(uint16_t))
    for i in range(time):
        t = i if reverse else time - 1 - i
        n = running(&rows, t)
        for p in range(panels(k, units) if n > 0 else 0):
            run_cell_grad(op, step, &rows, n, &s, p, t, rounded)
        if truncate > 0 and (t + reverse) % truncate == 0:
            memset(s.dh, 0, 2 * size * k.itemsize)
        elif n > 0 and i < time - 1:
            carry(op, step, &rows, n, &s, t)
    clear_rest(op, step, &rows, op.buffer[7], op.number[LINES_OF_STEP], rounded)


cdef inline void all_rows_grad(const Op *op, const Step *step, Carry carry, bint rounded) noexcept nogil:
    """This thread's sequences, ROWS at a time or fewer."""
    cdef int64_t first = first_row(step), n = rows_of(step), parts = (n + ROWS - 1) // ROWS, part
    for part in range(parts):
        run_rows_grad(
            op, step, first + n * part // parts, n * (part + 1) // parts - n * part // parts, carry, rounded
        )


# Numbers of the weights' gradients: what dgates has for each unit, how many of the first lines are W's gates, and which
# are U's.
cdef enum:
    INPUTS, OUTPUTS, ALL_LINES, STEPS, BACKWARDS, W_GATES, U_GATES, PART_ROWS, FIRST_LINE


cdef inline int64_t gate_of(const Op *op, int64_t line, bint of_state) noexcept nogil:
    """Which gate of W, or of U, a line of dgates belongs to; -1: none."""
    cdef int64_t gate
    if not of_state:
        return line if line < op.number[W_GATES] else -1
    for gate in range(op.number[U_GATES]):
        if op.number[FIRST_LINE + gate] == line:
            return gate
    return -1


# Sums over the rows of a batch: the parts of ops.recurrent, each of PART_ROWS rows in turn.
cdef enum:
    PARTS = 2


cdef inline char *sums_of(const Op *op, const Step *step, int64_t line, int64_t p, int64_t part) noexcept nogil:
    """Where a part's sums of a line's dgates go, db or dd."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t gates = op.number[W_GATES], width = panel_width(k, op.number[OUTPUTS], p)
    if line < gates:
        return at(k, op.buffer[4], p * PARTS * gates * k.panel + (part * gates + line) * width)
    return at(k, op.buffer[6], p * PARTS * k.panel + part * width)


cdef inline char *gradient_of(
    const Op *op, const Step *step, int64_t gate, int64_t p, int64_t part, bint of_state, int64_t block
) noexcept nogil:
    """Where a part's dW or dU of a gate starts, for a panel of units and a block of inputs."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[OUTPUTS if of_state else INPUTS], width = panel_width(k, op.number[OUTPUTS], p)
    cdef int64_t gates = op.number[U_GATES if of_state else W_GATES]
    return at(
        k, op.buffer[5 if of_state else 3],
        p * PARTS * gates * inputs * k.panel + ((part * gates + gate) * inputs + block * k.panel) * width,
    )


# What a thread sums up of a part: tasks first ... last of (panel, line of dgates, block of x or h).
cdef struct Tasks:
    int64_t part, first, last


cdef inline int64_t blocks_of_inputs(const Op *op, const fnn_kernels *k) noexcept nogil:
    return panels(k, op.number[INPUTS]) + panels(k, op.number[OUTPUTS])


cdef inline Tasks tasks_of(const Op *op, const Step *step, int64_t part) noexcept nogil:
    """Threads share the tasks part by part where a chunk has rows of both, else each part's."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t n = panels(k, op.number[OUTPUTS]) * op.number[ALL_LINES] * blocks_of_inputs(op, k)
    cdef int64_t rows = op.number[PART_ROWS]
    cdef Tasks tasks
    tasks.part = part
    if step.row // rows == (step.row + step.n - 1) // rows:
        tasks.first, tasks.last = share(n, step.thread, step.threads), share(n, step.thread + 1, step.threads)
    else:
        tasks.first = max(0, share(PARTS * n, step.thread, step.threads) - part * n)
        tasks.last = min(n, share(PARTS * n, step.thread + 1, step.threads) - part * n)
    return tasks


# Neighbours among the tasks, which read the same line of dgates: a panel's, with the blocks first ... last of x and,
# from the block of_x on, h.
cdef struct Line:
    int64_t p, line, first, last, of_x
    int64_t next             # the task where the next line starts


cdef inline Line line_at(const Op *op, const Step *step, const Tasks *tasks, int64_t task) noexcept nogil:
    """What a thread has of a line from a task on."""
    cdef int64_t lines = op.number[ALL_LINES], blocks = blocks_of_inputs(op, step.kernels)
    cdef Line s
    s.p, s.line, s.first = task // (lines * blocks), task // blocks % lines, task % blocks
    s.last, s.of_x = min(blocks, s.first + tasks.last - task), panels(step.kernels, op.number[INPUTS])
    s.next = task + s.last - s.first
    return s


cdef inline char *dgates_of(const Op *op, const Step *step, const Line *of, int64_t i) noexcept nogil:
    """Where step i of the chunk, counted through its rows, has this line: ALL_LINES lines before the next step's."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t lines = op.number[ALL_LINES], width = panel_width(k, op.number[OUTPUTS], of.p)
    return at(k, op.buffer[2], of.p * panel_stride(step, op.number[STEPS] * lines) + (i * lines + of.line) * width)


cdef inline void add_sums(
    const Op *op, const Step *step, const Line *of, int64_t part, int64_t first, int64_t n
) noexcept nogil:
    """db or dd += the sum of a line of dgates over n steps."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t width = panel_width(k, op.number[OUTPUTS], of.p)
    k.column_sum(
        n, width, dgates_of(op, step, of, first), op.number[ALL_LINES] * width, True,
        sums_of(op, step, of.line, of.p, part),
    )


cdef inline void clear_gradients(const Op *op, const Step *step, const Tasks *tasks) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t task = tasks.first, i, block, gate, width, inputs
    cdef bint of_state
    cdef Line s
    while task < tasks.last:
        s = line_at(op, step, tasks, task)
        width = panel_width(k, op.number[OUTPUTS], s.p)
        if s.first == 0:
            memset(sums_of(op, step, s.line, s.p, tasks.part), 0, width * k.itemsize)
        for i in range(s.first, s.last):
            of_state = i >= s.of_x
            block = i - s.of_x if of_state else i
            gate = gate_of(op, s.line, of_state)
            inputs = min(k.panel, op.number[OUTPUTS if of_state else INPUTS] - block * k.panel)
            if gate >= 0:
                memset(gradient_of(op, step, gate, s.p, tasks.part, of_state, block), 0, inputs * width * k.itemsize)
        task = s.next


# Rows first ... last of a chunk belong to a part.
ctypedef void (*SumRows)(
    const Op *op, const Step *step, const Tasks *tasks, int64_t first, int64_t last
) noexcept nogil


cdef inline void all_gradients(const Op *op, const Step *step, SumRows sum_rows) noexcept nogil:
    """This thread's tasks with the rows of each part in their order."""
    cdef int64_t rows = op.number[PART_ROWS], part, group
    cdef Tasks tasks
    for part in range(PARTS):
        tasks = tasks_of(op, step, part)
        if tasks.first >= tasks.last:
            continue
        if step.chunk == 0:
            clear_gradients(op, step, &tasks)
        for group in range(step.row // rows, (step.row + step.n - 1) // rows + 1):
            if group % PARTS == part:
                sum_rows(op, step, &tasks, max(0, group * rows - step.row), min(step.n, (group + 1) * rows - step.row))
