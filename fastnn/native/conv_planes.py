"""Convolutions by a few filters as descriptors for _conv_planes.pyx.

Filters would fill less than half of a vector, so that places lie along the vectors instead: places side by side read
numbers side by side, at any tap, where each channel is a plane; or with a stride, one for each remainder of its places.
A plane of sums for each filter results, which is turned into rows of filters.
"""

from itertools import product as pairs
from math import prod
from typing import NamedTuple

import numpy as np

from fastnn.native.conv_staging import Scratch, buffer_source, panels, window_tables
from fastnn.native.conv_tiling import OFFSETS, bands, sums

STRIP = 16 * 1024  # bytes of rows that stay in L1 with their planes and the image
LONGEST = 64 * 1024  # bytes of the rows of a single line, at most
CURVED = 16  # cycles for a vector of an activation that has an exponential, at least


class Planes(NamedTuple):
    """What _conv_planes.pyx reads, in its order: see the struct of the same name there."""

    filters: int
    each: int
    groups: int
    channel: int
    group: int
    line: int
    copies: int
    n_copies: int
    cleared: int
    bias: int
    planes: int
    plane: int
    strip: int
    filter: int
    step: int
    depth: int
    edge: int
    bands: int
    stride: int
    high: int
    shown: int
    outputs: int
    pool: tuple


def forward(layout, op, limit):
    """Descriptor of a `conv` op, or 0 where its filters fill the vectors, or an image takes `limit` cycles or more."""
    x, W = op.inputs[:2]
    geometry, pool, activation = (op.attributes[name] for name in ("geometry", "pool", "activation"))
    filters, lanes = layout.columns(W), layout.lanes
    if activation is not None and pool is None:
        limit -= 4 * prod(geometry.output) * (len(op.outputs) - 1)  # z
        if "relu" not in activation[0]:  # of planes, which have no pads
            limit += CURVED * prod(geometry.output) * (lanes - filters) / lanes
    return _planes(layout, op, buffer_source(layout, x, geometry.image), geometry, pool, filters, limit)


def grad_input(layout, op, limit):
    """The same of a `conv_grad_input` op: the convolution of the gradient, whose taps are taken backwards."""
    geometry = op.attributes["geometry"]
    padding = [(n - 1 - a, n - 1 - b) for n, (a, b) in zip(geometry.extent, geometry.padding, strict=True)]
    if op.attributes["pool"] is not None or geometry.stride != (1, 1) or min(map(min, padding)) < 0:
        return 0
    source, columns = buffer_source(layout, op.inputs[0], geometry.output), layout.columns(op.outputs[0])
    turned = geometry._replace(image=geometry.output, padding=tuple(padding))
    return _planes(layout, op, source, turned, None, columns, limit, backwards=True)


def _planes(layout, op, source, geometry, pool, filters, limit, backwards=False):
    (sh, sw), extent, ((top, _), (left, _)) = geometry.stride, geometry.extent, geometry.padding
    lanes, itemsize, phases, groups = layout.lanes, layout.dtype.itemsize, sh * sw, op.attributes["groups"]
    columns, each, channels = geometry.output[1], filters // groups, source.channels // groups
    # From line to line of a plane, and of outputs: the zeros behind one are those before the next.
    line = max((left + geometry.image[1] - 1) // sw + 1, columns, columns + (extent[1] - 1) // sw - left // sw)
    if 2 * filters > lanes or line * lanes * itemsize > LONGEST:
        return 0
    if _cycles(layout, geometry, source.channels, filters, groups, line) >= limit:
        return 0
    height, across = (pool or geometry).output
    stride, high = (1, 1) if pool is None else (pool.stride[0], pool.kernel[0])
    cut = bands(height, stride * line * lanes, STRIP // itemsize)
    tallest = max(map(len, cut))
    plane = layout.padded(((tallest - 1) * stride + high) * line)
    scratch = Scratch()
    # Tiles read behind the image as far as the last plane of sums is filled up.
    last = cut[-1].start * stride * line + plane + (extent[0] - 1) // sh * line + (extent[1] - 1) // sw + 1
    size = max(last, ((top + geometry.image[0] - 1) // sh + 1) * line)
    if size * phases * source.channels > OFFSETS:
        return 0
    scratch.take(size * phases * source.channels)
    strip = scratch.take(plane * lanes)
    cleared = scratch.size
    bias, planes = scratch.take(filters * layout.panel), scratch.take(filters * plane)
    layout.scratch(scratch.size)
    u, v = (np.arange(n) * d for n, d in zip(geometry.kernel, geometry.dilation, strict=True))
    tap = sums(u % sh * sw, v % sw) * size + sums(u // sh * line, v // sw)
    taps = sums(tap, np.arange(channels) * phases * size)
    rows = np.arange(len(taps)).reshape(-1, channels)
    step = np.stack([(rows[::-1] if backwards else rows).ravel() * lanes, taps], axis=1)
    _, n_taps, window, tap = (0, 0, 0, 0) if pool is None else window_tables(layout, pool, line, 0, 1)
    copies = np.array(_copies(layout, source, geometry, line, size), np.int64)
    edges = [band.start for band in cut] + [height]
    description = Planes(
        filters=filters,
        each=each,
        groups=groups,
        channel=phases * size,
        group=channels * phases * size,
        line=line,
        copies=layout.table(copies),
        n_copies=len(copies),
        cleared=cleared,
        bias=bias,
        planes=planes,
        plane=plane,
        strip=strip,
        filter=layout.table(np.arange(filters, dtype=np.int32)),
        step=layout.table(step.astype(np.int32)),
        depth=len(step),
        edge=layout.table(np.array(edges, np.int64)),
        bands=len(cut),
        stride=stride,
        high=high,
        shown=across,
        outputs=height * across,
        pool=(across if n_taps else 0, window, n_taps, tap),
    )
    return layout.descriptor(description)


def _cycles(layout, geometry, channels, filters, groups, line):
    """Cycles for an image, by the measure of conv_tiling.Cost."""
    lanes, each, places = layout.lanes, filters // groups, geometry.output[0] * line
    depth = prod(geometry.kernel) * channels // groups
    most = min(layout.panel // lanes, (27 if layout.panel == 4 * lanes else 12) // each or 1)
    tiles = groups * -(-places // (most * lanes))
    products = tiles * (depth * max(each * most / 2, (each + most) / 2, 4) + each * most + 30)
    return products + 4 * places + channels * prod(geometry.image)


def _copies(layout, source, geometry, line, size):
    """Of lines and places a stride apart, and channels, a panel of them at a time: (lines, places, channels, start,
    from line to line, place to place, image to image, to)."""
    (h, w), (sh, sw), ((top, _), (left, _)) = source.size, geometry.stride, geometry.padding
    copies = []
    for (first, n), i, j in pairs(panels(layout, source.channels), range(min(sh, h)), range(min(sw, w))):
        stride, lines, places = int(source.stride[first]), len(range(i, h, sh)), len(range(j, w, sw))
        (down, a), (along, b) = divmod(i + top, sh), divmod(j + left, sw)
        start, to = int(source.offset[first]) + (i * w + j) * stride, (first * sh * sw + a * sw + b) * size
        if sh == sw == 1 and line == w:
            lines, places = 1, h * w
        steps = sh * w * stride, sw * stride, int(source.step[first])
        copies.append((lines, places, n, start, *steps, to + down * line + along))
    return copies
