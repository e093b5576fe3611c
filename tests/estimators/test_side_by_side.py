"""Fits that run side by side give what they give one after another, in threads and in processes."""

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score

from fastnn import ConvNet, MLPClassifier, RecurrentClassifier
from fastnn.layers import GRU, Conv2D, MaxPool2D

X, y = load_digits(return_X_y=True)
X, y = (X / 16)[:600].astype(np.float32), y[:600]
COMMON = {"max_iter": 5, "tol": 0.0, "random_state": 0}
ESTIMATORS = {
    "dense": (MLPClassifier((256, 128), **COMMON), X),
    "convolutional": (ConvNet([Conv2D(8, 3), MaxPool2D()], **COMMON), X.reshape(-1, 8, 8)),
    "recurrent": (RecurrentClassifier([GRU(16)], **COMMON), X.reshape(-1, 8, 8)),
}
pytestmark = [
    pytest.mark.parametrize("backend", ["loky", "threading"]),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def fitted(estimator, X):
    return clone(estimator).fit(X, y).predict_proba(X).tobytes()


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_same_bits(kind, backend):
    estimator, data = ESTIMATORS[kind]
    with joblib.parallel_config(backend):
        results = joblib.Parallel(n_jobs=4)(joblib.delayed(fitted)(estimator, data) for _ in range(6))
    assert set(results) == {fitted(estimator, data)}


def test_a_search(backend):
    grid = {"hidden_layer_sizes": [(32,), (64, 32)], "alpha": [0.0, 0.1]}
    searches = []
    for n_jobs in (1, 3):
        with joblib.parallel_config(backend):
            search = GridSearchCV(MLPClassifier(**COMMON), grid, cv=3, n_jobs=n_jobs).fit(X, y)
        searches.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*searches)


def test_cross_validation_inside_another_fit_s_threads(backend):
    expected = cross_val_score(ESTIMATORS["dense"][0], X, y, cv=3)
    with joblib.parallel_config(backend):
        jobs = joblib.Parallel(n_jobs=2)(
            joblib.delayed(cross_val_score)(ESTIMATORS["dense"][0], X, y, cv=3, n_jobs=2) for _ in range(2)
        )
    for scores in jobs:
        np.testing.assert_array_equal(scores, expected)
