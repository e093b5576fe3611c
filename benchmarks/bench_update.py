"""Optimiser steps on the weights of a 784 x 256 layer."""

import pytest
from kernels import ISAS, Kernel

from fastnn import optimizers
from fastnn.plan import Op

SHAPE = 784, 256
RULES = {
    "sgd": optimizers.SGD(0.9, True),
    "adagrad": optimizers.AdaGrad(),
    "rmsprop": optimizers.RMSProp(),
    "adam": optimizers.Adam(),
    "adamw": optimizers.AdamW(),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", RULES)
def test_update(bench, isa, name):
    rule = RULES[name]
    states = tuple(f"s{i}" for i in range(rule.n_states))
    attributes = {"optimizer": rule.kernel, "decay": rule.decay}
    op = Op("update", ("W", "dW", *states), ("W", *states), attributes, split="columns")
    operands = {"W": (SHAPE, "parameter"), "dW": (SHAPE, "gradient")} | {state: (SHAPE, "state") for state in states}
    moved = len(op.inputs) + len(op.outputs)
    bench(Kernel(op, 1, operands, bytes=4 * SHAPE[0] * SHAPE[1] * moved), isa)
