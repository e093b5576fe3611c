"""The three products of a convolution on operands rounded to bfloat16, as descriptors for _conv_bfloat16.pyx.

An image is staged as one long row: places one after another, zeros around them, channels side by side. Output (i, j)
then is row i * line + j of a product whose A starts at the same place of that row for every tap, so that many lines are
a single product over the taps; the rows between the lines, which stand for no output, are left behind. What a tap reads
beyond its channels meets zeros among the weights.

For the weights' gradient the places are what is summed over: x is staged channel by channel, a tap is a shift, and the
gradient dz is spread on the same grid, with zeros between.
"""

from typing import NamedTuple

import numpy as np

from fastnn.native.conv_staging import Scratch
from fastnn.native.conv_tiling import bands, sums

TILE_ROWS = 16  # A is read up to a multiple of so many rows
STRIP = 32 * 1024  # bytes of results that stay in L1 until they are pooled, activated and stored
TOGETHER = 128 * 1024  # bytes of the operands of the images that a weight gradient sums over at once


class Segments(NamedTuple):
    """Runs of a staged image that a product reads one after another, each filled up to whole blocks: the taps of a
    line, or a tap each. starts: where they start."""

    starts: np.ndarray
    taps: int
    blocks: int

    @property
    def total(self):
        """Blocks of all segments."""
        return len(self.starts) * self.blocks

    def offsets(self, depth):
        """Where each block starts."""
        return sums(self.starts, np.arange(self.blocks) * depth)


def _pitch(layout, channels, in_rows):
    """Numbers from place to place of a staged image."""
    return channels if in_rows or channels <= layout.lanes else layout.deep(channels)


