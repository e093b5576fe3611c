"""Where the images that a convolution reads lie, and how they get into a thread's scratch when they cannot be read in
place: surrounded by zeros, with channels side by side, or expanded to a channel for each column.

Groups of channels are multiplied in blocks of columns, each a part of a panel that reads the channels of one group.
Where groups end inside a vector, blocks share vectors, and each stores its own columns only; or else elementwise tiles
take a factor of each column's own from images expanded to the columns, which pays where groups have few columns.
"""

from collections import Counter
from itertools import pairwise
from itertools import product as pairs
from typing import NamedTuple

import numpy as np

from fastnn.native.conv_tiling import OFFSETS, Cost, Image, by_panel, choose, reach, sums

FAR = 512 * 1024  # bytes of images expanded to the columns that stay in the second cache


def matrix_at(layout, shape, row, column):
    """Where an element of a panel matrix lies, and the width of its panel."""
    rows, columns = shape
    panel = column // layout.panel
    width = min(layout.panel, layout.padded(columns) - panel * layout.panel)
    return panel * layout.panel * rows + row * width + column % layout.panel, width


class Source(NamedTuple):
    """Where images lie: place q of channel c of image n at offset[c] + q * stride[c] + n * step[c]."""

    size: tuple
    offset: np.ndarray
    stride: np.ndarray
    step: np.ndarray
    panels: bool

    @property
    def channels(self):
        return len(self.offset)

    @property
    def uniform(self):
        """Whether all channels have the same stride, so that one row offset does for all."""
        return (self.stride == self.stride[0]).all()


def panel_source(layout, columns, size, images):
    """A panel matrix of `images` images."""
    places, c = size[0] * size[1], np.arange(columns)
    panel = c // layout.panel
    width = np.minimum(layout.panel, layout.padded(columns) - panel * layout.panel)
    return Source(size, panel * images * places * layout.panel + c % layout.panel, width, places * width, True)


def buffer_source(layout, name, size):
    """The images of a batch buffer."""
    columns = layout.columns(name)
    if layout.plan.buffers[name].layout == "panels":
        return panel_source(layout, columns, size, layout.rows)
    c = np.arange(columns)
    return Source(size, c, np.full(columns, columns), np.full(columns, size[0] * size[1] * columns), False)


