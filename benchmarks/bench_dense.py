"""The three products of a dense layer: y = x W + b, dx = dz W^T, dW = x^T dz."""

import pytest
from kernels import ISAS, Kernel

from fastnn.plan import Op

SHAPES = [(128, 784, 256), (128, 256, 128), (512, 1024, 1024), (32, 30, 100)]

pytestmark = [
    pytest.mark.parametrize("isa", ISAS),
    pytest.mark.parametrize("rows, inputs, outputs", SHAPES, ids=lambda size: f"{size}"),
]


def _kernel(op, rows, inputs, outputs, operands):
    return Kernel(op, rows, operands, operations=2 * rows * inputs * outputs)


def test_dense(bench, isa, rows, inputs, outputs):
    op = Op("dense", ("x", "W", "b"), ("z",), {"activation": None})
    operands = {
        "x": ((inputs,), "batch"),
        "W": ((inputs, outputs), "parameter"),
        "b": ((outputs,), "parameter"),
        "z": ((outputs,), "batch"),
    }
    bench(_kernel(op, rows, inputs, outputs, operands), isa)


def test_dense_grad_input(bench, isa, rows, inputs, outputs):
    op = Op("dense_grad_input", ("dz", "WT"), ("dx",), {"activation": None})
    operands = {
        "dz": ((outputs,), "batch"),
        "WT": ((outputs, inputs), "parameter"),
        "dx": ((inputs,), "batch"),
    }
    bench(_kernel(op, rows, inputs, outputs, operands), isa)


def test_dense_grad_weights(bench, isa, rows, inputs, outputs):
    op = Op("dense_grad_weights", ("x", "dz"), ("dW", "db"), split="columns")
    operands = {
        "x": ((inputs,), "batch"),
        "dz": ((outputs,), "batch"),
        "dW": ((inputs, outputs), "gradient"),
        "db": ((outputs,), "gradient"),
    }
    bench(_kernel(op, rows, inputs, outputs, operands), isa)
