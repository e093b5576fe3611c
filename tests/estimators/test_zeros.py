"""Rows that are mostly zeros train faster, and to the same weights."""

import numpy as np
import pytest
from scipy import sparse

from fastnn import MLPClassifier
from fastnn.estimators.validation import few_entries, mostly_zeros
from fastnn.losses import LogLoss
from fastnn.lower import Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_training_on_zeros_equals_numpy(form, solver):
    X, y = rows(0.8, run=4) / 200, np.arange(200) % 3
    options = {"max_iter": 5, "random_state": 0, "solver": solver}
    fits = [MLPClassifier((70, 8), **options, backend=backend).fit(form(X), y) for backend in ("native", "numpy")]
    for ours, theirs in zip(*(model.coefs_ for model in fits), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(("precision", "share"), [("full", 0.8), ("bfloat16", 0.95)])
def test_which_matrices_are_read_entry_by_entry(precision, share):
    network = Network(96, (), LogLoss(), "softmax", precision=precision)
    assert few_entries(sparse.csr_array(rows(share)), network)
    assert not few_entries(sparse.csr_array(rows(share - 0.1)), network)
    assert not few_entries(rows(share), network)


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"clip_norm": 1.0}, {"solver": "lbfgs"}])
@pytest.mark.parametrize("hidden", [(70, 8), (30,), ()])
def test_entries_give_the_bits_of_dense_rows(hidden, options):
    X, y = rows(0.9) / 200, np.arange(200) % 7
    dense, entries = (
        MLPClassifier(hidden, max_iter=5, random_state=0, **options).fit(form(X), y)
        for form in (np.asarray, sparse.csr_array)
    )
    for ours, theirs in zip(dense.coefs_, entries.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for form in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        for n in (1, 200):
            np.testing.assert_array_equal(entries.predict_proba(form(X[:n])), dense.predict_proba(X[:n]))
        np.testing.assert_array_equal(entries.transform(form(X), layer=0), dense.transform(X, layer=0))


@pytest.mark.parametrize("hidden", [(3,), ()])
def test_few_units_read_entries_too(hidden):
    X, y = rows(0.9) / 200, np.arange(200) % 2
    dense, entries = (
        MLPClassifier(hidden, max_iter=5, random_state=0).fit(form(X), y) for form in (np.asarray, sparse.csr_array)
    )
    np.testing.assert_allclose(entries.coefs_[0], dense.coefs_[0], rtol=1e-4)
    np.testing.assert_allclose(entries.predict_proba(sparse.csr_array(X)), dense.predict_proba(X), rtol=1e-5)


def test_entries_in_bfloat16():
    X, y = rows(0.95) / 200, np.arange(200) % 7
    options = {"max_iter": 5, "random_state": 0, "precision": "bfloat16"}
    dense, entries = (MLPClassifier((70,), **options).fit(form(X), y) for form in (np.asarray, sparse.csr_array))
    np.testing.assert_allclose(entries.predict_proba(sparse.csr_array(X)), dense.predict_proba(X), atol=2e-3)


def test_held_out_rows_of_another_form():
    X, y = rows(0.9) / 200, np.arange(200) % 7
    histories = []
    for form, form_val in ((np.asarray, np.asarray), (sparse.csr_array, np.asarray), (np.asarray, sparse.csr_array)):
        model = MLPClassifier((70,), max_iter=3, random_state=0)
        model.fit(form(X), y, X_val=form_val(X[:50]), y_val=y[:50])
        histories.append([model.history_[name] for name in ("loss", "validation_loss", "validation_score")])
    assert histories[0] == histories[1] == histories[2]


def test_predictions_follow_changed_weights():
    X, y = sparse.csr_array(rows(0.9) / 200), np.arange(200) % 3
    model = MLPClassifier((30,), max_iter=1, random_state=0).fit(X, y)
    before = model.predict_proba(X)
    model.coefs_[0][:] = 0.0
    after = model.predict_proba(X)
    assert (before != after).any()
    np.testing.assert_array_equal(after, model.predict_proba(X.toarray()))
