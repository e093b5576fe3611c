"""Pools, their gradients, other shapes and sums, on images as a convolution leaves them: 8 of them, which stay in the
second cache, and 128, which do not."""

from math import prod

import pytest
from kernels import ISAS, Kernel

from fastnn.ops.window import Geometry
from fastnn.plan import Op

IMAGE = (24, 24)
GEOMETRIES = {
    "2x2": Geometry(IMAGE, (2, 2), (2, 2)),
    "3x3 overlapping": Geometry(IMAGE, (3, 3), (2, 2), padding=((0, 1), (0, 1))),
    "global": Geometry(IMAGE, IMAGE),
}

pytestmark = [
    pytest.mark.parametrize("isa", ISAS),
    pytest.mark.parametrize("channels", (16, 64)),
    pytest.mark.parametrize("rows", (8, 128)),
]
windows = pytest.mark.parametrize("window", GEOMETRIES)


def _kernel(op, rows, shapes):
    operands = {name: (shape, "batch") for name, shape in zip(op.inputs + op.outputs, shapes, strict=True)}
    return Kernel(op, rows, operands, bytes=4 * rows * sum(map(prod, shapes)))


def _pool(window, channels):
    geometry = GEOMETRIES[window]
    x, y = (*IMAGE, channels), (*geometry.output, channels)
    return {"geometry": geometry}, x, y


@windows
def test_max_pool(bench, isa, channels, rows, window):
    attributes, x, y = _pool(window, channels)
    bench(_kernel(Op("max_pool", ("x",), ("z", "index"), attributes), rows, (x, y, y)), isa)


@windows
def test_max_pool_grad(bench, isa, channels, rows, window):
    attributes, x, y = _pool(window, channels)
    bench(_kernel(Op("max_pool_grad", ("dz", "index"), ("dx",), attributes), rows, (y, y, x)), isa)


@windows
def test_avg_pool(bench, isa, channels, rows, window):
    attributes, x, y = _pool(window, channels)
    bench(_kernel(Op("avg_pool", ("x",), ("z",), attributes), rows, (x, y)), isa)


@windows
def test_avg_pool_grad(bench, isa, channels, rows, window):
    attributes, x, y = _pool(window, channels)
    bench(_kernel(Op("avg_pool_grad", ("dz",), ("dx",), attributes), rows, (y, x)), isa)


def test_flatten(bench, isa, channels, rows):
    shape = (*IMAGE, channels)
    bench(_kernel(Op("reshape", ("x",), ("z",)), rows, (shape, (prod(shape),))), isa)


def test_add(bench, isa, channels, rows):
    shape = (*IMAGE, channels)
    bench(_kernel(Op("add", ("a", "b"), ("z",)), rows, (shape,) * 3), isa)
