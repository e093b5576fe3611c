"""scikit-learn's estimator checks: every one passes, on each backend; none is skipped or expected to fail."""

from unittest import SkipTest

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
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


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("Estimator", [MLPRegressor, MLPClassifier, ConvNet, RecurrentClassifier])
def test_activations_come_in_data_frames_where_they_are_tables(Estimator, library):
    frames = pytest.importorskip(library)
    X, y = load_iris(return_X_y=True)
    net = Estimator(max_iter=1, random_state=0).fit(X, y)
    outputs, hidden = net.transform(X), [net.transform(X, layer=i) for i in range(len(net.layers_))]
    name = Estimator.__name__.lower()
    frame = net.set_output(transform=library).transform(X)
    assert isinstance(frame, frames.DataFrame)
    assert list(frame.columns) == [f"{name}{i}" for i in range(net.n_outputs_)] == list(net.get_feature_names_out())
    np.testing.assert_array_equal(frame, outputs)
    for place, expected in enumerate(hidden[:-1]):
        activations = net.transform(X, layer=place)
        if expected.ndim == 2:
            assert isinstance(activations, frames.DataFrame)
            assert list(activations.columns) == [f"{name}_layer{place}_{i}" for i in range(expected.shape[1])]
        np.testing.assert_array_equal(activations, expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_network_names_its_columns_among_other_transformers():
    X, y = load_iris(return_X_y=True, as_frame=True)
    parts = [("net", MLPClassifier(max_iter=1), slice(0, 2)), ("scale", StandardScaler(), slice(0, 4))]
    networks = ColumnTransformer(parts)
    frame = networks.set_output(transform="pandas").fit_transform(X, y)
    assert list(frame.columns)[:3] == ["net__mlpclassifier0", "net__mlpclassifier1", "net__mlpclassifier2"]
    assert (frame.index == X.index).all()


def test_a_pipeline_that_ends_with_a_network_gives_its_other_steps_data_frames():
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(solver="lbfgs", random_state=0))
    pipeline.set_output(transform="pandas").fit(X, y)
    assert list(pipeline[-1].feature_names_in_) == list(X.columns)
    assert pipeline.score(X, y) > 0.95
