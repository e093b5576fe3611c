"""Pools, their gradients, other shapes and sums, on images as a convolution leaves them: 8 of them, which stay in the
second cache, and 128, which do not."""

from dataclasses import dataclass
from math import prod

import pytest
from kernels import HAS_TORCH, ISAS, Kernel

from fastnn.ops.window import Geometry
from fastnn.plan import Op

IMAGE = (24, 24)
GEOMETRIES = {
    "2x2": Geometry(IMAGE, (2, 2), (2, 2)),
    "3x3 overlapping": Geometry(IMAGE, (3, 3), (2, 2), padding=((0, 1), (0, 1))),
    "global": Geometry(IMAGE, IMAGE),
}

on_every_isa = pytest.mark.parametrize("isa", ISAS)
pytestmark = [
    pytest.mark.parametrize("channels", (16, 64)),
    pytest.mark.parametrize("rows", (8, 128)),
]
windows = pytest.mark.parametrize("window", GEOMETRIES)


@dataclass(frozen=True)
class TorchKernel(Kernel):
    """The same pool by PyTorch in channels_last, with padding on both sides where ours has some on one."""

    def call(self, isa, repeats, threads):
        import torch

        torch.set_num_threads(threads)
        geometry = self.op.attributes["geometry"]
        window = geometry.kernel, geometry.stride, int(geometry.padding != ((0, 0), (0, 0)))
        *size, c = self.operands["x"][0]
        x = torch.randn(self.rows, c, *size).contiguous(memory_format=torch.channels_last)
        y, index = torch.nn.functional.max_pool2d(x, *window, return_indices=True)
        run = {
            "max_pool": lambda: torch.nn.functional.max_pool2d(x, *window, return_indices=True),
            "max_pool_grad": lambda: torch.ops.aten.max_pool2d_with_indices_backward(
                y, x, *window[:2], (window[2],) * 2, (1, 1), False, index
            ),
            "avg_pool": lambda: torch.nn.functional.avg_pool2d(x, *window, count_include_pad=False),
            "avg_pool_grad": lambda: torch.ops.aten.avg_pool2d_backward(
                y, x, *window[:2], (window[2],) * 2, False, False, None
            ),
        }[self.op.kind]
        return lambda: [run() for _ in range(repeats)] and None


def _kernel(op, rows, shapes, kernel=Kernel):
    operands = {name: (shape, "batch") for name, shape in zip(op.inputs + op.outputs, shapes, strict=True)}
    return kernel(op, rows, operands, bytes=4 * rows * sum(map(prod, shapes)))


def _pool(window, channels):
    geometry = GEOMETRIES[window]
    x, y = (*IMAGE, channels), (*geometry.output, channels)
    return {"geometry": geometry}, x, y


@on_every_isa
@windows
def test_max_pool(bench, isa, channels, rows, window):
    attributes, x, y = _pool(window, channels)
    bench(_kernel(Op("max_pool", ("x",), ("z", "index"), attributes), rows, (x, y, y)), isa)


@on_every_isa
@windows
def test_max_pool_grad(bench, isa, channels, rows, window):
    attributes, x, y = _pool(window, channels)
    bench(_kernel(Op("max_pool_grad", ("dz", "index"), ("dx",), attributes), rows, (y, y, x)), isa)


@on_every_isa
@windows
def test_avg_pool(bench, isa, channels, rows, window):
    attributes, x, y = _pool(window, channels)
    bench(_kernel(Op("avg_pool", ("x",), ("z",), attributes), rows, (x, y)), isa)


@on_every_isa
@windows
def test_avg_pool_grad(bench, isa, channels, rows, window):
    attributes, x, y = _pool(window, channels)
    bench(_kernel(Op("avg_pool_grad", ("dz",), ("dx",), attributes), rows, (y, x)), isa)


@on_every_isa
def test_flatten(bench, isa, channels, rows):
    shape = (*IMAGE, channels)
    bench(_kernel(Op("reshape", ("x",), ("z",)), rows, (shape, (prod(shape),))), isa)


@on_every_isa
def test_add(bench, isa, channels, rows):
    shape = (*IMAGE, channels)
    bench(_kernel(Op("add", ("a", "b"), ("z",)), rows, (shape,) * 3), isa)


if HAS_TORCH:

    @windows
    @pytest.mark.parametrize("kind", ["max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad"])
    def test_torch(bench, kind, channels, rows, window):
        attributes, x, y = _pool(window, channels)
        inputs, outputs = (("z",), ("x",)) if kind.endswith("grad") else (("x",), ("z",))
        shapes = (y, x) if kind.endswith("grad") else (x, y)
        bench(_kernel(Op(kind, inputs, outputs, attributes), rows, shapes, TorchKernel), ISAS[-1])
