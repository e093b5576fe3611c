"""Convolutions of one channel by a few filters as descriptors for _conv_planes.pyx.

Filters would fill less than half of a vector, so that places lie along the vectors instead: places side by side read
numbers side by side, at any tap. A plane of sums for each filter results, which is turned into rows of filters.
"""

from typing import NamedTuple

import numpy as np

from fastnn.native.conv_staging import Scratch, window_tables
from fastnn.native.conv_tiling import bands, sums

STRIP = 16 * 1024  # bytes of rows that stay in L1 with their planes and the image
LONGEST = 64 * 1024  # bytes of the rows of a single line, at most


class Planes(NamedTuple):
    """What _conv_planes.pyx reads, in its order: see the struct of the same name there."""

    image: tuple
    filters: int
    line: int
    origin: int
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


def forward(layout, op):
    """Descriptor of a `conv` op, or 0 where its filters fill the vectors, or places do not."""
    x, W = op.inputs[:2]
    geometry, pool, groups = (op.attributes[name] for name in ("geometry", "pool", "groups"))
    (kh, kw), (dh, dw), ((top, _), (left, _)) = geometry.kernel, geometry.dilation, geometry.padding
    filters, lanes, itemsize = layout.columns(W), layout.lanes, layout.dtype.itemsize
    if not layout.in_rows(x) or layout.columns(x) * groups > 1 or 2 * filters > lanes or geometry.stride != (1, 1):
        return 0
    # From line to line of the staged image, and of outputs: the zeros behind one are those before the next.
    columns = geometry.output[1]
    line = max(left + geometry.image[1], columns, columns + geometry.extent[1] - 1 - left)
    if 4 * columns < 3 * line or line * lanes * itemsize > LONGEST:
        return 0
    height, across = (pool or geometry).output
    stride, high = (1, 1) if pool is None else (pool.stride[0], pool.kernel[0])
    cut = bands(height, stride * line * lanes, STRIP // itemsize)
    tallest = max(map(len, cut))
    plane = layout.padded(((tallest - 1) * stride + high) * line)
    scratch = Scratch()
    # Tiles read behind the image as far as the last plane is filled up.
    last = cut[-1].start * stride * line + plane + (geometry.extent[0] - 1) * line + geometry.extent[1]
    scratch.take(max(last, (top + geometry.image[0]) * line + left))
    strip = scratch.take(plane * lanes)
    cleared = scratch.size
    bias, planes = scratch.take(filters * layout.panel), scratch.take(filters * plane)
    layout.scratch(scratch.size)
    step = np.stack([np.arange(kh * kw) * lanes, sums(np.arange(kh) * dh * line, np.arange(kw) * dw)], axis=1)
    _, taps, window, tap = (0, 0, 0, 0) if pool is None else window_tables(layout, pool, line, 0, 1)
    edges = [band.start for band in cut] + [height]
    description = Planes(
        image=geometry.image,
        filters=filters,
        line=line,
        origin=top * line + left,
        cleared=cleared,
        bias=bias,
        planes=planes,
        plane=plane,
        strip=strip,
        filter=layout.table(np.arange(filters, dtype=np.int32)),
        step=layout.table(step.astype(np.int32)),
        depth=kh * kw,
        edge=layout.table(np.array(edges, np.int64)),
        bands=len(cut),
        stride=stride,
        high=high,
        shown=across,
        outputs=height * across,
        pool=(across if taps else 0, window, taps, tap),
    )
    return layout.descriptor(description)
