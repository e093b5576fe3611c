"""Rows in another shape, and sums of buffers."""

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
