"""Pools and their gradients: native = reference, for any window."""

import numpy as np
import pytest

from fastnn.ops.window import Geometry
from fastnn.plan import Op
from tests.native.ops import CHANNELS, Case, check

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


def random_geometry(rng):
    """Windows that overlap or leave places out, over borders or not, each with a place inside the image."""
    while True:
        image, kernel = tuple(map(int, rng.integers(1, 13, 2))), tuple(map(int, rng.integers(1, 5, 2)))
        stride, dilation = tuple(map(int, rng.integers(1, 5, 2))), (1, 1) if rng.integers(3) else (2, 1)
        padding = tuple(tuple(map(int, rng.integers(0, 1 + k // 2, 2))) for k in kernel)
        if rng.integers(3) == 0:
            kernel, stride, dilation, padding = image, (1, 1), (1, 1), ((0, 0), (0, 0))
        geometry = Geometry(image, kernel, stride, dilation, padding)
        if min(geometry.output) > 0 and all(
            any(0 <= i * s - pad[0] + u * d < size for u in range(k))
            for size, k, s, d, pad, out in zip(*geometry, geometry.output, strict=True)
            for i in range(out)
        ):
            return geometry


def forward(kind, x, geometry):
    y = ((*geometry.output, x.shape[-1]), "batch")
    outputs = {"out": y, "index": y} if kind == "max_pool" else {"out": y}
    return Case([Op(kind, ("x",), tuple(outputs), {"geometry": geometry})], {"x": x}, outputs)


def backward(kind, x, dy, geometry):
    """The forward op, then its gradient: the index comes from it."""
    y = ((*geometry.output, x.shape[-1]), "batch")
    outputs, inputs = {"out": y, "dx": ((*geometry.image, x.shape[-1]), "batch")}, ("dy",)
    if kind == "max_pool":
        outputs, inputs = outputs | {"index": y}, ("dy", "index")
    attributes = {"geometry": geometry}
    made = tuple(name for name in ("out", "index") if name in outputs)
    ops = [Op(kind, ("x",), made, attributes), Op(f"{kind}_grad", inputs, ("dx",), attributes)]
    return Case(ops, {"x": x, "dy": dy}, outputs)


@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_random_windows(kind, channels, dtype, isa):
    rng = np.random.default_rng(channels)
    for _ in range(4):
        geometry, rows = random_geometry(rng), int(rng.integers(1, 9))
        x = rng.integers(-3, 3, (rows, *geometry.image, channels)).astype(dtype)
        dy = rng.standard_normal((rows, *geometry.output, channels)).astype(dtype)
        check(backward(kind, x, dy, geometry), dtype, isa, exact=("index",) if kind == "max_pool" else ())


def test_a_nan_wins(dtype, isa):
    rng = np.random.default_rng(0)
    geometry = Geometry((7, 9), (3, 3), (2, 2), (1, 1), ((1, 1), (1, 1)))
    x = rng.standard_normal((5, 7, 9, 20)).astype(dtype)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[0] = -np.inf
    case = forward("max_pool", x, geometry)
    expected, actual = case.reference(dtype), case.native(dtype, isa)
    for name in ("out", "index"):
        np.testing.assert_array_equal(actual[name], expected[name])
