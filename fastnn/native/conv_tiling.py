"""Which elements of an image a convolution multiplies: the tables that the indexed tiles of csrc/kernels/conv.h read.

All three products of a convolution are c[row] = sum over steps of a[row + step] * B[step]. Rows and steps are pairs
(vertical, horizontal), and `row + step` is a place in an image. Along one axis, with stride s, dilation d, padding b:

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

from bisect import bisect_left
from itertools import pairwise
from itertools import product as pairs
from math import gcd
from typing import NamedTuple

import numpy as np

OFFSETS = 2**31 - 1
NEAR = 4  # channels of a group, at most, of whose expanded images the first cache holds what a tile reads


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

    def forward(self, margin):
        rows, taps = {}, np.arange(self.kernel)
        for o in self.places:
            at = o * self.stride - self.before
            # 0 <= at + u * dilation < size
            first, end = _ceil(-at, self.dilation), _ceil(self.size - at, self.dilation)
            rows.setdefault(_part(self.kernel, None if margin else (first, end)), []).append(o)
        runs = self._runs(rows, taps, taps * self.dilation - self.before)
        return [run._replace(row_at=run.rows * self.stride) for run in runs]

    def grad_input(self, margin):
        rows, taps = {}, np.arange(self.kernel)
        # Every `period`-th tap from this one on meets an output, by the remainder of the input's place.
        period = self.stride // gcd(self.stride, self.dilation)
        first_tap = {u * self.dilation % self.stride: u for u in range(period)}
        for i in range(self.size):
            at = i + self.before
            start = first_tap.get(at % self.stride, self.kernel)
            # 0 <= at - u * dilation < outputs * stride
            first, end = _ceil(at + 1 - self.outputs * self.stride, self.dilation), at // self.dilation + 1
            count = max(0, _ceil(self.kernel - start, period))
            inside = (_ceil(first - start, period), _ceil(end - start, period))
            rows.setdefault((i % self.stride, start, _part(count, None if margin else inside)), []).append(i)
        runs = []
        for (phase, start, part), inputs in rows.items():
            step_at = (phase + self.before - taps[start::period] * self.dilation) // self.stride
            run = self._runs({part: inputs}, taps[start::period], step_at)[0]
            runs.append(run._replace(row_at=run.rows // self.stride))
        return runs

    def grad_weights(self, margin):
        rows, places = {}, np.array(self.places, np.int64)
        for u in range(self.kernel):
            at = u * self.dilation - self.before
            # 0 <= at + o * stride < size
            ends = _ceil(-at, self.stride), _ceil(self.size - at, self.stride)
            part = _part(len(places), None if margin else [bisect_left(self.places, o) for o in ends])
            rows.setdefault(part, []).append(u)
        runs = self._runs(rows, places, places * self.stride)
        return [run._replace(row_at=run.rows * self.dilation - self.before) for run in runs]

    @staticmethod
    def _runs(rows, steps, step_at):
        """A Run, its row_at not yet known, for each part (begin, end) of the steps and the rows that have it."""
        return [Run(np.array(of, np.int64), None, steps[a:b], step_at[a:b]) for (a, b), of in rows.items()]


def _ceil(a, b):
    return -(-a // b)


def _part(n, inside):
    """(begin, end) of all n steps, or of those inside; every empty part is the same."""
    begin, end = (0, n) if inside is None else (max(0, inside[0]), min(n, inside[1]))
    return (begin, end) if begin < end else (0, 0)


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

    vectors: how many blocks of columns have so many; put: cycles to store a row of those that share vectors; registers:
    those that hold sums; channels: how often a step (or, with channels_on_rows, a row) is repeated; copied: cycles to
    copy one place of the image; far: beyond so many places, how many more it takes; staged: whether it is copied in any
    case.
    """

    vectors: tuple
    put: int
    registers: int
    channels: int
    channels_on_rows: bool
    elementwise: bool
    copied: float
    far: tuple
    staged: bool

    def cycles(self, vertical, horizontal, together, size):
        """Cycles for one of the images worked on together, at two multiply-adds and two loads a cycle."""
        total = 0.0
        for v, h in pairs(vertical, horizontal):
            rows, depth = len(v.rows) * len(h.rows), len(v.steps) * len(h.steps)
            if self.channels_on_rows:
                rows, depth = rows * self.channels, depth * together
            else:
                rows, depth = rows * together, depth * self.channels
            total += sum(n * self._product(rows, depth, vectors) for vectors, n in self.vectors) + rows * self.put
        total /= together
        top, bottom, left, right = margins = reach(vertical, horizontal, size)
        places, (limit, further) = (size[0] + top + bottom) * (size[1] + left + right), self.far
        if places * together > limit:
            total += places * further
        if self.staged or any(margins):
            total += places * self.copied
        return total

    def _product(self, rows, depth, vectors):
        tiles = -(-rows // min(16, self.registers // vectors))
        sums = rows * vectors / tiles
        loads, latency = vectors + rows / tiles, 4
        if self.elementwise:
            loads = vectors + sums * (1.75 if self.channels > NEAR else 1)
        return tiles * (depth * max(sums / 2, loads / 2, latency) + sums + 30)


def choose(runs_of, size, cost, together):
    """(cycles, vertical runs, horizontal runs, how many images are worked on together) of least cost.

    runs_of: a function of (axis, margin) that gives the runs of an axis; together: the numbers to choose from.
    """
    options = []
    made = [[runs_of(axis, margin) for margin in (False, True)] for axis in range(2)]
    for vertical, horizontal in pairs(*made):
        for n in together:
            options.append((cost.cycles(vertical, horizontal, n, size), vertical, horizontal, n))
    return min(options, key=lambda option: option[0])


class Tables:
    """Rows, steps, classes (rows that share steps), and pieces (classes whose results are finished together).

    in_order: the rows of a class are in the order of their numbers.
    """

    def __init__(self, in_order=False):
        self.in_order = in_order
        self.a_row, self.c_row, self.steps, self.classes, self.pieces = [], [], [], [], []
        self._rows = self._steps = 0

    def add_class(self, a_row, c_row, a_step, b_step, rows, depth):
        """`rows` and `depth` are those of a single image; the arrays may go on with those of further images."""
        if self.in_order:
            order = np.argsort(c_row)
            a_row, c_row = a_row[order], c_row[order]
        self.classes.append((self._rows, rows, self._steps, depth))
        self.a_row.append(a_row)
        self.c_row.append(c_row)
        self.steps.append(np.stack([a_step, b_step], axis=1))
        self._rows += len(a_row)
        self._steps += len(a_step)

    def add_piece(self, first, count):
        """Makes a piece of the classes since the last one; `first`, `count`: its places, or windows, of an image."""
        begin = self.pieces[-1][1] if self.pieces else 0
        self.pieces.append((begin, len(self.classes), first, count))

    def addresses(self, layout):
        """Addresses of a_row, c_row, steps (int32), classes, pieces (int64), and the number of pieces; OverflowError
        where an offset is beyond 32 bits."""
        joined = [np.concatenate(parts) for parts in (self.a_row, self.c_row, self.steps)]
        if any(np.abs(array).max(initial=0) > OFFSETS for array in joined):
            raise OverflowError
        tables = [array.astype(np.int32) for array in joined]
        tables += [np.array(self.classes, np.int64), np.array(self.pieces, np.int64)]
        return [*map(layout.table, tables), len(self.pieces)]


def add_classes(
    tables, vertical, horizontal, image, row_number, step_number, together, apart, channels_on_rows=False, planes=False
):
    """Adds the classes of all pairs of a vertical and a horizontal run.

    row_number, step_number: pairs of arrays (see `numbers`) for what rows and steps stand for. With channels_on_rows
    each row is repeated for every channel and the steps for all images worked on together, else each step and the rows.
    apart: how far the numbers of the rows (steps) of two images differ; planes: the rows of a channel follow each
    other, as its places do.
    """
    images = np.arange(together)[:, np.newaxis]
    for v, h in pairs(vertical, horizontal):
        c_row = sums(row_number[0][v.rows], row_number[1][h.rows])
        a_row = sums(v.row_at * image.width, h.row_at) * image.stride
        b_step = sums(step_number[0][v.steps], step_number[1][h.steps])
        a_step = sums(v.step_at * image.width, h.step_at) * image.stride
        n_channels = len(image.channels)
        if channels_on_rows:
            c_row, a_row = sums(c_row * n_channels, np.arange(n_channels)), sums(a_row, image.channels)
            if planes:
                c_row, a_row = (rows.reshape(-1, n_channels).T.ravel() for rows in (c_row, a_row))
        else:
            b_step, a_step = sums(b_step * n_channels, np.arange(n_channels)), sums(a_step, image.channels)
        rows, depth = len(a_row), len(a_step)
        if channels_on_rows:
            a_step, b_step = (a_step + images * image.step).ravel(), (b_step + images * apart).ravel()
        else:
            a_row, c_row = (a_row + images * image.step).ravel(), (c_row + images * apart).ravel()
        if rows:
            tables.add_class(a_row, c_row, a_step, b_step, rows, depth)


def sums(outer, inner):
    """outer[i] + inner[j] in the order of (i, j)."""
    return (outer[:, np.newaxis] + inner).ravel()


def by_panel(first, end, panel):
    """(first, end) of the part of each panel of columns that columns first .. end meet."""
    return list(pairwise([first, *range((first // panel + 1) * panel, end, panel), end]))


def bands(length, size, limit):
    """0..length cut into nearly equal ranges; `size` elements a place, at most `limit` a range if that can be."""
    n = min(length, -(-length * size // limit))
    edges = [length * i // n for i in range(n + 1)]
    return [range(a, b) for a, b in pairwise(edges)]
