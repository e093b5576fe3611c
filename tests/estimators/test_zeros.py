"""Rows that are mostly zeros train faster, and to the same weights."""

import numpy as np
import pytest
from scipy import sparse

from fastnn import MLPClassifier
from fastnn.estimators.validation import mostly_zeros


def rows(share, run=1, dtype=np.float32, n=200, features=96):
    """Numbers of which a share are zero, in aligned runs."""
    rng = np.random.default_rng(0)
    zero = np.repeat(rng.random((n, features // run)) < share, run, axis=1)
    return np.where(zero, 0, rng.integers(1, 200, (n, features))).astype(dtype)


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (rows(0.0), False),
        (rows(0.5), False),
        (rows(0.5, run=8), True),
        (rows(0.5, run=8, dtype=np.uint8), True),
        (rows(0.9), True),
        (rows(1.0), True),
        (rows(0.9)[:1], True),
        (rows(1.0, features=3), False),
        (sparse.csr_array(rows(0.9)), True),
        (sparse.csr_array(rows(0.5)), False),
    ],
)
def test_what_is_mostly_zeros(X, expected):
    assert mostly_zeros(X) is bool(expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_training_on_zeros_equals_numpy(form, solver):
    X, y = rows(0.8, run=4) / 200, np.arange(200) % 3
    options = {"max_iter": 5, "random_state": 0, "solver": solver}
    fits = [MLPClassifier((70, 8), **options, backend=backend).fit(form(X), y) for backend in ("native", "numpy")]
    for ours, theirs in zip(*(model.coefs_ for model in fits), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
