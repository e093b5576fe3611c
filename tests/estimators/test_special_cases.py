"""No hidden layer: the perceptron, Adaline, logistic and softmax regression, linear and Poisson regression."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, PoissonRegressor, Ridge
from sklearn.preprocessing import StandardScaler

from fastnn import ConvNet, MLPClassifier, MLPRegressor
from fastnn.layers import LayerNorm

X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
BINARY, Y_BINARY = X[50:, 2:], Y[50:]
# scipy also stops when the loss falls by less than 2e-9 of itself, so minima agree to some four digits.
EXACT = {"solver": "lbfgs", "tol": 1e-8, "max_iter": 2000, "random_state": 0}
ignore_convergence = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("hidden", [(), [], np.array([], int)])
def test_no_hidden_layer(hidden, backend):
    model = MLPClassifier(hidden, **EXACT, alpha=1.0, backend=backend).fit(X, Y)
    assert model.n_layers_ == 2
    assert [array.shape for array in model.coefs_ + model.intercepts_] == [(4, 3), (3,)]


def test_softmax_regression(backend):
    model = MLPClassifier((), **EXACT, alpha=1.0, backend=backend).fit(X, Y)
    expected = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit(X, Y)
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-3)


def test_logistic_regression(backend):
    model = MLPClassifier((), **EXACT, alpha=1.0, backend=backend).fit(BINARY, Y_BINARY)
    expected = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit(BINARY, Y_BINARY)
    np.testing.assert_allclose(model.coefs_[0].T, expected.coef_, atol=1e-3)
    np.testing.assert_allclose(model.decision_function(BINARY), expected.decision_function(BINARY), atol=1e-3)


@ignore_convergence
def test_perceptron(backend):
    """Rosenblatt's rule, one row at a time, from zero weights: the very steps of scikit-learn's Perceptron."""
    parameters = {"shuffle": False, "max_iter": 7, "tol": None}
    expected = Perceptron(eta0=0.5, **parameters).fit(BINARY, Y_BINARY)
    model = MLPClassifier((), loss="perceptron", solver="sgd", momentum=0.0, batch_size=1, init="zeros", alpha=0.0)
    model.set_params(learning_rate_init=0.5, shuffle=False, max_iter=7, backend=backend)
    model.fit(BINARY, Y_BINARY)
    np.testing.assert_allclose(model.coefs_[0].T, expected.coef_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(model.intercepts_[0], expected.intercept_, rtol=1e-12, atol=1e-12)


@ignore_convergence
def test_perceptron_converges_on_separable_data(backend):
    rows = Y < 2
    model = MLPClassifier((), loss="perceptron", solver="sgd", momentum=0.0, init="zeros", alpha=0.0, backend=backend)
    model.fit(X[rows], Y[rows])
    assert model.loss_curve_[-1] == 0
    assert model.score(X[rows], Y[rows]) == 1.0


def test_adaline(backend):
    """Least squares on targets -1 and 1."""
    model = MLPClassifier((), loss="squared_error", **EXACT, alpha=0.0, backend=backend).fit(BINARY, Y_BINARY)
    expected = LinearRegression().fit(BINARY, 2.0 * (Y_BINARY == 2) - 1)
    np.testing.assert_allclose(model.decision_function(BINARY), expected.predict(BINARY), atol=1e-5)
    np.testing.assert_array_equal(model.predict(BINARY), np.where(expected.predict(BINARY) > 0, 2, 1))


@ignore_convergence
def test_adaline_by_the_delta_rule(backend):
    """Widrow and Hoff: w <- w + rate (t - z) x, row by row."""
    w, b, targets = np.zeros(2), 0.0, 2.0 * (Y_BINARY == 2) - 1
    for _ in range(3):
        for x, t in zip(BINARY, targets, strict=True):
            error = t - (x @ w + b)
            w, b = w + 0.01 * error * x, b + 0.01 * error
    model = MLPClassifier((), loss="squared_error", solver="sgd", momentum=0.0, batch_size=1, init="zeros", alpha=0.0)
    model.set_params(learning_rate_init=0.01, shuffle=False, max_iter=3, backend=backend).fit(BINARY, Y_BINARY)
    np.testing.assert_allclose(model.coefs_[0][:, 0], w, rtol=1e-12)
    np.testing.assert_allclose(model.intercepts_[0], b, rtol=1e-12)


@ignore_convergence
def test_linear_support_vector_machine(backend):
    model = MLPClassifier((), loss="hinge", learning_rate_init=0.05, alpha=1e-3, random_state=0, backend=backend)
    model.fit(X, Y)
    assert model.score(X, Y) > 0.9
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model, "predict_log_proba")
    assert model.decision_function(X).shape == (150, 3)
    np.testing.assert_array_equal(model.decision_function(X).argmax(axis=1), model.predict(X))


def test_ridge_and_linear_regression(backend):
    y = np.column_stack([X @ [1.0, 2.0, -1.0, 0.5], X[:, 0] ** 2])
    for alpha in (0.0, 10.0):
        model = MLPRegressor(hidden_layer_sizes=(), **EXACT, alpha=alpha, backend=backend).fit(X, y)
        expected = Ridge(alpha=alpha).fit(X, y)
        np.testing.assert_allclose(model.predict(X), expected.predict(X), atol=1e-3)


def test_poisson_regression(backend):
    counts = np.random.RandomState(0).poisson(np.exp(X @ [0.3, 0.1, -0.2, 0.4]))
    model = MLPRegressor("poisson", (), **EXACT, alpha=0.0, backend=backend).fit(X, counts)
    expected = PoissonRegressor(alpha=0.0, tol=1e-10, max_iter=1000).fit(X, counts)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-4)


@ignore_convergence
@pytest.mark.parametrize(("loss", "expected"), [("absolute_error", np.median), ("quantile", np.median)])
def test_median_regression(loss, expected, backend):
    y = np.random.RandomState(0).exponential(size=401)
    model = MLPRegressor(loss, (), learning_rate_init=0.02, max_iter=600, batch_size=401, backend=backend)
    model.set_params(init="zeros", alpha=0.0, n_iter_no_change=100, tol=0.0).fit(np.zeros((401, 1)), y)
    assert model.predict([[0.0]])[0] == pytest.approx(expected(y), abs=0.05)


@ignore_convergence
def test_large_sample_weights_are_those_of_small_ones():
    weight = np.linspace(1, 2, 150)
    parameters = {"hidden_layer_sizes": (5,), "max_iter": 20, "alpha": 0.0, "random_state": 0, "precision": "float32"}
    expected = MLPClassifier(**parameters).fit(X, Y, weight)
    model = MLPClassifier(**parameters).fit(X, Y, 1e37 * weight)
    np.testing.assert_allclose(model.coefs_[0], expected.coefs_[0], rtol=1e-3, atol=1e-5)


@ignore_convergence
@pytest.mark.parametrize("solver", ["adam", "rmsprop", "adagrad"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_epsilon_that_float32_flushes_to_zero(solver, precision, backend):
    columns = np.hstack([X, np.zeros((150, 1))])
    model = MLPClassifier((5,), solver=solver, epsilon=1e-40, max_iter=5, alpha=0.0, random_state=0, backend=backend)
    model.set_params(precision=precision).fit(columns, Y)
    assert all(np.isfinite(array).all() for array in model.coefs_)


def test_an_epsilon_of_layer_norm_that_float32_flushes_to_zero(backend):
    constant = np.zeros((9, 4), np.float32)
    model = ConvNet([LayerNorm(epsilon=1e-40)], input_shape=(4,), max_iter=1, random_state=0, backend=backend)
    with pytest.warns(ConvergenceWarning):
        model.fit(constant, np.arange(9) % 2)
    assert np.isfinite(model.predict_proba(constant)).all()
