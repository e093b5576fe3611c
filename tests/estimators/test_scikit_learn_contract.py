"""scikit-learn's estimator checks: every one passes, on each backend; none is skipped or expected to fail."""

from unittest import SkipTest

import pytest
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import (
    ConvNet,
    ConvNetRegressor,
    ESNClassifier,
    ESNRegressor,
    MLPClassifier,
    MLPRegressor,
    RecurrentClassifier,
    RecurrentRegressor,
)
from fastnn.layers import Conv1D

from .conftest import BACKENDS

SMALL = {"layers": [Conv1D(4, 2, padding="same", activation="relu")], "learning_rate_init": 0.02, "max_iter": 60}
FAST = {"learning_rate_init": 0.01, "max_iter": 60}  # the reference takes minutes with the defaults
ESTIMATORS = [
    *(Estimator(backend=name) for Estimator in (MLPClassifier, MLPRegressor) for name in BACKENDS),
    *(Estimator(**SMALL, backend=name) for Estimator in (ConvNet, ConvNetRegressor) for name in BACKENDS),
    *(Estimator(backend=name) for Estimator in (ESNClassifier, ESNRegressor) for name in BACKENDS),
    *(Estimator() for Estimator in (RecurrentClassifier, RecurrentRegressor)),
    *(Estimator(**FAST, backend="numpy") for Estimator in (RecurrentClassifier, RecurrentRegressor)),
    ConvNet(),
    ConvNetRegressor(),
]


@parametrize_with_checks(ESTIMATORS)
@pytest.mark.filterwarnings("ignore")
def test_check(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


def test_a_pipeline_that_ends_with_a_network_gives_its_other_steps_data_frames():
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(solver="lbfgs", random_state=0))
    pipeline.set_output(transform="pandas").fit(X, y)
    assert list(pipeline[-1].feature_names_in_) == list(X.columns)
    assert pipeline.score(X, y) > 0.95
