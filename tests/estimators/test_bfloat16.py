"""precision="bfloat16": rounded products, float32 weights; fit, partial_fit, predict, pickle as with other types."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_regression
from sklearn.model_selection import train_test_split
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastnn import (
    ConvNet,
    ConvNetRegressor,
    MLPClassifier,
    MLPRegressor,
    RecurrentClassifier,
    RecurrentRegressor,
    check_gradient,
)
from fastnn.layers import GRU, LSTM, Conv1D, Conv2D, MaxPool2D

LAYERS = [Conv2D(8, 3, activation="relu"), MaxPool2D()]


@pytest.fixture(scope="module")
def digits():
    """Also what a recurrent network reads line by line."""
    X, y = load_digits(return_X_y=True)
    return train_test_split((X / 16).astype(np.float32).reshape(-1, 8, 8), y, random_state=0)


def as_read(digits, name):
    """The digits, for a dense network in rows."""
    X, X_test, y, y_test = digits
    shape = (-1, 64) if name == "mlp" else (-1, 8, 8)
    return X.reshape(shape), X_test.reshape(shape), y, y_test


def networks(backend="native"):
    options = {"backend": backend, "random_state": 0, "tol": 0.0, "batch_size": 64}
    return {
        "mlp": MLPClassifier((50,), max_iter=30, **options),
        "convnet": ConvNet(LAYERS, input_shape=(8, 8), max_iter=15, learning_rate_init=0.005, **options),
        "recurrent": RecurrentClassifier([LSTM(32)], max_iter=25, learning_rate_init=0.005, **options),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", networks())
def test_accuracy_is_close_to_that_of_float32(digits, name):
    X, X_test, y, y_test = as_read(digits, name)
    scores = {}
    for precision in ("float32", "bfloat16"):
        model = networks()[name].set_params(precision=precision).fit(X, y)
        assert {array.dtype for array in model.coefs_} == {np.dtype(np.float32)}
        assert model.predict_proba(X_test).dtype == np.float32
        scores[precision] = model.score(X_test, y_test)
    assert scores["float32"] > 0.95
    assert abs(scores["bfloat16"] - scores["float32"]) < 0.012


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", networks())
def test_products_are_rounded_in_training_and_in_prediction(digits, name):
    X, X_test, y, _ = as_read(digits, name)
    full = networks()[name].set_params(precision="float32", max_iter=2).fit(X, y)
    rounded = networks()[name].set_params(precision="bfloat16", max_iter=2).fit(X, y)
    assert not np.array_equal(full.coefs_[0], rounded.coefs_[0])
    rounded.coefs_, rounded.intercepts_ = full.coefs_, full.intercepts_
    difference = np.abs(rounded.predict_proba(X_test) - full.predict_proba(X_test)).max()
    assert 1e-6 < difference < 0.05


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", networks())
def test_both_backends_learn_alike(digits, name):
    X, X_test, y, _ = as_read(digits, name)
    results = []
    for backend in ("native", "numpy"):
        model = networks(backend)[name].set_params(precision="bfloat16", max_iter=1, solver="sgd")
        results.append(model.fit(X[:200], y[:200]).predict_proba(X_test))
    np.testing.assert_allclose(results[0], results[1], atol=0.01)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", networks())
def test_partial_fit_and_pickle_go_on(digits, name):
    X, X_test, y, _ = as_read(digits, name)
    model = networks()[name].set_params(precision="bfloat16")
    for _ in range(3):
        model.partial_fit(X, y, classes=np.arange(10))
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.predict_proba(X_test), model.predict_proba(X_test))
    copy.partial_fit(X, y)
    model.partial_fit(X, y)
    assert np.array_equal(copy.coefs_[0], model.coefs_[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("Regressor", [MLPRegressor, ConvNetRegressor, RecurrentRegressor])
def test_regression(Regressor):
    X, y = make_regression(300, 16, noise=1.0, random_state=0)
    network = {
        MLPRegressor: {"hidden_layer_sizes": (50,)},
        ConvNetRegressor: {"layers": LAYERS, "input_shape": (4, 4)},
        RecurrentRegressor: {"layers": [GRU(50)]},
    }[Regressor]
    X = X.reshape(-1, 4, 4) if Regressor is RecurrentRegressor else X
    scores = []
    for precision in ("float32", "bfloat16"):
        model = Regressor(**network, precision=precision, max_iter=100, learning_rate_init=0.01, random_state=0)
        scores.append(model.fit(X, y / y.std()).score(X, y / y.std()))
    assert scores[0] > 0.8
    assert abs(scores[1] - scores[0]) < 0.02


@pytest.mark.filterwarnings("ignore")
def test_weights_of_float64_are_taken_as_float32(digits):
    X, X_test, y, _ = as_read(digits, "mlp")
    model = MLPClassifier((20,), precision="bfloat16", max_iter=2).fit(X, y)
    expected = model.predict_proba(X_test)
    model.coefs_ = [W.astype(np.float64) for W in model.coefs_]
    assert np.array_equal(model.predict_proba(X_test), expected)


@pytest.mark.filterwarnings("ignore")
def test_lbfgs_and_gradient_checks_do_not_round(digits):
    X, _, y, _ = as_read(digits, "mlp")
    weights = {}
    for precision in ("float32", "bfloat16"):
        model = MLPClassifier((10,), "tanh", solver="lbfgs", precision=precision, max_iter=5, random_state=0)
        weights[precision] = model.fit(X[:100], y[:100]).coefs_[0]
    assert np.array_equal(weights["float32"], weights["bfloat16"])
    assert check_gradient(model, X[:20], y[:20]).worst < 1e-6


def contract():
    """scikit-learn's checks, but for those that compare two fits to 7 digits: weights in place of repeated rows change
    sums in their last digit, and rounding makes 2^-8 of that."""
    layers = [Conv1D(4, 2, padding="same", activation="relu")]
    for estimator in (
        MLPClassifier(precision="bfloat16"),
        MLPRegressor(precision="bfloat16"),
        ConvNet(layers, learning_rate_init=0.02, max_iter=60, precision="bfloat16"),
        RecurrentClassifier([GRU(8)], learning_rate_init=0.02, max_iter=60, batch_size=50, precision="bfloat16"),
        RecurrentRegressor([GRU(8)], learning_rate_init=0.02, max_iter=60, batch_size=50, precision="bfloat16"),
    ):
        for checked, check in estimator_checks_generator(estimator, mark=None):
            if "sample_weight_equivalence" not in check.func.__name__:
                yield pytest.param(checked, check, id=f"{type(estimator).__name__}-{check.func.__name__}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(contract()))
def test_contract_of_scikit_learn(estimator, check):
    check(estimator)
