"""From a sequence to one vector: native = reference, with and without lengths, and NaN shows."""

import numpy as np
import pytest

from fastnn.plan import Op
from tests.native.ops import CHANNELS, Case, check

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")

KINDS = ("last_step", "mean_over_steps", "max_over_steps")


def steps(kind, x, lengths=None, reverse=False):
    """An op over steps and its gradient, taken of its own result."""
    optional = () if lengths is None else ("lengths",)
    index = ("index",) if kind == "max_over_steps" else ()
    attributes = {"lengths": bool(optional)} | ({"reverse": reverse} if kind == "last_step" else {})
    ops = [
        Op(kind, ("x", *optional), ("out", *index), attributes),
        Op(f"{kind}_grad", ("out", *index, *optional), ("dx",), attributes),
    ]
    outputs = dict.fromkeys(("out", *index), (x.shape[2:], "batch")) | {"dx": (x.shape[1:], "batch")}
    return Case(ops, {"x": x} | ({} if lengths is None else {"lengths": lengths}), outputs)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_size(kind, channels, dtype, isa):
    rng = np.random.default_rng(channels)
    for time in (1, 2, 23):
        x = rng.integers(-3, 4, (9, time, channels)).astype(dtype)
        check(steps(kind, x), dtype, isa)
        check(steps(kind, x, rng.integers(1, time + 1, (9, 1)).astype(dtype), reverse=True), dtype, isa)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_nan_shows(kind, dtype, isa):
    x = np.random.default_rng(1).standard_normal((3, 6, 20)).astype(dtype)
    x[1, 2, 7] = np.nan
    y = steps(kind, x).native(dtype, isa)["out"]
    assert np.argwhere(np.isnan(y)).tolist() == [[1, 7]]
