"""The affine map and its products: formulas, fused activations, chunks that add up."""

import numpy as np
import pytest

from fastnn.reference import Step

RANDOM = np.random.RandomState(0)
x, W, b, dz = (RANDOM.normal(size=shape) for shape in ((5, 3), (3, 2), (2,), (5, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_is_x_W_plus_b(execute, dtype):
    operands = {"x": x.astype(dtype), "W": W.astype(dtype), "b": b.astype(dtype)}
    y = execute("dense", operands, ("y",), {"activation": None})["y"]
    assert y.dtype == dtype
    np.testing.assert_allclose(y, np.einsum("ni,io->no", x, W) + b, rtol=1e-5)


def test_dense_applies_the_activation_and_keeps_z_when_asked(execute):
    buffers = execute("dense", {"x": x, "W": W, "b": b}, ("y", "z"), {"activation": ("gelu",)})
    np.testing.assert_allclose(buffers["z"], x @ W + b)
    only = execute("activation", {"z": buffers["z"]}, ("y",), {"activation": ("gelu",)})
    assert np.array_equal(buffers["y"], only["y"])


def test_input_gradient_is_dz_WT_times_the_derivative(execute):
    operands = {"dz": dz, "WT": W.T.copy(), "y": np.maximum(x, 0)}
    dx = execute("dense_grad_input", operands, ("dx",), {"activation": ("relu",)})["dx"]
    np.testing.assert_allclose(dx, (dz @ W.T) * (x > 0))
    plain = execute("dense_grad_input", {"dz": dz, "WT": W.T.copy()}, ("dx",), {"activation": None})["dx"]
    np.testing.assert_allclose(plain, dz @ W.T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weight_gradients_of_chunks_add_up_to_those_of_the_batch(execute, dtype):
    gradients = {}
    for chunk, rows in enumerate((slice(0, 2), slice(2, 5))):
        operands = {"x": x[rows].astype(dtype), "dz": dz[rows].astype(dtype)}
        before = {name: gradients.get(name, np.full(1, np.nan)) for name in ("dW", "db")}
        gradients = execute("dense_grad_weights", operands, before, step=Step(n=len(x[rows]), chunk=chunk))
    assert gradients["dW"].dtype == gradients["db"].dtype == dtype
    np.testing.assert_allclose(gradients["dW"], x.T @ dz, rtol=1e-5)
    np.testing.assert_allclose(gradients["db"], dz.sum(axis=0), rtol=1e-5)
