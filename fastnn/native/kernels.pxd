"""csrc/fastnn.h as Cython sees it: the kernel table, and what an op and a step are."""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset


cdef extern from "fastnn.h" nogil:
    enum:
        FNN_WINDOW

    ctypedef enum fnn_finish:
        FNN_SUM, FNN_SUM_RELU, FNN_SUM_RELU_GRAD

    ctypedef enum fnn_activation_id:
        FNN_ACTIVATION_relu

    ctypedef struct fnn_gemm:
        const void *a
        const void *tail
        int64_t a_row, a_step, a_block, blocks, depth
        int64_t tail_row, tail_depth
        const void *b
        const void *tail_b
        int64_t b_row, b_skip
        const void *init
        int64_t init_row
        void *c
        int64_t c_row
        fnn_finish finish
        const void *y

    ctypedef void (*fnn_gemm_kernel)(const fnn_gemm *g) noexcept nogil
    ctypedef struct fnn_index:
        int32_t a, b

    ctypedef struct fnn_indexed:
        const void *a
        const int32_t *a_row
        int64_t a_unit
        const fnn_index *step
        int64_t depth
        const void *b
        int64_t b_row
        const void *init
        int64_t init_row
        void *c
        const int32_t *c_row
        int64_t c_width
        void *index

    ctypedef void (*fnn_indexed_kernel)(const fnn_indexed *g) noexcept nogil
    ctypedef struct fnn_sparse:
        const void *factor
        const void *index
        int64_t step, depth
        const int32_t *at
        const int32_t *tap
        const void *b
        int64_t b_row
        void *c
        int64_t c_row

    ctypedef void (*fnn_sparse_kernel)(const fnn_sparse *g) noexcept nogil
    ctypedef struct fnn_picked:
        const void *factor
        const void *index
        int64_t depth, width
        const int32_t *tap
        const void *x
        int64_t x_window
        const int32_t *x_row
        void *c
        const int32_t *c_row

    ctypedef void (*fnn_picked_kernel)(const fnn_picked *g) noexcept nogil
    ctypedef struct fnn_masked:
        int64_t rows, blocks
        const uint64_t *mask
        int64_t mask_row, mask_block
        const void *a
        int64_t a_row, a_step
        const void *b[2]
        const void *bias
        int accumulate
        void *c[2]

    ctypedef void (*fnn_masked_kernel)(const fnn_masked *g) noexcept nogil
    ctypedef void (*fnn_function_kernel)(int64_t n, const void *x, void *y) noexcept nogil
    ctypedef void (*fnn_activation_kernel)(int64_t n, const void *z, void *y, const double *p) noexcept nogil
    ctypedef void (*fnn_activation_grad_kernel)(
        int64_t n, const void *dy, const void *s, void *dz, const double *p
    ) noexcept nogil

    ctypedef struct fnn_loss:
        int64_t first, rows, outputs, panel_stride
        const void *z
        const void *t
        const void *w
        double inverse_weight
        void *dz
        double *row_loss
        const double *p

    ctypedef void (*fnn_loss_kernel)(const fnn_loss *l) noexcept nogil

    ctypedef struct fnn_step:
        double rate, shrink, clip, l2
        const double *p

    ctypedef double (*fnn_update_kernel)(
        int64_t n, void *w, const void *g, void *state0, void *state1, const fnn_step *s
    ) noexcept nogil

    ctypedef struct fnn_window:
        int64_t image[2]
        int64_t output[2]

    ctypedef struct fnn_cell:
        int64_t rows, width, time
        const int64_t *row
        void *z
        int64_t z_line
        const void *b
        const void *d
        const void *before
        void *state
        void *after
        void *h
        void *gates
        void *c

    ctypedef struct fnn_cell_grad:
        int64_t rows, width, time
        const int64_t *row
        void *dh
        void *dc
        const void *gates
        const void *c
        const void *before
        void *dgates
        void *packed
        int64_t packed_row
        int64_t packed_line

    ctypedef struct fnn_augment:
        int64_t rows, height, width, channels
        const void *x
        void *y
        int64_t transforms
        const double *table
        const int32_t *places
        uint64_t seed
        int64_t row
        uint32_t step, stream
        void *scratch

    ctypedef struct fnn_kernels:
        const char *isa
        int64_t itemsize, lanes, vectors, panel, narrow
        int lane_bits, panel_bits
        int64_t tile_rows[5]
        fnn_gemm_kernel gemm[5][17]
        int64_t indexed_rows[5]
        fnn_indexed_kernel indexed[5][17]
        fnn_indexed_kernel elementwise[5][17]
        fnn_indexed_kernel pooled[5][5]
        fnn_sparse_kernel sparse[5][17]
        fnn_picked_kernel picked[5][17]
        fnn_masked_kernel masked[9]
        fnn_function_kernel function[64]
        fnn_activation_kernel activation[64]
        fnn_activation_grad_kernel activation_grad[64]
        fnn_loss_kernel loss[64]
        fnn_update_kernel update[64]
        void (*expect)(int64_t bytes, const void *memory) noexcept nogil
        void (*narrow_product)(
            int64_t first, int64_t rows, int64_t depth, int64_t outputs, int64_t panel_stride, const void *x,
            const void *w, const void *b, void *z,
        ) noexcept nogil
        void (*nonzero)(int64_t rows, int64_t width, const void *x, uint64_t *words) noexcept nogil
        void (*transpose_bits)(
            int64_t rows, const uint64_t *words, int64_t columns, uint64_t *to, int64_t to_row
        ) noexcept nogil
        void (*column_sum)(
            int64_t rows, int64_t width, const void *x, int64_t x_row, int accumulate, void *s
        ) noexcept nogil
        double (*penalty)(
            int64_t n, const void *w, void *g, double l1, double l2, double inverse_weight
        ) noexcept nogil
        void (*clip)(int64_t n, void *g, double limit) noexcept nogil
        double (*square_sum)(int64_t n, const void *g) noexcept nogil
        void (*scale)(int64_t n, double factor, void *g) noexcept nogil
        void (*transpose)(
            int64_t rows, int64_t columns, const void *source, int64_t from_row, void *to, int64_t to_row
        ) noexcept nogil
        void (*softmax)(
            int64_t first, int64_t rows, int64_t outputs, int64_t panel_stride, const void *z, void *y
        ) noexcept nogil
        void (*dropout)(
            int64_t rows, int64_t repeats, int64_t width, const void *x, void *y, uint32_t threshold, double scale,
            uint64_t seed, int64_t column, int64_t row, uint32_t step, uint32_t stream,
        ) noexcept nogil
        void (*rrelu)(
            int64_t rows, int64_t width, const void *z, void *y, double lower, double upper,
            uint64_t seed, int64_t column, int64_t row, uint32_t step, uint32_t stream,
        ) noexcept nogil
        void (*rrelu_grad)(
            int64_t rows, int64_t width, const void *dy, const void *z, void *dz, double lower, double upper,
            uint64_t seed, int64_t column, int64_t row, uint32_t step, uint32_t stream,
        ) noexcept nogil
        void (*mix)(int64_t n, double share, const void *a, const void *b, void *y) noexcept nogil
        void (*batch_norm_sums)(
            int64_t rows, int64_t width, const void *x, void *mean, void *squares
        ) noexcept nogil
        void (*batch_norm_statistics)(
            int64_t rows, int64_t positions, int64_t parts, int64_t width, const void *partial, double epsilon,
            double momentum, void *mean, void *rstd, void *running_mean, void *running_var,
        ) noexcept nogil
        void (*batch_norm)(
            int64_t rows, int64_t width, const void *x, const void *gamma, const void *beta, const void *mean,
            const void *rstd, void *y,
        ) noexcept nogil
        void (*batch_norm_inference)(
            int64_t rows, int64_t width, const void *x, const void *gamma, const void *beta,
            const void *running_mean, const void *running_var, double epsilon, void *y,
        ) noexcept nogil
        void (*batch_norm_grad_sums)(
            int64_t rows, int64_t width, const void *dy, const void *x, const void *mean, const void *rstd,
            void *dgamma, void *dbeta,
        ) noexcept nogil
        void (*batch_norm_grad_parameters)(
            int64_t parts, int64_t width, const void *partial, void *dgamma, void *dbeta
        ) noexcept nogil
        void (*batch_norm_grad)(
            int64_t rows, int64_t width, int64_t count, const void *dy, const void *x, const void *gamma,
            const void *mean, const void *rstd, const void *dgamma, const void *dbeta, void *dx,
        ) noexcept nogil
        void (*fold_norm)(
            int64_t rows, int64_t width, const void *w, const void *b, const void *gamma, const void *beta,
            const void *running_mean, const void *running_var, double epsilon, void *folded_w, void *folded_b,
        ) noexcept nogil
        void (*layer_norm)(
            int64_t first, int64_t rows, int64_t features, int64_t panel_stride, const void *x, const void *gamma,
            const void *beta, double epsilon, void *y, void *mean, void *rstd,
        ) noexcept nogil
        void (*layer_norm_grad)(
            int64_t first, int64_t rows, int64_t features, int64_t panel_stride, const void *dy, const void *x,
            const void *gamma, const void *mean, const void *rstd, void *dx,
        ) noexcept nogil
        void (*layer_norm_grad_parameters)(
            int64_t rows, int64_t width, const void *dy, const void *x, const void *mean, const void *rstd,
            int accumulate, void *dgamma, void *dbeta,
        ) noexcept nogil
        void (*gather)(
            int64_t rows, int64_t columns, const int64_t *index, const void *source, int64_t from_row,
            int64_t source_itemsize, double scale, void *to, int64_t panel_stride, int64_t to_first,
        ) noexcept nogil
        void (*one_hot)(
            int64_t rows, int64_t outputs, const int64_t *classes, const int64_t *index, double on, double off,
            void *to, int64_t panel_stride, int64_t to_first,
        ) noexcept nogil
        void (*store)(
            int64_t rows, int64_t columns, const void *source, int64_t panel_stride, int64_t from_first, void *to,
            int64_t to_row,
        ) noexcept nogil
        int (*differs)(
            int64_t rows, int64_t columns, int64_t first_panel, const void *matrix, const void *panels
        ) noexcept nogil
        void (*copy)(
            int64_t rows, int64_t n, const void *source, int64_t from_row, int64_t from_step, void *to, int64_t to_row,
            int64_t to_step,
        ) noexcept nogil
        void (*max_of_windows)(
            int64_t n, int64_t taps, int64_t width, const void *x, void *y, void *index
        ) noexcept nogil
        void (*max_at_windows)(
            int64_t n, int64_t taps, int64_t width, const void *x, const int32_t *window, const int32_t *tap, void *y,
            void *index,
        ) noexcept nogil
        void (*put_in_windows)(
            int64_t n, int64_t taps, int64_t width, const void *dy, const void *index, const int32_t *window,
            const int32_t *tap, void *to, int64_t to_row,
        ) noexcept nogil
        void (*lay_windows)(
            int64_t windows, int64_t lines, int64_t n, const void *x, int64_t x_window, int64_t x_line, void *to
        ) noexcept nogil
        void (*rows_of_planes)(
            int64_t places, int64_t filters, int64_t plane, const void *source, void *to
        ) noexcept nogil
        void (*sum_parts)(int64_t parts, int64_t n, const void *source, int64_t part, void *to) noexcept nogil
        void (*max_pool)(
            const fnn_window *w, int64_t images, int64_t width, const void *x, void *y, void *index
        ) noexcept nogil
        void (*max_pool_grad)(
            const fnn_window *w, int64_t images, int64_t width, const void *dy, const void *index, void *dx
        ) noexcept nogil
        void (*avg_pool)(
            const fnn_window *w, int64_t images, int64_t width, const void *x, void *y
        ) noexcept nogil
        void (*avg_pool_grad)(
            const fnn_window *w, int64_t images, int64_t width, const void *dy, void *dx
        ) noexcept nogil
        void (*reshape)(
            int64_t first, int64_t rows, int64_t x_positions, int64_t x_columns, int64_t x_stride, const void *x,
            int64_t y_positions, int64_t y_columns, int64_t y_stride, void *y,
        ) noexcept nogil
        void (*pad_lines)(
            int64_t rows, int64_t columns, const void *source, int64_t from_row, void *to, int64_t to_row
        ) noexcept nogil
        void (*add)(int64_t n, const void *a, const void *b, void *y) noexcept nogil
        void (*fill)(int64_t n, double value, void *y) noexcept nogil
        void (*copy_columns)(
            int64_t first, int64_t rows, int64_t n, int64_t x_columns, int64_t x_first, int64_t x_stride, const void *x,
            int64_t y_columns, int64_t y_first, int64_t y_stride, void *y,
        ) noexcept nogil
        void (*augment)(const fnn_augment *a) noexcept nogil
        void (*links)(
            int64_t sequences, int64_t width, int64_t links, const int32_t *shift, const void *w, const void *s,
            int64_t s_row, void *z, int64_t z_row,
        ) noexcept nogil
        void (*leak)(int64_t n, double share, const void *y, const void *s, void *to, void *also) noexcept nogil
        void (*lstm_cell)(const fnn_cell *s) noexcept nogil
        void (*lstm_cell_grad)(const fnn_cell_grad *s) noexcept nogil
        void (*gru_cell)(const fnn_cell *s) noexcept nogil
        void (*gru_cell_grad)(const fnn_cell_grad *s) noexcept nogil
        void (*take_lines)(
            int64_t rows, int64_t width, const int64_t *row, const void *source, int64_t from_row, void *to
        ) noexcept nogil
        void (*add_lines)(
            int64_t rows, int64_t width, const int64_t *row, const void *source, int64_t from_row, void *to
        ) noexcept nogil
        void (*put_lines)(
            int64_t rows, int64_t width, const int64_t *row, const void *source, void *to, int64_t to_row
        ) noexcept nogil
        void (*mask_lines)(
            int64_t rows, int64_t repeats, int64_t width, const void *x, const void *mask, void *y
        ) noexcept nogil
        void (*add_products)(int64_t n, const void *a, const void *b, void *y) noexcept nogil
        void (*mean_over_steps)(int64_t steps, int64_t width, const void *x, void *y) noexcept nogil
        void (*mean_over_steps_grad)(int64_t steps, int64_t width, const void *dy, void *dx) noexcept nogil
        void (*max_over_steps)(int64_t steps, int64_t width, const void *x, void *y, void *index) noexcept nogil
        void (*max_over_steps_grad)(
            int64_t steps, int64_t width, const void *dy, const void *index, void *dx
        ) noexcept nogil
        double (*peak)(int64_t repeats, double *sink) noexcept nogil
        void (*stream)(int64_t n, const void *x, void *y) noexcept nogil

    ctypedef struct fnn_bfloat16_product:
        const uint16_t *a
        int64_t a_row, a_block
        const int32_t *offset
        int64_t blocks, spare
        const uint16_t *b
        int64_t b_tile
        const float *init
        int64_t init_row
        float *c
        int64_t c_row, rows, tiles
        const int32_t *a_part
        int64_t parts, c_part

    ctypedef struct fnn_bfloat16:
        const char *isa
        int64_t panels
        void (*narrow)(int64_t n, const float *source, uint16_t *to) noexcept nogil
        void (*round)(int64_t n, const float *source, float *to) noexcept nogil
        void (*pack_rows)(
            int64_t rows, int64_t width, const float *source, int64_t from_row, uint16_t *to, int64_t to_row,
            int64_t to_block,
        ) noexcept nogil
        void (*pack_columns)(
            int64_t rows, int64_t width, const float *source, int64_t from_row, uint16_t *to, int64_t to_row,
            int64_t to_block,
        ) noexcept nogil
        void (*pack_pairs)(
            int64_t rows, int64_t width, const float *source, int64_t from_row, uint16_t *to, int64_t to_tile
        ) noexcept nogil
        void (*pack_transposed)(
            int64_t rows, int64_t width, const float *source, int64_t from_row, uint16_t *to, int64_t to_tile
        ) noexcept nogil
        void (*copy_rows)(
            int64_t rows, int64_t width, const uint16_t *source, int64_t from_row, uint16_t *to, int64_t to_row,
            int64_t to_block,
        ) noexcept nogil
        void (*copy_columns)(
            int64_t rows, int64_t width, const uint16_t *source, int64_t from_row, uint16_t *to, int64_t to_row,
            int64_t to_block,
        ) noexcept nogil
        void (*gather)(
            int64_t rows, int64_t columns, const int64_t *index, const void *source, int64_t from_row,
            int64_t source_itemsize, float scale, uint16_t *to, int64_t to_row, int64_t to_block,
        ) noexcept nogil
        void (*copy_pairs)(
            int64_t rows, int64_t width, const uint16_t *source, int64_t from_row, uint16_t *to, int64_t to_tile,
            float *sums,
        ) noexcept nogil
        void (*round_lines)(
            int64_t rows, int64_t width, const int64_t *row, const float *source, uint16_t *to, int64_t to_row
        ) noexcept nogil
        void (*lstm_cell)(const fnn_cell *s) noexcept nogil
        void (*lstm_cell_grad)(const fnn_cell_grad *s) noexcept nogil
        void (*gru_cell)(const fnn_cell *s) noexcept nogil
        void (*gru_cell_grad)(const fnn_cell_grad *s) noexcept nogil
        void (*put_rows)(
            int64_t n, int64_t taps, int64_t width, const float *dy, const float *index, const int32_t *window,
            const int32_t *tap, uint16_t *to, int64_t to_row,
        ) noexcept nogil
        void (*put_pairs)(
            int64_t n, int64_t taps, int64_t width, const float *dy, const float *index, const int32_t *window,
            const int32_t *tap, uint16_t *to, int64_t to_tile,
        ) noexcept nogil
        void (*copy)(
            int64_t rows, int64_t n, const uint16_t *source, int64_t from_row, int64_t from_step, uint16_t *to,
            int64_t to_row,
        ) noexcept nogil
        void (*patches)(
            int64_t rows, int64_t lines, int64_t n, const uint16_t *source, int64_t from_line, int64_t from_row,
            uint16_t *to, int64_t to_row,
        ) noexcept nogil
        void (*multiply)(const fnn_bfloat16_product *p) noexcept nogil
        void (*enter)() noexcept nogil
        void (*leave)() noexcept nogil
        double (*peak)(int64_t repeats) noexcept nogil

    const fnn_bfloat16 *fnn_bfloat16_for(const char *isa)
    const fnn_kernels *fnn_kernels_for(const char *isa, int64_t itemsize)
    const char *fnn_isa_name(int i, int with_bfloat16)
    const char *fnn_isa_in_use()
    uint64_t fnn_flush_denormals()
    void fnn_restore_float_mode(uint64_t state)
    void fnn_philox(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t *out)
    void fnn_shuffle(int64_t n, uint64_t seed, uint32_t epoch, int64_t *order)

    ctypedef struct fnn_barrier:
        pass

    void fnn_barrier_wait(fnn_barrier *b, int threads)
    int64_t fnn_take(int64_t *taken)
    int64_t fnn_take_of(int64_t *taken, int64_t n, int back)
    void fnn_wait_for_first(int64_t *taken, int threads)
    int fnn_has_openmp()
    int fnn_max_threads()
    int fnn_in_parallel()
    int fnn_thread_number()
    int fnn_team_size()
    void fnn_register_fork_handlers()
    int fnn_must_run_serially()
    const char *fnn_compiler()


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
    return <char *> base + element * k.itemsize


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
