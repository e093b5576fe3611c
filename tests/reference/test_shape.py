"""Rows in another shape, sums of buffers, columns side by side."""

import numpy as np
import pytest

x = np.arange(24.0).reshape(2, 2, 3, 2)


@pytest.mark.parametrize("shape", [(12,), (6, 2), (3, 2, 2), (2, 3, 2)])
def test_reshape_keeps_the_elements_of_a_row_in_row_major_order(execute, shape):
    y = execute("reshape", {"x": x}, {"y": np.empty((0, *shape))})["y"]
    assert np.array_equal(y, x.reshape(2, *shape))
    assert not np.shares_memory(x, y)


def test_add_is_elementwise(execute):
    y = execute("add", {"a": x, "b": 2 * x}, ("y",))["y"]
    assert np.array_equal(y, 3 * x)


@pytest.mark.parametrize("positions", [(), (3,), (2, 3)])
def test_concatenated_columns_can_be_taken_apart_again(execute, positions):
    a, b = np.zeros((2, *positions, 2)), np.ones((2, *positions, 3))
    y = execute("concatenate", {"a": a, "b": b}, ("y",))["y"]
    assert y.shape == (2, *positions, 5) and y.sum(axis=-1).max() == 3
    for first, part in ((0, a), (2, b)):
        taken = execute("take_columns", {"y": y}, {"x": part[:0]}, {"first": first})["x"]
        assert np.array_equal(taken, part) and not np.shares_memory(taken, y)
