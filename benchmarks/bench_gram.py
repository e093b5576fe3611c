"""Products of all columns with each other, for the normal equations of a readout."""

import pytest
from kernels import ISAS, Kernel

from fastnn.plan import Op


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows, columns", [(512, 502), (512, 202)], ids=lambda size: f"{size}")
def test_gram(bench, isa, rows, columns):
    operands = {"x": ((columns,), "batch"), "G": ((columns, columns), "statistic")}
    op = Op("gram", ("x",), ("G",), split="columns")
    bench(Kernel(op, rows, operands, operations=rows * columns * (columns + 1)), isa)
