"""scikit-learn's callbacks, alone and inside meta-estimators, the plain function and the progress bar."""

import io

import numpy as np
import pandas as pd
import pytest
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn import MLPClassifier, MLPRegressor
from fastnn.estimators.progress import Bar

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)


class Recorder:
    """Notes every hook; stops after an epoch if told to."""

    def __init__(self, stop_after=None):
        self.events, self.stop_after = [], stop_after

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        self.seen = X, y, metadata, fitted_estimator
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_hooks_and_their_order(Estimator, solver, backend):
    recorder = Recorder()
    model = Estimator(hidden_layer_sizes=(5,), solver=solver, max_iter=3, random_state=0, backend=backend)
    model.set_callbacks(recorder).fit(X, Y)
    epochs = ["begin epoch", "end epoch"] * 3
    assert recorder.events == ["setup", "begin fit", *epochs, "end fit", "teardown"]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_can_stop(solver, backend):
    model = MLPClassifier((5,), solver=solver, max_iter=50, random_state=0, backend=backend)
    model.set_callbacks(Recorder(stop_after=4))
    model.fit(X, Y)
    assert model.n_iter_ == len(model.loss_curve_) == 4


def test_what_a_callback_is_shown(backend):
    frame, weight = pd.DataFrame(X, columns=list("abcd")), np.arange(150.0)
    recorder = Recorder(stop_after=2)
    model = MLPClassifier((5,), early_stopping=True, random_state=0, backend=backend).set_callbacks(recorder)
    ends = []
    recorder.on_fit_task_end = lambda estimator, context, *, X, y, metadata, fitted_estimator: ends.append(
        (X, y, metadata, fitted_estimator.predict(X))
    )
    model.set_params(max_iter=2).fit(frame, Y, sample_weight=weight)
    rows, y, metadata, predicted = ends[0]
    assert list(rows.columns) == list("abcd")
    assert len(rows) == len(y) == len(predicted) == len(metadata["sample_weight"]) == 135
    np.testing.assert_array_equal(Y[rows.index], y)
    np.testing.assert_array_equal(weight[rows.index], metadata["sample_weight"])


def test_callbacks_do_not_change_a_fit(backend):
    parameters = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0, "backend": backend}
    watched = MLPClassifier(**parameters).set_callbacks(ScoringMonitor(scoring="accuracy")).fit(X, Y)
    alone = MLPClassifier(**parameters).fit(X, Y)
    np.testing.assert_array_equal(watched.coefs_[0], alone.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scoring_monitor(solver, backend):
    monitor = ScoringMonitor(scoring="accuracy")
    # Of other starting weights, 1 in 200 are dead, and L-BFGS, scikit-learn's too, converges in 3 iterations.
    model = MLPClassifier((5,), solver=solver, max_iter=4, random_state=0, backend=backend)
    model.set_callbacks(monitor).fit(X, Y)
    data = monitor.get_logs().data
    epochs = [row["accuracy"] for row in data if row["task_name"] == "epoch"]
    assert len(epochs) == 4
    assert epochs[-1] == model.score(X, Y)


def test_progress_bar_alone_and_in_meta_estimators(capsys, backend):
    model = MLPClassifier((5,), max_iter=3, backend=backend)
    model.set_callbacks(ProgressBar()).fit(X, Y)
    assert "MLPClassifier - fit" in capsys.readouterr().out
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=3, backend=backend))
    pipeline.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, Y)
    assert "MLPClassifier - fit" in capsys.readouterr().out
    pipeline.set_callbacks()
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, Y)
    assert "MLPClassifier - fit" in capsys.readouterr().out


def test_scoring_monitor_inside_meta_estimators(backend):
    monitor = ScoringMonitor(scoring="accuracy")
    model = MLPClassifier((5,), max_iter=3, backend=backend).set_callbacks(monitor)
    search = GridSearchCV(make_pipeline(StandardScaler(), model), {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2)
    search.fit(X, Y)
    rows = [row for log in monitor.get_logs(select="all") for row in log.data if row["task_name"] == "epoch"]
    assert len(rows) == (2 * 2 + 1) * 3


def test_a_callback_on_partial_fit(backend):
    recorder = Recorder()
    model = MLPClassifier((5,), backend=backend).set_callbacks(recorder)
    model.partial_fit(X, Y, classes=[0, 1, 2])
    assert recorder.events == ["setup", "begin fit", "begin epoch", "end epoch", "end fit", "teardown"]


def test_teardown_after_an_error(backend):
    recorder = Recorder()
    with pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(backend=backend).set_callbacks(recorder).fit(np.full((9, 2), 1e308), np.zeros(9))
    assert recorder.events[-1] == "teardown"


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_epoch_callback(solver, backend):
    epochs = []

    def note(epoch):
        epochs.append(epoch)
        return epoch.number == 3

    model = MLPClassifier((5,), solver=solver, epoch_callback=note, max_iter=9, random_state=0, backend=backend)
    model.fit(X, Y, X_val=X[::2], y_val=Y[::2])
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert model.n_iter_ == 3
    last = epochs[-1]
    assert last.loss == model.loss_
    assert last.validation_score == model.history_["validation_score"][-1]
    assert (last.learning_rate is None) == (solver == "lbfgs")
    assert repr(last).startswith("Epoch(number=3, loss=")


def test_epoch_callback_gets_a_fitted_copy(backend):
    scores = []
    model = MLPClassifier((5,), max_iter=3, backend=backend)
    model.set_params(epoch_callback=lambda epoch: scores.append(epoch.estimator.score(X, Y))).fit(X, Y)
    assert len(scores) == 3
    assert scores[-1] == model.score(X, Y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_copy_that_is_kept_stays_as_it_was(solver, backend):
    kept = []
    model = MLPClassifier((5,), max_iter=3, solver=solver, early_stopping=True, random_state=0, backend=backend)
    model.set_params(epoch_callback=lambda epoch: kept.append(epoch.estimator)).fit(X, Y)
    for number, copy in enumerate(kept, 1):
        assert copy.n_iter_ == len(copy.loss_curve_) == len(copy.history_["seconds"]) == number
        assert copy.loss_ == copy.loss_curve_[-1] == model.loss_curve_[number - 1]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bar_is_drawn_on_a_terminal_only(monkeypatch):
    monkeypatch.setattr("fastnn.estimators.progress.PATIENCE", -1.0)
    monkeypatch.setattr("fastnn.estimators.progress.INTERVAL", -1.0)
    history = {"loss": [0.5, 0.25], "validation_score": [0.1, 0.2]}
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        bar = Bar(4, stream)
        bar.update(2, history)
        bar.close()
    assert pipe.getvalue() == ""
    assert f"\r[{'=' * 14}{' ' * 14}] 2/4  loss 0.25  score 0.2  " in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


def test_bar_of_a_fit(monkeypatch, backend):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("fastnn.estimators.progress.PATIENCE", -1.0)
    MLPClassifier((5,), max_iter=3, verbose="bar", backend=backend).fit(X, Y)
    assert "1/3  loss" in terminal.getvalue()


def test_short_fits_show_no_bar(monkeypatch, capsys, backend):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    MLPClassifier((5,), max_iter=3, verbose="bar", backend=backend).fit(X, Y)
    assert terminal.getvalue() == ""
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_that_has_no_more_items_is_no_end_of_the_fit(solver, backend):
    items = iter(range(2))
    model = MLPClassifier((5,), solver=solver, epoch_callback=lambda epoch: next(items) < 0, backend=backend)
    with pytest.raises(StopIteration):
        model.fit(X, Y)
    assert not hasattr(model, "coefs_")
