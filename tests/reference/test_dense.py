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


def test_each_step_of_a_sequence_is_a_row(execute):
    steps, dz = RANDOM.normal(size=(4, 6, 3)), RANDOM.normal(size=(4, 6, 2))
    y = execute("dense", {"x": steps, "W": W, "b": b}, ("y",), {"activation": ("tanh",)})["y"]
    np.testing.assert_allclose(y, np.tanh(steps @ W + b), rtol=1e-12)
    operands = {"dz": dz, "WT": W.T.copy(), "x": steps}
    dx = execute("dense_grad_input", operands, ("dx",), {"activation": ("gelu",)})["dx"]
    rows = execute(
        "dense_grad_input", operands | {"dz": dz[:, 3], "x": steps[:, 3]}, ("dx",), {"activation": ("gelu",)}
    )
    np.testing.assert_allclose(dx[:, 3], rows["dx"], rtol=1e-12)
    gradients = execute("dense_grad_weights", {"x": steps, "dz": dz}, ("dW", "db"))
    np.testing.assert_allclose(gradients["dW"], np.einsum("nti,nto->io", steps, dz), rtol=1e-12)
    np.testing.assert_allclose(gradients["db"], dz.sum(axis=(0, 1)), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("units", [1, 2, 17, 130])
def test_a_row_has_the_same_bits_alone_and_among_others(execute, units, dtype):
    x, W, b = (RANDOM.normal(size=shape).astype(dtype) for shape in ((9, 5, 33), (33, units), (units,)))
    many = execute("dense", {"x": x, "W": W, "b": b}, ("y",), {"activation": None})["y"]
    for row, t in ((0, 0), (3, 2), (8, 4)):
        one = execute("dense", {"x": x[row : row + 1, t], "W": W, "b": b}, ("y",), {"activation": None})["y"]
        assert np.array_equal(one[0], many[row, t])


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
