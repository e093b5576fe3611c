"""Which elements of an image a convolution multiplies: the tables that the indexed tiles of csrc/kernels/conv.h read.

All three products of a convolution are sums c[row] = sum over steps of a[row + step] * B[step], where rows and steps are
pairs (vertical, horizontal) and `row + step` is a place in an image. Along one axis, with stride s, dilation d, padding b:

============ ================================ ================= ====================================
product      rows                             steps             image and its place row + step
============ ================================ ================= ====================================
forward      output o at o s                  tap u at u d - b  x at o s + u d - b
grad_input   input i at i // s                tap u at          dz at (i + b - u d) / s, where whole
                                              (i % s + b - u d) / s
grad_weights tap u at u d - b                 output o at o s   x at o s + u d - b
============ ================================ ================= ====================================

Rows that meet the border miss some steps. Either rows with the same steps form a `Run` of their own, or the image is
copied into a larger one with zeros around it and all steps count: `choose` takes what a small model of the cost says.
"""

from itertools import product as pairs
from typing import NamedTuple

import numpy as np

STRIP = 32 * 1024  # bytes of results, or of gradients put in windows, that stay in L1 while they are worked on
FRESH = STRIP // 2  # the same in the forward product of few channels, which is faster with more room for the image
GROUP = 64 * 1024  # bytes of the results of images that are worked on together
OFFSETS = 2**31 - 1


class Run(NamedTuple):
    """Rows along one axis with the same steps: (row, its coordinate) and (step, its coordinate) as int64 arrays."""

    rows: np.ndarray
    row_at: np.ndarray
    steps: np.ndarray
    step_at: np.ndarray

    def restricted(self, rows=None, steps=None):
        """The rows (or steps) in a range(start, stop)."""
        keep_rows = slice(None) if rows is None else (self.rows >= rows.start) & (self.rows < rows.stop)
        keep_steps = slice(None) if steps is None else (self.steps >= steps.start) & (self.steps < steps.stop)
        return Run(self.rows[keep_rows], self.row_at[keep_rows], self.steps[keep_steps], self.step_at[keep_steps])


class Axis(NamedTuple):
    """One direction of a convolution; `places` are the outputs that count, in rising order."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    places: tuple

    @property
    def outputs(self):
        """Length of the part of the output that counts."""
        return self.places[-1] + 1

    def _inside(self, o, u):
        return 0 <= o * self.stride - self.before + u * self.dilation < self.size

    def forward(self, margin):
        rows = {}
        for o in self.places:
            taps = tuple(u for u in range(self.kernel) if margin or self._inside(o, u))
            rows.setdefault(taps, []).append(o)
        return [
            _run(places, [o * self.stride for o in places], taps, [u * self.dilation - self.before for u in taps])
            for taps, places in rows.items()
        ]

    def grad_input(self, margin):
        rows = {}
        for i in range(self.size):
            at = [i + self.before - u * self.dilation for u in range(self.kernel)]
            whole = [(u, o // self.stride) for u, o in enumerate(at) if o % self.stride == 0]
            taps = tuple(u for u, o in whole if margin or 0 <= o < self.outputs)
            rows.setdefault((i % self.stride, taps), []).append(i)
        return [
            _run(
                inputs, [i // self.stride for i in inputs],
                taps, [(phase + self.before - u * self.dilation) // self.stride for u in taps],
            )
            for (phase, taps), inputs in rows.items()
        ]  # fmt: skip

    def grad_weights(self, margin):
        rows = {}
        for u in range(self.kernel):
            places = tuple(o for o in self.places if margin or self._inside(o, u))
            rows.setdefault(places, []).append(u)
        return [
            _run(taps, [u * self.dilation - self.before for u in taps], places, [o * self.stride for o in places])
            for places, taps in rows.items()
        ]


def _run(*lists):
    return Run(*(np.array(values, np.int64) for values in lists))


def axes(geometry, pool):
    """The two axes of a convolution whose outputs count where a window of `pool` (or None) covers them."""
    made = []
    for axis in range(2):
        places = range(geometry.output[axis])
        if pool is not None:
            starts = range(0, pool.output[axis] * pool.stride[axis], pool.stride[axis])
            places = [start + u for start in starts for u in range(pool.kernel[axis])]
        made.append(
            Axis(
                geometry.image[axis], geometry.kernel[axis], geometry.stride[axis], geometry.dilation[axis],
                geometry.padding[axis][0], tuple(places),
            )
        )  # fmt: skip
    return made


def numbers(height, width):
    """Number of place (i, j) of a grid as the sum of two arrays' i-th and j-th elements."""
    return np.arange(height) * width, np.arange(width)


