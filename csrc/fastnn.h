/* fastnn's kernel table and the contract of every kernel in it.
 *
 * One table per instruction set and per real type (float, double); `fnn_kernels()` picks one at run time.
 * A kernel allocates nothing, checks nothing, takes counts and strides in elements (never bytes), and gives
 * each output element the same operations in the same order whatever rows or columns share its call:
 * so results do not depend on how work is split between threads.
 *
 * Panels. Matrices inside a plan are cut into column panels of `panel` = vectors * lanes columns. Panel p of an
 * (r, c) matrix is a contiguous (r, width) block, rows one after the other; width is `panel` except for the last
 * panel, whose width is the rest rounded up to `lanes`. Columns beyond c hold zero in weights, gradients and
 * loss gradients, and unspecified finite numbers in activations; no kernel lets them reach a real column.
 * Weights (in, out), activations (rows, features) and their gradients all have this one layout, hence any of them
 * can be the packed operand of a product. Vectors (biases) are padded to a multiple of `lanes` with zeros.
 * Every panel and vector starts at a multiple of 64 bytes.
 */
#ifndef FASTNN_H
#define FASTNN_H

#include <stdint.h>

enum { FNN_MAX_ROWS = 16, FNN_MAX_VECTORS = 4, FNN_MASKED_ROWS = 4, FNN_WINDOW = 4 };

/* Lists that dispatch, Cython, tests and benchmarks share. */
typedef enum {
#define FNN_ACTIVATION(name, ...) FNN_ACTIVATION_##name,
#include "activations.def"
#undef FNN_ACTIVATION
    FNN_ACTIVATIONS
} fnn_activation_id;

typedef enum {
#define FNN_FUNCTION(name, ...) FNN_FUNCTION_##name,
#include "functions.def"
#undef FNN_FUNCTION
    FNN_FUNCTIONS
} fnn_function_id;

typedef enum {
#define FNN_LOSS(name, ...) FNN_LOSS_##name,
#include "losses.def"
#undef FNN_LOSS
    FNN_LOSSES
} fnn_loss_id;

typedef enum {
#define FNN_OPTIMIZER(name, ...) FNN_OPTIMIZER_##name,
#include "optimizers.def"
#undef FNN_OPTIMIZER
    FNN_OPTIMIZERS
} fnn_optimizer_id;

typedef enum {
#define FNN_TRANSFORM(name) FNN_TRANSFORM_##name,
#include "transforms.def"
#undef FNN_TRANSFORM
    FNN_TRANSFORMS,
    FNN_TRANSFORM_MAPS = FNN_TRANSFORM_cutout /* those before it move pixels */
} fnn_transform_id;

typedef enum { FNN_SUM, FNN_SUM_RELU, FNN_SUM_RELU_GRAD } fnn_finish;

/* Batch-reduce product of one register tile:
 *   c[i][j] = init[i][j] + sum over b < blocks, k < depth of a[b*a_block + i*a_row + k*a_step] * B[b][k][j]
 *                        + sum over k < tail_depth         of tail[i*tail_row + k*a_step] * B[blocks][k][j]
 * with B[b][k][j] = b[(b*depth + k)*b_row + b*b_skip + j], but B[blocks][k][j] = tail_b[k*b_row + j] where tail_b is
 * not NULL; the sums run in that order. i < the tile's rows, j < the tile's vectors * lanes. init NULL means zeros;
 * init_row 0 repeats one row (a bias); init may be c itself (accumulate). a and b are only read; c must not overlap
 * them. b, c and init need no alignment beyond the element's. What is stored is the sum, or relu(sum), or the sum times
 * relu's derivative at y, which has rows like those of c. `scattered`: rows of `depth` elements lie one behind the other
 * in each block, and have parts that other cores have just written, so that it pays to ask for them ahead. */
typedef struct {
    const void *a, *tail;
    int64_t a_row, a_step, a_block, blocks, depth;
    int64_t tail_row, tail_depth;
    int scattered;
    const void *b, *tail_b;
    int64_t b_row, b_skip;
    const void *init;
    int64_t init_row;
    void *c;
    int64_t c_row;
    fnn_finish finish;
    const void *y;
} fnn_gemm;

typedef void (*fnn_gemm_kernel)(const fnn_gemm *g);

/* Product of one register tile whose rows and steps lie where tables say; a convolution is made of them:
 *   c[c_row[i]*c_width + j] = init[c_row[i]*init_row + j]
 *                           + sum over k < depth of a[a_row[i] + step[k].a] * b[step[k].b*b_row + j],
 * the sum in that order; i < the tile's rows, j < its vectors * lanes. init NULL means zeros; init_row 0 repeats one
 * row (a bias); init may be c itself (accumulate). The elementwise tile takes a factor of each column's own:
 *   a[(a_row[i] + step[k].a)*a_unit + j] in place of a[a_row[i] + step[k].a].
 * The pooled tile takes FNN_WINDOW rows at a time, the places of a window, whose c_row are FNN_WINDOW times the number
 * of the window and those after it: c[window*c_width + j] is the maximum of their sums, and index the first place that
 * has it.
 */
typedef struct {
    int32_t a, b;
} fnn_index;
typedef struct {
    const void *a;
    const int32_t *a_row;
    int64_t a_unit;
    const fnn_index *step;
    int64_t depth;
    const void *b;
    int64_t b_row;
    const void *init;
    int64_t init_row;
    void *c;
    const int32_t *c_row;
    int64_t c_width;
    void *index;
} fnn_indexed;

