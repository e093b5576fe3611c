"""scikit-learn's estimator checks: every one passes, on each backend; none is skipped or expected to fail."""

from unittest import SkipTest

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import MLPClassifier, MLPRegressor

from .conftest import BACKENDS

ESTIMATORS = [Estimator(backend=name) for Estimator in (MLPClassifier, MLPRegressor) for name in BACKENDS]


@parametrize_with_checks(ESTIMATORS)
@pytest.mark.filterwarnings("ignore")
def test_check(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")