def _segments(layout, geometry, channels, pitch, width, joined):
    """The segments of a kernel in an image staged `width` places wide; `joined`: the taps of a line may be one."""
    (kh, kw), (dh, dw) = geometry.kernel, geometry.dilation
    joined = joined and pitch == channels and dw == 1
    horizontal, taps = (np.zeros(1, np.int64), kw) if joined else (np.arange(kw) * dw, 1)
    starts = sums(np.arange(kh) * dh * width, horizontal) * pitch
    return Segments(starts, taps, layout.deep(taps * channels) // layout.deep(1))


def _forward_segments(layout, geometry, channels, in_rows, width=0):
    return _segments(layout, geometry, channels, _pitch(layout, channels, in_rows), width, True)


def _int32(layout, array):
    if np.abs(array).max(initial=0) >= 2**31:
        raise ValueError("conv: an image has too many elements for 32-bit offsets; take smaller images, or a pool")
    return layout.table(np.asarray(array, np.int32).ravel())


class Grid(NamedTuple):
    """Where the places of an image go: place first + i * source + j of it to start + i * to_line + j * to_place of the
    staged one."""

    lines: int
    across: int
    first: int
    source: int
    start: int
    to_line: int
    to_place: int

    @property
    def flat(self):
        """The same as a single line, where the lines lie as far apart on both sides."""
        if self.to_place == 1 and self.to_line == self.source == self.across:
            return self._replace(lines=1, across=self.lines * self.across)
        return self


def _clipped(size, staged, stride, origin):
    """(first, count) of the places along an axis that lie inside: 0 <= origin + i * stride < staged."""
    first = max(0, -(origin // stride))
    return first, max(0, min(size, -(-(staged - origin) // stride)) - first)


def _grid(size, staged, stride, origin):
    """The grid of an image of some size in one `staged` in size."""
    (i, lines), (j, across) = (_clipped(size[a], staged[a], stride[a], origin[a]) for a in range(2))
    start = (origin[0] + i * stride[0]) * staged[1] + origin[1] + j * stride[1]
    return Grid(lines, across, i * size[1] + j, size[1], start, stride[0] * staged[1], stride[1])


def _windows(layout, pool, lines, line, place=1):
    """(windows across, address of the first places of `lines` lines of windows, taps, address of their places)."""
    (kh, kw), (sh, sw), (_, across) = pool.kernel, pool.stride, pool.output
    starts = sums(np.arange(lines) * sh * line, np.arange(across) * sw * place)
    taps = sums(np.arange(kh) * line, np.arange(kw) * place)
    return [across, _int32(layout, starts), len(taps), _int32(layout, taps)]


NO_WINDOWS = [0, 0, 0, 0]


def _correlation(
    layout, *, source, in_rows, grid, staged, pitch, segments, unpool, columns, a_places, line, shape, pool
):
    """Numbers of a product over the taps.

    source: (channels, places) of the image operand; staged: (height, width); unpool: (pool, size) of gradients that
    are put at maxima first; a_places: places from row to row of A; line: rows from line to line; shape: the output's,
    or the windows' of `pool`.
    """
    scratch, itemsize = Scratch(), layout.dtype.itemsize
    slack = TILE_ROWS * a_places * pitch + 2 * layout.deep(1)
    elements = staged[0] * staged[1] * pitch + segments.blocks * layout.deep(1) + slack
    scratch.take(-(-elements // 2))
    windows, put = NO_WINDOWS, (0, 0)
    if unpool is not None:
        of, size = unpool
        row = min(layout.panel, layout.padded(source[0]))
        put = (scratch.take(size[0] * size[1] * row), row)
        windows = _windows(layout, of, of.output[0], size[1])
    zeroed = scratch.size
    step = 1 if pool is None else pool.stride[0]
    width = min(layout.panel, layout.padded(columns))
    cut = bands(shape[0], step * line * width, STRIP // itemsize)
    tallest = max(map(len, cut))
    high, across = (1, shape[1]) if pool is None else (pool.kernel[0], (shape[1] - 1) * pool.stride[1] + pool.kernel[1])
    strip = scratch.take((((tallest - 1) * step + high) * line + TILE_ROWS) * width)
    layout.scratch(scratch.size)
    edges = [band.start for band in cut] + [shape[0]]
    grid = grid.flat
    spill = 2 * layout.lanes if not in_rows and pitch < 2 * layout.lanes else 0
    fields = [
        int(in_rows), *source, *grid, pitch, spill, *windows, *put, zeroed,
        _int32(layout, segments.offsets(layout.deep(1))), segments.total, a_places * pitch, line, columns,
        across, shape[1], step, high, layout.table(np.array(edges, np.int64)), len(cut), strip, shape[0] * shape[1],
        *(NO_WINDOWS if pool is None else _windows(layout, pool, tallest, line)),
    ]  # fmt: skip
    return layout.table(np.array(fields, np.int64))


def _staged_size(geometry, output):
    """Height and width of the image with the zeros around it that outputs read; a line is a whole number of strides."""
    size = []
    for axis in range(2):
        reach = (output[axis] - 1) * geometry.stride[axis] + geometry.extent[axis]
        size.append(max(geometry.padding[axis][0] + geometry.image[axis], reach))
    size[1] += -size[1] % geometry.stride[1]
    return tuple(size)


def forward(layout, op):
    """Descriptor of a `conv` op."""
    x, y = op.inputs[0], op.outputs[0]
    geometry, pool = op.attributes["geometry"], op.attributes["pool"]
    channels, in_rows = layout.columns(x), layout.in_rows(x)
    staged, (sh, sw), ((top, _), (left, _)) = _staged_size(geometry, geometry.output), geometry.stride, geometry.padding
    return _correlation(
        layout, source=(channels, layout.positions(x)), in_rows=in_rows,
        grid=_grid(geometry.image, staged, (1, 1), (top, left)), staged=staged, pitch=_pitch(layout, channels, in_rows),
        segments=_forward_segments(layout, geometry, channels, in_rows, staged[1]), unpool=None,
        columns=layout.columns(y), a_places=sw, line=sh * staged[1] // sw, shape=(pool or geometry).output, pool=pool,
    )  # fmt: skip


def grad_input(layout, op):
    """Descriptor of a `conv_grad_input` op: a product with stride 1 on gradients that lie a stride apart."""
    dz, dx = op.inputs[0], op.outputs[0]
    geometry, pool = op.attributes["geometry"], op.attributes["pool"]
    channels, apart = layout.columns(dz), geometry.stride != (1, 1)
    pitch = layout.deep(channels) if apart else _pitch(layout, channels, False)
    staged = tuple(size + extent - 1 for size, extent in zip(geometry.image, geometry.extent, strict=True))
    origin = tuple(geometry.extent[axis] - 1 - geometry.padding[axis][0] for axis in range(2))
    return _correlation(
        layout, source=(channels, layout.positions(dz)), in_rows=False,
        grid=_grid(geometry.output, staged, geometry.stride, origin), staged=staged, pitch=pitch,
        segments=_segments(layout, geometry, channels, pitch, staged[1], False),
        unpool=None if pool is None else (pool, geometry.output), columns=layout.columns(dx), a_places=1,
        line=staged[1], shape=geometry.image, pool=None,
    )  # fmt: skip


def grad_weights(layout, op):
    """Descriptor of a `conv_grad_weights` op."""
    x, dz = op.inputs[:2]
    geometry, pool = op.attributes["geometry"], op.attributes["pool"]
    (kh, kw), (sh, sw), (dh, dw), depth = geometry.kernel, geometry.stride, geometry.dilation, layout.deep(1)
    channels, columns, in_rows = layout.columns(x), layout.columns(dz), layout.in_rows(x)
    output = geometry.output
    height, width = _staged_size(geometry, output)
    # Lines are packed in pairs of places: they start at even ones.
    margin = geometry.padding[1][0] % 2
    width = width + margin + (width + margin) % 2
    origin = (geometry.padding[0][0], geometry.padding[1][0] + margin)
    grid = _grid(geometry.image, (height, width), (1, 1), origin)
    image = layout.deep(height * width)
    blocks = layout.deep((output[0] - 1) * sh * width + (output[1] - 1) * sw + 1) // depth
    row_width = min(layout.panel, layout.padded(columns))
    size = 2 * (image * layout.padded(channels) + blocks * depth * row_width)
    together = next(n for n in (8, 4, 2, 1) if n == 1 or n * size <= TOGETHER)
    pitch = together * image
    scratch = Scratch()
    scratch.take((layout.padded(channels) * pitch + TILE_ROWS * pitch + height * width + 2 * depth) // 2)
    strip = scratch.take(blocks * depth * row_width)
    zeroed = scratch.size
    pairs = scratch.take(together * blocks * depth * row_width // 2)
    line = scratch.take(grid.flat.across)
    layout.scratch(scratch.size)
    # With one channel the taps of a line are the rows of a product, else the channels of a tap are.
    steps, rows, a_row = ([0], kw, dw) if channels == 1 else (np.arange(kw) * dw, channels, pitch)
    taps = sums(np.arange(kh) * dh * width, np.asarray(steps)) + margin
    offsets = sums(np.arange(together) * image, np.arange(blocks) * depth)
    place = np.array([sh * width, sw])
    windows = NO_WINDOWS
    if pool is not None:
        windows = _windows(layout, pool, pool.output[0], *place)
    (lines, across) = output
    fields = [
        int(in_rows), channels, layout.positions(x), *grid.flat, image, pitch, together, zeroed,
        _int32(layout, taps), len(taps), rows, a_row, _int32(layout, offsets), blocks,
        columns, layout.positions(dz), lines, across, *place, *windows, strip, row_width, pairs, line,
        kh * kw * channels,
    ]  # fmt: skip
    return layout.table(np.array(fields, np.int64))


def pack(layout, op):
    """Numbers of a `conv_pack` op: rows and columns of W, segments, rows and blocks of each."""
    W, geometry = op.inputs[0], op.attributes["geometry"]
    rows, columns = layout.shape(W)
    channels = layout.plan.buffers[W].shape[-2]
    segments = _forward_segments(layout, geometry, channels, op.attributes["in_rows"])
    layout.packed(op.outputs[0], segments.total * layout.deep(1), columns)
    return [rows, columns, len(segments.starts), segments.taps * channels, segments.blocks]


def transpose(layout, op):
    """Numbers of a `conv_transpose` op: taps, channels and filters."""
    W = op.inputs[0]
    rows, filters = layout.shape(W)
    channels = layout.plan.buffers[W].shape[-2]
    taps = rows // channels
    layout.packed(op.outputs[0], taps * layout.deep(filters), channels)
    return [taps, channels, filters]