typedef void (*fnn_indexed_kernel)(const fnn_indexed *g);

/* Columns side by side that have the same channel. */
typedef struct {
    int64_t from, to, n;
} fnn_run;

/* A vector of columns, each of which has the channel that `lane` names, counted from `from`. */
typedef struct {
    int64_t from, to;
    const int32_t *lane;
} fnn_pick;

/* Product of one register tile with factors of which each has a place of its own: a gradient behind a max pool, all
 * zeros but one in every window.
 *   c[i*c_row + j] += sum over k < depth of factor[k*step] * b[at[k] + tap[index[k*step]] + i*b_row + j],
 * the sum in that order; i < the tile's rows, j < its vectors * lanes. index holds whole numbers. */
typedef struct {
    const void *factor, *index;
    int64_t step, depth;
    const int32_t *at, *tap;
    const void *b;
    int64_t b_row;
    void *c;
    int64_t c_row;
} fnn_sparse;

typedef void (*fnn_sparse_kernel)(const fnn_sparse *g);

/* One register tile of the gradient of the weights before a max pool, from windows of x that lie one after another:
 *   c[c_row[i]*width + j] += sum over k < depth of
 *       factor[k*width + j] * x[k*x_window + x_row[i] + tap[index[k*width + j]]],
 * the sum in that order; i < the tile's rows, j < its vectors * lanes. index holds whole numbers below lanes, its
 * pads anything, and tap has `lanes` of them. */
typedef struct {
    const void *factor, *index;
    int64_t depth, width;
    const int32_t *tap;
    const void *x;
    int64_t x_window;
    const int32_t *x_row;
    void *c;
    const int32_t *c_row;
} fnn_picked;

typedef void (*fnn_picked_kernel)(const fnn_picked *g);

/* Product that leaves out steps where the factor is 0 in all rows of a register tile; i < rows, j < vectors * lanes:
 *   c[i][j] = start + sum over s < 64 * blocks of a[i*a_row + s*a_step] * b[s][j],
 * the sum in that order; start is c[i][j] with `accumulate`, else bias[j], or 0 where bias is NULL. Bit s % 64 of
 * mask[i*mask_row + s / 64*mask_block] must be set where the factor is not 0. Row s of b and row i of c are row s
 * and i of a panel of as many columns; with more columns than a panel has, the others come from a second one. */
typedef struct {
    int64_t rows, blocks;
    const uint64_t *mask;
    int64_t mask_row, mask_block;
    const void *a;
    int64_t a_row, a_step;
    const void *b[2], *bias;
    int accumulate;
    void *c[2];
} fnn_masked;

typedef void (*fnn_masked_kernel)(const fnn_masked *g);

/* Entries of a row of a sparse matrix: their columns, which rise, and numbers of 4 or 8 bytes, which are rounded to
 * bfloat16 if `rounded` says so. */
typedef struct {
    int64_t n;
    const int64_t *column;
    const void *value;
    int64_t itemsize, rounded;
} fnn_entries;

/* y[i] = f(x[i]), i < n, a multiple of lanes; y may be x. */
typedef void (*fnn_function_kernel)(int64_t n, const void *x, void *y);
/* y[i] = f(z[i]), i < n; y may be z. n is a multiple of lanes. p holds the activation's parameters. */
typedef void (*fnn_activation_kernel)(int64_t n, const void *z, void *y, const double *p);
/* dz[i] = dy[i] * f'(i), f' from s[i] = y[i], or z[i] where activations.def says INPUT; dz may be dy. */
typedef void (*fnn_activation_grad_kernel)(int64_t n, const void *dy, const void *s, void *dz, const double *p);

/* Loss of the rows first .. first + rows (r runs over them) with `outputs` columns; z, t and dz in panels whose starts
 * (row 0) lie `panel_stride` elements apart; w and row_loss start at row 0 too.
 * dz[r][j] = w[r] * inverse_weight * dl/dz (pad columns get 0); row_loss[r] = w[r] * l. w NULL means 1.
 * dz may be z. row_loss is double. p holds the loss's parameter. */
typedef struct {
    int64_t first, rows, outputs, panel_stride;
    const void *z, *t, *w;
    double inverse_weight;
    void *dz;
    double *row_loss;
    const double *p;
} fnn_loss;
typedef void (*fnn_loss_kernel)(const fnn_loss *l);

/* One optimiser step on n contiguous elements (a multiple of lanes): w, state0, state1 are updated, g is read.
 * rate already holds the bias corrections of the step (Adam); p holds the optimiser's constants in the order of
 * optimizers.def; shrink = 1 - rate * decay multiplies w first. g is g + l2*w, clipped to +-clip (INFINITY: not).
 * Returns the sum of the squares of w before the step where l2 is not 0, else 0. */
typedef struct {
    double rate, shrink, clip, l2;
    const double *p;
} fnn_step;
typedef struct {
    int64_t n;
    void *w;
    const void *g;
    void *state0, *state1;
    fnn_step step;
} fnn_update;
typedef double (*fnn_update_kernel)(const fnn_update *u);

/* A window that slides over an image; of each pair, rows come first. `before`: padding above and on the left. Every
 * window has a tap inside the image. */
