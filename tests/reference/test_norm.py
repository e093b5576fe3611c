"""Batch and layer normalisation: moments, parts, running averages, finite differences; of rows and of images."""

from math import prod

import numpy as np
import pytest

from fastnn.reference import Step
from tests.reference.differences import central_differences

EPSILON = 1e-5
RANDOM = np.random.RandomState(0)
x, dy = RANDOM.normal(3, 2, (7, 4)), RANDOM.normal(size=(7, 4))
gamma, beta = RANDOM.uniform(0.5, 2, 4), RANDOM.normal(size=4)
running = {"running_mean": np.full(4, 10.0), "running_var": np.full(4, 20.0)}
STATISTICS = ("mean", "rstd", "running_mean", "running_var")


def batch_norm(execute, x=x, gamma=gamma, beta=beta, dtype=np.float64, parts=3):
    """All buffers of a training step's forward pass."""
    x, gamma, beta, *moments = (a.astype(dtype) for a in (x, gamma, beta, *running.values()))
    attributes = {"epsilon": EPSILON, "momentum": 0.1, "parts": parts, "positions": prod(x.shape[1:-1])}
    step = Step(n=len(x))
    partial = execute("batch_norm_sums", {"x": x}, ("partial",), attributes, step)["partial"]
    operands = {"partial": partial, **dict(zip(running, moments, strict=True))}
    statistics = execute("batch_norm_statistics", operands, STATISTICS, attributes, step)
    operands = {"x": x, "gamma": gamma, "beta": beta, "mean": statistics["mean"], "rstd": statistics["rstd"]}
    return statistics | execute("batch_norm", operands, ("y",), {})


def batch_norm_gradients(execute, dy, x, parts=3):
    forward = batch_norm(execute, x=x, parts=parts)
    moments = {"mean": forward["mean"], "rstd": forward["rstd"]}
    attributes = {"parts": parts, "positions": prod(x.shape[1:-1])}
    partial = execute("batch_norm_grad_sums", {"dy": dy, "x": x, **moments}, ("partial",), attributes)["partial"]
    sums = execute("batch_norm_grad_parameters", {"partial": partial}, ("dgamma", "dbeta"), attributes)
    sums = {name: sums[name] for name in ("dgamma", "dbeta")}
    operands = {"dy": dy, "x": x, "gamma": gamma, **moments, **sums}
    return sums | execute("batch_norm_grad", operands, ("dx",), attributes)


