"""What a fit records, and when it stops."""

import math
import os
import re
import signal
import threading
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss, make_scorer, mean_absolute_error, r2_score

from fastnn import ConvNet, MLPClassifier, MLPRegressor, training
from fastnn.layers import Conv2D
from fastnn.schedules import Adaptive, Cosine, InverseScaling

X, Y = load_iris(return_X_y=True)
DIGITS, Y_DIGITS = load_digits(return_X_y=True)
FIRST_ORDER = ("gd", "sgd", "adagrad", "rmsprop", "adam", "adamw")
ignore_convergence = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@ignore_convergence
@pytest.mark.parametrize("solver", (*FIRST_ORDER, "lbfgs"))
def test_every_solver_records_its_loss(solver, backend):
    model = MLPClassifier((8,), solver=solver, max_iter=12, random_state=0, backend=backend).fit(X, Y)
    history = model.history_
    assert history["loss"] == model.loss_curve_
    assert len(model.loss_curve_) == model.n_iter_ == 12
    assert model.loss_ == model.loss_curve_[-1]
    assert model.best_loss_ == min(model.loss_curve_)
    assert len(history["seconds"]) == 12
    assert all(seconds > 0 for seconds in history["seconds"])
    assert set(history) == {"loss", "seconds"} | (set() if solver == "lbfgs" else {"learning_rate"})
    assert model.loss_ < model.loss_curve_[0]


@ignore_convergence
@pytest.mark.parametrize("solver", FIRST_ORDER)
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive", InverseScaling(), Adaptive()])
def test_learning_rates(solver, learning_rate, backend):
    parameters = {"learning_rate_init": 0.01, "tol": 100.0, "n_iter_no_change": 2, "max_iter": 8}
    model = MLPClassifier((8,), solver=solver, learning_rate=learning_rate, **parameters, backend=backend)
    rates = model.fit(X, Y).history_["learning_rate"]
    if learning_rate == "constant" or (solver == "adam" and isinstance(learning_rate, str)):
        assert rates == [0.01] * 4
    elif learning_rate in ("invscaling", InverseScaling()):
        assert rates == pytest.approx([0.01, *(0.01 / (150 * k + 1) ** 0.5 for k in (1, 2, 3))])
    else:
        assert rates == pytest.approx([0.01] * 4 + [0.002] * 3 + [0.0004])


@ignore_convergence
def test_a_schedule_with_an_end_spans_the_fit(backend):
    model = MLPClassifier((8,), learning_rate=Cosine(), max_iter=8, batch_size=50, backend=backend).fit(X, Y)
    steps = np.arange(2, 24, 3)
    np.testing.assert_allclose(model.history_["learning_rate"], 0.001 * (1 + np.cos(np.pi * steps / 24)) / 2)


@ignore_convergence
def test_validation_data_is_recorded_without_early_stopping(backend):
    model = MLPClassifier((8,), max_iter=5, random_state=0, backend=backend)
    model.fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
    assert model.history_["validation_score"][-1] == model.score(X[1::2], Y[1::2])
    expected = log_loss(Y[1::2], model.predict_proba(X[1::2]))
    assert model.history_["validation_loss"][-1] == pytest.approx(expected)
    assert model.validation_scores_ is None


@ignore_convergence
def test_a_single_class_is_always_right(backend):
    """Also where the output, which training takes down to 0, is still above 1/2."""
    model = MLPClassifier((8,), learning_rate_init=1e-9, max_iter=1, random_state=1, backend=backend)
    model.fit(X, np.zeros(len(X), int), X_val=X, y_val=np.zeros(len(X), int))
    assert (model.decision_function(X) > 0).any()
    assert model.history_["validation_score"] == [1.0] == [model.score(X, np.zeros(len(X), int))]


@ignore_convergence
def test_validation_data_with_lbfgs(backend):
    model = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=5, random_state=0, backend=backend)
    model.fit(X, Y, X_val=X[::3], y_val=Y[::3])
    assert model.history_["validation_score"][-1] == pytest.approx(model.score(X[::3], Y[::3]))
    assert len(model.history_["validation_loss"]) == 5


