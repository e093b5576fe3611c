"""The gradients of a convolution behind a max pool as descriptors for _conv_sparse.pyx, and what they cost.

Of each window only the place of the maximum has a gradient. It meets one patch of the image: a line of kernel columns
and channels side by side for every line of the kernel. grad_weights adds such patches of x, and grad_input filters to
the larger patch of dx that all taps of the window meet; there filters are read from among zeros.
"""

from typing import NamedTuple

import numpy as np

from fastnn.native.conv_staging import Scratch
from fastnn.native.conv_tiling import OFFSETS, sums

NEAR = 32 * 1024  # bytes of filters that stay in L1


class Sparse(NamedTuple):
    """What _conv_sparse.pyx reads, in its order: see the struct of the same name there."""

    image: tuple
    channels: int
    filters: int
    panels: int
    origin: int
    line: int
    cleared: int
    kernel: tuple
    patch_lines: int
    patch_vectors: int
    patches: int
    patch: int
    patch_line: int
    patch_start: int
    windows: int
    window: int
    filter: int
    tap: int


class Canvas(NamedTuple):
    """An image with zeros around it, in elements, and where the patches of windows start.

    reach: places from the first tap of a window to the last; tap: places from the first to each tap, along both axes.
    """

    size: int
    origin: int
    line: int
    window: np.ndarray
    reach: tuple
    tap: tuple

    @classmethod
    def of(cls, geometry, pool, channels):
        before = [first for first, _ in geometry.padding]
        tap = tuple(np.arange(n) * stride for n, stride in zip(pool.kernel, geometry.stride, strict=True))
        reach = tuple(int(at[-1]) for at in tap)
        window = [np.arange(pool.output[i]) * pool.stride[i] * geometry.stride[i] for i in range(2)]
        height, width = (
            max(before[i] + geometry.image[i], int(window[i][-1]) + reach[i] + geometry.kernel[i]) for i in range(2)
        )
        line = width * channels
        window = sums(window[0] * line, window[1] * channels)
        return cls(height * line, before[0] * line + before[1] * channels, line, window, reach, tap)


def grad_input(layout, op, dense):
    """Descriptor of a `conv_grad_input` op, or 0 where it has no patches or takes more than `dense` cycles an image."""
    dz, dx = op.inputs[0], op.outputs[0]
    return _gradient(layout, op, dx, layout.columns(dz), dense, inside=True)


def grad_weights(layout, op, dense):
    """The same for a `conv_grad_weights` op."""
    x, dz = op.inputs[:2]
    return _gradient(layout, op, x, layout.columns(dz), dense, inside=False)


def _gradient(layout, op, images, filters, dense, inside):
    """inside: a filter is added inside a larger patch, so that each has zeros around it."""
    geometry, pool = op.attributes["geometry"], op.attributes["pool"]
    if pool is None or op.attributes["groups"] > 1 or geometry.dilation != (1, 1):
        return 0
    channels, kernel = layout.columns(images), geometry.kernel
    canvas, lanes = Canvas.of(geometry, pool, channels), layout.lanes
    down, right = canvas.reach if inside else (0, 0)
    lines, vectors = kernel[0] + down, layout.padded((kernel[1] + right) * channels) // lanes
    line = (vectors + -(-right * channels // lanes)) * lanes
    patch, scratch = (lines + down) * line, Scratch()
    scratch.take(canvas.size + vectors * lanes)
    patches = scratch.take(layout.padded(filters) * patch)
    factors, far = len(canvas.window) * filters, inside and filters * patch * layout.dtype.itemsize > NEAR
    cost = _cycles(layout, lines, vectors, factors, far)
    cost += 4 * lines * vectors * (len(canvas.window) if inside else filters)
    cost += 2 * geometry.image[0] * geometry.image[1] * layout.padded(channels) // lanes
    if cost >= dense or scratch.size > OFFSETS:
        return 0
    layout.scratch(scratch.size)
    tap_line, sign = (line, -1) if inside else (canvas.line, 1)
    start = down * line + right * channels
    description = Sparse(
        image=geometry.image,
        channels=channels,
        filters=filters,
        panels=int(layout.plan.buffers[images].layout == "panels"),
        origin=canvas.origin,
        line=canvas.line,
        cleared=patches if inside else scratch.size,
        kernel=kernel,
        patch_lines=lines,
        patch_vectors=vectors,
        patches=patches,
        patch=patch,
        patch_line=line,
        patch_start=start,
        windows=len(canvas.window),
        window=layout.table(canvas.window.astype(np.int32)),
        filter=layout.table(np.arange(filters, dtype=np.int32) * np.int32(patch)),
        tap=layout.table((start + sign * sums(canvas.tap[0] * tap_line, canvas.tap[1] * channels)).astype(np.int32)),
    )
    return layout.descriptor(description)


def _cycles(layout, lines, vectors, factors, far):
    """Cycles to multiply so many factors, each with its patch: a load each, most of which cross lines of the cache."""
    registers = 24 if layout.panel == 4 * layout.lanes else 12
    tiles = -(-lines * vectors // registers)
    return factors * tiles * (2 + max(4, lines * vectors / tiles * (1.25 if far else 1)))
