/* Every kernel for one real type, and the table of them; included twice by tables.h. */
#include "../simd/vector.h"
#include "math.h"
#include "rows.h"

#include "activation.h"
#include "augment.h"
#if FNN_REAL_BITS == 32
#include "bfloat16.h"
#endif
#include "conv.h"
#include "entries.h"
#include "gather.h"
#include "gemm.h"
#include "gradient.h"
#include "loss.h"
#include "nonzero.h"
#include "norm.h"
#include "peak.h"
#include "pool.h"
#include "random.h"
#include "recurrent.h"
#include "reservoir.h"
#include "shape.h"
#include "steps.h"
#include "update.h"

#define FNN_TILE_ROWS(vectors, rows) [vectors] = rows,
#define FNN_GEMM_ENTRY(vectors, rows) [vectors][rows] = NAME(gemm_##rows##x##vectors),
#define FNN_INDEXED_ENTRY(vectors, rows) [vectors][rows] = NAME(indexed_##rows##x##vectors),
#define FNN_INDEXED_ENTRIES(vectors, rows) FNN_ROWS_##rows(FNN_INDEXED_ENTRY, vectors)
#define FNN_POOLED_ENTRY(vectors, windows) [vectors][windows] = NAME(pooled_##windows##x##vectors),
#define FNN_POOLED_ENTRIES(vectors, rows) FNN_WINDOWS_##rows(FNN_POOLED_ENTRY, vectors)
#define FNN_ELEMENTWISE_ENTRY(vectors, rows) [vectors][rows] = NAME(elementwise_##rows##x##vectors),
#define FNN_ELEMENTWISE_ENTRIES(vectors, rows) FNN_ROWS_##rows(FNN_ELEMENTWISE_ENTRY, vectors)
#define FNN_SPARSE_ENTRY(vectors, rows) [vectors][rows] = NAME(sparse_##rows##x##vectors),
#define FNN_SPARSE_ENTRIES(vectors, rows) FNN_ROWS_##rows(FNN_SPARSE_ENTRY, vectors)
#define FNN_PICKED_ENTRY(vectors, rows) [vectors][rows] = NAME(picked_##rows##x##vectors),
#define FNN_PICKED_ENTRIES(vectors, rows) FNN_ROWS_##rows(FNN_PICKED_ENTRY, vectors)
#define FNN_MASKED_ENTRY(vectors) [vectors] = NAME(masked_##vectors),
#define FNN_GEMM_ENTRIES(vectors, rows) FNN_ROWS_##rows(FNN_GEMM_ENTRY, vectors)
const fnn_kernels FNN_TABLE(FNN_ISA, FNN_SUFFIX) = {
    .itemsize = sizeof(real),
    .lanes = FNN_LANES,
    .vectors = FNN_VECTORS,
    .panel = FNN_PANEL,
    .lane_bits = FNN_BITS(FNN_LANES),
    .panel_bits = FNN_BITS(FNN_PANEL),
    .narrow = FNN_NARROW,
    .tile_rows = {FNN_TILES(FNN_TILE_ROWS)},
    .indexed_rows = {FNN_INDEXED_TILES(FNN_TILE_ROWS)},
    .gemm = {FNN_TILES(FNN_GEMM_ENTRIES)},
    .indexed = {FNN_INDEXED_TILES(FNN_INDEXED_ENTRIES)},
    .pooled = {FNN_INDEXED_TILES(FNN_POOLED_ENTRIES)},
    .elementwise = {FNN_INDEXED_TILES(FNN_ELEMENTWISE_ENTRIES)},
    .sparse = {FNN_INDEXED_TILES(FNN_SPARSE_ENTRIES)},
#ifdef FNN_PICKS
    .picked = {FNN_PICKED_TILES(FNN_PICKED_ENTRIES)},
    .expand_picked = NAME(expand_picked),
#endif
    .masked = {FNN_MASKED(FNN_MASKED_ENTRY)},
    .function = {
#define FNN_FUNCTION(name, ...) NAME(function_##name),
#include "../functions.def"
#undef FNN_FUNCTION
    },
    .activation = {
#define FNN_ACTIVATION(name, ...) NAME(activation_##name),
#include "../activations.def"
#undef FNN_ACTIVATION
    },
    .activation_grad = {
#define FNN_ACTIVATION(name, ...) NAME(activation_grad_##name),
#include "../activations.def"
#undef FNN_ACTIVATION
    },
    .loss = {
#define FNN_LOSS(name, ...) NAME(loss_##name),
#include "../losses.def"
#undef FNN_LOSS
    },
    .update = {
#define FNN_OPTIMIZER(name, ...) NAME(update_##name),
#include "../optimizers.def"
#undef FNN_OPTIMIZER
    },
    .expect = NAME(expect),
    .narrow_product = NAME(narrow_product),
    .nonzero = NAME(nonzero),
    .entries_product = NAME(entries_product),
    .add_entries = NAME(add_entries),
    .transpose_bits = NAME(transpose_bits),
    .column_sum = NAME(column_sum),
    .penalty = NAME(penalty),
    .clip = NAME(clip),
    .square_sum = NAME(square_sum),
    .scale = NAME(scale),
    .transpose = NAME(transpose),
    .softmax = NAME(softmax),
    .dropout = NAME(dropout),
    .rrelu = NAME(rrelu),
    .rrelu_grad = NAME(rrelu_grad),
    .mix = NAME(mix),
    .batch_norm_sums = NAME(batch_norm_sums),
    .batch_norm_statistics = NAME(batch_norm_statistics),
    .batch_norm = NAME(batch_norm),
    .batch_norm_inference = NAME(batch_norm_inference),
    .batch_norm_grad_sums = NAME(batch_norm_grad_sums),
    .batch_norm_grad_parameters = NAME(batch_norm_grad_parameters),
    .batch_norm_grad = NAME(batch_norm_grad),
    .fold_norm = NAME(fold_norm),
    .layer_norm = NAME(layer_norm),
    .layer_norm_grad = NAME(layer_norm_grad),
    .layer_norm_grad_parameters = NAME(layer_norm_grad_parameters),
    .gather = NAME(gather),
    .one_hot = NAME(one_hot),
    .store = NAME(store_rows),
    .differs = NAME(differs),
    .copy = NAME(copy),
    .copy_rows = NAME(copy_rows),
    .expand = NAME(expand),
    .max_of_windows = NAME(max_of_windows),
    .max_at_windows = NAME(max_at_windows),
    .put_in_windows = NAME(put_in_windows),
    .lay_windows = NAME(lay_windows),
    .rows_of_planes = NAME(rows_of_planes),
    .sum_parts = NAME(sum_parts),
    .max_pool = NAME(max_pool),
    .max_pool_grad = NAME(max_pool_grad),
    .avg_pool = NAME(avg_pool),
    .avg_pool_grad = NAME(avg_pool_grad),
    .reshape = NAME(reshape),
    .pad_lines = NAME(pad_lines),
    .add = NAME(add_arrays),
    .fill = NAME(fill),
    .copy_columns = NAME(copy_columns),
    .augment = NAME(augment),
    .links = NAME(links),
    .leak = NAME(leak),
    .lstm_cell = NAME(lstm_cell),
    .lstm_cell_grad = NAME(lstm_cell_grad),
    .gru_cell = NAME(gru_cell),
    .gru_cell_grad = NAME(gru_cell_grad),
    .take_lines = NAME(take_lines),
    .put_lines = NAME(put_lines),
    .add_lines = NAME(add_lines),
    .mask_lines = NAME(mask_lines),
    .add_products = NAME(add_products),
    .mean_over_steps = NAME(mean_over_steps),
    .mean_over_steps_grad = NAME(mean_over_steps_grad),
    .max_over_steps = NAME(max_over_steps),
    .max_over_steps_grad = NAME(max_over_steps_grad),
    .peak = NAME(peak),
    .stream = NAME(stream),
};
#undef FNN_TILE_ROWS
#undef FNN_GEMM_ENTRY
#undef FNN_GEMM_ENTRIES
#undef FNN_INDEXED_ENTRY
#undef FNN_INDEXED_ENTRIES
#undef FNN_POOLED_ENTRY
#undef FNN_POOLED_ENTRIES
#undef FNN_ELEMENTWISE_ENTRY
#undef FNN_ELEMENTWISE_ENTRIES
#undef FNN_SPARSE_ENTRY
#undef FNN_SPARSE_ENTRIES
#undef FNN_PICKED_ENTRY
#undef FNN_PICKED_ENTRIES
#undef FNN_MASKED_ENTRY