@ignore_convergence
@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping_keeps_the_best_weights_on_given_data(weighted, backend):
    weight = np.linspace(0, 1, 50) if weighted else None
    X_val, y_val = X[::3], Y[::3].astype(float)
    model = MLPRegressor(hidden_layer_sizes=(20,), early_stopping=True, learning_rate_init=0.1, random_state=0)
    model.set_params(backend=backend, n_iter_no_change=3, max_iter=60)
    model.fit(X, Y.astype(float), X_val=X_val, y_val=y_val, sample_weight_val=weight)
    assert model.best_validation_score_ == max(model.validation_scores_)
    expected = r2_score(y_val, model.predict(X_val), sample_weight=weight)
    assert model.best_validation_score_ == pytest.approx(expected, abs=1e-12)
    assert model.best_loss_ is None
    assert model.t_ == 150 * model.n_iter_


@ignore_convergence
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("scoring", [None, "r2"])
def test_early_stopping_has_nothing_to_go_by_where_r2_has_a_single_row(scoring, backend):
    model = MLPRegressor(hidden_layer_sizes=(4,), scoring=scoring, max_iter=2, random_state=0, backend=backend)
    one = {"X_val": X[:1], "y_val": Y[:1]}
    history = model.fit(X, Y, **one).history_
    assert np.isnan(history["validation_score"]).all()
    assert np.isfinite(history["validation_loss"]).all()
    model.set_params(early_stopping=True)
    with pytest.raises(ValueError, match=r"MLPRegressor: early_stopping .* NaN: R\^2 needs at least two .* scoring="):
        model.fit(X, Y, **one)
    assert model.set_params(scoring="neg_mean_squared_error").fit(X, Y, **one).best_validation_score_ < 0


@ignore_convergence
@pytest.mark.parametrize(
    "scoring",
    ["neg_log_loss", "balanced_accuracy", make_scorer(accuracy_score), lambda model, X, y: model.score(X, y)],
)
def test_early_stopping_by_a_scorer(scoring, backend):
    model = MLPClassifier((20,), early_stopping=True, scoring=scoring, random_state=0, max_iter=5, backend=backend)
    model.fit(X, Y)
    assert len(model.validation_scores_) == 5
    if scoring == "neg_log_loss":
        assert model.validation_scores_ == pytest.approx([-loss for loss in model.history_["validation_loss"]])


@ignore_convergence
def test_a_scorer_gets_labels_and_weights(backend):
    names = np.array(["setosa", "versicolor", "virginica"])
    seen = []

    def scorer(model, X, y, sample_weight=None):
        seen.append((set(y), set(model.predict(X)), sample_weight))
        return model.score(X, y, sample_weight)

    model = MLPClassifier((20,), early_stopping=True, scoring=scorer, max_iter=3, backend=backend)
    model.fit(X, names[Y], sample_weight=np.arange(150.0))
    labels, predicted, weight = seen[0]
    assert labels <= set(names) >= predicted
    assert weight.shape == (15,)


@ignore_convergence
def test_a_scorer_sees_no_feature_names_it_would_miss(backend):
    frame = pd.DataFrame(X, columns=list("abcd"))
    MLPClassifier((20,), early_stopping=True, scoring="accuracy", max_iter=3, backend=backend).fit(frame, Y)


@ignore_convergence
def test_a_scorer_that_cannot_take_nan(backend):
    scorer = make_scorer(mean_absolute_error, greater_is_better=False)
    model = MLPRegressor(hidden_layer_sizes=(50,), activation="identity", solver="sgd", learning_rate_init=1.0)
    model.set_params(early_stopping=True, scoring=scorer, max_iter=30, random_state=0, backend=backend)
    model.fit(X, Y)
    assert math.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(X)).all()
    assert len(model.validation_scores_) == len(model.loss_curve_) == model.n_iter_ < 30


