"""The three products of a convolution as descriptors for _conv.pyx, put together from conv_tiling and conv_staging."""

from itertools import product as pairs
from math import prod
from typing import NamedTuple

import numpy as np

from fastnn.native import conv_planes, conv_sparse, conv_windows
from fastnn.native._executor import WINDOW
from fastnn.native.conv_staging import Grouping, Operand, buffer_source, matrix_at, panel_source
from fastnn.native.conv_tiling import Tables, add_classes, axes, bands, by_panel, numbers, window_numbers

STRIP = 32 * 1024  # bytes of results, or of gradients put in windows, that stay in L1 while they are worked on
FRESH = STRIP // 2  # the same in the forward product of few channels, which is faster with more room for the image
TALLEST = 16  # rows of a tile, at most
SPREAD = 3  # cycles for a vector of gradients put in windows
TOGETHER = 64 * 1024  # bytes of the results of images that are worked on together
# Products of a sum whose window of WINDOW places has its maximum taken from registers, at most: to store and read fewer
DEEPEST = 64  # takes as long as to make them


class Product(NamedTuple):
    """What _conv.pyx reads, in its order: see the struct of the same name there."""

    elementwise: int
    pooled: int
    together: int
    columns: int
    staged: int
    a_image: int
    blocks: tuple
    tables: list
    b_rows: int
    edge: int
    copies: tuple = (0, 0)
    copies_from: int = -1
    windows: tuple = (0, 0, 0, 0)
    put: tuple = (0, 0, 0, 0)
    zeroed: int = 0
    strip: int = 0


def _together(size, limit):
    """Images worked on together: those of 1, 2, 4, 8 whose elements, `size` for each, stay below a limit."""
    return [n for n in (1, 2, 4, 8) if n == 1 or n * size <= limit]


def _columns_of_panel(layout, columns):
    return min(layout.panel, layout.padded(columns))


def _numbers(geometry, pool):
    """How the outputs of a convolution are numbered: row by row, or as the windows of the pool behind it take them."""
    return numbers(*geometry.output) if pool is None else window_numbers(pool)


def _pieces(cut, across, pool):
    """For each band of lines of outputs (or windows), `across` in a line: (its lines of the convolution's output, what
    to take off their numbers, its first output or window, how many)."""
    step, window = (1, 0) if pool is None else (pool.stride[0], across * pool.kernel[0] * pool.kernel[1])
    return [
        (range(band.start * step, band.stop * step), band.start * window, band.start * across, len(band) * across)
        for band in cut
    ]


def _pooled(operand, pool):
    """Places of a window if the maximum of their sums is taken from registers, or 0: all have the same steps then."""
    runs = [*operand.vertical, *operand.horizontal]
    if pool is None or prod(pool.kernel) != WINDOW or operand.elementwise or operand.shared or len(runs) > 2:
        return 0
    depth = prod(len(run.steps) for run in runs) * operand.grouping.channels_each
    return WINDOW if depth <= DEEPEST else 0


def _correlate(layout, operand, row_number, step_number, places, pieces, b_rows, strip=0, pooled=0):
    """The product whose rows are places of images. pieces: (vertical range, offset of numbers, first, count)."""
    tables = Tables(in_order=pooled > 0)
    for band, offset, first, count in pieces:
        vertical = [run.restricted(rows=band) for run in operand.vertical]
        shifted = (row_number[0] - offset, row_number[1])
        add_classes(tables, vertical, operand.horizontal, operand.image, shifted, step_number, operand.together, places)
        tables.add_piece(first, count)
    return _product(layout, operand, tables, b_rows, strip, pooled)


def _product(layout, operand, tables, b_rows, strip, pooled=0):
    scratch = operand.scratch
    zeroed = scratch.size
    at, edge = scratch.take(strip), scratch.take(TALLEST * layout.panel if operand.shared else 0)
    layout.scratch(scratch.size)
    copies = np.array(operand.copies, np.int64)
    try:
        addresses = tables.addresses(layout)
    except OverflowError:
        (height, width), channels = operand.source.size, operand.source.channels
        raise ValueError(
            f"conv: an image of {height} x {width} places with {channels} channels, and zeros around it, has too many "
            "elements for 32-bit offsets; take smaller images, or a pool or a stride in an earlier layer"
        ) from None
    product = Product(
        elementwise=int(operand.elementwise),
        pooled=pooled,
        together=operand.together,
        columns=operand.grouping.columns,
        staged=int(operand.staged),
        a_image=operand.a_image,
        blocks=tuple(layout.table(np.array(table, np.int64)) for table in operand.blocks()),
        tables=addresses,
        b_rows=b_rows,
        edge=edge,
        copies=(layout.table(copies) if len(copies) else 0, len(copies)),
        copies_from=operand.copies_from,
        windows=operand.windows,
        put=operand.put,
        zeroed=zeroed,
        strip=at,
    )
    return layout.descriptor(product)


