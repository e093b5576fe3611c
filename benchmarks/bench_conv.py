"""The three products of a convolution layer, alone and with the pool and activation that are fused into them."""

from dataclasses import dataclass
from math import prod

import pytest
from kernels import HAS_TORCH, ISAS, Placed

from fastnn.ops.window import Geometry
from fastnn.plan import PARTS, Op

ROWS = 128
SAME = ((2, 2), (2, 2))
HALF = Geometry((14, 14), (3, 3), padding=((1, 1), (1, 1)))
# name -> geometry, channels, filters, layout of the images, groups
LAYERS = {
    "28x28x1->32": (Geometry((28, 28), (3, 3)), 1, 32, "rows", 1),
    "13x13x32->64": (Geometry((13, 13), (3, 3)), 32, 64, "panels", 1),
    "28x28x1->6": (Geometry((28, 28), (5, 5), padding=SAME), 1, 6, "rows", 1),
    "14x14x6->16": (Geometry((14, 14), (5, 5)), 6, 16, "panels", 1),
    "14x14x64->64": (HALF, 64, 64, "panels", 1),
    "14x14x64->64 groups=2": (HALF, 64, 64, "panels", 2),
    "14x14x64 depthwise": (HALF, 64, 64, "panels", 64),
}

pytestmark = pytest.mark.parametrize("layer", LAYERS)
on_every_isa = pytest.mark.parametrize("isa", ISAS)
alone_and_pooled = pytest.mark.parametrize("pooled", [False, True], ids=["alone", "pooled"])


def _kernel(kind, layer, pooled, kernel=Placed):
    geometry, channels, filters, layout, groups = LAYERS[layer]
    half = tuple(size // 2 for size in geometry.output)
    pool = Geometry(geometry.output, (2, 2), (2, 2)) if pooled else None
    x, y = (*geometry.image, channels), (*(half if pooled else geometry.output), filters)
    W = (*geometry.kernel, channels // groups, filters)
    attributes = {"geometry": geometry, "groups": groups, "pool": pool, "activation": ("relu",)}
    index = ("index",) if pooled else ()
    operands = {"x": (x, "batch", layout), "W": (W, "parameter"), "b": ((filters,), "parameter"), "y": (y, "batch")}
    if kind == "conv":
        op = Op(kind, ("x", "W", "b"), ("y", *index), attributes)
    elif kind == "conv_grad_input":
        op = Op(kind, ("dz", "WT", *index, "s"), ("dx",), attributes)
        WT = (*geometry.kernel, filters // groups, channels)
        operands |= {"dz": (y, "batch"), "WT": (WT, "parameter"), "s": (x, "batch"), "dx": (x, "batch")}
    else:
        op = Op(kind, ("x", "dz", *index), ("dW", "db"), attributes | {"parts": PARTS}, "parts")
        operands |= {"dz": (y, "batch"), "dW": ((PARTS, *W), "vector"), "db": ((PARTS, filters), "vector")}
    operands["index"] = (y, "batch")
    used = operands if kernel is TorchKernel else {name: operands[name] for name in op.inputs + op.outputs}
    return kernel(op, ROWS, used, operations=2 * ROWS * prod(geometry.output) * prod(W))


@dataclass(frozen=True)
class TorchKernel(Placed):
    """The same product by PyTorch in channels_last, without bias, activation and pool."""

    def call(self, isa, repeats, threads):
        import torch

        torch.set_num_threads(threads)
        geometry, groups = self.op.attributes["geometry"], self.op.attributes["groups"]
        (top, _), (left, _) = geometry.padding

        def images(name):
            *size, c = self.operands[name][0]
            return torch.randn(self.rows, c, *size).contiguous(memory_format=torch.channels_last)

        *kernel, channels, filters = self.operands["W"][0]
        W = torch.randn(filters, channels, *kernel).contiguous(memory_format=torch.channels_last)
        x, y = images("x"), images("y")
        wanted = [self.op.kind == "conv_grad_input", self.op.kind == "conv_grad_weights", False]

        def run():
            for _ in range(repeats):
                if any(wanted):
                    torch.ops.aten.convolution_backward(
                        y, x, W, None, geometry.stride, (top, left), geometry.dilation, False, (0, 0), groups, wanted
                    )
                else:
                    torch.conv2d(x, W, None, geometry.stride, (top, left), geometry.dilation, groups)

        return run


@on_every_isa
@alone_and_pooled
def test_conv(bench, isa, layer, pooled):
    bench(_kernel("conv", layer, pooled), isa)


@on_every_isa
@alone_and_pooled
def test_conv_grad_input(bench, isa, layer, pooled):
    bench(_kernel("conv_grad_input", layer, pooled), isa)


@on_every_isa
@alone_and_pooled
def test_conv_grad_weights(bench, isa, layer, pooled):
    bench(_kernel("conv_grad_weights", layer, pooled), isa)


if HAS_TORCH:

    @pytest.mark.parametrize("kind", ["conv", "conv_grad_input", "conv_grad_weights"])
    def test_torch(bench, kind, layer):
        bench(_kernel(kind, layer, False, TorchKernel), ISAS[-1])
