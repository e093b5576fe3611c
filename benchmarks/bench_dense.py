"""The three products of a dense layer: y = x W + b, dx = dz W^T, dW = x^T dz."""

from dataclasses import replace

import pytest
from kernels import ISAS, Kernel

from fastnn.plan import Op

ZEROS = 0.8  # as of MNIST
SHAPES = [(128, 784, 256), (128, 256, 128), (512, 1024, 1024), (32, 30, 100)]

pytestmark = [
    pytest.mark.parametrize("isa", ISAS),
    pytest.mark.parametrize("rows, inputs, outputs", SHAPES, ids=lambda size: f"{size}"),
]


def _kernel(op, rows, inputs, outputs, operands):
    return Kernel(op, rows, operands, operations=2 * rows * inputs * outputs)


def _without_zeros(kernel):
    """The op on rows that are mostly zeros, which it leaves out: operations are those with the other numbers."""
    op = kernel.op.with_(inputs=(*kernel.op.inputs, "bits"), attributes=kernel.op.attributes | {"nonzero": True})
    operands = kernel.operands | {"bits": (kernel.operands["x"][0], "batch", "bits")}
    return replace(kernel, op=op, operands=operands, operations=round((1 - ZEROS) * kernel.operations), zeros=ZEROS)


def _dense(rows, inputs, outputs):
    op = Op("dense", ("x", "W", "b"), ("z",), {"activation": None})
    operands = {
        "x": ((inputs,), "batch"),
        "W": ((inputs, outputs), "parameter"),
        "b": ((outputs,), "parameter"),
        "z": ((outputs,), "batch"),
    }
    return _kernel(op, rows, inputs, outputs, operands)


def test_dense(bench, isa, rows, inputs, outputs):
    bench(_dense(rows, inputs, outputs), isa)


def test_dense_without_zeros(bench, isa, rows, inputs, outputs):
    bench(_without_zeros(_dense(rows, inputs, outputs)), isa)


def test_dense_grad_input(bench, isa, rows, inputs, outputs):
    op = Op("dense_grad_input", ("dz", "WT"), ("dx",), {"activation": None})
    operands = {
        "dz": ((outputs,), "batch"),
        "WT": ((outputs, inputs), "parameter"),
        "dx": ((inputs,), "batch"),
    }
    bench(_kernel(op, rows, inputs, outputs, operands), isa)


def _dense_grad_weights(rows, inputs, outputs):
    op = Op("dense_grad_weights", ("x", "dz"), ("dW", "db"), split="columns")
    operands = {
        "x": ((inputs,), "batch"),
        "dz": ((outputs,), "batch"),
        "dW": ((inputs, outputs), "gradient"),
        "db": ((outputs,), "gradient"),
    }
    return _kernel(op, rows, inputs, outputs, operands)


def test_dense_grad_weights(bench, isa, rows, inputs, outputs):
    bench(_dense_grad_weights(rows, inputs, outputs), isa)


def test_dense_grad_weights_without_zeros(bench, isa, rows, inputs, outputs):
    bench(_without_zeros(_dense_grad_weights(rows, inputs, outputs)), isa)
