"""Where the images that a convolution reads lie, and how they get into a thread's scratch when they cannot be read in
place: surrounded by zeros, with channels side by side, or expanded to the groups of channels."""

from itertools import product as pairs
from typing import NamedTuple

import numpy as np

from fastnn.native.conv_tiling import OFFSETS, Cost, Image, choose, reach, sums


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


class Expansion(NamedTuple):
    """Which channel column j of a grouped product reads: (j // per_column) * per_source + q, for q < per_source."""

    columns: int
    per_column: int
    per_source: int

    @property
    def trivial(self):
        return self.per_column == self.per_source == 1


def dense_stage(source, margins, stride, panel):
    """(Image, elements of an image, copies) for images copied with zeros around them, channels side by side."""
    (h, w), (top, bottom, left, right) = source.size, margins
    width, size = left + w + right, (top + h + bottom) * (left + w + right) * stride
    origin = (top * width + left) * stride
    copies = []
    if (source.stride == stride).all():
        n = w * stride
        copies.append((h, n, source.offset[0], n, 1, source.step[0], origin, width * stride, 1, size))
    else:
        for c in range(0, source.channels, panel):
            n = min(panel, source.channels - c)
            for i in range(h):
                start, to = source.offset[c] + i * w * source.stride[c], origin + i * width * stride + c
                copies.append((w, n, start, source.stride[c], 1, source.step[c], to, stride, 1, size))
    return Image(width, stride, np.arange(source.channels), size, origin), size, copies


def expanded_stage(layout, source, expansion, margins, group):
    """The same for grouped products: panels of [image][q][place][column]; Image, size in places."""
    (h, w), (top, bottom, left, right) = source.size, margins
    width, places = left + w + right, (top + h + bottom) * (left + w + right)
    origin, n_copies = top * width + left, expansion.per_source
    copies = []
    for first in range(0, expansion.columns, layout.panel):
        real = min(layout.panel, expansion.columns - first)
        columns = layout.padded(real)
        start, image = first * group * n_copies * places, n_copies * places * columns
        if expansion.trivial and source.stride[first] == columns:
            n = w * columns
            to = start + origin * columns
            copies.append((h, n, source.offset[first], n, 1, source.step[first], to, width * columns, 1, image))
            continue
        for j, q in pairs(range(real), range(n_copies)):
            c = (first + j) // expansion.per_column * expansion.per_source + q
            stride, to = source.stride[c], start + (q * places + origin) * columns + j
            line = width * columns
            copies.append((h, w, source.offset[c], w * stride, stride, source.step[c], to, line, columns, image))
    return Image(width, 1, np.arange(n_copies) * places, n_copies * places, origin), n_copies * places, copies


