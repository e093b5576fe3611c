"""States of reservoirs: native = reference, dense and sparse; a sequence has the same bits in any company."""

import numpy as np
import pytest

from fastnn.ops.reservoir import Links
from fastnn.plan import Op
from tests.native.ops import CHANNELS, Case, check

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


def reservoir(rng, dtype, rows, time, channels, units, links, activation=("tanh",), leak=0.3):
    """The case of random weights; `links` None means a dense matrix."""
    u, start = rng.standard_normal((rows, time, channels)), rng.uniform(-1, 1, (rows, units))
    W, chosen = rng.standard_normal((units, units)) / np.sqrt(units), None
    if links is not None:
        chosen = Links(rng.integers(0, units, links, dtype=np.int32))
        W = rng.standard_normal((links, units)) / np.sqrt(links)
    fixed = {
        "W_in": rng.standard_normal((channels, units)) / np.sqrt(channels),
        "b": rng.standard_normal(units),
        "W": W,
    }
    op = Op("reservoir", ("u", "start", *fixed), ("s",), {"activation": activation, "leak": leak, "links": chosen})
    batch = {"u": u.astype(dtype), "start": start.astype(dtype)}
    fixed = {name: value.astype(dtype) for name, value in fixed.items()}
    return Case([op], batch, {"s": ((time, units), "batch")}, fixed, rows_layout=("u",))


@pytest.mark.parametrize("units", CHANNELS)
@pytest.mark.parametrize("links", [None, 1, 3])
def test_every_size(units, links, dtype, isa):
    rng = np.random.default_rng(units)
    rows, time, channels = (int(rng.choice(sizes)) for sizes in ((1, 2, 5, 17, 33), (1, 2, 9), (1, 3, 12, 70)))
    check(reservoir(rng, dtype, rows, time, channels, units, links), dtype, isa)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33])
@pytest.mark.parametrize("links", [None, 4])
def test_any_number_of_sequences(rows, links, dtype, isa):
    rng = np.random.default_rng(rows)
    check(reservoir(rng, dtype, rows, 6, 2, 21, links), dtype, isa)


@pytest.mark.parametrize("activation", [("identity",), ("relu",), ("leaky_relu", 0.1), ("logistic",), ("hard_tanh",)])
@pytest.mark.parametrize("links", [None, 4])
def test_activations_and_no_leak(activation, links, dtype, isa):
    rng = np.random.default_rng(5)
    check(reservoir(rng, dtype, 9, 5, 3, 30, links, activation, leak=1.0), dtype, isa)


@pytest.mark.parametrize("links", [None, 5])
def test_bits_do_not_depend_on_company(links, dtype, isa):
    rng = np.random.default_rng(6)
    case = reservoir(rng, dtype, 37, 8, 3, 40, links)
    together = case.native(dtype, isa)["s"]
    sources = case.sources
    for r in range(37):
        case.sources = {name: value[r : r + 1] for name, value in sources.items()}
        assert np.array_equal(case.native(dtype, isa)["s"][0], together[r])
