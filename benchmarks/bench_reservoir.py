"""The states of reservoirs over 100 steps, link by link and with all weights; and a whole fit on one long series."""

import numpy as np
import pytest
from kernels import ISAS, Kernel

from fastnn import ESNRegressor
from fastnn.ops.reservoir import Links
from fastnn.plan import Op

STEPS, CHANNELS = 100, 1


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("links", (10, 50, None), ids=lambda links: f"{links or 'all'} links")
@pytest.mark.parametrize("units", (200, 500))
@pytest.mark.parametrize("rows", (1, 16))
def test_reservoir(bench, isa, rows, units, links):
    shift = None if links is None else np.random.default_rng(0).permutation(units)[:links].astype(np.int32)
    attributes = {"activation": ("tanh",), "leak": 0.3, "links": None if links is None else Links(shift)}
    heard = links or units
    operands = {
        "u": ((STEPS, CHANNELS), "batch", "rows"),
        "start": ((units,), "batch"),
        "W_in": ((CHANNELS, units), "statistic"),
        "b": ((units,), "statistic"),
        "W": ((heard, units), "statistic"),
        "s": ((STEPS, units), "batch"),
    }
    op = Op("reservoir", ("u", "start", "W_in", "b", "W"), ("s",), attributes)
    bench(Kernel(op, rows, operands, operations=2 * rows * STEPS * units * (heard + CHANNELS)), isa)


@pytest.mark.parametrize("steps, units", [(2000, 300), (10_000, 500)])
def test_fit(benchmark, steps, units):
    benchmark.group = "fit: one series"
    u = np.random.default_rng(0).uniform(-1, 1, (steps + 1, 1))
    esn = ESNRegressor(units, washout=100, random_state=0)
    benchmark(esn.fit, [u[:-1]], [u[1:]])
