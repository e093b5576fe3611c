"""The gradient of the weights of a convolution behind a max pool as descriptors for _conv_windows.pyx, and its cost.

Of each window only the place of the maximum has a gradient, another one for every filter. What a tap of the kernel
meets at all places of a window lies within a vector, from which an instruction picks each filter's own number: two
instructions for a tap, where a product of all places has one for each place.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from fastnn.native.conv_sparse import Canvas
from fastnn.native.conv_staging import Scratch
from fastnn.native.conv_tiling import sums

LAID = 128 * 1024  # bytes of windows that stay in the second cache with the gradients


class Windows(NamedTuple):
    """What _conv_windows.pyx reads, in its order: see the struct of the same name there."""

    image: tuple
    channels: int
    filters: int
    panels: int
    rounded: int
    plane: int
    line: int
    origin: int
    cleared: int
    pool: tuple
    step: tuple
    window: tuple
    laid: int
    channel: int
    gradients: int
    rows: int
    x_row: int
    c_row: int
    tap: int


def _shapes(op):
    """((lines, numbers) that all taps of the kernel meet in a window, what each tap of the pool adds to a place)."""
    geometry, pool = op.attributes["geometry"], op.attributes["pool"]
    lines, numbers = ((pool.kernel[i] - 1) * geometry.stride[i] + geometry.kernel[i] for i in range(2))
    taps = sums(*(np.arange(pool.kernel[i]) * geometry.stride[i] * step for i, step in enumerate((numbers, 1))))
    return (lines, numbers), taps


def fits(layout, op):
    """Whether there are instructions that pick, a tap of the kernel meets the numbers of a single vector, and the cache
    holds all windows of an image."""
    geometry, pool = op.attributes["geometry"], op.attributes["pool"]
    if not layout.picks or pool is None or op.attributes["groups"] > 1 or geometry.dilation != (1, 1):
        return False
    window, taps = _shapes(op)
    laid = prod(pool.output) * prod(window) * layout.columns(op.inputs[0]) * layout.dtype.itemsize
    return len(taps) <= layout.lanes and taps[-1] < layout.lanes and laid <= LAID


def cycles(layout, op, rounded=False):
    """Cycles that a `conv_grad_weights` op takes for an image; rounded: on operands that are rounded to bfloat16."""
    x, dz = op.inputs[:2]
    geometry, pool, channels = op.attributes["geometry"], op.attributes["pool"], layout.columns(x)
    if not fits(layout, op):
        return np.inf
    (lines, _), _ = _shapes(op)
    windows, rows = prod(pool.output), prod(geometry.kernel) * channels
    products = windows * layout.padded(layout.columns(dz)) // layout.lanes * (1.5 * (rows + 2) + 3 * rounded)
    return products + 2 * windows * lines * channels + 2 * (channels > 1) * layout.positions(x) * channels


def grad_weights(layout, op, rounded=False):
    """Descriptor of a `conv_grad_weights` op; rounded: of operands that are rounded to bfloat16."""
    x, dz = op.inputs[:2]
    geometry, pool, channels = op.attributes["geometry"], op.attributes["pool"], layout.columns(x)
    (lines, numbers), taps = _shapes(op)
    canvas, scratch, windows = Canvas.of(geometry, pool, 1), Scratch(), prod(pool.output)
    scratch.take(channels * canvas.size + layout.lanes)
    cleared, channel = scratch.size, windows * lines * numbers
    laid = scratch.take(channels * channel + layout.lanes)
    gradients = scratch.take(windows * layout.panel if rounded else 0)
    layout.scratch(scratch.size)
    # Channel by channel, whose windows stay in L1, in the tiles of the gradient's rows.
    kernel = sums(np.arange(geometry.kernel[0]) * numbers, np.arange(geometry.kernel[1]))
    order = np.arange(len(kernel) * channels).reshape(len(kernel), channels).T
    tap = np.zeros(layout.lanes, np.int32)
    tap[: len(taps)] = taps
    flat = canvas.line == geometry.image[1]  # lines follow each other without zeros in between
    description = Windows(
        image=(1, layout.positions(x)) if flat else geometry.image,
        channels=channels,
        filters=layout.columns(dz),
        panels=int(not layout.in_rows(x)),
        rounded=int(rounded),
        plane=canvas.size,
        line=canvas.line,
        origin=canvas.origin,
        cleared=cleared,
        pool=pool.output,
        step=(pool.stride[0] * geometry.stride[0] * canvas.line, pool.stride[1] * geometry.stride[1]),
        window=(lines, numbers),
        laid=laid,
        channel=channel,
        gradients=gradients,
        rows=order.size,
        x_row=layout.table(sums(np.arange(channels) * channel, kernel).astype(np.int32)),
        c_row=layout.table(order.ravel().astype(np.int32)),
        tap=layout.table(tap),
    )
    return layout.descriptor(description)
