"""Rows of the caller's arrays into panels, and predictions back out; rows are shared between threads."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from fastnn.native._entries cimport Span, entries_before, span_of
from fastnn.native.kernels cimport fnn_kernels, fnn_philox
from fastnn.native.op cimport (
    Half, Op, Step, at, first_row, half_of, operand_at, padded, panel_stride, panel_width, panels, reads_in_place,
    rows_of,
)


cdef inline int64_t source_row(const Step *step, int64_t r) noexcept nogil:
    return step.order[step.first + r] if step.order != NULL else step.first + r


cdef inline void set_real(const fnn_kernels *k, char *to, double value) noexcept nogil:
    if k.itemsize == 4:
        (<float *> to)[0] = <float> value
    else:
        (<double *> to)[0] = value


cdef inline double get_real(int64_t itemsize, const char *source) noexcept nogil:
    return (<const float *> source)[0] if itemsize == 4 else (<const double *> source)[0]


cdef enum:
    BLOCK = 64  # rows whose places are found at a time

# How gathered rows are kept: in full precision, as operands of products of bfloat16, rounded where they lie, or not at
# all, where products read the entries of a sparse matrix.
cdef enum:
    FULL, OPERAND, ROUNDED, NOTED


cdef void find_rows(const Step *step, int64_t partner, int64_t first, int64_t n, int64_t *index) noexcept nogil:
    """Places in the caller's arrays of rows first ... of the chunk; with a stream `partner`, drawn from all rows of
    positive weight."""
    cdef uint32_t[4] words
    cdef int64_t r
    for r in range(n):
        if partner < 0:
            index[r] = source_row(step, first + r)
        else:
            fnn_philox(
                step.seed, 0, <uint32_t> (step.row + first + r), <uint32_t> step.t, <uint32_t> partner, words
            )
            index[r] = <int64_t> ((<uint64_t> words[0] * <uint64_t> step.total) >> 32)
            if step.partners != NULL:
                index[r] = step.partners[index[r]]


cdef void gather_rows(
    const Op *op, const Step *step, const Half *part, const char *source, int64_t row, int64_t itemsize
) noexcept nogil:
    """Some columns of rows of `row` elements into a buffer of number[1] positions (0: in one piece), or as an operand
    of products of bfloat16."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = part.columns, positions = op.number[1], start = part.first, i, n
    cdef int64_t stop = start + part.rows, stride = panel_stride(step, positions)
    cdef int64_t[BLOCK] index
    while start < stop:
        n = min(BLOCK, stop - start)
        find_rows(step, op.number[2], start, n, index)
        if op.number[5] == OPERAND:
            step.bfloat16.gather(
                n, columns, index, source + part.column * itemsize, row, itemsize, <float> op.scalar[0],
                operand_at(step, op.buffer[0], part.column, start), 2 * k.lanes, 2 * k.lanes * step.capacity,
            )
        elif positions <= 1:
            k.gather(
                n, columns, index, source + part.column * itemsize, row, itemsize, op.scalar[0],
                at(k, op.buffer[0], part.column // k.panel * stride), stride, start,
            )
        for i in range(n if positions > 1 else 0):
            k.gather(
                positions, columns, NULL, source + index[i] * row * itemsize, columns, itemsize, op.scalar[0],
                op.buffer[0], stride, (start + i) * positions,
            )
        start += n


cdef inline Span entries_of_half(const Op *op, const Step *step, int half, int64_t r) noexcept nogil:
    """The entries of row r of the chunk in a CSR matrix, of those in one half of the columns if these are cut."""
    cdef int64_t source
    cdef Span row
    find_rows(step, op.number[2], r, 1, &source)
    row.first, row.last = step.X_start[source], step.X_start[source + 1]
    if op.number[4] and half:
        row.first = entries_before(step, row, op.number[4])
    elif op.number[4]:
        row.last = entries_before(step, row, op.number[4])
    return row


cdef void gather_csr(const Op *op, const Step *step, int half, const Half *part) noexcept nogil:
    """Writes columns of rows of a CSR matrix as dense rows of the batch: only a batch is ever dense."""
    cdef const fnn_kernels *k = step.kernels
    cdef bint operand = op.number[5] == OPERAND
    cdef int64_t columns = op.number[0], stride = (1 if operand else step.capacity) * k.panel
    cdef int64_t r, p, i, j, width, row
    cdef char *rows = step.scratch if operand else op.buffer[0]
    cdef Span entries
    for r in range(part.first, part.first + part.rows):
        row = 0 if operand else r
        for p in range(part.column // k.panel, panels(k, part.column + part.columns)):
            width = panel_width(k, columns, p)
            memset(at(k, rows, p * stride + row * width), 0, width * k.itemsize)
        entries = entries_of_half(op, step, half, r)
        for i in range(entries.first, entries.last):
            j = step.X_column[i]
            p = j // k.panel
            set_real(
                k, at(k, rows, p * stride + row * panel_width(k, columns, p) + j - p * k.panel),
                op.scalar[0] * get_real(step.X_itemsize, step.X + i * step.X_itemsize),
            )
        if operand:
            step.bfloat16.pack_rows(
                1, padded(k, part.columns), <const float *> at(k, rows, part.column), 0,
                operand_at(step, op.buffer[0], part.column, r), 0, 2 * k.lanes * step.capacity,
            )


cdef void note_entries(const Op *op, const Step *step, int half, const Half *part) noexcept nogil:
    """Where the entries of rows of a CSR matrix lie."""
    cdef int64_t r
    cdef Span row
    for r in range(part.first, part.first + part.rows):
        row = entries_of_half(op, step, half, r)
        span_of(step, op.buffer[0], half, r)[0] = row
        if op.number[4] == 0:
            span_of(step, op.buffer[0], 1, r)[0] = Span(row.last, row.last)


cdef void round_rows(const Op *op, const Step *step, const Half *part) noexcept nogil:
    """Rounds the rows just gathered, where they lie."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width
    cdef char *x
    if positions == 0:
        x = at(k, op.buffer[0], part.first * columns)
        step.bfloat16.round(part.rows * columns, <const float *> x, <float *> x)
        return
    for p in range(part.column // k.panel, panels(k, part.column + part.columns)):
        width = panel_width(k, columns, p) * positions
        x = at(k, op.buffer[0], p * panel_stride(step, positions) + part.first * width)
        step.bfloat16.round(part.rows * width, <const float *> x, <float *> x)


cdef void gather(const Op *op, const Step *step) noexcept nogil:
    """Numbers: those of gather_rows, the first column, where the columns are cut, what becomes of the rows, and in
    number[8] whether they may be read in place."""
    cdef int half
    cdef Half part
    if reads_in_place(op, step):
        return
    for half in range(2 if op.number[4] else 1):
        part = half_of(step, op.number[0], op.number[4], half)
        if op.number[5] == NOTED:
            note_entries(op, step, half, &part)
        elif step.X_start != NULL:
            gather_csr(op, step, half, &part)
        else:
            gather_rows(op, step, &part, step.X + op.number[3] * step.X_itemsize, step.X_row, step.X_itemsize)
        if op.number[5] == ROUNDED:
            round_rows(op, step, &part)


cdef void gather_classes(const Op *op, const Step *step) noexcept nogil:
    """Of one class for each row, or for each of its positions."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t outputs = op.number[0], positions = op.number[1], start = first_row(step), i, n
    cdef int64_t stop = start + rows_of(step), stride = panel_stride(step, positions)
    cdef int64_t[BLOCK] index
    while start < stop:
        n = min(BLOCK, stop - start)
        find_rows(step, op.number[2], start, n, index)
        if positions == 1:
            k.one_hot(n, outputs, step.classes, index, op.scalar[1], op.scalar[2], op.buffer[0], stride, start)
        for i in range(n if positions > 1 else 0):
            k.one_hot(
                positions, outputs, step.classes + index[i] * positions, NULL, op.scalar[1], op.scalar[2], op.buffer[0],
                stride, (start + i) * positions,
            )
        start += n


cdef void gather_target(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t outputs = op.number[0], positions = op.number[1], r, p, j, width
    cdef double on = op.scalar[1], off = op.scalar[2]
    cdef char *element
    cdef Half whole = half_of(step, outputs, 0, 0)
    if op.number[3]:
        gather_classes(op, step)
        return
    gather_rows(op, step, &whole, step.y, outputs * positions, step.y_itemsize)
    if on == 1.0 and off == 0.0:
        return
    for r in range(first_row(step) * positions, (first_row(step) + rows_of(step)) * positions):
        for p in range(panels(k, outputs)):
            width = panel_width(k, outputs, p)
            for j in range(min(k.panel, outputs - p * k.panel)):
                element = at(k, op.buffer[0], p * panel_stride(step, positions) + r * width + j)
                set_real(k, element, off + (on - off) * get_real(k.itemsize, element))


cdef void gather_weight(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t r
    for r in range(first_row(step), first_row(step) + rows_of(step)):
        set_real(k, at(k, op.buffer[0], r), step.weight[source_row(step, r)])


cdef void store(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], start = first_row(step), n = rows_of(step)
    k.store(
        n * positions, columns, op.buffer[0], panel_stride(step, positions), start * positions,
        at(k, step.output, (step.first + start) * positions * columns), columns,
    )


def columns_rise(const int64_t[::1] starts, const int64_t[::1] columns, int64_t width):
    """Whether the columns of each row of a CSR matrix rise, or None where it points outside itself; the last start is
    known to be none."""
    cdef int64_t n = starts.shape[0] - 1, r, i, last
    cdef bint rising = True, inside = starts[0] == 0
    with nogil:
        for r in range(n):
            inside = inside and starts[r] <= starts[r + 1]
        if inside:
            for r in range(n):
                last = -1
                for i in range(starts[r], starts[r + 1]):
                    inside = inside and 0 <= columns[i] < width
                    rising = rising and last < columns[i]
                    last = columns[i]
    return rising if inside else None


def size(layout, name):
    """(columns, positions) of a buffer in panels; (elements of a row, 0) where rows lie in one piece."""
    buffer = layout.plan.buffers[name]
    return [buffer.size, 0] if buffer.layout == "rows" else [buffer.columns, buffer.positions]


def bind_rows(op, layout):
    x, partner = op.outputs[0], op.attributes.get("partner")
    return [x], [*size(layout, x), -1 if partner is None else partner], [op.attributes.get("scale", 1.0)]


def bind_gather(op, layout):
    buffers, numbers, scalars = bind_rows(op, layout)
    form = ROUNDED if op.attributes.get("precision") == "bfloat16" else FULL
    if layout.plan.buffers[op.outputs[0]].layout == "entries":
        form = NOTED
    elif layout.is_operand(op.outputs[0]):
        form = OPERAND
        layout.scratch(layout.padded(numbers[0]))  # a row of a CSR matrix
    numbers += [op.attributes.get("first", 0), op.attributes.get("cut", 0), form, 0, 0]
    return buffers, [*numbers, int(op.outputs[0] in layout.in_place)], scalars


def bind_gather_target(op, layout):
    attributes = op.attributes
    buffers, numbers, scalars = bind_rows(op, layout)
    return buffers, [*numbers, int(attributes["one_hot"])], [*scalars, attributes["on"], attributes["off"]]


def bind_gather_weight(op, layout):
    return [op.outputs[0]], [], []


def bind_store(op, layout):
    return [op.inputs[0]], size(layout, op.inputs[0]), []


OPS = {
    "gather": (<size_t> &gather, bind_gather),
    "gather_target": (<size_t> &gather_target, bind_gather_target),
    "gather_weight": (<size_t> &gather_weight, bind_gather_weight),
    "store": (<size_t> &store, bind_store),
}

# Those with precision="bfloat16".
BFLOAT16_OPS = {"gather": OPS["gather"]}
