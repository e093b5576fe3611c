"""The three products of a convolution on operands rounded to bfloat16, as descriptors for _conv_bfloat16.pyx.

An image is staged as one long row: places one after another, zeros around them, channels side by side. Output (i, j)
then is row i * line + j of a product whose A starts at the same place of that row for every tap, so that many lines are
a single product over the taps; the rows between the lines, which stand for no output, are left behind. What a tap reads
beyond its channels meets zeros among the weights.

For the weights' gradient the places are what is summed over: x is staged channel by channel, a tap is a shift, and the
gradient dz is spread on the same grid, with zeros between.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from fastnn.native import conv_windows
from fastnn.native.conv_staging import Scratch
from fastnn.native.conv_tiling import bands, sums

TILE_ROWS = 16  # A is read up to a multiple of so many rows
STRIP = 32 * 1024  # bytes of results that stay in L1 until they are pooled, activated and stored
SPREAD = 10  # cycles at least for a vector of gradients in places, most of them for putting it there
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


def _gradient_pitch(layout, geometry, channels):
    """The same for gradients, which are packed a place at a time where they lie a stride apart."""
    return _pitch(layout, channels, False) if geometry.stride == (1, 1) else layout.deep(channels)


def _segments(layout, geometry, channels, pitch, width):
    """The segments of a kernel in an image staged `width` places wide."""
    (kh, kw), (dh, dw) = geometry.kernel, geometry.dilation
    joined = pitch == channels and dw == 1
    horizontal, taps = (np.zeros(1, np.int64), kw) if joined else (np.arange(kw) * dw, 1)
    starts = sums(np.arange(kh) * dh * width, horizontal) * pitch
    return Segments(starts, taps, layout.deep(taps * channels) // layout.deep(1))


class Patches(NamedTuple):
    """Rows of a product that are copied from a staged image, one for each output, if the whole kernel then takes fewer
    blocks: lines of the kernel, `run` numbers of each; how far lines, rows, and the rows of two lines of outputs are
    apart in the image; outputs in a line. None of them: lines 0."""

    lines: int = 0
    run: int = 0
    from_line: int = 0
    from_row: int = 0
    from_output: int = 0
    across: int = 0


NO_PATCHES = Patches()
LONGEST_RUN = 16  # that is copied


def _forward_segments(layout, geometry, channels, in_rows, width=0):
    """(Segments, Patches) of an image staged `width` places wide."""
    (kh, kw), (sh, sw), dilation = geometry.kernel, geometry.stride, geometry.dilation
    pitch, run = _pitch(layout, channels, in_rows), kw * channels
    if pitch == channels and dilation[1] == 1 and run <= LONGEST_RUN and layout.deep(kh * run) < kh * layout.deep(run):
        line, blocks = width * pitch, layout.deep(kh * run) // layout.deep(1)
        patches = Patches(kh, run, dilation[0] * line, sw * pitch, sh * line, geometry.output[1])
        return Segments(np.zeros(1, np.int64), kh * kw, blocks), patches
    return _segments(layout, geometry, channels, pitch, width), NO_PATCHES


def _int32(layout, array):
    if np.abs(array).max(initial=0) >= 2**31:
        raise ValueError("conv: an image has too many elements for 32-bit offsets; take smaller images, or a pool")
    return layout.table(np.asarray(array, np.int32).ravel())


class Grid(NamedTuple):
    """Where the places of an image go: place i * from_line + j of it to start + i * to_line + j * to_place of the
    staged one; i < lines, j < across."""

    lines: int
    across: int
    start: int
    to_line: int
    to_place: int
    from_line: int

    @property
    def flat(self):
        """The same as a single line, where the lines lie as far apart on both sides."""
        if self.to_place == 1 and self.to_line == self.across == self.from_line:
            return self._replace(lines=1, across=self.lines * self.across)
        return self


def _grid(size, width, stride, origin, from_line):
    """The grid of an image of some size, cut from one `from_line` places wide, in one staged `width` places wide, whose
    first place gets to `origin`."""
    start = origin[0] * width + origin[1]
    return Grid(*size, start, stride[0] * width, stride[1], from_line)


def _covered(geometry, pool):
    """The geometry without outputs that no window of the pool covers, and places of the image that no other reads."""
    if pool is None:
        return geometry
    image, padding = [], []
    for axis in range(2):
        outputs = (pool.output[axis] - 1) * pool.stride[axis] + pool.kernel[axis]
        before = geometry.padding[axis][0]
        reach = (outputs - 1) * geometry.stride[axis] + geometry.extent[axis] - before
        image.append(max(1, min(geometry.image[axis], reach)))
        padding.append((before, reach - image[axis]))
    return geometry._replace(image=tuple(image), padding=tuple(padding))


def _windows(layout, pool, lines, line, place=1):
    """(windows across, address of the first places of `lines` lines of windows, taps, address of their places)."""
    (kh, kw), (sh, sw), (_, across) = pool.kernel, pool.stride, pool.output
    starts = sums(np.arange(lines) * sh * line, np.arange(across) * sw * place)
    taps = sums(np.arange(kh) * line, np.arange(kw) * place)
    return [across, _int32(layout, starts), len(taps), _int32(layout, taps)]


NO_WINDOWS = [0, 0, 0, 0]


def _correlation(
    layout, *, source, in_rows, grid, staged, pitch, segments, patches, unpool, columns, a_row, line, shape, whole, pool
):
    """Numbers of a product over the taps.

    source: (channels, places) of the image operand; staged: (height, width); unpool: the pool of gradients that are
    put at maxima; a_row: numbers from row to row of A; line: rows from line to line; shape: the output's, or the
    windows' of `pool`; whole: this filled up with zeros.
    """
    scratch, itemsize = Scratch(), layout.dtype.itemsize
    slack = TILE_ROWS * a_row + 2 * layout.deep(1)
    elements = (staged[0] + 1) * staged[1] * pitch + segments.blocks * layout.deep(1) + slack
    scratch.take(-(-elements // 2))
    windows = NO_WINDOWS
    if unpool is not None:
        windows = _windows(layout, unpool, unpool.output[0], grid.to_line, grid.to_place)
    step = 1 if pool is None else pool.stride[0]
    width = min(layout.panel, layout.padded(columns))
    cut = bands(shape[0], step * line * (width + a_row * bool(patches.lines) // 2), STRIP // itemsize)
    tallest = max(map(len, cut))
    high, across = (1, shape[1]) if pool is None else (pool.kernel[0], (shape[1] - 1) * pool.stride[1] + pool.kernel[1])
    rows = ((tallest - 1) * step + high) * line + TILE_ROWS
    patched = scratch.take((rows + 1) * a_row // 2 if patches.lines else 0)
    zeroed = scratch.size
    strip = scratch.take(rows * width)
    layout.scratch(scratch.size)
    edges = [band.start for band in cut] + [shape[0]]
    grid = grid.flat
    spill = 2 * layout.lanes if not in_rows and pitch < 2 * layout.lanes else 0
    fields = [
        int(in_rows), *source, *grid, pitch, spill, *windows, zeroed, *patches, patched,
        _int32(layout, segments.offsets(layout.deep(1))), segments.total, a_row, line, columns,
        across, shape[1], whole[1], step, high, layout.table(np.array(edges, np.int64)), len(cut), strip,
        whole[0] * whole[1],
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
    pool, from_line = op.attributes["pool"], op.attributes["geometry"].image[1]
    geometry = _covered(op.attributes["geometry"], pool)
    channels, in_rows = layout.columns(x), layout.in_rows(x)
    (sh, sw), ((top, _), (left, _)) = geometry.stride, geometry.padding
    height, width = _staged_size(geometry, geometry.output)
    width = max(left + geometry.image[1], width - left)  # the zeros behind a line are those before the next
    width += -width % sw
    pitch = _pitch(layout, channels, in_rows)
    segments, patches = _forward_segments(layout, geometry, channels, in_rows, width)
    a_row, line = sw * pitch, sh * width // sw
    if patches.lines:
        a_row, line = segments.blocks * layout.deep(1), patches.across
    return _correlation(
        layout, source=(channels, layout.positions(x)), in_rows=in_rows,
        grid=_grid(geometry.image, width, (1, 1), (top, left), from_line), staged=(height, width), pitch=pitch,
        segments=segments, patches=patches, unpool=None, columns=layout.columns(y), a_row=a_row, line=line,
        shape=(pool or geometry).output, whole=(pool or geometry).output, pool=pool,
    )  # fmt: skip


def grad_input(layout, op):
    """Descriptor of a `conv_grad_input` op: a product with stride 1 on gradients that lie a stride apart."""
    dz, dx = op.inputs[0], op.outputs[0]
    whole, pool = op.attributes["geometry"].image, op.attributes["pool"]
    geometry = _covered(op.attributes["geometry"], pool)
    channels = layout.columns(dz)
    pitch = _gradient_pitch(layout, geometry, channels)
    # Zeros before the first gradient, or what of the image comes before all that it has to do with.
    zeros = [extent - 1 - before for extent, (before, _) in zip(geometry.extent, geometry.padding, strict=True)]
    origin, lead = [max(0, n) for n in zeros], [max(0, -n) for n in zeros]
    reach = [n + size + extent - 1 for n, size, extent in zip(lead, geometry.image, geometry.extent, strict=True)]
    reach[1] -= origin[1]  # the zeros behind a line are those before the next
    span = [(n - 1) * stride + 1 for n, stride in zip(geometry.output, geometry.stride, strict=True)]
    height, width = (max(reach[axis], origin[axis] + span[axis]) for axis in range(2))
    segments = _segments(layout, geometry, channels, pitch, width)
    return _correlation(
        layout, source=(channels, layout.positions(dz)), in_rows=False,
        grid=_grid(geometry.output, width, geometry.stride, origin, geometry.output[1]), staged=(height, width),
        pitch=pitch, segments=segments._replace(starts=segments.starts + (lead[0] * width + lead[1]) * pitch),
        patches=NO_PATCHES, unpool=pool, columns=layout.columns(dx), a_row=pitch, line=width, shape=geometry.image,
        whole=whole, pool=None,
    )  # fmt: skip


class Shifts(NamedTuple):
    """Copies of a line: `count` of `size` places each, one `step` further on than the other, of every `stride`-th place
    from `start` of a line that lies at `left`. None of them: count 0."""

    count: int = 0
    size: int = 0
    step: int = 0
    stride: int = 0
    start: int = 0
    left: int = 0


class Places(NamedTuple):
    """How the images of a weight gradient are staged and read, whose depth are places.

    size: numbers of all; image, pitch: from one image, or channel, to the next; taps: where the parts of the product
    start; rows, a_row: of a part; steps: where the blocks of an image start; place: by how much the place of output
    (i, j) in the depth grows with i and j.
    """

    grid: Grid
    shifts: Shifts
    size: int
    image: int
    pitch: int
    taps: np.ndarray
    rows: int
    a_row: int
    steps: np.ndarray
    place: tuple

    def cycles(self, layout, channels, columns):
        """Cycles for an image on tiles: 16 for a product, and what loading a tile of rows takes, which is four times as
        much where these cross the lines of the cache."""
        tiles, vectors = len(self.taps) * -(-self.rows // TILE_ROWS), layout.padded(columns) // layout.lanes
        load, copies = (12, self.grid.lines * self.shifts.count * channels) if self.shifts.count else (48, 0)
        return tiles * len(self.steps) * max(16 * vectors, load * -(-vectors // 2)) + 4 * copies


def _long_rows(layout, geometry, from_line, channels, together):
    """Every channel is one long row of places, with zeros between its lines; a tap is a shift of all rows."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    height, width = _staged_size(geometry, geometry.output)
    # Lines are packed in pairs of places: they start at even ones.
    margin = geometry.padding[1][0] % 2
    width = width + margin + (width + margin) % 2
    origin = (geometry.padding[0][0], geometry.padding[1][0] + margin)
    grid = _grid(geometry.image, width, (1, 1), origin, from_line).flat
    end = grid.start + layout.deep((grid.lines - 1) * grid.to_line + grid.across)  # packed in whole blocks
    end = max(end, grid.start + (grid.lines - 1) * grid.to_line + layout.deep(grid.across))
    image = layout.deep(max(end, height * width))
    pitch, last = together * image, (geometry.output[0] - 1) * sh * width + (geometry.output[1] - 1) * sw
    return Places(
        grid, Shifts(), (layout.padded(channels) + TILE_ROWS) * pitch + height * width, image, pitch,
        sums(np.arange(kh) * dh * width, np.arange(kw) * dw) + margin, channels, pitch,
        np.arange(0, last + 1, layout.deep(1)), (sh * width, sw),
    )  # fmt: skip