class Grouping(NamedTuple):
    """The columns of a product and the channels of its image operand: a column reads the channels of its own group."""

    groups: int
    columns: int
    channels: int

    @property
    def columns_each(self):
        return self.columns // self.groups

    @property
    def channels_each(self):
        return self.channels // self.groups

    @property
    def depthwise(self):
        return self.columns == self.channels == self.groups

    def ways(self, lanes):
        """Whether tiles are elementwise: one answer, or both."""
        if self.groups == 1 or self.columns_each % lanes == 0:
            return (False,)
        return (True,) if self.depthwise else (False, True)

    def unit(self, lanes):
        """Columns that are written at a time in images expanded to them."""
        return next(n for n in (lanes // 4, lanes // 2, lanes) if n and (n >= self.columns_each or n == lanes))

    def blocks(self, layout, elementwise):
        """The blocks that the columns are worked on in."""
        n, end = 1 if elementwise else self.groups, layout.padded(self.columns)
        edges = [*(self.columns * group // n for group in range(n)), end]
        return [
            Block.of(layout, a // layout.panel, a % layout.panel, b - a, group, end)
            for group, columns in enumerate(pairwise(edges))
            for a, b in by_panel(*columns, layout.panel)
        ]


class Block(NamedTuple):
    """Vectors from a column of a panel on, whose columns read the channels of a group; where `columns` is not 0, so
    many of them after the first `skipped` do, and the others are other blocks'."""

    panel: int
    column: int
    vectors: int
    group: int
    skipped: int
    columns: int

    @classmethod
    def of(cls, layout, panel, first, columns, group, end):
        """Some columns of a group, in vectors that lie within the panel; `end`: of all columns, and their padding."""
        vectors = layout.padded(columns) // layout.lanes
        if columns % layout.lanes == 0:
            return cls(panel, first, vectors, group, 0, 0)
        column = min(first, min(layout.panel, end - panel * layout.panel) - vectors * layout.lanes)
        return cls(panel, column, vectors, group, first - column, columns)


NO_RUNS = (0, 0, 0, 0)  # of a copy that has each channel once


def dense_stage(source, margins, stride, panel):
    """(Image, elements of an image, copies) for images copied with zeros around them, channels side by side."""
    (h, w), (top, bottom, left, right) = source.size, margins
    width, size = left + w + right, (top + h + bottom) * (left + w + right) * stride
    origin = (top * width + left) * stride
    copies = []
    if (source.stride == stride).all():
        n = w * stride
        copies.append((h, n, source.offset[0], n, 1, source.step[0], origin, width * stride, 1, size, *NO_RUNS))
    else:
        for c in range(0, source.channels, panel):
            n = min(panel, source.channels - c)
            for i in range(h):
                start, to = source.offset[c] + i * w * source.stride[c], origin + i * width * stride + c
                copies.append((w, n, start, source.stride[c], 1, source.step[c], to, stride, 1, size, *NO_RUNS))
    return Image(width, stride, np.arange(source.channels), size, origin), size, copies


def panels(layout, columns):
    """(first column, number of columns) of each panel."""
    return [(first, min(layout.panel, columns - first)) for first in range(0, columns, layout.panel)]


def expanded_stage(layout, source, grouping, margins, together):
    """The same for elementwise tiles: panels of [image][q][place][column], q for the channels of the column's group;
    Image and size in places."""
    (h, w), (top, bottom, left, right) = source.size, margins
    width, places = left + w + right, (top + h + bottom) * (left + w + right)
    origin, n_copies = top * width + left, grouping.channels_each
    copies = []
    for first, real in panels(layout, grouping.columns):
        columns = layout.padded(real)
        to, image = first * together * n_copies * places + origin * columns, n_copies * places * columns
        if grouping.depthwise:
            at, stride, step = (int(of[first]) for of in (source.offset, source.stride, source.step))
            if stride == columns:
                n = w * columns
                copies.append((h, n, at, n, 1, step, to, width * columns, 1, image, *NO_RUNS))
            else:
                for i in range(h):
                    start, line = at + i * w * stride, to + i * width * columns
                    copies.append((w, real, start, stride, 1, step, line, columns, 1, image, *NO_RUNS))
            continue
        make = expanded_picks if picks(layout, source, grouping, first, real) else expanded_runs
        for from_place, from_image, *runs in make(layout, source, grouping, first, real, places * columns):
            copies.append((h, w, 0, w * from_place, from_place, from_image, to, width * columns, columns, image, *runs))
    return Image(width, 1, np.arange(n_copies) * places, n_copies * places, origin), n_copies * places, copies


def picks(layout, source, grouping, first, real):
    """Whether instructions can pick the channels of each vector of a panel's columns from a vector of channels."""
    lanes, panel, each = layout.lanes, layout.panel, grouping.channels_each
    if not layout.picks or real % lanes or grouping.depthwise:
        return False
    starts = np.arange(first, first + real) // grouping.columns_each * each
    lowest, highest = starts[::lanes], starts[lanes - 1 :: lanes]
    near = highest - lowest < lanes
    if source.panels:
        near &= lowest // panel == (highest + each - 1) // panel
    return bool((near & (source.stride[lowest] >= lanes)).all())


def expanded_picks(layout, source, grouping, first, real, expanded):
    """The same as expanded_runs, for vectors of columns whose channels are picked."""
    found, lanes, each = {}, layout.lanes, grouping.channels_each
    for column, q in pairs(range(first, first + real, lanes), range(each)):
        c = np.arange(column, column + lanes) // grouping.columns_each * each + q
        stride, step = int(source.stride[c[0]]), int(source.step[c[0]])
        place = int(c[0]) % layout.panel if source.panels else int(c[0])
        beyond = max(0, place + lanes - stride)  # nothing is read behind the channels of a place
        lane = layout.table((c - c[0] + beyond).astype(np.int32))
        pick = (int(source.offset[c[0]]) - beyond, q * expanded + column - first, lane)
        found.setdefault((stride, step), []).append(pick)
    for (stride, step), made in found.items():
        yield stride, step, 0, 0, len(made), layout.table(np.array(made, np.int64))


def expanded_runs(layout, source, grouping, first, real, expanded):
    """Which runs of columns first .. first + real, those of a panel, have the same channel: for each stride of channels
    (it, from image to image, columns written at a time, runs that may be written beyond their end, runs, address)."""
    found, unit, each = {}, grouping.unit(layout.lanes), grouping.channels_each
    for a, b in by_panel(first, first + real, grouping.columns_each):
        exact = b == a + 1 or a + -(-(b - a) // unit) * unit > first + real
        for q in range(each):
            c = a // grouping.columns_each * each + q
            run = (exact, q, int(source.offset[c]), q * expanded + a - first, b - a)
            found.setdefault((int(source.stride[c]), int(source.step[c])), []).append(run)
    for (stride, step), runs in found.items():
        runs.sort(key=lambda run: run[:2])
        inexact = sum(not exact for exact, *_ in runs)
        table = np.array([run[2:] for run in runs], np.int64)
        yield stride, step, unit, inexact, len(runs), layout.table(table)


class Scratch:
    """Hands out places in the scratch of a thread, each at a multiple of 64 bytes."""

    def __init__(self):
        self.size = 0

    def take(self, elements):
        start = self.size
        self.size += -(-elements // 16) * 16
        return start


class Operand:
    """The image operand of a product: which rows and steps it gives, where it lies, and how it gets there.

    runs_of: a function of (axis, margin) that gives the runs of an axis; together: how many images may be worked on
    together; pool: the operand is a gradient that is first put at the maxima of this pool's windows.
    """

    def __init__(self, layout, source, runs_of, together, grouping, *, channels_on_rows=False, pool=None):
        self.layout, self.source, self.grouping, self.pool = layout, source, grouping, pool
        self.scratch = Scratch()
        self.copies, self.copies_from, self.put, self.windows = [], -1, (0, 0, 0, 0), (0, 0, 0, 0)
        self.a_panel = self.a_image = 0
        options = []
        for elementwise in grouping.ways(layout.lanes):
            cost = self._cost(together, channels_on_rows, elementwise)
            options.append((*choose(runs_of, source.size, cost, together), elementwise, cost))
        self.cycles, self.vertical, self.horizontal, self.together, self.elementwise, cost = min(
            options, key=lambda option: option[0]
        )
        margins = reach(self.vertical, self.horizontal, source.size)
        self.staged = cost.staged or any(margins)
        if not self.staged:
            self._use_in_place()
        elif pool is None:
            self._stage(source, margins)
        else:
            self._stage_windows(margins)

    def _cost(self, together, channels_on_rows, elementwise):
        source, grouping, layout = self.source, self.grouping, self.layout
        blocks, far = grouping.blocks(layout, elementwise), (np.inf, 0)
        if elementwise:
            in_place = grouping.depthwise and source.panels
            vectors = layout.padded(grouping.columns) // layout.lanes * grouping.channels_each
            copied = 2 * vectors
            if all(picks(layout, source, grouping, *columns) for columns in panels(layout, grouping.columns)):
                copied += vectors / 2
            elif not grouping.depthwise:
                copied += 1.25 * grouping.channels * -(-grouping.columns_each // grouping.unit(layout.lanes))
            if not grouping.depthwise:
                far = (FAR // (vectors * layout.lanes * layout.dtype.itemsize), 4 * vectors)
        else:
            last = (source.offset + (source.size[0] * source.size[1]) * source.stride).max()
            fits = last + together[-1] * source.step[0] <= OFFSETS
            in_place = fits and source.uniform and self._alike(source.offset)
            copied = 2 * source.channels / layout.lanes
        return Cost(
            vectors=tuple(Counter(block.vectors for block in blocks).items()),
            put=sum(8 + 2 * block.vectors for block in blocks if block.columns),
            registers=27 if layout.panel == 4 * layout.lanes else 12,
            channels=grouping.channels_each,
            channels_on_rows=channels_on_rows,
            elementwise=elementwise,
            copied=copied,
            far=far,
            staged=not in_place or self.pool is not None,
        )

    @property
    def _blocks(self):
        return self.grouping.blocks(self.layout, self.elementwise)

    @property
    def shared(self):
        """Whether blocks share vectors."""
        return any(block.columns for block in self._blocks)

    def _alike(self, channels):
        """Whether the channels of all groups lie alike, so that a shift leads from the first group to each other."""
        channels = channels.reshape(self.grouping.groups, -1)
        return (channels - channels[:, :1] == channels[0]).all()

    def blocks(self):
        """(first column, vectors, start of the image operand, columns skipped, columns) of each block of columns, and
        the number of the first block of each panel and after the last one."""
        blocks, ends = [], {}
        for panel, column, vectors, group, skipped, columns in self._blocks:
            if self.elementwise:
                start = self.a_panel * panel * self.layout.panel + self.image.origin * vectors * self.layout.lanes
            else:
                start = self.image.origin + self.shifts[group]
            blocks.append((column, vectors, start, skipped, columns))
            ends[panel] = len(blocks)
        return blocks, [0, *ends.values()]

    def _use_in_place(self):
        source = self.source
        places = source.size[0] * source.size[1]
        if self.elementwise:
            self.a_panel, self.a_image = self.layout.rows * places, places
            self.image = Image(source.size[1], 1, np.zeros(1, np.int64), places)
        else:
            self.a_image = int(source.step[0])
            self._use(Image(source.size[1], int(source.stride[0]), source.offset, self.a_image))

    def _stage(self, source, margins):
        """Copies of the images with zeros around them, from the start of the scratch."""
        if self.elementwise:
            self.image, places, self.copies = expanded_stage(self.layout, source, self.grouping, margins, self.together)
            self.a_panel = places * self.together
            self.scratch.take(self.a_panel * self.layout.padded(self.grouping.columns))
        else:
            stride = self.layout.padded(source.channels) if source.panels else source.channels
            image, size, self.copies = dense_stage(source, margins, stride, self.layout.panel)
            self._use(image)
            self.scratch.take(size * self.together)

    def _use(self, image):
        """Takes the channels of the first group, and the shifts from it to each group."""
        channels = image.channels.reshape(self.grouping.groups, -1)
        self.image, self.shifts = image._replace(channels=channels[0]), channels[:, 0]

    def _stage_windows(self, margins):
        """Gradients are put at the windows' maxima in the copy itself, or in images that are then expanded."""
        layout, size, channels = self.layout, self.source.size, self.source.channels
        if self.elementwise and not self.grouping.depthwise:
            places = size[0] * size[1]
            self._stage(panel_source(layout, channels, size, self.together), margins)
            self.copies_from = self.scratch.take(places * self.together * layout.padded(channels))
            self.put = (self.copies_from, places * self.together * layout.panel, 0, 0)
            self.windows = window_tables(layout, self.pool, size[1], places, self.together)
            return
        self._stage(self.source, margins)
        self.copies = []
        image, dense = self.image, not self.elementwise
        places = image.step // image.stride
        panel = layout.panel if dense else places * self.together * layout.panel
        self.put = (0, panel, image.stride if dense else 0, image.origin // image.stride)
        self.windows = window_tables(layout, self.pool, image.width, places, self.together)


def window_tables(layout, pool, width, places, together):
    """(windows of an image, taps, address of the windows' first places, address of the taps' places).

    Images are `width` wide and `places` apart.
    """
    (kh, kw), (sh, sw), (oh, ow) = pool.kernel, pool.stride, pool.output
    windows = sums(np.arange(oh) * sh * width, np.arange(ow) * sw)
    taps = sums(np.arange(kh) * width, np.arange(kw))
    tables = [sums(np.arange(together) * places, windows).astype(np.int32), taps.astype(np.int32)]
    return len(windows), len(taps), *map(layout.table, tables)