typedef struct {
    int64_t image[2], output[2], kernel[2], stride[2], dilation[2], before[2];
} fnn_window;

/* One step of `rows` sequences, one panel of a recurrent cell's units, `width` with its pads. What lies side by side
 * has rows of `width`; z has such a block for each gate, `z_line` elements apart. h, gates and c are places in the
 * batch, of row 0 at this step; sequence i is row row[i] there, `time` steps from row to row, a step's gates on
 * adjacent lines. before: h[t-1]; z: pre-activations (changed where gates is NULL), of bfloat16 without the biases b, a
 * line for each gate, and d, that of gru's a; state: c[t-1], then c[t]. after, h: h[t]. c and gates may be NULL. */
typedef struct {
    int64_t rows, width, time;
    const int64_t *row;
    void *z;
    int64_t z_line;
    const void *b, *d, *before;
    void *state, *after;
    void *h, *gates, *c;
} fnn_cell;

/* Its gradient. dh: that of h[t], then what h[t-1] gets of it without passing through U; dc: that of c[t] from step
 * t+1, then that of c[t-1]. In the batch: gates, c, and c or h of the step before (NULL: zeros) are read, dgates is
 * written, which may be gates. Cells of bfloat16 also write side by side what goes through U: gate g of sequence i from
 * packed + i*packed_row + g*packed_line on. */
typedef struct {
    int64_t rows, width, time;
    const int64_t *row;
    void *dh, *dc;
    const void *gates, *c, *before;
    void *dgates, *packed;
    int64_t packed_row, packed_line;
} fnn_cell_grad;

/* Random changes of `rows` images, row-major (rows, height, width, channels) in x and y; y may be x. Row k of the
 * (transforms, 3) table is an fnn_transform_id and two numbers, see transforms.def; its words come from Philox counters
 * (0, row + r, step, stream + k) for image r. places: the row of each of the height * width pixels, then the
 * column of each. scratch: (height + 3) * (width + 3) * channels elements. What lies outside an image is 0; every
 * place read lies inside; the numbers must be finite. */
typedef struct {
    int64_t rows, height, width, channels;
    const void *x;
    void *y;
    int64_t transforms;
    const double *table;
    const int32_t *places;
    uint64_t seed;
    int64_t row;
    uint32_t step, stream;
    void *scratch;
} fnn_augment;

