"""csrc/fastnn.h as Cython sees it: the kernel tables, and what threads share."""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t


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
        int scattered
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
    ctypedef struct fnn_run:
        int64_t to, n

    ctypedef struct fnn_pick:
        int64_t to

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
    ctypedef struct fnn_entries:
        int64_t n
        const int64_t *column
        const void *value
        int64_t itemsize, rounded

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

    ctypedef struct fnn_update:
        int64_t n
        void *w
        const void *g
        void *state0
        void *state1
        fnn_step step

    ctypedef double (*fnn_update_kernel)(const fnn_update *u) noexcept nogil

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
        void (*entries_product)(
            const fnn_entries *x, int64_t width, const void *b, const void *bias, void *c
        ) noexcept nogil
        void (*add_entries)(
            const fnn_entries *x, int64_t width, int64_t first, const void *b, void *c
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
        void (*copy_rows)(
            int64_t rows, int64_t n, const void *source, const int32_t *from_row, int64_t from_width, void *to,
            const int32_t *to_row, int64_t to_width,
        ) noexcept nogil
        void (*expand)(
            int64_t rows, int64_t n, const void *source, int64_t from_row, int64_t from_place, void *to, int64_t to_row,
            int64_t to_place, int64_t unit, int64_t inexact, int64_t runs, const fnn_run *run,
        ) noexcept nogil
        void (*expand_picked)(
            int64_t rows, int64_t n, const void *source, int64_t from_row, int64_t from_place, void *to, int64_t to_row,
            int64_t to_place, int64_t picks, const fnn_pick *pick,
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

    ctypedef double (*fnn_renew_kernel)(
        const fnn_update *u, int64_t width, uint16_t *packed, int64_t packed_tile, const fnn_bfloat16_product *p
    ) noexcept nogil

    ctypedef struct fnn_bfloat16:
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
        fnn_renew_kernel renew[64]
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
