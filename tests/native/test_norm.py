"""Norms of rows, images and signals: native = reference, each op on its own and one after another."""

import numpy as np
import pytest

from fastnn.plan import PARTS, Op
from tests.native.ops import CHANNELS, TOLERANCE, Case, assert_close, check

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")

SHAPES = ((), (7,), (3, 5))


def parameters(rng, channels, dtype):
    values = {name: rng.uniform(0.5, 2.0, channels).astype(dtype) for name in ("gamma", "running_var")}
    return values | {name: rng.standard_normal(channels).astype(dtype) for name in ("beta", "running_mean")}


def batch_norm(x, dy, fixed):
    positions, channels = x[0, ..., 0].size, x.shape[-1]
    common = {"parts": PARTS, "positions": positions}
    statistics = common | {"epsilon": 1e-5, "momentum": 0.1}
    running = ("running_mean", "running_var")
    ops = [
        Op("batch_norm_sums", ("x",), ("sums",), common, "parts"),
        Op("batch_norm_statistics", ("sums", *running), ("mean", "rstd", *running), statistics, "columns"),
        Op("batch_norm", ("x", "gamma", "beta", "mean", "rstd"), ("out",), common),
        Op("batch_norm_grad_sums", ("dy", "x", "mean", "rstd"), ("grad_sums",), common, "parts"),
        Op("batch_norm_grad_parameters", ("grad_sums",), ("dgamma", "dbeta"), common, "columns"),
        Op("batch_norm_grad", ("dy", "x", "gamma", "mean", "rstd", "dgamma", "dbeta"), ("dx",), common),
        Op("batch_norm_inference", ("x", "gamma", "beta", *running), ("inferred",), {"epsilon": 1e-5}),
    ]
    vectors = dict.fromkeys(("mean", "rstd", "dgamma", "dbeta"), ((channels,), "vector"))
    sums = dict.fromkeys(("sums", "grad_sums"), ((PARTS, 2, channels), "vector"))
    batch = dict.fromkeys(("out", "dx", "inferred"), (x.shape[1:], "batch"))
    return Case(ops, {"x": x, "dy": dy}, vectors | sums | batch, fixed, also=running)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm(shape, channels, dtype, isa):
    rng = np.random.default_rng(channels)
    rows = 40 if not shape else int(rng.choice((1, 3, 40)))
    x, dy = rng.standard_normal((2, rows, *shape, channels)).astype(dtype)
    # Sums of gradients nearly cancel: beside their terms they are small.
    check(batch_norm(3 * x + 2, dy, parameters(rng, channels, dtype)), dtype, isa, widen=10.0)


@pytest.mark.parametrize("offset", [1e3, -1e3])
def test_variance_far_from_zero(offset, isa):
    """A hundred thousand numbers around 1000: the error of mean and variance is that of the numbers themselves."""
    rng = np.random.default_rng(1)
    x = (offset + rng.standard_normal((100, 30, 33, 5))).astype(np.float32)
    results = batch_norm(x, x, parameters(rng, 5, np.float32)).native(np.float32, isa)
    exact = x.astype(np.float64).reshape(-1, 5)
    np.testing.assert_allclose(results["mean"], exact.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(results["rstd"], 1 / np.sqrt(exact.var(axis=0) + 1e-5), rtol=1e-6)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layer_norm(shape, channels, dtype, isa):
    rng = np.random.default_rng(channels)
    x, dy = rng.standard_normal((2, 19, *shape, channels)).astype(dtype)
    fixed = {name: parameters(rng, channels, dtype)[name] for name in ("gamma", "beta")}
    ops = [
        Op("layer_norm", ("x", "gamma", "beta"), ("out", "mean", "rstd"), {"epsilon": 0.1}),
        Op("layer_norm_grad", ("dy", "x", "gamma", "mean", "rstd"), ("dx",)),
        Op("layer_norm_grad_parameters", ("dy", "x", "mean", "rstd"), ("dgamma", "dbeta"), split="columns"),
    ]
    outputs = dict.fromkeys(("mean", "rstd"), (shape, "row")) | dict.fromkeys(("out", "dx"), (x.shape[1:], "batch"))
    outputs |= dict.fromkeys(("dgamma", "dbeta"), ((channels,), "gradient"))
    check(Case(ops, {"x": x, "dy": dy}, outputs, fixed), dtype, isa, widen=10.0)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("channels", CHANNELS)
def test_fold_norm(channels, bias, dtype, isa):
    rng = np.random.default_rng(channels)
    fixed = {"W": rng.standard_normal((3, 2, 5, channels)).astype(dtype)}
    if bias:
        fixed["b"] = rng.standard_normal(channels).astype(dtype)
    fixed |= parameters(rng, channels, dtype)
    inputs = (*list(fixed)[: 1 + bias], "gamma", "beta", "running_mean", "running_var")
    op = Op("fold_norm", inputs, ("folded", "shift"), {"epsilon": 1e-3, "bias": bias}, "columns")
    outputs = {"folded": (fixed["W"].shape, "transposed"), "shift": ((channels,), "transposed")}
    case = Case([op], {"x": np.zeros((2, 1), dtype)}, outputs, fixed)
    check(case, dtype, isa)
    padded = case.runner
    width = -(-channels // padded.layout.lanes) * padded.layout.lanes
    assert not padded._view("shift")[channels:width].any(), "pads of weights must stay zero"


def test_nan_shows(dtype, isa):
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, 12, 4, 20)).astype(dtype)
    x[5, 1, 3] = np.nan
    results = batch_norm(x, dy, parameters(rng, 20, dtype)).native(dtype, isa)
    for name in ("mean", "rstd", "running_mean", "running_var"):
        assert np.flatnonzero(np.isnan(results[name])).tolist() == [3]
    assert_close(np.isnan(results["out"]).sum(axis=(0, 1)), 48 * (np.arange(20) == 3), TOLERANCE[dtype], "out")