typedef struct {
    int64_t itemsize;      /* 4 or 8 */
    int64_t lanes;         /* elements in a vector */
    int64_t vectors;       /* vectors in a panel, <= FNN_MAX_VECTORS */
    int64_t panel;         /* vectors * lanes */
    int lane_bits, panel_bits; /* lanes and panel are these powers of 2 */
    int64_t narrow;        /* columns of the widest narrow product, at most lanes */
    int64_t tile_rows[FNN_MAX_VECTORS + 1]; /* rows of the tallest tile of 1..vectors vectors, <= FNN_MAX_ROWS */

    /* gemm[v][m]: tile of m rows (1..tile_rows[v]) by v vectors. */
    fnn_gemm_kernel gemm[FNN_MAX_VECTORS + 1][FNN_MAX_ROWS + 1];
    /* indexed[v][m], elementwise[v][m]: tiles of m rows (1..indexed_rows[v]) by v vectors; pooled[v][m], of m windows
     * with no more rows. */
    int64_t indexed_rows[FNN_MAX_VECTORS + 1];
    fnn_indexed_kernel indexed[FNN_MAX_VECTORS + 1][FNN_MAX_ROWS + 1];
    fnn_indexed_kernel elementwise[FNN_MAX_VECTORS + 1][FNN_MAX_ROWS + 1];
    fnn_indexed_kernel pooled[FNN_MAX_VECTORS + 1][FNN_MAX_ROWS / FNN_WINDOW + 1];
    fnn_sparse_kernel sparse[FNN_MAX_VECTORS + 1][FNN_MAX_ROWS + 1]; /* of the same sizes */
    /* Of the same sizes, up to 2 vectors; NULL where no instruction picks what each lane names from a vector. */
    fnn_picked_kernel picked[FNN_MAX_VECTORS + 1][FNN_MAX_ROWS + 1];
    fnn_masked_kernel masked[2 * FNN_MAX_VECTORS + 1]; /* by vectors, up to those of two panels */
    fnn_function_kernel function[FNN_FUNCTIONS];
    fnn_activation_kernel activation[FNN_ACTIVATIONS];
    fnn_activation_grad_kernel activation_grad[FNN_ACTIVATIONS];
    fnn_loss_kernel loss[FNN_LOSSES];
    fnn_update_kernel update[FNN_OPTIMIZERS];
    /* Asks the caches for memory that will be read and written soon. */
    void (*expect)(int64_t bytes, const void *memory);

    /* z[r*lanes + o] = b[o] + sum over i < depth of x(r, i) * w(o, i), first <= r < first + rows, o < outputs <=
     * narrow; the pads of z get 0. x: panels `panel_stride` apart; w: an (outputs, depth) matrix in panels. Each
     * lane sums its columns in order, a tree joins the lanes. */
    void (*narrow_product)(int64_t first, int64_t rows, int64_t depth, int64_t outputs, int64_t panel_stride,
                           const void *x, const void *w, const void *b, void *z);
    /* c[j] = bias[j] + sum over e < n of value[e] * b[column[e]*width + j], the sum in that order, j < width (multiple of
     * lanes, <= panel). bias NULL means zeros. */
    void (*entries_product)(const fnn_entries *x, int64_t width, const void *b, const void *bias, void *c);
    /* c[(column[e] - first)*width + j] += value[e] * b[j], e < n, j < width (multiple of lanes, <= panel). */
    void (*add_entries)(const fnn_entries *x, int64_t width, int64_t first, const void *b, void *c);
    /* words[r]: bit j is set where x[r*width + j] is not 0; r < rows, j < width <= panel. */
    void (*nonzero)(int64_t rows, int64_t width, const void *x, uint64_t *words);
    /* Bit r of to[j*to_row] = bit j of words[r], r < rows <= 64, j < columns <= 64; the bits from `rows` on get 0. */
    void (*transpose_bits)(int64_t rows, const uint64_t *words, int64_t columns, uint64_t *to, int64_t to_row);
    /* s[j] (+)= sum over r < rows of x[r*x_row + j], rows in order, j < width (multiple of lanes, <= panel);
     * accumulate 0 or 1. */
    void (*column_sum)(int64_t rows, int64_t width, const void *x, int64_t x_row, int accumulate, void *s);
    /* g[i] += inverse_weight * (l2*w[i] + l1*sign(w[i])); returns inverse_weight * sum(l1*|w| + l2/2*w*w). n
     * multiple of lanes. */
    double (*penalty)(int64_t n, const void *w, void *g, double l1, double l2, double inverse_weight);
    void (*clip)(int64_t n, void *g, double limit);
    double (*square_sum)(int64_t n, const void *g);
    void (*scale)(int64_t n, double factor, void *g);
    /* Transposes a (rows, columns) block: to[j*to_row + i] = from[i*from_row + j]. */
    void (*transpose)(int64_t rows, int64_t columns, const void *from, int64_t from_row, void *to, int64_t to_row);

    /* Row softmax in panels (see fnn_loss for the layout); y may be z; pad columns get 0. */
    void (*softmax)(int64_t first, int64_t rows, int64_t outputs, int64_t panel_stride, const void *z, void *y);

    /* Dropout of a (rows * repeats, width) panel whose first column is column `column` of the matrix (a multiple of
     * 4) and whose first row is row `row` of the batch: y = x * scale where the random word >= threshold, else 0;
     * the `repeats` lines of a row share their words. y may be x. */
    void (*dropout)(int64_t rows, int64_t repeats, int64_t width, const void *x, void *y, uint32_t threshold,
                    double scale, uint64_t seed, int64_t column, int64_t row, uint32_t step, uint32_t stream);
    /* y = z * slope where z < 0 (slope = lower + (upper - lower) * word * 2^-32), else z. grad: dz = dy * (z < 0 ?
     * slope : 1). */
    void (*rrelu)(int64_t rows, int64_t width, const void *z, void *y, double lower, double upper,
                  uint64_t seed, int64_t column, int64_t row, uint32_t step, uint32_t stream);
    void (*rrelu_grad)(int64_t rows, int64_t width, const void *dy, const void *z, void *dz, double lower, double upper,
                       uint64_t seed, int64_t column, int64_t row, uint32_t step, uint32_t stream);
    /* y[i] = share * a[i] + (1 - share) * b[i], i < n, any n; y may be a or b. */
    void (*mix)(int64_t n, double share, const void *a, const void *b, void *y);

    /* Batch norm of one panel (rows, width). Sums are taken part by part: mean and squares = sum (x - mean)^2 of a
     * part's rows (0 if it has none). */
    void (*batch_norm_sums)(int64_t rows, int64_t width, const void *x, void *mean, void *squares);
    /* partial: (parts, 2, width), part p being rows p * rows / parts .. (p + 1) * rows / parts of `positions` lines
     * each; mean and rstd of all of them, and the running statistics moved by `momentum`. */
    void (*batch_norm_statistics)(int64_t rows, int64_t positions, int64_t parts, int64_t width, const void *partial,
                                  double epsilon, double momentum, void *mean, void *rstd, void *running_mean,
                                  void *running_var);
    /* y = gamma (x - mean) rstd + beta; y may be x. */
    void (*batch_norm)(int64_t rows, int64_t width, const void *x, const void *gamma, const void *beta,
                       const void *mean, const void *rstd, void *y);
    void (*batch_norm_inference)(int64_t rows, int64_t width, const void *x, const void *gamma, const void *beta,
                                 const void *running_mean, const void *running_var, double epsilon, void *y);
    /* dgamma = sum dy (x - mean) rstd and dbeta = sum dy of a part's rows; then, of `parts` such pairs of lines, the
     * sums. */
    void (*batch_norm_grad_sums)(int64_t rows, int64_t width, const void *dy, const void *x, const void *mean,
                                 const void *rstd, void *dgamma, void *dbeta);
    void (*batch_norm_grad_parameters)(int64_t parts, int64_t width, const void *partial, void *dgamma, void *dbeta);
    /* dx = gamma rstd (dy - (dbeta + (x - mean) rstd dgamma) / count); dx may be dy. */
    void (*batch_norm_grad)(int64_t rows, int64_t width, int64_t count, const void *dy, const void *x,
                            const void *gamma, const void *mean, const void *rstd, const void *dgamma,
                            const void *dbeta, void *dx);
    /* Weights of one panel with the norm of what they yield: w s and (b - mean) s + beta, s = gamma / sqrt(var +
     * epsilon); b NULL means zeros. */
    void (*fold_norm)(int64_t rows, int64_t width, const void *w, const void *b, const void *gamma, const void *beta,
                      const void *running_mean, const void *running_var, double epsilon, void *folded_w,
                      void *folded_b);
    /* Layer norm of rows first .. first + rows over `features` columns in panels `panel_stride` apart; mean, rstd:
     * one a row, from row 0. dx may be dy. */
    void (*layer_norm)(int64_t first, int64_t rows, int64_t features, int64_t panel_stride, const void *x,
                       const void *gamma, const void *beta, double epsilon, void *y, void *mean, void *rstd);
    void (*layer_norm_grad)(int64_t first, int64_t rows, int64_t features, int64_t panel_stride, const void *dy,
                            const void *x, const void *gamma, const void *mean, const void *rstd, void *dx);
    /* One panel: dgamma[j] (+)= sum_r dy*(x-mean[r])*rstd[r]; dbeta[j] (+)= sum_r dy. */
    void (*layer_norm_grad_parameters)(int64_t rows, int64_t width, const void *dy, const void *x, const void *mean,
                                       const void *rstd, int accumulate, void *dgamma, void *dbeta);

    /* Gathers rows into panels: to(to_first + r, j) = scale * from[index[r]*from_row + j], r < rows, j < columns;
     * pads get 0. index NULL stands for row r. panel_stride: distance of panel starts (row 0) in `to`; 0 where its
     * rows lie one after another without pads. source_itemsize 1, 4 or 8 (uint8_t, float or double), converted
     * before the scale. */
    void (*gather)(int64_t rows, int64_t columns, const int64_t *index, const void *from, int64_t from_row,
                   int64_t source_itemsize, double scale, void *to, int64_t panel_stride, int64_t to_first);
    /* to(to_first + r, j) = on where j == classes[index[r]], else off; with one output, on where the class is 1.
     * Pads get 0. */
    void (*one_hot)(int64_t rows, int64_t outputs, const int64_t *classes, const int64_t *index, double on, double off,
                    void *to, int64_t panel_stride, int64_t to_first);
    /* The reverse of gather: to[r*to_row + j] = from(from_first + r, j), `to` of this table's real type. */
    void (*store)(int64_t rows, int64_t columns, const void *from, int64_t panel_stride, int64_t from_first, void *to,
                  int64_t to_row);

    /* Whether a row-major (rows, columns) matrix has other bits than one in panels, those before `first_panel` left
     * out. */
    int (*differs)(int64_t rows, int64_t columns, int64_t first_panel, const void *matrix, const void *panels);

    /* to[r*to_row + i*to_step] = from[r*from_row + i*from_step], r < rows, i < n. */
    void (*copy)(int64_t rows, int64_t n, const void *from, int64_t from_row, int64_t from_step, void *to,
                 int64_t to_row, int64_t to_step);
    /* to[to_row[r]*to_width + i] = from[from_row[r]*from_width + i], r < rows, i < n. */
    void (*copy_rows)(int64_t rows, int64_t n, const void *from, const int32_t *from_row, int64_t from_width, void *to,
                      const int32_t *to_row, int64_t to_width);
    /* Images with a channel for each column: to[r*to_row + p*to_place + run.to + i] = from[r*from_row + p*from_place +
     * run.from], r < rows, p < n, i < run.n, for all runs in order. The first `inexact` ones may write whole units,
     * beyond the end of the run; a unit is a vector, or a half or a quarter of one. */
    void (*expand)(int64_t rows, int64_t n, const void *from, int64_t from_row, int64_t from_place, void *to,
                   int64_t to_row, int64_t to_place, int64_t unit, int64_t inexact, int64_t runs, const fnn_run *run);
    /* The same, but to[... + pick.to + i] = from[... + pick.from + pick.lane[i]], i < lanes, 0 <= pick.lane[i] < lanes,
     * for all picks; NULL where picked is. */
    void (*expand_picked)(int64_t rows, int64_t n, const void *from, int64_t from_row, int64_t from_place, void *to,
                          int64_t to_row, int64_t to_place, int64_t picks, const fnn_pick *pick);
    /* y[i*width + j] = max over t < taps of x[(i*taps + t)*width + j], index[i*width + j] = the first t that has it;
     * i < n, j < width (multiple of lanes). */
    void (*max_of_windows)(int64_t n, int64_t taps, int64_t width, const void *x, void *y, void *index);
    /* The same with tap t of window i at x[(window[i] + tap[t])*width + j]. */
    void (*max_at_windows)(int64_t n, int64_t taps, int64_t width, const void *x, const int32_t *window,
                           const int32_t *tap, void *y, void *index);
    /* to[(window[i] + tap[t])*to_row + j] = dy[i*width + j] where index[i*width + j] == t, else 0; i < n, t < taps,
     * j < width. */
    void (*put_in_windows)(int64_t n, int64_t taps, int64_t width, const void *dy, const void *index,
                           const int32_t *window, const int32_t *tap, void *to, int64_t to_row);
    /* Windows one after another: number i < n of line l < lines of window w < windows goes from from[w*from_window +
     * l*from_line + i] to to[(w*lines + l)*n + i]. Both are touched up to `lanes` numbers behind. */
    void (*lay_windows)(int64_t windows, int64_t lines, int64_t n, const void *from, int64_t from_window,
                        int64_t from_line, void *to);
    /* to[p*lanes + f] = from[f*plane + p]; p < places rounded up to a multiple of lanes, f < lanes / 2: zeros from
     * `filters` (at most so many) on. The other half of each row is left as it is. */
    void (*rows_of_planes)(int64_t places, int64_t filters, int64_t plane, const void *from, void *to);
    /* to[i] = sum over g < parts, in order, of from[g*part + i]; i < n (multiple of lanes). */
    void (*sum_parts)(int64_t parts, int64_t n, const void *from, int64_t part, void *to);
    /* Pools of one panel of images (images, height, width of the image, width) into (images, output, width); no
     * overlaps. max_pool: y the maximum (a NaN if there is one) of each window and index = u * kernel[1] + t of its
     * first place; avg_pool: the mean of the places inside the image. The gradients write all of dx, 0 outside of
     * windows. */
    void (*max_pool)(const fnn_window *w, int64_t images, int64_t width, const void *x, void *y, void *index);
    void (*max_pool_grad)(const fnn_window *w, int64_t images, int64_t width, const void *dy, const void *index,
                          void *dx);
    void (*avg_pool)(const fnn_window *w, int64_t images, int64_t width, const void *x, void *y);
    void (*avg_pool_grad)(const fnn_window *w, int64_t images, int64_t width, const void *dy, void *dx);
    /* Rows first .. first + rows of y (y_positions lines of y_columns each, in panels y_stride apart) get the
     * elements of x, another such matrix, in row-major order; pads get 0. x_stride 0: rows of x lie one after
     * another without pads, and then have one position. */
    void (*reshape)(int64_t first, int64_t rows, int64_t x_positions, int64_t x_columns, int64_t x_stride,
                    const void *x, int64_t y_positions, int64_t y_columns, int64_t y_stride, void *y);
    /* to[r*to_row + j] = from[r*from_row + j] for j < columns, then zeros up to a multiple of lanes; the rows in
     * order, so that with a smaller to_row the next row takes the zeros' place. Reads whole vectors. */
    void (*pad_lines)(int64_t rows, int64_t columns, const void *from, int64_t from_row, void *to, int64_t to_row);
    /* y[i] = a[i] + b[i], i < n, a multiple of lanes; y may be a or b. */
    void (*add)(int64_t n, const void *a, const void *b, void *y);
    /* y[i] = value, i < n. */
    void (*fill)(int64_t n, double value, void *y);
    /* y(first + r, y_first + j) = x(first + r, x_first + j), r < rows, j < n, of matrices of so many columns in
     * panels so far apart; with the last column of y its pads get 0. */
    void (*copy_columns)(int64_t first, int64_t rows, int64_t n, int64_t x_columns, int64_t x_first, int64_t x_stride,
                         const void *x, int64_t y_columns, int64_t y_first, int64_t y_stride, void *y);
    void (*augment)(const fnn_augment *a);
    /* z[q*z_row + i] += sum over j < links, in order, of w[j*width + i] * s[q*s_row + shift[j] + i]; q < sequences,
     * which is 1 or 4, i < width, a multiple of lanes; z must not overlap s. */
    void (*links)(int64_t sequences, int64_t width, int64_t links, const int32_t *shift, const void *w, const void *s,
                  int64_t s_row, void *z, int64_t z_row);
    /* to[i] = also[i] = s[i] + share * (y[i] - s[i]), i < n, a multiple of lanes; to and also may be s, y or each
     * other. */
    void (*leak)(int64_t n, double share, const void *y, const void *s, void *to, void *also);

    /* A step of recurrent cells. gates of lstm: i, f, g, o; of gru: r, z, n, and a = h[t-1] U_n + d, which is line 3
     * of z, too. */
    void (*lstm_cell)(const fnn_cell *s);
    void (*lstm_cell_grad)(const fnn_cell_grad *s);
    void (*gru_cell)(const fnn_cell *s);
    void (*gru_cell_grad)(const fnn_cell_grad *s);
    /* Between lines side by side and lines of rows: to[i*width + j] (+)= from[row[i]*from_row + j], and
     * to[row[i]*to_row + j] = from[i*width + j]; i < rows, j < width (multiple of lanes). */
    void (*take_lines)(int64_t rows, int64_t width, const int64_t *row, const void *from, int64_t from_row, void *to);
    void (*add_lines)(int64_t rows, int64_t width, const int64_t *row, const void *from, int64_t from_row, void *to);
    void (*put_lines)(int64_t rows, int64_t width, const int64_t *row, const void *from, void *to, int64_t to_row);
    /* y = x * mask, where `repeats` lines of a row share the row's line of mask; y may be x. */
    void (*mask_lines)(int64_t rows, int64_t repeats, int64_t width, const void *x, const void *mask, void *y);
    /* y[i] += a[i] * b[i], i < n, a multiple of lanes. */
    void (*add_products)(int64_t n, const void *a, const void *b, void *y);
    /* Of x (steps, width), steps >= 1: the mean, or the maximum (a NaN if there is one) and the first step that has
     * it. */
    void (*mean_over_steps)(int64_t steps, int64_t width, const void *x, void *y);
    void (*mean_over_steps_grad)(int64_t steps, int64_t width, const void *dy, void *dx);
    void (*max_over_steps)(int64_t steps, int64_t width, const void *x, void *y, void *index);
    void (*max_over_steps_grad)(int64_t steps, int64_t width, const void *dy, const void *index, void *dx);

    /* Independent fused multiply-adds in registers, so many for each of `repeats` that none waits for another: the
     * probe of the arithmetic peak. Returns the number of floating-point operations done. */
    double (*peak)(int64_t repeats, double *sink);
    /* y[i] = y[i] / 2 + x[i], i < n, a multiple of lanes: the probe of the bandwidth peak, which moves 3 n elements. */
    void (*stream)(int64_t n, const void *x, void *y);
} fnn_kernels;

