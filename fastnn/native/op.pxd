"""What an op gets to see of a run, and where in the arenas the parts of its buffers lie."""

from libc.stdint cimport int64_t, uint16_t, uint64_t, uintptr_t
from libc.string cimport memset

from fastnn.native.kernels cimport FNN_SUM, FNN_SUM_RELU_GRAD, fnn_barrier, fnn_bfloat16, fnn_gemm, fnn_kernels


cdef enum:
    BUFFERS = 12
    NUMBERS = 12
    SCALARS = 8


# What an op sees of the run: the chunk of rows, the optimiser's step, the caller's arrays, and which thread it is.
cdef struct Step:
    const fnn_kernels *kernels
    const fnn_bfloat16 *bfloat16
    int64_t n                # rows of this chunk
    int64_t first            # the chunk's first position in the order of all rows
    int64_t row              # its first position in the batch
    const int64_t *partners  # rows that partners are drawn from, NULL: all
    int64_t total            # how many these are
    int64_t chunk            # 0 for the first chunk of a batch
    int64_t capacity         # rows that batch buffers have room for
    int64_t t                # optimiser step, from 1
    double rate              # learning rate of this step
    double corrected_rate    # with Adam's bias corrections, where the optimiser is Adam
    double inverse_weight    # 1 / sum of the batch's sample weights, 0 where that is 0
    uint64_t seed
    int thread
    int threads
    char *scratch            # this thread's, as large as an op has asked for
    char *common             # where there is more than one thread: of all threads, as large as an op has asked for
    fnn_barrier *barrier     # of the threads
    int64_t *taken           # this op's counters of what threads take, of thread 0; 0 when the first of them begins it
    int64_t taken_stride     # from one thread's to the next one's
    const int64_t *order     # NULL: rows in sequence
    const char *X            # dense rows, or the data of CSR rows
    int64_t X_itemsize
    int64_t X_row
    const int64_t *X_start   # CSR: where each row starts; NULL for dense rows
    const int64_t *X_column  # CSR: column of each value
    const int64_t *classes   # class indices, or NULL
    const char *y            # target rows
    int64_t y_itemsize
    const double *weight     # NULL: all 1
    char *output


cdef struct Op:
    void (*run)(const Op *op, const Step *step) noexcept nogil
    int barrier
    char *buffer[BUFFERS]
    int64_t number[NUMBERS]
    double scalar[SCALARS]


ctypedef void (*Run)(const Op *op, const Step *step) noexcept nogil


cdef inline int64_t panels(const fnn_kernels *k, int64_t columns) noexcept nogil:
    return (columns + k.panel - 1) >> k.panel_bits


cdef inline int64_t padded(const fnn_kernels *k, int64_t columns) noexcept nogil:
    return (columns + k.lanes - 1) >> k.lane_bits << k.lane_bits


cdef inline int64_t panel_width(const fnn_kernels *k, int64_t columns, int64_t p) noexcept nogil:
    """Columns of panel p with its padding."""
    cdef int64_t rest = columns - p * k.panel
    return k.panel if rest >= k.panel else padded(k, rest)


cdef inline int64_t height_of(const fnn_kernels *k, int64_t rows, int64_t block) noexcept nogil:
    """Rows of block `block` of a matrix that is cut into blocks as high as a panel is wide."""
    return min(k.panel, rows - block * k.panel)


cdef inline char *at(const fnn_kernels *k, const void *base, int64_t element) noexcept nogil:
    """Where an element is; of a buffer that is not there, an address that nobody reads, and C adds nothing to NULL."""
    return <char *> (<uintptr_t> base + <uintptr_t> (element * k.itemsize))


cdef inline int64_t share(int64_t n, int thread, int threads) noexcept nogil:
    """Where the thread's share of n items starts; the next thread's start is its end."""
    return n * thread // threads


cdef inline int64_t first_row(const Step *step) noexcept nogil:
    """Where this thread's rows of the chunk start."""
    return share(step.n, step.thread, step.threads)


cdef inline int64_t rows_of(const Step *step) noexcept nogil:
    """How many rows of the chunk are this thread's."""
    return share(step.n, step.thread + 1, step.threads) - first_row(step)


cdef struct Half:            # some rows of some columns of a matrix
    int64_t column, columns, first, rows


cdef inline Half half_between(
    const Step *step, int64_t columns, int64_t cut, int half, int64_t first, int64_t last
) noexcept nogil:
    """Of the columns before (0) or from (1) `cut` on, which are counted as twice as many rows, rows first ... last;
    with cut 0 of all columns."""
    cdef int64_t start = half * step.n
    cdef Half h
    h.column = cut if half else 0
    h.columns = (cut if cut and not half else columns) - h.column
    h.first = max(first - start, <int64_t> 0)
    h.rows = max(min(last - start, step.n) - h.first, <int64_t> 0)
    return h


