"""The arrays that the executor reads without the GIL: any layout gives the same numbers, nonsense is refused."""

import numpy as np
import pytest
from scipy import sparse

from fastnn.native import Runner
from tests.native.networks import draw, lowered, network


@pytest.fixture
def runner():
    plan = lowered(network(70, (5,), 3), "predict")
    runner = Runner(plan, dtype=np.float32, rows=4)
    for name, value in draw(np.random.default_rng(0), plan).items():
        runner.set(name, value)
    return runner


@pytest.fixture
def X():
    return np.random.default_rng(1).standard_normal((9, 70)).astype(np.float32)


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
        lambda X: np.frombuffer(b"?" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape),
        lambda X: X.astype(np.float64),
        sparse.csr_matrix,
    ],
    ids=["fortran", "strided", "reversed", "unaligned", "float64", "csr"],
)
def test_layouts(runner, X, layout):
    np.testing.assert_array_equal(runner.forward(layout(X)), runner.forward(X))


def test_repeated_entries_add_up(runner, X):
    data, columns = np.tile(X, (1, 2)).astype(np.float64) / 2, np.tile(np.arange(70), 18)
    twice = sparse.csr_matrix((data.ravel(), columns, np.arange(10) * 140), shape=X.shape)
    np.testing.assert_allclose(runner.forward(twice), runner.forward(X), rtol=1e-6)


@pytest.mark.parametrize("starts", [0, 9, 11])
def test_a_csr_matrix_with_other_row_starts_than_rows_is_refused(runner, X, starts):
    broken = sparse.csr_matrix(X)
    broken.indptr = np.full(starts, broken.nnz, broken.indptr.dtype)
    broken.indptr[:1] = 0
    with pytest.raises(ValueError, match="points outside itself"):
        runner.forward(broken)


@pytest.mark.parametrize(("array", "value"), [("indices", 70), ("indices", -1), ("indptr", 10_000), ("indptr", -5)])
def test_a_csr_matrix_that_points_outside_is_refused(runner, X, array, value):
    broken = sparse.csr_matrix(X)
    getattr(broken, array)[3] = value
    with pytest.raises(ValueError, match="points outside itself"):
        runner.forward(broken)


def train_entries(X, y, changed=lambda X: None):
    """The gradients' states after a step on a sparse matrix that changes once it is bound."""
    plan = lowered(network(70, (64,), 3), one_hot=True, entries=True)
    runner = Runner(plan, dtype=np.float32, rows=9)
    for name, value in draw(np.random.default_rng(0), plan).items():
        runner.set(name, value)
    runner.bind(X, y)
    changed(X)
    runner.train(9, 0, 1, 0, np.full(1, 0.1), 1e9)
    return runner.get("dense0.W")


@pytest.fixture
def few(X):
    rows = sparse.csr_array(np.where(X > 1, X, 0))
    rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    return rows


@pytest.mark.parametrize("array", ["indices", "indptr"])
def test_a_csr_matrix_may_change_once_it_is_bound(few, array):
    y = np.arange(9) % 3
    expected = train_entries(few.copy(), y)
    np.testing.assert_array_equal(train_entries(few, y, lambda X: getattr(X, array)[1:].fill(-(10**9))), expected)


def test_what_a_csr_matrix_says_of_its_order_is_not_believed(few):
    y = np.arange(9) % 3
    few.data[:] = 1
    expected = train_entries(few.copy(), y)
    for first, last in zip(few.indptr, few.indptr[1:], strict=False):
        few.indices[first:last] = few.indices[first:last][::-1].copy()
    few.has_canonical_format = True
    np.testing.assert_array_equal(train_entries(few, y), expected)


def test_wrong_shapes_are_refused(runner, X):
    with pytest.raises(ValueError, match="expected 70 features, got 69"):
        runner.forward(X[:, :69])
    plan = lowered(network(70, (5,), 3), one_hot=True, weighted=True)
    runner = Runner(plan, dtype=np.float32, rows=4)
    y, w = np.zeros(9, np.int64), np.ones(9)
    with pytest.raises(ValueError, match=r"y: expected shape \(9,\), got \(8,\)"):
        runner.bind(X, y[:8], w)
    with pytest.raises(ValueError, match=r"sample_weight: expected shape \(9,\), got \(8,\)"):
        runner.bind(X, y, w[:8])
    with pytest.raises(ValueError, match="expected float32 or float64"):
        runner.bind(X.astype(np.float16), y, w)


def test_batches_beyond_the_rows_are_refused(runner, X):
    runner = Runner(lowered(network(70, (5,), 3), one_hot=True), dtype=np.float32, rows=4)
    runner.bind(X, np.zeros(9, np.int64))
    with pytest.raises(ValueError, match="exceed 9 rows"):
        runner.train(4, 0, 4, 0, np.ones(4), 1.0)
    with pytest.raises(ValueError, match="a learning rate for each of 3 batches, got 2"):
        runner.train(4, 0, 3, 0, np.ones(2), 1.0)