def window_numbers(pool):
    """The same for the places that windows cover: window after window, the taps of each one after another."""
    (kh, kw), (sh, sw), (_, columns) = pool.kernel, pool.stride, pool.output
    vertical, horizontal = np.arange(pool.image[0]), np.arange(pool.image[1])
    return (
        vertical // sh * (columns * kh * kw) + vertical % sh * kw,
        horizontal // sw * (kh * kw) + horizontal % sw,
    )


class Image(NamedTuple):
    """Where the elements of an image lie: (i, j, c) at (i * width + j) * stride + channels[c], image n at n * step."""

    width: int
    stride: int
    channels: np.ndarray
    step: int
    origin: int = 0


def reach(vertical, horizontal, size):
    """Places beyond the image (top, bottom, left, right) that the rows' steps touch."""
    margins = []
    for runs, length in zip((vertical, horizontal), size, strict=True):
        used = [run for run in runs if len(run.rows) and len(run.steps)]
        first = min((run.row_at.min() + run.step_at.min() for run in used), default=0)
        last = max((run.row_at.max() + run.step_at.max() for run in used), default=0)
        margins += [max(0, -int(first)), max(0, int(last) + 1 - length)]
    return margins


class Cost(NamedTuple):
    """What the cost of a product depends on besides its runs.

    columns: of the result; channels: how often a step (or, with channels_on_rows, a row) is repeated; copied: cycles to
    copy one place of the image; staged: whether it is copied in any case.
    """

    lanes: int
    panel: int
    columns: int
    channels: int
    channels_on_rows: bool
    elementwise: bool
    copied: float
    staged: bool

    def cycles(self, vertical, horizontal, group, size):
        """Cycles for one image when `group` are worked on together, at two multiply-adds and two loads a cycle."""
        total = 0.0
        for v, h in pairs(vertical, horizontal):
            rows, depth = len(v.rows) * len(h.rows), len(v.steps) * len(h.steps)
            if self.channels_on_rows:
                rows, depth = rows * self.channels, depth * group
            else:
                rows, depth = rows * group, depth * self.channels
            total += sum(self._product(rows, depth, vectors) for vectors in self._vectors())
        total /= group
        margins = reach(vertical, horizontal, size)
        if self.staged or any(margins):
            top, bottom, left, right = margins
            total += (size[0] + top + bottom) * (size[1] + left + right) * self.copied
        return total

    def _vectors(self):
        whole, rest = divmod(self.columns, self.panel)
        return [self.panel // self.lanes] * whole + ([-(-rest // self.lanes)] if rest else [])

    def _product(self, rows, depth, vectors):
        registers = 27 if self.panel == 4 * self.lanes else 12  # those that hold sums
        tiles = -(-rows // min(16, registers // vectors))
        sums = rows * vectors / tiles
        loads = vectors + (sums if self.elementwise else rows / tiles)
        latency = 4
        return tiles * (depth * max(sums / 2, loads / 2, latency) + sums + 30)


def choose(runs_of, size, cost, groups):
    """(vertical runs, horizontal runs, images worked on together) of least cost.

    runs_of: a function of (axis, margin) that gives the runs of an axis.
    """
    options = []
    made = [[runs_of(axis, margin) for margin in (False, True)] for axis in range(2)]
    for vertical, horizontal in pairs(*made):
        for group in groups:
            options.append((cost.cycles(vertical, horizontal, group, size), group, vertical, horizontal))
    _, group, vertical, horizontal = min(options, key=lambda option: option[0])
    return vertical, horizontal, group


class Tables:
    """Collects rows, steps, classes (rows that share steps) and pieces (classes whose results are finished together)."""

    def __init__(self):
        self.a_row, self.c_row, self.steps, self.classes, self.pieces = [], [], [], [], []
        self._rows = self._steps = 0

    def add_class(self, a_row, c_row, a_step, b_step, rows, depth):
        """`rows` and `depth` are those of a single image; the arrays may go on with those of further images."""
        self.classes.append((self._rows, rows, self._steps, depth))
        self.a_row.append(a_row)
        self.c_row.append(c_row)
        self.steps.append(np.stack([a_step, b_step], axis=1))
        self._rows += len(a_row)
        self._steps += len(a_step)

    def add_piece(self, first, count):
        """Ends a piece with the classes added since the last one; `first`, `count`: its places or windows of an image."""
        begin = self.pieces[-1][1] if self.pieces else 0
        self.pieces.append((begin, len(self.classes), first, count))

    def addresses(self, layout):
        """Addresses of a_row, c_row, steps (int32), classes, pieces (int64), and the number of pieces."""
        joined = [np.concatenate(parts) for parts in (self.a_row, self.c_row, self.steps)]
        if any(np.abs(array).max(initial=0) > OFFSETS for array in joined):
            raise ValueError("conv: an image has too many elements for 32-bit offsets")
        tables = [array.astype(np.int32) for array in joined]
        tables += [np.array(self.classes, np.int64), np.array(self.pieces, np.int64)]
        return [*map(layout.table, tables), len(self.pieces)]


def add_classes(tables, vertical, horizontal, image, row_number, step_number, group, apart, channels_on_rows=False):
    """Adds the classes of all pairs of a vertical and a horizontal run.

    row_number, step_number: pairs of arrays (see `numbers`) for what rows and steps stand for. With channels_on_rows
    each row is repeated for every channel and the steps for every image of the group, else each step and the rows.
    apart: how far the numbers of the rows (steps) of two images differ.
    """
    images = np.arange(group)[:, np.newaxis]
    for v, h in pairs(vertical, horizontal):
        c_row = _sum(row_number[0][v.rows], row_number[1][h.rows])
        a_row = _sum(v.row_at * image.width, h.row_at) * image.stride
        b_step = _sum(step_number[0][v.steps], step_number[1][h.steps])
        a_step = _sum(v.step_at * image.width, h.step_at) * image.stride
        n_channels = len(image.channels)
        if channels_on_rows:
            c_row, a_row = _sum(c_row * n_channels, np.arange(n_channels)), _sum(a_row, image.channels)
        else:
            b_step, a_step = _sum(b_step * n_channels, np.arange(n_channels)), _sum(a_step, image.channels)
        rows, depth = len(a_row), len(a_step)
        if channels_on_rows:
            a_step, b_step = (a_step + images * image.step).ravel(), (b_step + images * apart).ravel()
        else:
            a_row, c_row = (a_row + images * image.step).ravel(), (c_row + images * apart).ravel()
        if rows:
            tables.add_class(a_row, c_row, a_step, b_step, rows, depth)


def _sum(outer, inner):
    """outer[i] + inner[j] in the order of (i, j)."""
    return (outer[:, np.newaxis] + inner).ravel()


def bands(length, size, limit):
    """0..length cut into nearly equal ranges; `size` elements a place, at most `limit` a range if that can be."""
    n = min(length, -(-length * size // limit))
    edges = [length * i // n for i in range(n + 1)]
    return [range(a, b) for a, b in zip(edges, edges[1:], strict=False)]


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
            copies.append((h, w, source.offset[c], w * stride, stride, source.step[c], to, width * columns, columns, image))
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


class Product(NamedTuple):
    """What _conv.pyx reads, in its order: see the struct of the same name there."""

    elementwise: int
    group: int
    columns: int
    staged: int
    origin: int
    a_panel: int
    a_image: int
    tables: list
    b_rows: int
    copies: tuple = (0, 0)
    copies_from: int = -1
    windows: tuple = (0, 0, 0, 0)
    put: tuple = (0, 0, 0, 0)
    weights: tuple = (0, 0, 0)
    zeroed: int = 0
    strip: int = 0

    def address(self, layout):
        """The numbers as one array that lives as long as the layout."""
        flat = []
        for value in self:
            flat += value if isinstance(value, (list, tuple)) else [value]
        return layout.table(np.array(flat, np.int64))


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
    windows = _sum(np.arange(oh) * sh * width, np.arange(ow) * sw)
    taps = _sum(np.arange(kh) * width, np.arange(kw))
    tables = [_sum(np.arange(group) * places, windows).astype(np.int32), taps.astype(np.int32)]
    return len(windows), len(taps), *map(layout.table, tables)


def _groups(size, limit):
    """Images worked on together: those of 1, 2, 4, 8 whose elements, `size` for each, stay below a limit."""
    return [group for group in (1, 2, 4, 8) if group == 1 or group * size <= limit]


def _columns_of_panel(layout, columns):
    return min(layout.panel, layout.padded(columns))


def _correlate(layout, operand, row_number, step_number, places, pieces, b_rows, strip=0, weights=None):
    """The product whose rows are places of images. pieces: (vertical range, offset of numbers, first, count)."""
    tables = Tables()
    for band, offset, first, count in pieces:
        vertical = [run.restricted(rows=band) for run in operand.vertical]
        shifted = (row_number[0] - offset, row_number[1])
        add_classes(
            tables, vertical, operand.horizontal, operand.image, shifted, step_number, operand.group, places
        )
        tables.add_piece(first, count)
    return _product(layout, operand, tables, b_rows, strip, weights)


def _product(layout, operand, tables, b_rows, strip, weights=None):
    scratch, expand = operand.scratch, (0, 0, 0)
    if weights is not None:
        at = scratch.take(b_rows * layout.padded(operand.columns))
        expand = (layout.table(np.array(weights, np.int64)), len(weights), at)
    zeroed = scratch.size
    at = scratch.take(strip)
    layout.scratch(scratch.size)
    copies = np.array(operand.copies, np.int64)
    product = Product(
        elementwise=int(operand.expansion is not None),
        group=operand.group,
        columns=operand.columns,
        staged=int(operand.staged),
        origin=operand.origin,
        a_panel=operand.a_panel,
        a_image=operand.a_image,
        tables=tables.addresses(layout),
        b_rows=b_rows,
        copies=(layout.table(copies) if len(copies) else 0, len(copies)),
        copies_from=operand.copies_from,
        windows=operand.windows,
        put=operand.put,
        weights=expand,
        zeroed=zeroed,
        strip=at,
    )
    return product.address(layout)


def forward(layout, op):
    """Descriptor of a `conv` op."""
    x, W = op.inputs[:2]
    geometry, pool, groups = (op.attributes[name] for name in ("geometry", "pool", "groups"))
    columns = layout.columns(W)
    source, axis = buffer_source(layout, x, geometry.image), axes(geometry, pool)
    expansion = None if groups == 1 else Expansion(columns, columns // groups, source.channels // groups)
    places = len(axis[0].places) * len(axis[1].places)
    width, itemsize = _columns_of_panel(layout, columns), layout.dtype.itemsize
    (height, across), finished = (pool or geometry).output, pool is not None or op.attributes["activation"] is not None
    cut = bands(height, places // height * width, FRESH // itemsize) if finished else [range(height)]
    groups_of = _groups(places * width, (FRESH if finished else GROUP) // itemsize) if len(cut) == 1 else [1]
    operand = Operand(layout, source, lambda i, margin: axis[i].forward(margin), groups_of, columns, expansion)
    if pool is None:
        row_number, strip = numbers(*geometry.output), 0
        pieces = [(band, 0, band.start * across, len(band) * across) for band in cut]
    else:
        row_number, step, window = window_numbers(pool), pool.stride[0], across * pool.kernel[0] * pool.kernel[1]
        strip = max(map(len, cut)) * window * operand.group * width
        pieces = [
            (range(band.start * step, band.stop * step), band.start * window, band.start * across, len(band) * across)
            for band in cut
        ]
    return _correlate(
        layout, operand, row_number, numbers(*geometry.kernel), places, pieces, layout.shape(W)[0], strip
    )  # fmt: skip


def grad_input(layout, op):
    """Descriptor of a `conv_grad_input` op."""
    dz, W = op.inputs[:2]
    geometry, pool, groups = (op.attributes[name] for name in ("geometry", "pool", "groups"))
    columns, channels = layout.columns(op.outputs[0]), layout.columns(dz)
    axis = axes(geometry, pool)
    size = (axis[0].outputs, axis[1].outputs)
    source = buffer_source(layout, dz, size) if pool is None else panel_source(layout, channels, size, layout.rows)
    expansion = None if groups == 1 else Expansion(columns, columns // groups, channels // groups)
    (height, across), width = geometry.image, _columns_of_panel(layout, columns)
    places = height * across
    finished, itemsize = op.attributes["activation"] is not None, layout.dtype.itemsize
    cut = bands(height, across * width, STRIP // itemsize) if finished else [range(height)]
    groups_of = _groups(places * width, GROUP // itemsize) if len(cut) == 1 else [1]
    operand = Operand(
        layout, source, lambda i, margin: axis[i].grad_input(margin), groups_of, columns, expansion, pool=pool
    )
    pieces = [(band, 0, band.start * across, len(band) * across) for band in cut]
    taps = geometry.kernel[0] * geometry.kernel[1]
    weights = None
    if expansion is not None and not expansion.trivial:
        weights = expanded_weights(layout, layout.shape(W)[0], expansion, taps)
    b_rows = taps * (channels // groups)
    return _correlate(
        layout, operand, numbers(*geometry.image), numbers(*geometry.kernel), places, pieces, b_rows, weights=weights
    )  # fmt: skip


def grad_weights(layout, op):
    """Descriptor of a `conv_grad_weights` op; rows are taps and channels, steps are outputs."""
    x, dz = op.inputs[:2]
    geometry, pool, groups = (op.attributes[name] for name in ("geometry", "pool", "groups"))
    columns, axis = layout.columns(dz), axes(geometry, pool)
    source = buffer_source(layout, x, geometry.image)
    expansion = None if groups == 1 else Expansion(columns, columns // groups, source.channels // groups)
    places, width = len(axis[0].places) * len(axis[1].places), _columns_of_panel(layout, columns)
    (height, across), strip_limit = (pool or geometry).output, STRIP // layout.dtype.itemsize
    cut = bands(height, places // height * width, strip_limit) if pool is not None else [range(height)]
    groups_of = _groups(places * width, strip_limit) if len(cut) == 1 else [1]
    operand = Operand(
        layout, source, lambda i, margin: axis[i].grad_weights(margin), groups_of, columns, expansion,
        channels_on_rows=True,
    )  # fmt: skip
    tables, taps, strip = Tables(), numbers(*geometry.kernel), 0
    if pool is None:
        number, pieces = numbers(*geometry.output), [(range(height), 0, 0, 0)]
    else:
        number, step, window = window_numbers(pool), pool.stride[0], across * pool.kernel[0] * pool.kernel[1]
        pieces = [
            (range(band.start * step, band.stop * step), band.start * window, band.start * across, len(band) * across)
            for band in cut
        ]
        n = max(map(len, cut)) * across * operand.group
        strip = n * pool.kernel[0] * pool.kernel[1] * width
        tap = np.arange(pool.kernel[0] * pool.kernel[1])
        starts = np.arange(n) * len(tap)
        addresses = [layout.table(table.astype(np.int32)) for table in (starts, tap)]
        operand.windows = (height * across, len(tap), *addresses)
    for band, offset, first, count in pieces:
        vertical = [run.restricted(steps=band) for run in operand.vertical]
        add_classes(
            tables, vertical, operand.horizontal, operand.image, taps, (number[0] - offset, number[1]), operand.group,
            places, channels_on_rows=True,
        )  # fmt: skip
        tables.add_piece(first, count)
    rows = geometry.kernel[0] * geometry.kernel[1] * len(operand.image.channels)
    return _product(layout, operand, tables, rows, strip)
