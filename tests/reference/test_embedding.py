"""Embedding: rows chosen by number, finite differences, chunks that add up, numbers that are none."""

import numpy as np
import pytest

from fastnn.reference import Step
from tests.reference.differences import central_differences

W = np.random.default_rng(0).standard_normal((5, 3))
x = np.array([[2, 0, 2, 4], [1, 2, 2, 0]])[..., np.newaxis].astype(float)


def embed(execute, x, W):
    return execute("embedding", {"x": x, "W": W}, ("y",))["y"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_number_is_replaced_by_its_row(execute, dtype):
    y = embed(execute, x.astype(dtype), W.astype(dtype))
    assert y.dtype == dtype
    assert np.array_equal(y, W.astype(dtype)[x[..., 0].astype(int)])


def test_gradient_equals_central_differences(execute):
    dy = np.random.default_rng(1).standard_normal((2, 4, 3))
    dW = execute("embedding_grad", {"x": x, "dy": dy}, {"dW": W})["dW"]
    np.testing.assert_allclose(dW, central_differences(lambda W: embed(execute, x, W), W, dy), atol=1e-8)
    assert not dW[3].any(), "no row asked for this token"


def test_gradients_of_chunks_add_up_to_those_of_the_batch(execute):
    dy = np.random.default_rng(1).standard_normal((2, 4, 3))
    whole = execute("embedding_grad", {"x": x, "dy": dy}, {"dW": np.full_like(W, np.nan)})["dW"]
    found = {"dW": np.full_like(W, np.nan)}
    for chunk in range(2):
        inputs = {"x": x[chunk : chunk + 1], "dy": dy[chunk : chunk + 1]}
        found = execute("embedding_grad", inputs, {"dW": found["dW"]}, step=Step(n=1, chunk=chunk))
    np.testing.assert_allclose(found["dW"], whole, rtol=1e-14)


def test_numbers_that_are_no_tokens_read_the_nearest_one(execute):
    strange = np.array([[-1.0, 5.0, np.nan, -np.inf, np.inf, 1e300, 2.9, -0.5]])[..., np.newaxis]
    assert np.array_equal(embed(execute, strange, W)[0], W[[0, 4, 0, 0, 4, 4, 2, 0]])
