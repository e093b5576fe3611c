"""Readouts: normal equations solved tile by tile."""

import threading

import numpy as np
import pytest

from fastnn import readout
from fastnn.readout import Ridge, cholesky_solve


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 128, 200])
@pytest.mark.parametrize("outputs", [1, 3])
def test_cholesky_solves(n, outputs):
    random = np.random.default_rng(n)
    X, W = random.standard_normal((n + 5, n)), random.standard_normal((n, outputs))
    G = X.T @ X
    np.testing.assert_allclose(cholesky_solve(np.triu(G), G @ W), W, rtol=1e-6, atol=1e-8)


def test_a_matrix_that_is_not_positive_definite_is_an_error():
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_solve(np.diag([1.0, -1.0]), np.ones((2, 1)))


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("features", [3, 130])
def test_sums_do_not_depend_on_blocks(features, backend):
    random = np.random.default_rng(0)
    X, Y, weight = random.standard_normal((1300, features)), random.standard_normal((1300, 2)), random.random(1300)
    expected, cut = (Ridge(features, 2, True, backend) for _ in range(2))
    expected.add(X, Y, weight)
    for first, stop in ((0, 1), (1, 700), (700, 1300)):
        cut.add(X[first:stop], Y[first:stop], weight[first:stop])
    for one, other in zip(expected.solve(0.1), cut.solve(0.1), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    A = np.sqrt(weight)[:, np.newaxis] * np.hstack([X, Y, np.ones((1300, 1))])
    np.testing.assert_allclose(np.triu(expected.products), np.triu(A.T @ A), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("backend", "held_up"), [("native", False), ("native", True), ("numpy", True)])
def test_rows_added_aside_give_the_same_bits(backend, held_up, monkeypatch):
    """Also where the other thread comes late, and the caller has multiplied half of them."""
    monkeypatch.setattr(readout, "thread_limit", lambda *_: 2)
    random = np.random.default_rng(1)
    n = 20_000
    X, Y, weight = random.standard_normal((n, 20)), random.standard_normal((n, 2)), random.random(n)
    here, aside = (Ridge(20, 2, True, backend) for _ in range(2))
    go_on = threading.Event()
    for first in range(0, n, 100):
        rows = slice(first, first + 100)
        here.add(X[rows], Y[rows], weight[rows])
        aside.add(X[rows], Y[rows], weight[rows], aside=True)
        if held_up and first == 0:
            aside.adding.pool.submit(go_on.wait)
        if first == n // 2:
            go_on.set()
    assert np.array_equal(here.solve(0.1)[0], aside.solve(0.1)[0])
    assert np.array_equal(np.triu(here.products), np.triu(aside.products))


def test_without_a_penalty_the_weights_of_least_norm_are_taken():
    X = np.ones((10, 2)) * np.arange(10)[:, np.newaxis]
    ridge = Ridge(2, 1, True, "numpy")
    ridge.add(X, X[:, :1])
    W, b = ridge.solve(0.0)
    np.testing.assert_allclose(W, [[0.5], [0.5]], atol=1e-9)
    np.testing.assert_allclose(b, 0.0, atol=1e-9)
