"""Products of all columns with each other, added up."""

import numpy as np
import pytest


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_are_added_on_and_above_the_diagonal(execute, dtype):
    x = np.random.default_rng(0).standard_normal((7, 4)).astype(dtype)
    before = np.triu(np.ones((4, 4), dtype))
    G = execute("gram", {"x": x}, {"G": before})["G"]
    assert G.dtype == dtype
    np.testing.assert_allclose(G, np.triu(1.0 + x.T @ x), rtol=1e-5)