/* c[i][j] = init[i][j] + sum over block < blocks, k < D of A(i, block, k) * B(block, k, j), i < rows, j < tiles *
 * lanes:
 *   A(i, block, k) = a[i*a_row + offset[block] + k], or block * a_block for an offset that is NULL;
 *   B(block, 2*q + h, v*lanes + l) = b[v*b_tile + block*D*lanes + (q*lanes + l)*2 + h],
 * both bfloat16, D = 2 * lanes; c and init are float32, with rows c_row and init_row apart. Each sum has the same
 * order for any rows and tiles. init NULL means zeros, init_row 0 repeats one row (a bias), init may be c
 * (accumulate). Rows up to the next multiple of 16 are read of A; what they hold does not matter. Subnormal numbers
 * count as zero. The last `spare` numbers of the depth, fewer than D, must be zeros in A or B: they may be left out.
 * With `parts` it is that for each part p < parts of a taller product: from a + a_part[p] to c + p*c_part, and from
 * init + p*c_part where init_row is not 0. a_part NULL means a single part. */
typedef struct {
    const uint16_t *a;
    int64_t a_row, a_block;
    const int32_t *offset;
    int64_t blocks, spare;
    const uint16_t *b;
    int64_t b_tile;
    const float *init;
    int64_t init_row;
    float *c;
    int64_t c_row, rows, tiles;
    const int32_t *a_part;
    int64_t parts, c_part;
} fnn_bfloat16_product;

