"""Rounding to bfloat16: every one of its numbers, what lies between them, and what is no number."""

import numpy as np
import pytest

from fastnn.reference import Step
from fastnn.reference.bfloat16 import bfloat16

# All finite numbers of the format, in rising order from 0.
NUMBERS = (np.arange(0x7F80, dtype=np.uint32) << 16).view(np.float32)


def test_its_own_numbers_stay():
    assert np.array_equal(bfloat16(NUMBERS), NUMBERS)
    assert np.array_equal(bfloat16(-NUMBERS), -NUMBERS)


def test_what_lies_between_goes_to_the_nearest_and_ties_to_even():
    low, high = NUMBERS[:-1], NUMBERS[1:]
    middle = (low.astype(np.float64) + high) / 2
    even = np.where(np.arange(len(low)) % 2 == 0, low, high)
    assert np.array_equal(bfloat16(middle.astype(np.float32)), even)
    assert np.array_equal(bfloat16(np.nextafter(middle.astype(np.float32), np.float32(0))), low)
    assert np.array_equal(bfloat16(np.nextafter(middle.astype(np.float32), np.float32(np.inf))), high)


def test_beyond_the_largest_lies_infinity():
    largest = np.float32(np.finfo(np.float32).max)
    assert np.array_equal(bfloat16(np.array([largest, -largest])), [np.inf, -np.inf])


def test_infinity_and_nan_stay():
    payloads = np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(bfloat16(payloads)).all()
    assert np.array_equal(bfloat16(np.array([np.inf, -np.inf], np.float32)), [np.inf, -np.inf])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_type_and_shape_stay(dtype):
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(dtype).transpose(2, 0, 1)
    assert bfloat16(x).dtype == dtype
    assert bfloat16(x).shape == x.shape
    np.testing.assert_allclose(bfloat16(x), x, rtol=2.0**-8)


def test_products_round_their_operands_and_nothing_else(execute):
    rng = np.random.default_rng(1)
    x, W, b, dz = (rng.standard_normal(shape).astype(np.float32) for shape in ((9, 3), (3, 2), (2,), (9, 2)))
    attributes = {"activation": None, "precision": "bfloat16"}
    z = execute("dense", {"x": x, "W": W, "b": b}, ("z",), attributes)["z"]
    np.testing.assert_allclose(z, bfloat16(x) @ bfloat16(W) + b, rtol=1e-6)
    gradients = execute("dense_grad_weights", {"x": x, "dz": dz}, ("dW", "db"), attributes, step=Step(n=9))
    np.testing.assert_allclose(gradients["dW"], bfloat16(x).T @ bfloat16(dz), rtol=1e-5)
    np.testing.assert_allclose(gradients["db"], dz.sum(axis=0), rtol=1e-5)