def expanded_weights(layout, rows, expansion, taps):
    """Copies that make WE[tap * per_source + q, j] = W[tap * (rows / taps) + j % per_column, channel of (j, q)]."""
    copies, columns = [], expansion.columns // expansion.per_column * expansion.per_source
    for j, q in pairs(range(expansion.columns), range(expansion.per_source)):
        c = j // expansion.per_column * expansion.per_source + q
        p, to_p = c // layout.panel, j // layout.panel
        width = min(layout.panel, layout.padded(columns) - p * layout.panel)
        to_width = min(layout.panel, layout.padded(expansion.columns) - to_p * layout.panel)
        start = p * layout.panel * rows + j % expansion.per_column * width + c % layout.panel
        to = to_p * layout.panel * taps * expansion.per_source + q * to_width + j % layout.panel
        step, to_step = rows // taps * width, expansion.per_source * to_width
        copies.append((1, taps, start, 0, step, 0, to, 0, to_step, 0))
    return copies


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

    runs_of: a function of (axis, margin) that gives the runs of an axis; groups: how many images may be worked on
    together; pool: the operand is a gradient that is first put at the maxima of this pool's windows.
    """

    def __init__(self, layout, source, runs_of, groups, columns, expansion, *, channels_on_rows=False, pool=None):
        self.layout, self.source, self.expansion, self.pool = layout, source, expansion, pool
        self.columns, self.scratch = columns, Scratch()
        self.copies, self.copies_from, self.put, self.windows = [], -1, (0, 0, 0, 0), (0, 0, 0, 0)
        self.origin = self.a_panel = self.a_image = 0
        cost = self._cost(groups, channels_on_rows)
        self.vertical, self.horizontal, self.group = choose(runs_of, source.size, cost, groups)
        margins = reach(self.vertical, self.horizontal, source.size)
        self.staged = cost.staged or any(margins)
        if not self.staged:
            self._use_in_place()
        elif pool is None:
            self._stage(source, margins)
        else:
            self._stage_windows(margins)

    def _cost(self, groups, channels_on_rows):
        source, expansion, lanes = self.source, self.expansion, self.layout.lanes
        if expansion is None:
            last = (source.offset + (source.size[0] * source.size[1]) * source.stride).max()
            in_place = source.uniform and last + groups[-1] * source.step[0] <= OFFSETS
            channels, copied = source.channels, 2 * source.channels / lanes
        else:
            in_place, channels = expansion.trivial and source.panels, expansion.per_source
            copied = 2 * expansion.columns * (1 / lanes if in_place else channels)
        staged = not in_place or self.pool is not None
        return Cost(
            lanes, self.layout.panel, self.columns, channels, channels_on_rows, expansion is not None, copied, staged
        )

    def _use_in_place(self):
        source = self.source
        places = source.size[0] * source.size[1]
        if self.expansion is None:
            self.a_image = int(source.step[0])
            self.image = Image(source.size[1], int(source.stride[0]), source.offset, self.a_image)
        else:
            self.a_panel, self.a_image = self.layout.rows * places, places
            self.image = Image(source.size[1], 1, np.zeros(1, np.int64), places)

    def _stage(self, source, margins):
        """Copies of the images with zeros around them, from the start of the scratch."""
        if self.expansion is None:
            stride = self.layout.padded(source.channels) if source.panels else source.channels
            self.image, size, self.copies = dense_stage(source, margins, stride, self.layout.panel)
            self.origin = self.image.origin
            self.scratch.take(size * self.group)
        else:
            self.image, places, self.copies = expanded_stage(self.layout, source, self.expansion, margins, self.group)
            self.origin, self.a_panel = self.image.origin, places * self.group
            self.scratch.take(places * self.group * self.layout.padded(self.expansion.columns))

    def _stage_windows(self, margins):
        """Gradients are put at the windows' maxima in the copy itself, or in images that are then expanded."""
        layout, size, channels = self.layout, self.source.size, self.source.channels
        if self.expansion is not None and not self.expansion.trivial:
            places = size[0] * size[1]
            self._stage(panel_source(layout, channels, size, self.group), margins)
            self.copies_from = self.scratch.take(places * self.group * layout.padded(channels))
            self.put = (self.copies_from, places * self.group * layout.panel, 0, 0)
            self.windows = window_tables(layout, self.pool, size[1], places, self.group)
            return
        self._stage(self.source, margins)
        self.copies = []
        image, dense = self.image, self.expansion is None
        places = image.step // image.stride
        panel = layout.panel if dense else places * self.group * layout.panel
        self.put = (0, panel, image.stride if dense else 0, image.origin // image.stride)
        self.windows = window_tables(layout, self.pool, image.width, places, self.group)


def window_tables(layout, pool, width, places, group):
    """(windows of an image, taps, address of the windows' first places, address of the taps' places).

    Images are `width` wide and `places` apart.
    """
    (kh, kw), (sh, sw), (oh, ow) = pool.kernel, pool.stride, pool.output
    windows = sums(np.arange(oh) * sh * width, np.arange(ow) * sw)
    taps = sums(np.arange(kh) * width, np.arange(kw))
    tables = [sums(np.arange(group) * places, windows).astype(np.int32), taps.astype(np.int32)]
    return len(windows), len(taps), *map(layout.table, tables)