/* Products of operands rounded to bfloat16, to the nearest and ties to even. Their float32 sources are `rows` rows
 * of `width` columns (a multiple of lanes), `from_row` apart. A block is D = 2 * lanes numbers deep; depths are
 * filled up with zeros. */
typedef struct {
    int64_t panels; /* of a product's B that stay in the second cache at a depth of 2048, beside rows of A */
    /* n numbers as bfloat16; and rounded but still float32, where `to` may be `from`. Any n. */
    void (*narrow)(int64_t n, const float *from, uint16_t *to);
    void (*round)(int64_t n, const float *from, float *to);
    /* As A of a product: rows with depth along the columns, or columns with depth along the rows. to[j / D *
     * to_block + i*to_row + j % D] = from(i, j);  to[i / D * to_block + j*to_row + i % D] = from(i, j), to_row even. */
    void (*pack_rows)(int64_t rows, int64_t width, const float *from, int64_t from_row, uint16_t *to, int64_t to_row,
                      int64_t to_block);
    void (*pack_columns)(int64_t rows, int64_t width, const float *from, int64_t from_row, uint16_t *to, int64_t to_row,
                         int64_t to_block);
    /* As B of a product: with depth along the rows, or along the columns, to_tile elements from tile to tile. */
    void (*pack_pairs)(int64_t rows, int64_t width, const float *from, int64_t from_row, uint16_t *to, int64_t to_tile);
    void (*pack_transposed)(int64_t rows, int64_t width, const float *from, int64_t from_row, uint16_t *to,
                            int64_t to_tile);
    /* Rows of a caller's matrix, scale * from[index[i]*from_row + j], as A with depth along the columns, j < columns;
     * see the gather of fnn_kernels. */
    void (*gather)(int64_t rows, int64_t columns, const int64_t *index, const void *from, int64_t from_row,
                   int64_t source_itemsize, float scale, uint16_t *to, int64_t to_row, int64_t to_block);
    /* Lines that are bfloat16 already: as A with depth along the columns, or along the rows; and as B with depth along
     * the rows, whose sums over the rows are added to `sums` where it is not NULL. */
    void (*copy_rows)(int64_t rows, int64_t width, const uint16_t *from, int64_t from_row, uint16_t *to, int64_t to_row,
                      int64_t to_block);
    void (*copy_columns)(int64_t rows, int64_t width, const uint16_t *from, int64_t from_row, uint16_t *to,
                         int64_t to_row, int64_t to_block);
    void (*copy_pairs)(int64_t rows, int64_t width, const uint16_t *from, int64_t from_row, uint16_t *to,
                       int64_t to_tile, float *sums);
    /* to[row[i]*to_row + j] = from[i*width + j], rounded. */
    void (*round_lines)(int64_t rows, int64_t width, const int64_t *row, const float *from, uint16_t *to,
                        int64_t to_row);
    /* Cells whose gates, c and dgates in the batch, and c of the step before, are bfloat16. gates is not NULL. */
    void (*lstm_cell)(const fnn_cell *s);
    void (*lstm_cell_grad)(const fnn_cell_grad *s);
    void (*gru_cell)(const fnn_cell *s);
    void (*gru_cell_grad)(const fnn_cell_grad *s);
    /* As A of a product whose rows are places, gradients of maxima: to[(window[i] + tap[t])*to_row + j] = dy[i*width
     * + j] where index[i*width + j] == t, else 0; i < n, t < taps, j < width. Where to_row < lanes, of so many
     * columns only. */
    void (*put_rows)(int64_t n, int64_t taps, int64_t width, const float *dy, const float *index, const int32_t *window,
                     const int32_t *tap, uint16_t *to, int64_t to_row);
    /* As B of a product whose depth are places, gradients of maxima: place p = window[i] + tap[t], column j gets
     * dy[i*width + j] where index[i*width + j] == t, else 0; i < n, t < taps, j < width. Other places are left
     * alone. */
    void (*put_pairs)(int64_t n, int64_t taps, int64_t width, const float *dy, const float *index,
                      const int32_t *window, const int32_t *tap, uint16_t *to, int64_t to_tile);
    /* to[r*to_row + i] = from[r*from_row + i*from_step], r < rows, i < n, a multiple of D. */
    void (*copy)(int64_t rows, int64_t n, const uint16_t *from, int64_t from_row, int64_t from_step, uint16_t *to,
                 int64_t to_row);
    /* to[r*to_row + u*n + i] = from[r*from_row + u*from_line + i], r < rows, u < lines, i < n <= 16, in this order,
     * n rounded up to a multiple of 8. */
    void (*patches)(int64_t rows, int64_t lines, int64_t n, const uint16_t *from, int64_t from_line, int64_t from_row,
                    uint16_t *to, int64_t to_row);
    /* Between `enter` and `leave`, which a thread calls around its products. */
    void (*multiply)(const fnn_bfloat16_product *p);
    /* An optimiser's step on rows of `width` numbers, and pack_pairs of them; at the same time a product that touches
     * none of these, unless p is NULL. Returns what the step returns. NULL where vectors multiply, which have nothing
     * to do at the same time. */
    double (*renew[FNN_OPTIMIZERS])(const fnn_update *u, int64_t width, uint16_t *packed, int64_t packed_tile,
                                    const fnn_bfloat16_product *p);
    void (*enter)(void);
    void (*leave)(void);
    /* Products of operands in tiles or, of vectors, in the first cache, with enter and leave: the probe of the peak.
     * Returns the operations done. */
    double (*peak)(int64_t repeats);
} fnn_bfloat16;