def _shifted_lines(layout, geometry, from_line, channels, together):
    """Every line is copied for each tap of a line of the kernel, as far as the outputs of a line go: blocks then start
    at multiples of their size, and all taps and channels are the rows of a single part."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    size = layout.deep(geometry.output[1])
    line, margin = kw * channels * size, geometry.padding[1][0] % 2
    height, width = _staged_size(geometry, geometry.output)
    grid = _grid(geometry.image, width, (1, 1), (geometry.padding[0][0], geometry.padding[1][0]), from_line)
    shifts = Shifts(kw, size, dw, sw, margin, grid.start % width + margin)
    grid = grid._replace(start=grid.start // width * line, to_line=line)
    steps = sums(np.arange(geometry.output[0]) * sh * line, np.arange(0, size, layout.deep(1)))
    taps, lines = ([0], kh) if dh == 1 else (np.arange(kh) * dh * line, 1)
    return Places(
        grid, shifts, together * height * line + (TILE_ROWS + 2) * size, height * line, 0, np.asarray(taps),
        lines * kw * channels, size, steps, (size, 1),
    )  # fmt: skip


def grad_weights(layout, op):
    """Descriptors of a `conv_grad_weights` op: one of products, and one of windows (conv_windows); one is 0."""
    x, dz = op.inputs[:2]
    spread = SPREAD * prod(op.attributes["geometry"].output) * layout.padded(layout.columns(dz)) // layout.lanes
    if conv_windows.cycles(layout, op, rounded=True) < spread:
        return 0, conv_windows.grad_weights(layout, op, rounded=True)
    pool, depth, from_line = op.attributes["pool"], layout.deep(1), op.attributes["geometry"].image[1]
    geometry = _covered(op.attributes["geometry"], pool)
    channels, columns, in_rows = layout.columns(x), layout.columns(dz), layout.in_rows(x)
    make = min(
        (_long_rows, _shifted_lines),
        key=lambda make: make(layout, geometry, from_line, channels, 1).cycles(layout, channels, columns),
    )
    places, row_width = make(layout, geometry, from_line, channels, 1), min(layout.panel, layout.padded(columns))
    deep = len(places.steps) * depth * row_width  # numbers of an image's gradients
    size = 2 * (places.size + deep)
    together = next(n for n in (8, 4, 2, 1) if n == 1 or n * size <= TOGETHER)
    places = make(layout, geometry, from_line, channels, together)
    shifts, across = places.shifts, geometry.image[1]
    scratch = Scratch()
    scratch.take((places.size + 2 * depth) // 2)
    line_pitch = layout.deep(max(shifts.left + layout.deep(across), shifts.size * shifts.stride + across) + depth)
    lines = scratch.take(layout.padded(channels) * line_pitch // 2)
    pairs = scratch.take(together * deep // 2)
    strip = scratch.take(deep if pool is None else 0)
    apart = not in_rows and channels <= layout.panel and places.grid.lines > 1 and not shifts.count
    apart = apart and scratch.take(places.grid.lines * places.grid.to_line * layout.padded(channels))
    zeroed = scratch.size
    line = scratch.take(places.grid.across)
    layout.scratch(scratch.size)
    windows = NO_WINDOWS if pool is None else _windows(layout, pool, pool.output[0], *places.place)
    fields = [
        int(in_rows), channels, layout.positions(x), *places.grid, places.image, places.pitch, *shifts, lines,
        line_pitch, int(apart), together, zeroed, _int32(layout, places.taps), len(places.taps), places.rows,
        places.a_row, _int32(layout, sums(np.arange(together) * places.image, places.steps)), len(places.steps),
        columns, layout.positions(dz), *geometry.output, *places.place, *windows, strip, row_width, pairs, line,
        geometry.kernel[0] * geometry.kernel[1] * channels,
    ]  # fmt: skip
    return layout.table(np.array(fields, np.int64)), 0


def pack(layout, op):
    """Numbers of a `conv_pack` op: rows and columns of W, segments, rows and blocks of each."""
    W, geometry = op.inputs[0], op.attributes["geometry"]
    rows, columns = layout.shape(W)
    channels = layout.plan.buffers[W].shape[-2]
    segments, _ = _forward_segments(layout, geometry, channels, op.attributes["in_rows"])
    layout.packed(op.outputs[0], segments.total * layout.deep(1), columns)
    return [rows, columns, len(segments.starts), segments.taps * channels, segments.blocks]


def transpose(layout, op):
    """Numbers of a `conv_transpose` op: taps of a segment, segments, blocks of each, channels and filters."""
    W, geometry = op.inputs[0], op.attributes["geometry"]
    filters, channels = layout.columns(W), layout.plan.buffers[W].shape[-2]
    segments = _segments(layout, geometry, filters, _gradient_pitch(layout, geometry, filters), 0)
    layout.packed(op.outputs[0], segments.total * layout.deep(1), channels)
    layout.scratch(segments.taps * filters * min(layout.panel, layout.padded(channels)))
    return [segments.taps, len(segments.starts), segments.blocks, channels, filters]