cdef inline Half half_of(const Step *step, int64_t columns, int64_t cut, int half) noexcept nogil:
    """The same for this thread's rows."""
    cdef int64_t rows = 2 * step.n if cut else step.n
    return half_between(
        step, columns, cut, half, share(rows, step.thread, step.threads), share(rows, step.thread + 1, step.threads)
    )


cdef inline int64_t panel_stride(const Step *step, int64_t positions) noexcept nogil:
    """Distance between the starts of a batch buffer's panels."""
    return step.capacity * positions * step.kernels.panel


cdef inline uint16_t *operand_at(const Step *step, const void *x, int64_t column, int64_t row) noexcept nogil:
    """Where in gathered rows that are an operand of products of bfloat16 a row starts, blocks of 2 * lanes columns one
    after another, for a column that is a multiple of that."""
    cdef int64_t depth = 2 * step.kernels.lanes
    return <uint16_t *> x + (column // depth * step.capacity + row) * depth


cdef inline int64_t row_span(
    const Step *step, int64_t columns, int64_t positions, int64_t p, int64_t *width
) noexcept nogil:
    """Where this thread's rows of panel p of a batch buffer start: one after another, `positions` lines of `width`
    elements each."""
    width[0] = panel_width(step.kernels, columns, p)
    return p * panel_stride(step, positions) + first_row(step) * positions * width[0]


cdef inline void multiply(const fnn_kernels *k, fnn_gemm *g, int64_t vectors, int64_t rows) noexcept nogil:
    """Rows of C in tiles of nearly equal height; `g` describes the first row and is left behind the last."""
    cdef int64_t tallest = k.tile_rows[vectors]
    cdef int64_t tiles = (rows + tallest - 1) // tallest, lowest = rows // max(tiles, 1), higher = rows - lowest * tiles
    cdef int64_t tile, height
    for tile in range(tiles):
        height = lowest + (tile < higher)
        k.gemm[vectors][height](g)
        g.a = at(k, g.a, height * g.a_row)
        g.tail = at(k, g.tail, height * g.tail_row)
        g.c = at(k, g.c, height * g.c_row)
        if g.init != NULL:
            g.init = at(k, g.init, height * g.init_row)
        if g.finish == FNN_SUM_RELU_GRAD:
            g.y = at(k, g.y, height * g.c_row)


cdef inline void rows_of_panels(
    const fnn_kernels *k, const char *x, int64_t columns, int64_t stride, fnn_gemm *g
) noexcept nogil:
    """Sets up A as the rows of a panel matrix, reduced over its columns: whole panels, `stride` elements from one to
    the next, then the narrower last one."""
    g.a = x
    g.a_step = 1
    g.a_row = k.panel
    g.a_block = stride
    g.blocks = columns >> k.panel_bits
    g.depth = k.panel
    g.b_skip = 0
    g.tail_depth = columns - g.blocks * k.panel
    g.tail_row = panel_width(k, columns, g.blocks) if g.tail_depth > 0 else 0
    g.tail = at(k, x, g.blocks * stride)
    g.tail_b = NULL
    g.finish = FNN_SUM
    g.scattered = False


cdef inline bint reads_in_place(const Op *op, const Step *step) noexcept nogil:
    """Whether a gather has nothing to do, because the layers behind it, ops like this one, read X where the caller has
    it. The layout says whether they may; here X has to be a matrix of the right type whose rows come in order."""
    return op.number[8] and step.order == NULL and step.X_start == NULL and step.X_itemsize == step.kernels.itemsize


cdef inline void rows_in_place(const Step *step, const Half *part, fnn_gemm *g) noexcept nogil:
    """Sets up A as the chunk's rows of X, or a part of their columns, where the caller has them."""
    cdef const char *x = at(step.kernels, step.X, step.first * step.X_row + part.column)
    rows_of_panels(step.kernels, x, part.columns, step.kernels.panel, g)
    g.a_row = g.tail_row = step.X_row


cdef inline double real_at(const fnn_kernels *k, const char *x, int64_t element) noexcept nogil:
    return (<const float *> x)[element] if k.itemsize == 4 else (<const double *> x)[element]


cdef inline int64_t length_of(const fnn_kernels *k, const char *lengths, int64_t row, int64_t time) noexcept nogil:
    """How many of a row's steps count, at least 1: all of them without `lengths`, a batch buffer of one column."""
    cdef double length = <double> time if lengths == NULL else real_at(k, lengths, row * k.lanes)
    return <int64_t> length if 1.0 <= length <= <double> time else (time if length > 1.0 else 1)


cdef inline void clear_steps(
    const fnn_kernels *k, char *panel, int64_t row, int64_t steps, int64_t time, int64_t step_size
) noexcept nogil:
    """Zeros for the steps of a row from `steps` on, of `step_size` elements each, in one panel of a batch buffer."""
    memset(at(k, panel, (row * time + steps) * step_size), 0, (time - steps) * step_size * k.itemsize)
