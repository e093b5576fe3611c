"""What is drawn for images and signals: native = reference, bit for bit where nothing is rounded."""

import numpy as np
import pytest

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
