"""The same parameters, start and steps as scikit-learn's MLP: where no shuffle intervenes, the same numbers."""

import inspect

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from sklearn.metrics import accuracy_score

import fastnn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS, Y_IRIS = load_iris(return_X_y=True)
X_LABELS, Y_LABELS = make_multilabel_classification(n_samples=60, random_state=0)
X_TARGETS, Y_TARGETS = make_regression(n_samples=60, n_features=7, n_targets=3, random_state=0)
DATA = {
    "binary": ("MLPClassifier", X_IRIS[:100], Y_IRIS[:100]),
    "multiclass": ("MLPClassifier", X_IRIS, Y_IRIS),
    "multilabel": ("MLPClassifier", X_LABELS, Y_LABELS),
    "one_output": ("MLPRegressor", X_TARGETS, Y_TARGETS[:, 0] / 100),
    "outputs": ("MLPRegressor", X_TARGETS, Y_TARGETS / 100),
}


def pair(data, backend, **parameters):
    """Our estimator and scikit-learn's with the same parameters, both fitted on the same data."""
    name, X, y = DATA[data]
    weight = parameters.pop("sample_weight", None)
    parameters = {"hidden_layer_sizes": (9, 5), "shuffle": False, "max_iter": 6, "random_state": 3} | parameters
    ours = getattr(fastnn, name)(**parameters, backend=backend).fit(X, y, sample_weight=weight)
    theirs = getattr(neural_network, name)(**parameters).fit(X, y, sample_weight=weight)
    return ours, theirs, X


def assert_equal_weights(ours, theirs, tolerance=1e-10):
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters_order_and_defaults(name):
    theirs = list(inspect.signature(getattr(neural_network, name)).parameters.values())
    ours = list(inspect.signature(getattr(fastnn, name)).parameters.values())
    assert ours[: len(theirs)] == theirs
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in ours[len(theirs) :])


@pytest.mark.parametrize("data", ["binary", "outputs"])
def test_attributes(data, backend):
    ours, theirs, _ = pair(data, backend)
    public = {name for name in vars(theirs) if name[0] != "_"}
    assert public <= set(vars(ours))
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "t_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.validation_scores_ is theirs.validation_scores_ is None
    assert ours.best_validation_score_ is theirs.best_validation_score_ is None


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_initial_weights(data, activation, backend):
    ours, theirs, _ = pair(data, backend, activation=activation, learning_rate_init=1e-300, solver="sgd", max_iter=1)
    assert_equal_weights(ours, theirs, 0)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "adam"},
        {"solver": "adam", "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3, "activation": "tanh"},
        {"solver": "adam", "beta_2": 0.0, "epsilon": 0.1, "activation": "tanh"},
        {"solver": "adam", "learning_rate": "invscaling"},
        {"solver": "adam", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
        {"solver": "sgd"},
        {"solver": "sgd", "momentum": 0.0, "activation": "logistic"},
        {"solver": "sgd", "nesterovs_momentum": False, "activation": "identity"},
        {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
    ],
)
def test_first_order_solvers(data, solver, backend):
    ours, theirs, X = pair(data, backend, batch_size=32, learning_rate_init=0.01, alpha=0.1, **solver)
    assert_equal_weights(ours, theirs)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)
    if data != "outputs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
        np.testing.assert_allclose(ours.best_loss_, theirs.best_loss_, rtol=1e-9)


@pytest.mark.parametrize("data", ["binary", "multiclass", "multilabel", "one_output"])
def test_sample_weights(data, backend):
    n = len(DATA[data][1])
    weight = np.random.RandomState(0).randint(0, 4, n).astype(float)
    ours, theirs, _ = pair(data, backend, batch_size=32, alpha=0.1, sample_weight=weight)
    assert_equal_weights(ours, theirs)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)


def test_batches_whose_weights_sum_to_less_than_zero(backend):
    weight = np.where(np.arange(150) < 50, -1.0, 1.0)
    options = {"batch_size": 50, "solver": "sgd", "max_iter": 3, "sample_weight": weight}
    ours, theirs, _ = pair("multiclass", backend, **options)
    assert_equal_weights(ours, theirs)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_)


@pytest.mark.parametrize("data", ["binary", "multiclass", "multilabel", "one_output"])
def test_lbfgs(data, backend):
    ours, theirs, _ = pair(data, backend, solver="lbfgs", activation="tanh", max_iter=5)
    assert_equal_weights(ours, theirs, 1e-6)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-8)
    assert ours.n_iter_ == theirs.n_iter_ == len(ours.loss_curve_)


def test_poisson(backend):
    y = np.random.RandomState(0).poisson(2.0, len(X_TARGETS))
    parameters = {"loss": "poisson", "shuffle": False, "batch_size": 16, "max_iter": 6, "random_state": 0}
    ours = fastnn.MLPRegressor(**parameters, backend=backend).fit(X_TARGETS, y)
    theirs = neural_network.MLPRegressor(**parameters).fit(X_TARGETS, y)
    assert_equal_weights(ours, theirs)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)


def test_several_outputs_report_the_loss_whose_gradient_is_used(backend):
    ours, theirs, _ = pair("outputs", backend, alpha=0.0)
    np.testing.assert_allclose(ours.loss_curve_, 3 * np.array(theirs.loss_curve_), rtol=1e-9)


def test_predictions_of_scikit_learn_s_weights(backend):
    theirs = neural_network.MLPClassifier(random_state=0).fit(X_IRIS, Y_IRIS)
    ours = fastnn.MLPClassifier(backend=backend, max_iter=1).fit(X_IRIS, Y_IRIS)
    ours.coefs_, ours.intercepts_ = theirs.coefs_, theirs.intercepts_
    np.testing.assert_allclose(ours.predict_proba(X_IRIS), theirs.predict_proba(X_IRIS), rtol=1e-9)
    assert ours.score(X_IRIS, Y_IRIS) == accuracy_score(Y_IRIS, theirs.predict(X_IRIS))
