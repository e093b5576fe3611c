"""Activations, their derivatives and the softmax, on 128 rows of 256: in the second cache, as in a layer."""

import pytest
from kernels import ISAS, Kernel

from fastnn.plan import Op
from fastnn.reference.activation import ACTIVATIONS

ROWS, COLUMNS = 128, 256

pytestmark = pytest.mark.parametrize("isa", ISAS)


def _kernel(op):
    names = op.inputs + op.outputs
    operands = {name: ((COLUMNS,), "batch") for name in names}
    return Kernel(op, ROWS, operands, bytes=4 * ROWS * COLUMNS * len(names))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(bench, isa, name):
    kernel = (name, *ACTIVATIONS[name].parameters[0])
    bench(_kernel(Op("activation", ("z",), ("y",), {"activation": kernel})), isa)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_grad(bench, isa, name):
    kernel = (name, *ACTIVATIONS[name].parameters[0])
    bench(_kernel(Op("activation_grad", ("dy", "s"), ("dz",), {"activation": kernel})), isa)


def test_softmax(bench, isa):
    bench(_kernel(Op("softmax", ("z",), ("y",))), isa)
