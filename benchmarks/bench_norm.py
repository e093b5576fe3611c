"""Batch norm op by op and layer norm, on images as a convolution leaves them: 8 of them, which stay in the second
cache, and 128, which do not."""

import pytest
from kernels import ISAS, Kernel

from fastnn.plan import PARTS, Op

POSITIONS = 24 * 24
COMMON = {"parts": PARTS, "positions": POSITIONS}

pytestmark = [
    pytest.mark.parametrize("isa", ISAS),
    pytest.mark.parametrize("channels", (16, 64)),
    pytest.mark.parametrize("rows", (8, 128)),
]


def _kernel(op, rows, channels):
    """x, dy and what ends like them are batches; sums are in parts, statistics of layer norm one a position."""
    batch, vector = ((24, 24, channels), "batch"), ((channels,), "parameter")
    operands = dict.fromkeys(op.inputs + op.outputs, vector)
    operands |= {name: batch for name in operands if name in ("x", "dy", "z", "dx")}
    operands |= {name: ((PARTS, 2, channels), "vector") for name in operands if name == "sums"}
    operands |= {name: ((24, 24), "row") for name in operands if name.startswith("row.")}
    arrays = sum(operand == batch for operand in operands.values())
    return Kernel(op, rows, operands, bytes=4 * rows * POSITIONS * channels * arrays)


OPS = {
    "batch_norm_sums": (("x",), ("sums",), COMMON),
    "batch_norm": (("x", "gamma", "beta", "mean", "rstd"), ("z",), COMMON),
    "batch_norm_inference": (("x", "gamma", "beta", "mean", "var"), ("z",), {"epsilon": 1e-5}),
    "batch_norm_grad_sums": (("dy", "x", "mean", "rstd"), ("sums",), COMMON),
    "batch_norm_grad": (("dy", "x", "gamma", "mean", "rstd", "dgamma", "dbeta"), ("dx",), COMMON),
    "layer_norm": (("x", "gamma", "beta"), ("z", "row.mean", "row.rstd"), {"epsilon": 1e-5}),
}


@pytest.mark.parametrize("kind", OPS)
def test_norm(bench, isa, channels, rows, kind):
    bench(_kernel(Op(kind, *OPS[kind]), rows, channels), isa)