/* The table of bfloat16 for an instruction set's name, also for one of those that isa.def lists for bfloat16 only. */
const fnn_bfloat16 *fnn_bfloat16_for(const char *isa);

/* The table for this CPU: isa NULL picks the best one the CPU (and FASTNN_ISA) allows; else that name, or NULL if
 * the CPU or build lacks it. itemsize 4 or 8. */
const fnn_kernels *fnn_kernels_for(const char *isa, int64_t itemsize);
/* The i-th name of the instruction sets this CPU and build can run, slowest first; NULL past the end. Those for
 * bfloat16 only, which share the other tables of the set before them, are left out unless asked for. */
const char *fnn_isa_name(int i, int with_bfloat16);
/* The name that isa NULL stands for above; NULL if FASTNN_ISA names none that is here. */
const char *fnn_isa_in_use(void);

/* Flush-to-zero and denormals-are-zero for the calling thread; returns the former state for fnn_restore_float_mode. */
uint64_t fnn_flush_denormals(void);
void fnn_restore_float_mode(uint64_t state);

/* Philox4x32-10: four random words of counter (c0, c1, c2, c3) under the key `seed`. */
void fnn_philox(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t out[4]);
/* Fisher-Yates permutation of 0..n-1 for an epoch (see the shuffle op). */
void fnn_shuffle(int64_t n, uint64_t seed, uint32_t epoch, int64_t *order);

