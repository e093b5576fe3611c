"""The products of a dense layer with operands rounded to bfloat16, against the peak of the instructions that do it."""

import pytest
from kernels import ALL_ISAS, ISAS, Kernel

from fastnn.plan import Op

SHAPES = [(128, 784, 256), (128, 256, 128), (512, 1024, 1024), (512, 2048, 2048)]
ROUNDED = {"activation": None, "precision": "bfloat16"}

pytestmark = [
    pytest.mark.parametrize("isa", [isa for isa in ALL_ISAS if isa not in ISAS[:-1]]),
    pytest.mark.parametrize("rows, inputs, outputs", SHAPES, ids=lambda size: f"{size}"),
]


def _kernel(op, rows, inputs, outputs, operands):
    return Kernel(op, rows, operands, operations=2 * rows * inputs * outputs, rounded=True)


def test_dense(bench, isa, rows, inputs, outputs):
    op = Op("dense", ("x", "copy", "b"), ("z",), ROUNDED)
    operands = {
        "x": ((inputs,), "batch"),
        "W": ((inputs, outputs), "parameter"),
        "copy": ((inputs, outputs), "transposed", "bfloat16"),
        "b": ((outputs,), "parameter"),
        "z": ((outputs,), "batch"),
    }
    bench(_kernel(op, rows, inputs, outputs, operands), isa)


def test_dense_grad_weights(bench, isa, rows, inputs, outputs):
    op = Op("dense_grad_weights", ("x", "dz"), ("dW", "db"), ROUNDED, split="columns")
    operands = {
        "x": ((inputs,), "batch"),
        "dz": ((outputs,), "batch"),
        "dW": ((inputs, outputs), "gradient"),
        "db": ((outputs,), "gradient"),
    }
    bench(_kernel(op, rows, inputs, outputs, operands), isa)
