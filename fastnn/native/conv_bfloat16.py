"""The three products of a convolution on operands rounded to bfloat16, as descriptors for _conv_bfloat16.pyx.

An image is staged as one long row: places one after another, zeros around them, channels side by side. Output (i, j)
then is row i * line + j of a product whose A starts at the same place of that row for every tap, so that many lines are
a single product over the taps; the rows between the lines, which stand for no output, are left behind. What a tap reads
beyond its channels meets zeros among the weights.

For the weights' gradient the places are what is summed over: x is staged channel by channel, a tap is a shift, and the
gradient dz is put on the same grid.

A stride costs no products: lines that are a stride apart, and for the weights' gradient places, too, are staged
together; and every phase of an input's gradient, of places that are a stride apart, is a product of its own, over the
taps that meet it.
"""

from itertools import product
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


def _segments(layout, channels, pitch, lines, across, joined):
    """The segments of a kernel whose taps read an image at the places lines[i] + across[j]; `joined`: places of a line
    lie side by side."""
    taps = len(across) if joined and pitch == channels else 1
    return Segments(sums(lines, across[::taps]) * pitch, taps, layout.deep(taps * channels) // layout.deep(1))


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


def _patches(layout, geometry, channels, pitch, width):
    """The Patches of an image staged `width` places wide."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    run, line = kw * channels, width * pitch
    if pitch == channels and dw == 1 and run <= LONGEST_RUN and layout.deep(kh * run) < kh * layout.deep(run):
        return Patches(kh, run, dh * line, sw * pitch, sh * line, geometry.output[1])
    return NO_PATCHES


def _forward_segments(layout, geometry, channels, pitch, patches, lines):
    """The Segments of `patches`, or of a kernel whose lines start at the places `lines` of an image."""
    (kh, kw), dw = geometry.kernel, geometry.dilation[1]
    if patches.lines:
        return Segments(np.zeros(1, np.int64), kh * kw, layout.deep(kh * patches.run) // layout.deep(1))
    return _segments(layout, channels, pitch, lines, np.arange(kw) * dw, dw == 1)


def _int32(layout, array):
    if np.abs(array).max(initial=0) >= 2**31:
        raise ValueError("conv: an image has too many elements for 32-bit offsets; take smaller images, or a pool")
    return layout.table(np.asarray(array, np.int32).ravel())


class Grid(NamedTuple):
    """Where places of an image go: the one at from_start + i * from_line + j * from_place to start + i * to_line + j of
    the staged image; i < lines, j < across."""

    lines: int
    across: int
    start: int
    to_line: int
    from_start: int
    from_line: int
    from_place: int = 1

    @property
    def flat(self):
        """The same as a single line, where the lines lie as far apart on both sides."""
        if self.from_place == 1 and self.to_line == self.across == self.from_line:
            return self._replace(lines=1, across=self.lines * self.across)
        return self


class Phase(NamedTuple):
    """Places of an axis that are a stride apart: the first, how many, and where the first is staged."""

    first: int
    count: int
    at: int


def _phases(size, before, stride):
    """The phases of `size` places that begin behind `before` zeros; the n-th has what a tap n places on reads."""
    firsts = [(n - before) % stride for n in range(stride)]
    return [Phase(first, len(range(first, size, stride)), (before + first) // stride) for first in firsts]


def _by_lines(geometry, stride, height, width, from_line):
    """(Grids, where the kernel's lines start) of an image `width` places wide whose lines `stride` apart are staged
    together; it is cut from one `from_line` places wide."""
    (top, _), (left, _) = geometry.padding
    rows, lines = -(-height // stride), np.arange(geometry.kernel[0]) * geometry.dilation[0]
    grids = [
        Grid(
            phase.count, geometry.image[1], (n * rows + phase.at) * width + left, width, phase.first * from_line,
            stride * from_line,
        ).flat
        for n, phase in enumerate(_phases(geometry.image[0], top, stride))
    ]  # fmt: skip
    return grids, (lines % stride * rows + lines // stride) * width


def _table_of(layout, grids):
    """Address and number of those that have places."""
    grids = [grid for grid in grids if grid.lines and grid.across]
    return layout.table(np.array(grids, np.int64).ravel()), len(grids)


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


def _windows(layout, pool, lines, line):
    """(windows across, address of the first places of `lines` lines of windows, taps, address of their places)."""
    (kh, kw), (sh, sw), (_, across) = pool.kernel, pool.stride, pool.output
    starts = sums(np.arange(lines) * sh * line, np.arange(across) * sw)
    taps = sums(np.arange(kh) * line, np.arange(kw))
    return [across, _int32(layout, starts), len(taps), _int32(layout, taps)]


NO_WINDOWS = [0, 0, 0, 0]


class Target(NamedTuple):
    """Where the results of a product go: of line i and place j to start + i * to_line + j * to_place; with zeros
    elsewhere if `cleared`."""

    start: int = 0
    to_line: int = 0
    to_place: int = 1
    cleared: bool = False


STRAIGHT = Target()


def _correlation(
    layout, *, source, in_rows, grids, staged, pitch, segments, patches, unpool, columns, a_row, line, shape, outputs,
    pool, target=STRAIGHT, first_block=0, all_blocks=None
):  # fmt: skip
    """Numbers of a product over the taps.

    source: (channels, places) of the image operand; staged: (height, width); unpool: the pool of gradients that are
    put at maxima; a_row: numbers from row to row of A; line: rows from line to line; shape: the output's, or the
    windows' of `pool`; outputs: how many an image has, with those that no product gives; target: of gradients;
    first_block, all_blocks: of the packed weights, what the product begins with and how many there are.
    """
    scratch, itemsize = Scratch(), layout.dtype.itemsize
    slack = TILE_ROWS * a_row + 2 * layout.deep(1)
    elements = (staged[0] + 1) * staged[1] * pitch + segments.blocks * layout.deep(1) + slack
    scratch.take(-(-elements // 2))
    windows = NO_WINDOWS
    if unpool is not None:
        windows = _windows(layout, unpool, unpool.output[0], grids[0].to_line)
    step = 1 if pool is None else pool.stride[0]
    width = min(layout.panel, layout.padded(columns))
    size = step * line * (width + a_row * bool(patches.lines) // 2)
    cut = bands(shape[0], size, STRIP // itemsize) if shape[0] else []
    tallest = max(map(len, cut), default=0)
    high, across = (1, shape[1]) if pool is None else (pool.kernel[0], (shape[1] - 1) * pool.stride[1] + pool.kernel[1])
    rows = ((tallest - 1) * step + high) * line + TILE_ROWS
    patched = scratch.take((rows + 1) * a_row // 2 if patches.lines else 0)
    zeroed = scratch.size
    strip = scratch.take(rows * width)
    layout.scratch(scratch.size)
    edges = [band.start for band in cut] + [shape[0]]
    spill = 2 * layout.lanes if not in_rows and pitch < 2 * layout.lanes else 0
    fields = [
        int(in_rows), *source, *_table_of(layout, grids), pitch, spill, *windows, zeroed, *patches, patched,
        _int32(layout, segments.offsets(layout.deep(1))), segments.total, first_block, all_blocks or segments.total,
        a_row, line, columns, across, shape[1], *target, step, high, layout.table(np.array(edges, np.int64)), len(cut),
        strip, outputs, *(NO_WINDOWS if pool is None else _windows(layout, pool, tallest, line)),
    ]  # fmt: skip
    return np.array(fields, np.int64)


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
    (sh, sw), (left, _) = geometry.stride, geometry.padding[1]
    height, width = _staged_size(geometry, geometry.output)
    width = max(left + geometry.image[1], width - left)  # the zeros behind a line are those before the next
    width += -width % sw
    pitch = _pitch(layout, channels, in_rows)
    patches = _patches(layout, geometry, channels, pitch, width)
    together = 1 if patches.lines else sh
    grids, lines = _by_lines(geometry, together, height, width, from_line)
    segments = _forward_segments(layout, geometry, channels, pitch, patches, lines)
    a_row, line = sw * pitch, width // sw
    if patches.lines:
        a_row, line = segments.blocks * layout.deep(1), patches.across
    shape = (pool or geometry).output
    numbers = _correlation(
        layout, source=(channels, layout.positions(x)), in_rows=in_rows, grids=grids,
        staged=(height + -height % together, width), pitch=pitch, segments=segments, patches=patches, unpool=None,
        columns=layout.columns(y), a_row=a_row, line=line, shape=shape, outputs=prod(shape), pool=pool,
    )  # fmt: skip
    return layout.table(numbers)


class Meeting(NamedTuple):
    """Places of an axis of the input that are a stride apart, the first and how many; and the taps that meet them, with
    the gradients, counted from the place's number, that these bring there."""

    first: int
    count: int
    taps: np.ndarray
    reads: np.ndarray


def _meetings(geometry, axis):
    """The phases of an axis that taps meet."""
    stride, dilation, before = geometry.stride[axis], geometry.dilation[axis], geometry.padding[axis][0]
    meetings, taps = [], np.arange(geometry.kernel[axis])[::-1]
    for first in range(stride):
        mine = taps[(first + before - taps * dilation) % stride == 0]
        if len(mine):
            count = len(range(first, geometry.image[axis], stride))
            meetings.append(Meeting(first, count, mine, (first + before - mine * dilation) // stride))
    return meetings


def _transposed_segments(layout, geometry, channels, lines, across):
    """The segments of taps that meet a phase; with a stride each tap is one, as phases have different numbers."""
    joined = geometry.stride == (1, 1) and geometry.dilation[1] == 1
    return _segments(layout, channels, _pitch(layout, channels, False), lines, across, joined)


def grad_input(layout, op):
    """(address, number) of the descriptors of a `conv_grad_input` op, for every phase a product with stride 1."""
    dz, dx = op.inputs[0], op.outputs[0]
    whole, pool = op.attributes["geometry"].image, op.attributes["pool"]
    geometry = _covered(op.attributes["geometry"], pool)
    channels, (sh, sw) = layout.columns(dz), geometry.stride
    pitch, down, across = _pitch(layout, channels, False), _meetings(geometry, 0), _meetings(geometry, 1)
    # Zeros before the first gradient, and how far behind it places read.
    origin = [max([0, *(-min(m.reads) for m in axis if m.count)]) for axis in (down, across)]
    reach = [max([0, *(m.count + max(m.reads) for m in axis if m.count)]) for axis in (down, across)]
    height = origin[0] + max(reach[0], geometry.output[0])
    width = max(reach[1], origin[1] + geometry.output[1])  # the zeros behind a line are those before the next
    grid = Grid(*geometry.output, origin[0] * width + origin[1], width, 0, geometry.output[1]).flat
    cleared, phases = geometry.stride != (1, 1) or geometry.image != whole, list(product(down, across))
    segments = [
        _transposed_segments(layout, geometry, channels, (i.reads + origin[0]) * width, j.reads + origin[1])
        for i, j in phases
    ]
    *first_blocks, all_blocks = np.cumsum([0, *(part.total for part in segments)])
    numbers = [
        _correlation(
            layout, source=(channels, layout.positions(dz)), in_rows=False, grids=[grid], staged=(height, width),
            pitch=pitch, segments=part, patches=NO_PATCHES, unpool=pool, columns=layout.columns(dx), a_row=pitch,
            line=width, shape=(i.count if j.count else 0, j.count), outputs=prod(whole), pool=None,
            target=Target(i.first * whole[1] + j.first, sh * whole[1], sw, cleared), first_block=first_block,
            all_blocks=all_blocks,
        )
        for (i, j), part, first_block in zip(phases, segments, first_blocks, strict=True)
    ]  # fmt: skip
    return layout.table(np.concatenate(numbers)), len(phases)


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
    start; rows, a_row: of a part; steps: where the blocks of an image start; line: by how much the place of
    output (i, j) in the depth grows with i; with j it grows by 1.
    """

    grids: list
    shifts: Shifts
    size: int
    image: int
    pitch: int
    taps: np.ndarray
    rows: int
    a_row: int
    steps: np.ndarray
    line: int

    def cycles(self, layout, channels, columns):
        """Cycles for an image on tiles: 16 for a product, and what loading a tile of rows takes, which is four times as
        much where these cross the lines of the cache."""
        tiles, vectors = len(self.taps) * -(-self.rows // TILE_ROWS), layout.padded(columns) // layout.lanes
        load, copies = (12, self.grids[0].lines * self.shifts.count * channels) if self.shifts.count else (48, 0)
        return tiles * len(self.steps) * max(16 * vectors, load * -(-vectors // 2)) + 4 * copies


def _long_rows(layout, geometry, from_line, channels, together):
    """Every channel is one long row of places, with zeros between its lines, phase by phase of the stride; a tap is a
    shift of all rows."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    height, width = _staged_size(geometry, geometry.output)
    phases = [_phases(geometry.image[axis], geometry.padding[axis][0], geometry.stride[axis]) for axis in range(2)]
    # Lines are packed in pairs of places: they start at even ones.
    margins = np.array([phase.at % 2 for phase in phases[1]])
    height, width = -(-height // sh), -(-width // sw) + max(margins)
    width += width % 2
    size, grids = height * width, []
    for (n, down), (m, across) in product(enumerate(phases[0]), enumerate(phases[1])):
        start = (n * sw + m) * size + down.at * width + across.at + margins[m]
        places = (down.first * from_line + across.first, sh * from_line, sw)
        grids.append(Grid(down.count, across.count, start, width, *places).flat)
    image = sh * sw * size
    for grid in grids:  # packed in whole blocks
        last = grid.start + (grid.lines - 1) * grid.to_line
        image = max(image, grid.start + layout.deep(last - grid.start + grid.across), last + layout.deep(grid.across))
    image = layout.deep(image)
    pitch, down, across = together * image, np.arange(kh) * dh, np.arange(kw) * dw
    taps = sums(down % sh * sw * size + down // sh * width, across % sw * size + across // sw + margins[across % sw])
    last = (geometry.output[0] - 1) * width + geometry.output[1] - 1
    return Places(
        grids, Shifts(), (layout.padded(channels) + TILE_ROWS) * pitch + sh * sw * size, image, pitch, taps, channels,
        pitch, np.arange(0, last + 1, layout.deep(1)), width,
    )  # fmt: skip


def _shifted_lines(layout, geometry, from_line, channels, together):
    """Every line is copied for each tap of a line of the kernel, as far as the outputs of a line go: blocks then start
    at multiples of their size, and all taps and channels are the rows of a single part."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    size = layout.deep(geometry.output[1])
    line, margin = kw * channels * size, geometry.padding[1][0] % 2
    height, _ = _staged_size(geometry, geometry.output)
    (top, _), (left, _) = geometry.padding
    shifts = Shifts(kw, size, dw, sw, margin, left + margin)
    grid = Grid(*geometry.image, top * line, line, 0, from_line)
    steps = sums(np.arange(geometry.output[0]) * sh * line, np.arange(0, size, layout.deep(1)))
    taps, lines = ([0], kh) if dh == 1 else (np.arange(kh) * dh * line, 1)
    return Places(
        [grid], shifts, together * height * line + (TILE_ROWS + 2) * size, height * line, 0, np.asarray(taps),
        lines * kw * channels, size, steps, size,
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
    last = shifts.start + (shifts.count - 1) * shifts.step + shifts.size * shifts.stride  # where its last copy ends
    line_pitch = layout.deep(max(shifts.left + layout.deep(across), last) + depth)
    lines = scratch.take(layout.padded(channels) * line_pitch // 2)
    pairs = scratch.take(together * deep // 2)
    strip = scratch.take(deep if pool is None else 0)
    grid = places.grids[0]
    apart = not in_rows and channels <= layout.panel and grid.lines > 1 and not shifts.count
    apart = apart and geometry.stride == (1, 1) and scratch.take(grid.lines * grid.to_line * layout.padded(channels))
    zeroed = scratch.size
    line = scratch.take(max(grid.across for grid in places.grids))
    layout.scratch(scratch.size)
    windows = NO_WINDOWS if pool is None else _windows(layout, pool, pool.output[0], places.line)
    offsets = _int32(layout, sums(np.arange(together) * places.image, places.steps))
    fields = [
        int(in_rows), channels, layout.positions(x), *_table_of(layout, places.grids), places.image, places.pitch,
        *shifts, lines, line_pitch, int(apart), together, zeroed, _int32(layout, places.taps), len(places.taps),
        places.rows, places.a_row, offsets, len(places.steps), columns, layout.positions(dz), *geometry.output,
        places.line, *windows, strip, row_width, pairs, line, geometry.kernel[0] * geometry.kernel[1] * channels,
    ]  # fmt: skip
    return layout.table(np.array(fields, np.int64)), 0


def pack(layout, op):
    """Numbers of a `conv_pack` op: rows and columns of W, segments, rows and blocks of each."""
    W, geometry = op.inputs[0], op.attributes["geometry"]
    rows, columns = layout.shape(W)
    channels = layout.plan.buffers[W].shape[-2]
    pitch = _pitch(layout, channels, op.attributes["in_rows"])
    patches, lines = _patches(layout, geometry, channels, pitch, 0), np.arange(geometry.kernel[0])
    segments = _forward_segments(layout, geometry, channels, pitch, patches, lines)
    layout.packed(op.outputs[0], segments.total * layout.deep(1), columns)
    return [rows, columns, len(segments.starts), segments.taps * channels, segments.blocks]


def transpose(layout, op):
    """Numbers of a `conv_transpose` op: taps of a segment, segments, blocks of each, channels and filters, and the
    address of the taps in the order in which they come out, phase by phase."""
    W, geometry = op.inputs[0], op.attributes["geometry"]
    filters, channels = layout.columns(W), layout.plan.buffers[W].shape[-2]
    meetings = product(_meetings(geometry, 0), _meetings(geometry, 1))
    order = np.concatenate([sums(i.taps * geometry.kernel[1], j.taps) for i, j in meetings])
    segments = _transposed_segments(layout, geometry, filters, *map(np.arange, geometry.kernel))
    layout.packed(op.outputs[0], segments.total * layout.deep(1), channels)
    layout.scratch(segments.taps * filters * min(layout.panel, layout.padded(channels)))
    return [segments.taps, len(segments.starts), segments.blocks, channels, filters, _int32(layout, order)]