def forward(layout, op):
    """Descriptors of a `conv` op: one of rows of filters, and one of planes (conv_planes); one is 0."""
    x, W = op.inputs[:2]
    geometry, pool, groups = (op.attributes[name] for name in ("geometry", "pool", "groups"))
    columns = layout.columns(W)
    source, axis = buffer_source(layout, x, geometry.image), axes(geometry, pool)
    grouping = Grouping(groups, columns, source.channels)
    places = len(axis[0].places) * len(axis[1].places)
    width, itemsize = _columns_of_panel(layout, columns), layout.dtype.itemsize
    (height, across), finished = (pool or geometry).output, pool is not None or op.attributes["activation"] is not None
    cut = bands(height, places // height * width, FRESH // itemsize) if finished else [range(height)]
    together = _together(places * width, (FRESH if finished else TOGETHER) // itemsize) if len(cut) == 1 else [1]
    operand = Operand(layout, source, lambda i, margin: axis[i].forward(margin), together, grouping)
    if planes := conv_planes.forward(layout, op, operand.cycles):
        return 0, planes
    pieces, pooled, strip = _pieces(cut, across, pool), _pooled(operand, pool), 0
    if pooled:  # windows are numbered from the start of an image
        pieces = [(lines, 0, first, count) for lines, _, first, count in pieces]
    elif pool is not None:
        strip = max(map(len, cut)) * (places // height) * operand.together * width
    product = _correlate(
        layout, operand, _numbers(geometry, pool), numbers(*geometry.kernel), places, pieces, layout.shape(W)[0],
        strip, pooled,
    )  # fmt: skip
    return product, 0


def grad_input(layout, op):
    """Descriptors of a `conv_grad_input` op: one of all gradients, one of maxima only (conv_sparse), and one of planes
    (conv_planes); two are 0."""
    dz, WT = op.inputs[:2]
    geometry, pool, groups = (op.attributes[name] for name in ("geometry", "pool", "groups"))
    columns, channels = layout.columns(op.outputs[0]), layout.columns(dz)
    axis = axes(geometry, pool)
    size = (axis[0].outputs, axis[1].outputs)
    source = buffer_source(layout, dz, size) if pool is None else panel_source(layout, channels, size, layout.rows)
    grouping = Grouping(groups, columns, channels)
    (height, across), width = geometry.image, _columns_of_panel(layout, columns)
    places = height * across
    finished, itemsize = op.attributes["activation"] is not None, layout.dtype.itemsize
    cut = bands(height, across * width, STRIP // itemsize) if finished else [range(height)]
    together = _together(places * width, TOGETHER // itemsize) if len(cut) == 1 else [1]
    operand = Operand(layout, source, lambda i, margin: axis[i].grad_input(margin), together, grouping, pool=pool)
    if sparse := conv_sparse.grad_input(layout, op, operand.cycles):
        return 0, sparse, 0
    if planes := conv_planes.grad_input(layout, op, operand.cycles):
        return 0, 0, planes
    product = _correlate(
        layout, operand, numbers(*geometry.image), numbers(*geometry.kernel), places, _pieces(cut, across, None),
        layout.shape(WT)[0],
    )  # fmt: skip
    return product, 0, 0


def grad_weights(layout, op):
    """Descriptors of a `conv_grad_weights` op: one of all gradients, whose rows are taps and channels, and whose steps
    are outputs, one of maxima only (conv_sparse), and one of windows (conv_windows); two are 0."""
    x, dz = op.inputs[:2]
    geometry, pool, groups = (op.attributes[name] for name in ("geometry", "pool", "groups"))
    columns, axis = layout.columns(dz), axes(geometry, pool)
    source = buffer_source(layout, x, geometry.image)
    grouping = Grouping(groups, columns, source.channels)
    places, width = len(axis[0].places) * len(axis[1].places), _columns_of_panel(layout, columns)
    (height, across), strip_limit = (pool or geometry).output, STRIP // layout.dtype.itemsize
    cut = bands(height, places // height * width, strip_limit) if pool is not None else [range(height)]
    together = _together(places * width, strip_limit) if len(cut) == 1 else [1]
    operand = Operand(
        layout, source, lambda i, margin: axis[i].grad_weights(margin), together, grouping,
        channels_on_rows=True,
    )  # fmt: skip
    windows = conv_windows.cycles(layout, op)
    dense = operand.cycles + SPREAD * places * layout.padded(columns) // layout.lanes
    if sparse := conv_sparse.grad_weights(layout, op, min(windows, dense)):
        return 0, sparse, 0
    if windows < dense:
        return 0, 0, conv_windows.grad_weights(layout, op)
    strip, number, taps = 0, _numbers(geometry, pool), numbers(*geometry.kernel)
    if pool is not None:
        n, tap = max(map(len, cut)) * across * operand.together, np.arange(places // (height * across), dtype=np.int32)
        strip = n * len(tap) * width
        starts = np.arange(n, dtype=np.int32) * np.int32(len(tap))
        operand.windows = (height * across, len(tap), layout.table(starts), layout.table(tap))
    tables = Tables()
    for band, offset, first, count in _pieces(cut, across, pool):
        vertical = [run.restricted(steps=band) for run in operand.vertical]
        add_classes(
            tables, vertical, operand.horizontal, operand.image, taps, (number[0] - offset, number[1]),
            operand.together, places, channels_on_rows=True, planes=operand.elementwise,
        )  # fmt: skip
        tables.add_piece(first, count)
    rows = geometry.kernel[0] * geometry.kernel[1] * len(operand.image.channels)
    return _product(layout, operand, tables, rows, strip), 0, 0


def transpose(layout, op):
    """Numbers of a `conv_transpose` op: taps, channels of a group in and out, and the blocks' address and number."""
    W, WT = op.inputs + op.outputs
    columns, to_columns, groups = layout.columns(W), layout.columns(WT), op.attributes["groups"]
    (rows, _), (to_rows, _) = layout.shape(W), layout.shape(WT)
    inputs, outputs = to_columns // groups, columns // groups
    blocks = []
    for group in range(groups):
        i, o = group * inputs, group * outputs
        for (a, b), (c, d) in pairs(by_panel(i, i + inputs, layout.panel), by_panel(o, o + outputs, layout.panel)):
            start, row = matrix_at(layout, (rows, columns), a - i, c)
            to, to_row = matrix_at(layout, (to_rows, to_columns), c - o, a)
            blocks.append((b - a, d - c, start, row, to, to_row))
    return [rows // inputs, inputs, outputs, layout.table(np.array(blocks, np.int64)), len(blocks)]
