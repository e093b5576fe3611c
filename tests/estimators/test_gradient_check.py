"""check_gradient: agrees with backpropagation, notices errors, changes nothing."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_iris, make_multilabel_classification

from fastnn import ConvNet, ESNRegressor, MLPClassifier, MLPRegressor, RecurrentClassifier, check_gradient
from fastnn.estimators.fitting import Fit
from fastnn.gradient_check import GradientCheck
from fastnn.layers import GRU, LSTM, Activation, Bidirectional, Conv2D, Dense, Dropout, Residual
from fastnn.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES

X, Y = load_iris(return_X_y=True)
X, Y = X[::5], Y[::5]
SMALL = {"hidden_layer_sizes": (6, 5), "activation": "tanh", "random_state": 0}


@pytest.mark.parametrize("loss", CLASSIFIER_LOSSES)
def test_classifier_losses(loss, backend):
    model = MLPClassifier(**SMALL, loss=loss, alpha=0.5, l1_ratio=0.2, class_weight="balanced", backend=backend)
    assert check_gradient(model, X, Y, sample_weight=np.linspace(0, 2, 30)).worst < 1e-6


@pytest.mark.parametrize("loss", REGRESSOR_LOSSES)
def test_regressor_losses(loss, backend):
    model = MLPRegressor(loss, **SMALL, backend=backend)
    assert check_gradient(model, X, np.column_stack([Y, X[:, 0]])).worst < 1e-6


@pytest.mark.parametrize(
    "parameters",
    [
        {"activation": "relu"},
        {"activation": "rrelu", "dropout": 0.3},
        {"normalization": "batch", "input_dropout": 0.2},
        {"normalization": "layer", "activation": ["gelu", "mish"]},
        {"hidden_layer_sizes": (), "label_smoothing": 0.1},
        {"precision": "float32"},
        {"solver": "lbfgs"},
    ],
)
def test_networks(parameters, backend):
    model = MLPClassifier(**SMALL | parameters, backend=backend)
    assert check_gradient(model, X, Y).worst < 1e-6


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_fitted_estimator_is_checked_at_its_weights_and_not_changed(solver, backend):
    model = MLPClassifier(**SMALL, solver=solver, max_iter=40, backend=backend).fit(X, Y)
    before = pickle.dumps(model)
    result = check_gradient(model, X, Y)
    assert result.worst < 1e-6
    assert list(result) == [f"{name}[{i}]" for i in range(3) for name in ("coefs_", "intercepts_")]
    assert pickle.dumps(model) == before
    unfitted = MLPClassifier(**SMALL, backend=backend)
    check_gradient(unfitted, X, Y)
    assert set(vars(unfitted)) == set(unfitted.get_params())


def test_multilabel(backend):
    rows, labels = make_multilabel_classification(n_samples=20, n_features=4, random_state=0)
    assert check_gradient(MLPClassifier(**SMALL, backend=backend), rows, labels).worst < 1e-6


def test_an_error_in_the_gradient_is_seen(monkeypatch, backend):
    from fastnn import training

    Runner = training.runner_class(backend)

    class Wrong(Runner):
        def get(self, name):
            return super().get(name) * (1.001 if name == "dense1.W.gradient" else 1)

    monkeypatch.setattr(training, "runner_class", lambda backend: Wrong)
    result = check_gradient(MLPClassifier(**SMALL, backend=backend), X, Y)
    assert result.worst == result["coefs_[1]"] == pytest.approx(1e-3, rel=0.1)


def test_a_large_net_is_sampled(backend):
    model = MLPClassifier((100, 100), activation="tanh", random_state=0, backend=backend)
    assert check_gradient(model, X, Y, max_entries=3).worst < 1e-6


def test_straight_through_derivatives_are_refused(backend):
    with pytest.raises(ValueError, match="'sign' is flat and trains with a straight-through derivative"):
        check_gradient(MLPClassifier(**SMALL | {"activation": "sign"}, backend=backend), X, Y)


def test_truncated_gradients_are_refused(backend):
    for layer in (GRU(3, truncate=2), Bidirectional(LSTM(3, truncate=2))):
        with pytest.raises(ValueError, match=r"(GRU|LSTM) has truncate=2, a gradient that is cut short"):
            check_gradient(RecurrentClassifier([layer], backend=backend), X, Y)


@pytest.mark.parametrize("other", [ESNRegressor(), 3])
def test_what_does_not_train_by_gradients_is_refused(other):
    with pytest.raises(TypeError, match="expected an estimator of fastnn that trains by gradients"):
        check_gradient(other, X, Y)


def test_wrong_parameters_are_refused_as_in_fit(backend):
    with pytest.raises(ValueError, match="The 'alpha' parameter of MLPClassifier"):
        check_gradient(MLPClassifier(alpha="none", backend=backend), X, Y)


def test_repr():
    text = repr(GradientCheck({"coefs_[0]": 2e-9, "intercepts_[0]": 3e-8}))
    assert text.splitlines()[1:] == [
        "coefs_[0]            2.0e-09",
        "intercepts_[0]       3.0e-08",
        "worst                3.0e-08",
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": 0},
        {"epsilon": -1e-6},
        {"epsilon": "small"},
        {"epsilon": np.inf},
        {"max_entries": 0},
        {"max_entries": None},
        {"max_entries": 2.5},
    ],
    ids=str,
)
def test_steps_and_entries_that_check_nothing_are_refused(options, backend):
    with pytest.raises(ValueError, match="expected a positive epsilon or None and a max_entries of at least 1"):
        check_gradient(MLPClassifier(**SMALL, backend=backend), X, Y, **options)


def test_weights_that_cancel_each_other_are_refused(backend):
    with pytest.raises(ValueError, match="the weights of the training rows sum to 0"):
        check_gradient(MLPClassifier(**SMALL, backend=backend), X[:4], Y[:4], [1, -1, 1, -1])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fitted_classifier_with_balanced_classes(backend):
    model = MLPClassifier(**SMALL, class_weight="balanced", max_iter=3, backend=backend).fit(X, Y)
    assert check_gradient(model, X[:17], Y[:17]).worst < 1e-6


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_weights_that_early_stopping_shows_are_checked(monkeypatch, backend):
    parameters = {"early_stopping": True, "warm_start": True, "learning_rate_init": 0.5, "max_iter": 20}
    model = MLPClassifier(**SMALL, **parameters, backend=backend).fit(X, Y)
    assert model._progress.last is not None
    seen, checked = [], Fit.gradient_runner
    monkeypatch.setattr(Fit, "gradient_runner", lambda fit: seen.append(fit.weights) or checked(fit))
    check_gradient(model, X, Y)
    assert any(np.array_equal(array, model.coefs_[0]) for array in seen[0].values())


@pytest.mark.parametrize(
    "layers",
    [
        [Residual([Conv2D(2, 3, padding="same", activation="relu")]), Dropout(0.4)],
        [Residual([Dense(8, "relu")], [Dense(8, trainable=False)]), Dropout(0.3)],
        [Dense(8, trainable=False), Residual([Dense(8, "relu"), Dropout(0.2)]), Dropout(0.3), Dense(4, "relu")],
        [Residual([Conv2D(2, 1)]), Activation("relu"), Dropout(0.3), Residual([Dropout(0.2), Activation("relu")])],
    ],
)
def test_dropout_of_a_sum_of_which_one_term_depends_on_no_weight(layers, backend):
    images = np.random.default_rng(0).standard_normal((30, 4, 4, 2))
    assert check_gradient(ConvNet(layers, random_state=0, backend=backend), images, Y).worst < 1e-6