@ignore_convergence
def test_scores_that_are_all_nan_leave_the_last_weights_and_a_warning(backend):
    parameters = {"early_stopping": True, "n_iter_no_change": 3, "random_state": 0, "backend": backend}
    model = MLPClassifier((20,), scoring=lambda model, X, y: np.nan, **parameters)
    with pytest.warns(UserWarning, match="None of 4 validation scores was a finite number.*those of the last epoch"):
        model.fit(X, Y)
    assert model.best_validation_score_ == -np.inf and np.isnan(model.validation_scores_).all()
    epochs = iter(range(4))
    rising = MLPClassifier((20,), scoring=lambda model, X, y: next(epochs), **parameters, max_iter=4).fit(X, Y)
    np.testing.assert_array_equal(model.coefs_[0], rising.coefs_[0])


@ignore_convergence
def test_a_score_that_is_a_number_once_is_the_best(backend):
    scores = iter([np.nan, 0.25])
    model = MLPClassifier((20,), early_stopping=True, scoring=lambda model, X, y: next(scores, np.nan), backend=backend)
    assert model.fit(X, Y).best_validation_score_ == 0.25


@pytest.mark.parametrize(
    "scoring, weight, message",
    [("neg_log_loss", None, r"scoring='neg_log_loss' on the 50 held-out rows; .* X_val and y_val"),
     (lambda model, X, y: 1.0, np.ones(150), "scoring=<function .* held-out rows and their sample_weight; ")],
    ids=["classes that are not there", "no weights"],
)  # fmt: skip
def test_an_error_of_a_scorer_says_where_it_comes_from(scoring, weight, message, backend):
    model = MLPClassifier((8,), scoring=scoring, max_iter=2, backend=backend)
    with pytest.raises((ValueError, TypeError)) as caught:
        model.fit(X, Y, weight, X_val=X[:50], y_val=Y[:50], sample_weight_val=None if weight is None else weight[:50])
    (note,) = caught.value.__notes__
    assert re.match(f"MLPClassifier: this comes from {message}", note)


@pytest.mark.parametrize("score", [None, "good", [0.5, 0.6]], ids=str)
def test_a_scorer_returns_a_number(score, backend):
    model = MLPClassifier((8,), early_stopping=True, scoring=lambda model, X, y: score, backend=backend)
    with pytest.raises(ValueError, match="MLPClassifier: scoring must return a number, got "):
        model.fit(X, Y)


def test_patience_lasts_one_epoch_more_than_n_iter_no_change(backend):
    model = MLPClassifier((8,), tol=100.0, n_iter_no_change=5, random_state=0, backend=backend).fit(X, Y)
    assert model.n_iter_ == 1 + 5 + 1


def test_reaching_max_iter_warns(backend):
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached and the optimization hasn't"):
        MLPClassifier((8,), max_iter=3, backend=backend).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 3 iteration"):
        MLPClassifier((8,), solver="lbfgs", max_iter=3, backend=backend).fit(X, Y)


@ignore_convergence
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_verbose_lines(solver, capsys, backend):
    model = MLPClassifier((8,), solver=solver, max_iter=3, verbose=True, early_stopping=True, backend=backend)
    model.fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    losses = [f"Iteration {i}, loss = {loss:.8f}" for i, loss in enumerate(model.loss_curve_, 1)]
    scores = [f"Validation score: {score:f}" for score in model.validation_scores_ or []]
    assert [line for line in lines if line.startswith("Iteration")] == losses
    assert [line for line in lines if line.startswith("Validation")] == scores


