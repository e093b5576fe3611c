"""Batch and layer normalisation: moments, running averages, finite differences."""

import numpy as np
import pytest

from fastnn.reference import Step

EPSILON = 1e-5
RANDOM = np.random.RandomState(0)
x, dy = RANDOM.normal(3, 2, (7, 4)), RANDOM.normal(size=(7, 4))
gamma, beta = RANDOM.uniform(0.5, 2, 4), RANDOM.normal(size=4)
running = {"running_mean": np.full(4, 10.0), "running_var": np.full(4, 20.0)}
STATISTICS = ("mean", "rstd", "running_mean", "running_var")


def batch_norm(execute, x=x, gamma=gamma, beta=beta, dtype=np.float64):
    operands = {"x": x, "gamma": gamma, "beta": beta, **running}
    operands = {name: array.astype(dtype) for name, array in operands.items()}
    attributes = {"epsilon": EPSILON, "momentum": 0.1}
    return execute("batch_norm", operands, ("y", *STATISTICS), attributes)


def layer_norm(execute, x=x, gamma=gamma, beta=beta, dtype=np.float64):
    operands = {name: a.astype(dtype) for name, a in {"x": x, "gamma": gamma, "beta": beta}.items()}
    return execute("layer_norm", operands, ("y", "mean", "rstd"), {"epsilon": EPSILON})


def differences(function, array, h=1e-5):
    """Central differences of sum(dy * function(array)) by every element of an array."""
    gradient = np.empty_like(array)
    for place in np.ndindex(array.shape):
        shift = np.zeros_like(array)
        shift[place] = h
        gradient[place] = (dy * (function(array + shift) - function(array - shift))).sum() / (2 * h)
    return gradient


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


def test_batch_norm_gradients_equal_central_differences(execute):
    forward = batch_norm(execute)
    operands = {"dy": dy, "x": x, "gamma": gamma, "mean": forward["mean"], "rstd": forward["rstd"]}
    result = execute("batch_norm_grad", operands, ("dx", "dgamma", "dbeta"))
    expected = {
        "dx": differences(lambda v: batch_norm(execute, x=v)["y"], x),
        "dgamma": differences(lambda v: batch_norm(execute, gamma=v)["y"], gamma),
        "dbeta": differences(lambda v: batch_norm(execute, beta=v)["y"], beta),
    }
    for name, gradient in expected.items():
        np.testing.assert_allclose(result[name], gradient, rtol=1e-6, atol=1e-8)


def test_layer_norm_gradients_equal_central_differences(execute):
    forward = layer_norm(execute)
    moments = {"mean": forward["mean"], "rstd": forward["rstd"]}
    dx = execute("layer_norm_grad", {"dy": dy, "x": x, "gamma": gamma, **moments}, ("dx",))["dx"]
    np.testing.assert_allclose(dx, differences(lambda v: layer_norm(execute, x=v)["y"], x), rtol=1e-6, atol=1e-8)
    names = ("dgamma", "dbeta")
    result = execute("layer_norm_grad_parameters", {"dy": dy, "x": x, **moments}, names, step=Step(n=7))
    expected = (
        differences(lambda v: layer_norm(execute, gamma=v)["y"], gamma),
        differences(lambda v: layer_norm(execute, beta=v)["y"], beta),
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
