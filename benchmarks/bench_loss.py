"""Losses with their gradients, on 128 rows of 10 outputs."""

import pytest
from kernels import ISAS, Kernel

from fastnn.plan import Op
from fastnn.reference.loss import LOSSES

ROWS, OUTPUTS = 128, 10


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", LOSSES)
def test_loss(bench, isa, name):
    op = Op("loss", ("z", "t"), ("dz", "row_loss"), {"loss": (name, *LOSSES[name].parameters[0]), "lengths": False})
    operands = {role: ((OUTPUTS,), "batch") for role in ("z", "t", "dz")} | {"row_loss": ((), "row_loss")}
    bench(Kernel(op, ROWS, operands, bytes=4 * ROWS * (3 * OUTPUTS + 2)), isa)
