"""What is drawn for images and signals: native = reference, bit for bit where nothing is rounded."""

import numpy as np
import pytest

from fastnn.native import RandomState
from fastnn.plan import Op
from tests.native.ops import CHANNELS, Case, check

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")

SHAPES = ((), (7,), (3, 5))


@pytest.mark.parametrize("by_channels", [False, True])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dropout(shape, channels, by_channels, dtype, isa):
    rng = np.random.default_rng(channels)
    x, dy = rng.standard_normal((2, 13, *shape, channels)).astype(dtype)
    attributes = {"rate": 0.5, "stream": 3, "channels": by_channels}
    ops = [Op("dropout", ("x",), ("out",), attributes), Op("dropout_grad", ("dy",), ("dx",), attributes)]
    outputs = dict.fromkeys(("out", "dx"), (x.shape[1:], "batch"))
    check(Case(ops, {"x": x, "dy": dy}, outputs), dtype, isa, exact=tuple(outputs))


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rrelu(shape, channels, dtype, isa):
    rng = np.random.default_rng(channels)
    z, dy = rng.standard_normal((2, 13, *shape, channels)).astype(dtype)
    attributes = {"lower": 0.1, "upper": 0.3, "stream": 1}
    ops = [Op("rrelu", ("z",), ("out",), attributes), Op("rrelu_grad", ("dy", "z"), ("dz",), attributes)]
    outputs = dict.fromkeys(("out", "dz"), (z.shape[1:], "batch"))
    check(Case(ops, {"z": z, "dy": dy}, outputs), dtype, isa)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0])
def test_mix(alpha, shape, channels, dtype, isa):
    rng = np.random.default_rng(channels)
    a, b = rng.standard_normal((2, 40, *shape, channels)).astype(dtype)
    mix = Op("mix", ("a", "b"), ("out",), {"alpha": alpha, "stream": 9})
    outputs = {"out": (a.shape[1:], "batch")}
    check(Case([mix], {"a": a, "b": b}, outputs), dtype, isa)
    partner = Op("gather", ("X",), ("b",), {"partner": 2})
    outputs["b"] = outputs["out"]
    check(Case([partner, mix], {"a": a}, outputs, rows_layout=("a", "b", "out")), dtype, isa)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_activations_and_softmax(shape, channels, dtype, isa):
    rng = np.random.default_rng(channels)
    z, dy = rng.standard_normal((2, 13, *shape, channels)).astype(dtype)
    attributes = {"activation": ("gelu",)}
    ops = [
        Op("activation", ("z",), ("out",), attributes),
        Op("activation_grad", ("dy", "z"), ("dz",), attributes),
        Op("softmax", ("z",), ("probabilities",)),
    ]
    outputs = dict.fromkeys(("out", "dz", "probabilities"), (z.shape[1:], "batch"))
    check(Case(ops, {"z": z, "dy": dy}, outputs), dtype, isa)


@pytest.mark.parametrize("used", [0, 1, 2, 623, 624, 625])
def test_large_draws_have_numpys_bits_and_leave_its_state(used):
    ours, numpys = RandomState(3), np.random.RandomState(3)
    for random_state in (ours, numpys):
        random_state.randint(0, 2**32, used, dtype=np.uint32)
        random_state.normal()
    for size in ((128, 128), (129, 311), (30000, 1)):
        assert np.array_equal(ours.uniform(-0.3, 0.2, size), numpys.uniform(-0.3, 0.2, size))
    assert ours.normal() == numpys.normal() and ours.randint(1 << 30) == numpys.randint(1 << 30)