def layer_norm(execute, x=x, gamma=gamma, beta=beta, dtype=np.float64):
    operands = {name: a.astype(dtype) for name, a in {"x": x, "gamma": gamma, "beta": beta}.items()}
    return execute("layer_norm", operands, ("y", "mean", "rstd"), {"epsilon": EPSILON})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_norm_standardises_columns(execute, dtype):
    result = batch_norm(execute, dtype=dtype)
    assert all(result[name].dtype == dtype for name in ("y", *STATISTICS))
    expected = gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + EPSILON) + beta
    np.testing.assert_allclose(result["y"], expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_moves_the_running_averages_by_momentum(execute):
    result = batch_norm(execute)
    np.testing.assert_allclose(result["running_mean"], 0.9 * 10 + 0.1 * x.mean(axis=0))
    np.testing.assert_allclose(result["running_var"], 0.9 * 20 + 0.1 * x.var(axis=0, ddof=1))


def test_batch_norm_of_one_row_is_beta_and_finite(execute):
    result = batch_norm(execute, x=x[:1])
    np.testing.assert_allclose(result["y"], beta[np.newaxis])
    np.testing.assert_allclose(result["running_var"], 0.9 * 20)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inference_uses_the_running_averages(execute, dtype):
    operands = {"x": x, "gamma": gamma, "beta": beta, **running}
    operands = {name: array.astype(dtype) for name, array in operands.items()}
    y = execute("batch_norm_inference", operands, ("y",), {"epsilon": EPSILON})["y"]
    assert y.dtype == dtype
    np.testing.assert_allclose(y, gamma * (x - 10) / np.sqrt(20 + EPSILON) + beta, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layer_norm_standardises_rows(execute, dtype):
    result = layer_norm(execute, dtype=dtype)
    assert all(result[name].dtype == dtype for name in ("y", "mean", "rstd"))
    mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    np.testing.assert_allclose(
        result["y"], gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(7, 4), (2, 3, 4), (2, 2, 2, 4)])
def test_batch_norm_gradients_equal_central_differences(execute, shape):
    x, dy = RANDOM.normal(3, 2, shape), RANDOM.normal(size=shape)
    result = batch_norm_gradients(execute, dy, x)
    expected = {
        "dx": central_differences(lambda v: batch_norm(execute, x=v)["y"], x, dy),
        "dgamma": central_differences(lambda v: batch_norm(execute, x=x, gamma=v)["y"], gamma, dy),
        "dbeta": central_differences(lambda v: batch_norm(execute, x=x, beta=v)["y"], beta, dy),
    }
    for name, gradient in expected.items():
        np.testing.assert_allclose(result[name], gradient, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("parts", [1, 2, 7, 16])
def test_batch_norm_in_any_number_of_parts_is_the_same(execute, parts):
    one, many = batch_norm(execute, parts=1), batch_norm(execute, parts=parts)
    for name in ("y", *STATISTICS):
        np.testing.assert_allclose(many[name], one[name], rtol=1e-12)
    one, many = batch_norm_gradients(execute, dy, x, parts=1), batch_norm_gradients(execute, dy, x, parts=parts)
    for name in ("dx", "dgamma", "dbeta"):
        np.testing.assert_allclose(many[name], one[name], rtol=1e-11, atol=1e-14)


def test_batch_norm_of_images_is_that_of_their_positions(execute):
    images = RANDOM.normal(3, 2, (3, 2, 2, 4))
    one, many = batch_norm(execute, x=images), batch_norm(execute, x=images.reshape(12, 4))
    np.testing.assert_allclose(one["y"].reshape(12, 4), many["y"], rtol=1e-12)
    for name in STATISTICS:
        np.testing.assert_allclose(one[name], many[name], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_a_folded_norm_is_the_norm_after_the_layer(execute, bias, dtype):
    W, b = RANDOM.normal(size=(4, 4)).astype(dtype), RANDOM.normal(size=4).astype(dtype)
    norm = {name: a.astype(dtype) for name, a in {"gamma": gamma, "beta": beta, **running}.items()}
    operands = {"W": W, "b": b, **norm} if bias else {"W": W, **norm}
    folded = execute("fold_norm", operands, ("W.folded", "b.folded"), {"epsilon": EPSILON, "bias": bias})
    assert folded["W.folded"].dtype == folded["b.folded"].dtype == dtype
    z = x.astype(dtype) @ W + (b if bias else 0)
    y = execute("batch_norm_inference", {"z": z, **norm}, ("y",), {"epsilon": EPSILON})["y"]
    np.testing.assert_allclose(x.astype(dtype) @ folded["W.folded"] + folded["b.folded"], y, rtol=2e-4, atol=1e-5)


def test_layer_norm_normalises_each_position_of_an_image(execute):
    images = RANDOM.normal(3, 2, (3, 2, 2, 4))
    dy = RANDOM.normal(size=images.shape)
    result = layer_norm(execute, x=images)
    rows = layer_norm(execute, x=images.reshape(12, 4))
    assert result["mean"].shape == result["rstd"].shape == (3, 2, 2)
    assert np.array_equal(result["y"], rows["y"].reshape(images.shape))
    gradients = []
    for shape, forward in ((images.shape, result), ((12, 4), rows)):
        moments = {"mean": forward["mean"], "rstd": forward["rstd"]}
        operands = {"dy": dy.reshape(shape), "x": images.reshape(shape)}
        dx = execute("layer_norm_grad", {**operands, "gamma": gamma, **moments}, ("dx",))["dx"]
        sums = execute("layer_norm_grad_parameters", {**operands, **moments}, ("dgamma", "dbeta"))
        gradients.append((dx.ravel(), sums["dgamma"], sums["dbeta"]))
    for actual, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-13)


def test_layer_norm_gradients_equal_central_differences(execute):
    forward = layer_norm(execute)
    moments = {"mean": forward["mean"], "rstd": forward["rstd"]}
    dx = execute("layer_norm_grad", {"dy": dy, "x": x, "gamma": gamma, **moments}, ("dx",))["dx"]
    expected = central_differences(lambda v: layer_norm(execute, x=v)["y"], x, dy)
    np.testing.assert_allclose(dx, expected, rtol=1e-6, atol=1e-8)
    names = ("dgamma", "dbeta")
    result = execute("layer_norm_grad_parameters", {"dy": dy, "x": x, **moments}, names, step=Step(n=7))
    expected = (
        central_differences(lambda v: layer_norm(execute, gamma=v)["y"], gamma, dy),
        central_differences(lambda v: layer_norm(execute, beta=v)["y"], beta, dy),
    )
    for name, gradient in zip(names, expected, strict=True):
        np.testing.assert_allclose(result[name], gradient, rtol=1e-6, atol=1e-8)


def test_layer_norm_parameter_gradients_add_up_over_chunks(execute):
    forward = layer_norm(execute)
    sums = {"dgamma": np.nan, "dbeta": np.nan}
    for chunk, rows in enumerate((slice(0, 3), slice(3, 7))):
        operands = {
            "dy": dy[rows],
            "x": x[rows],
            "mean": forward["mean"][rows],
            "rstd": forward["rstd"][rows],
        }
        step = Step(n=len(x[rows]), chunk=chunk)
        sums = execute(
            "layer_norm_grad_parameters",
            operands,
            {n: sums[n] for n in ("dgamma", "dbeta")},
            step=step,
        )
    np.testing.assert_allclose(sums["dbeta"], dy.sum(axis=0))
    np.testing.assert_allclose(sums["dgamma"], (dy * (forward["y"] - beta) / gamma).sum(axis=0))