def test_verbose_reasons_to_stop(capsys, backend):
    parameters = {"tol": 100.0, "n_iter_no_change": 2, "verbose": True, "learning_rate_init": 4e-6}
    MLPClassifier((8,), **parameters, backend=backend).fit(X, Y)
    assert "did not improve more than tol=100.000000 for 2 consecutive epochs. Stopping." in capsys.readouterr().out
    MLPClassifier((8,), **parameters, solver="sgd", learning_rate="adaptive", backend=backend).fit(X, Y)
    out = capsys.readouterr().out
    assert "consecutive epochs. Setting learning rate to 0.000001" in out
    assert "Learning rate too small. Stopping." in out


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C comes half a second after training has begun, however long a busy machine takes until then; a list gets
    the moment."""
    sent = []

    def send():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    def begin(run, *arguments, **options):
        threading.Timer(0.5, send).start()
        return run(*arguments, **options)

    for name in ("run_epochs", "run_lbfgs"):
        monkeypatch.setattr(training, name, partial(begin, getattr(training, name)))
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a session that runs in the background
    yield sent
    signal.signal(signal.SIGINT, ignored)


@pytest.mark.parametrize("solver", ["adam", "gd", "lbfgs"])
def test_ctrl_c_is_felt_at_once_and_leaves_a_fitted_model(solver, backend, interrupted):
    many = np.tile(DIGITS, (20, 1))
    model = MLPClassifier((128,), solver=solver, max_iter=100_000, tol=0, n_iter_no_change=np.inf, backend=backend)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(many, np.tile(Y_DIGITS, 20))
    # The design's bound is 0.2 s; a loaded machine and NumPy's single large products get some more.
    assert time.perf_counter() - interrupted[0] < (0.4 if backend == "native" else 2.0)
    assert np.isfinite(model.predict_proba(DIGITS)).all()
    assert len({len(values) for values in model.history_.values()}) == 1


@ignore_convergence
def test_ctrl_c_is_felt_inside_a_batch_of_images(backend, interrupted, monkeypatch):
    """A batch of many seconds ends before its step is made."""
    images, y = np.zeros((60_000, 28, 28), np.uint8), np.arange(60_000) % 2
    layers = [Conv2D(64, 3, activation="relu"), Conv2D(64, 3, activation="relu")]
    model = ConvNet(layers, solver="gd", max_iter=100, tol=0, random_state=0, backend=backend)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(images, y)
    monkeypatch.undo()
    start = ConvNet(layers, solver="gd", max_iter=1, learning_rate_init=1e-300, random_state=0, backend=backend)
    for ours, initial in zip(model.coefs_, start.fit(images[:10], y[:10]).coefs_, strict=True):
        np.testing.assert_array_equal(ours, initial)
    assert np.isfinite(model.predict_proba(images[:10])).all()
    assert {len(values) for values in model.history_.values()} == {0}


@ignore_convergence
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_while_an_epoch_is_scored_leaves_the_epoch(solver, backend):
    scores = iter([0.1, 0.2])

    def score(estimator, X, y):
        try:
            return next(scores)
        except StopIteration:
            raise KeyboardInterrupt from None

    model = MLPClassifier((8,), solver=solver, scoring=score, max_iter=6, random_state=0, backend=backend)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, Y, X_val=X, y_val=Y)
    assert model.n_iter_ == len(model.loss_curve_) == 3
    assert model.best_loss_ == min(model.loss_curve_)
    np.testing.assert_array_equal(model.history_["validation_score"], [0.1, 0.2, np.nan])


@ignore_convergence
def test_an_interrupted_fit_goes_on(backend):
    def interrupt(epoch):
        if epoch.number == 3:
            raise KeyboardInterrupt

    model = MLPClassifier((8,), max_iter=6, warm_start=True, random_state=0, backend=backend)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.set_params(epoch_callback=interrupt).fit(X, Y)
    assert model.n_iter_ == 3
    model.set_params(epoch_callback=None, max_iter=3).fit(X, Y)
    whole = MLPClassifier((8,), max_iter=6, random_state=0, backend=backend).fit(X, Y)
    np.testing.assert_array_equal(model.coefs_[0], whole.coefs_[0])


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_loss_that_is_not_finite_is_explained(solver, backend):
    model = MLPRegressor(solver=solver, learning_rate_init=0.5, random_state=0, backend=backend)
    with pytest.raises(ValueError, match=r"^Solver produced non-finite parameter weights\. The ") as error:
        model.fit(np.full((20, 3), 1e300), np.arange(20.0))
    message = str(error.value)
    assert "the largest |X| is 1e+300" in message
    assert "scale X" in message
    assert ("at learning rate 0.5" in message) == (solver == "sgd")
    assert not hasattr(model, "coefs_")