/* Spin barrier that counts its generations; waiting threads yield after some thousand spins. */
typedef struct {
    int32_t count, generation;
    char padding[56];
} fnn_barrier;
void fnn_barrier_wait(fnn_barrier *b, int threads);

/* The counter before it is raised by 1, for threads that take turns. */
int64_t fnn_take(int64_t *taken);
/* One of a thread's own items 0 .. n - 1, n < 2^31, or -1 if none is left. The owner takes the first one, with back
 * = 0; others, with back = 1, the last one, so that neighbours stay together and a slow thread loses the same items
 * every time. The counter starts at 0; its low half counts items from the front, its high half those from the back. */
int64_t fnn_take_of(int64_t *taken, int64_t n, int back);
/* Waits until the owner, one of so many threads, has taken its first item. */
void fnn_wait_for_first(int64_t *taken, int threads);

/* OpenMP facts without <omp.h>: 0/1 and 1 in a serial build. */
int fnn_has_openmp(void);
int fnn_max_threads(void);      /* omp_get_max_threads */
int fnn_in_parallel(void);
int fnn_thread_number(void);
int fnn_team_size(void);
/* Registers the fork handlers that let a forked child use OpenMP again; once per process. */
void fnn_register_fork_handlers(void);
/* 1 in a child in which the OpenMP runtime could not be released before the fork: run serially there. */
int fnn_must_run_serially(void);
/* "gcc 12.2.0" and the like, and whether the tiles of AMX are emulated. */
const char *fnn_compiler(void);

#endif
