"""Pickles, warm starts, partial_fit: training that was interrupted equals training that was not, bit for bit."""

import copy
import pickle
import threading
import warnings
import weakref

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris

from fastnn import MLPClassifier, MLPRegressor, training
from fastnn.estimators import resumable
from fastnn.reference.run import Runner as Reference
from fastnn.schedules import WarmUp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
SETTINGS = {
    "adam": {},
    "adam_float32": {"precision": "float32"},
    "sgd_adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
    "sgd_invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "exponential": {"learning_rate": "exponential"},
    "rmsprop": {"solver": "rmsprop"},
    "dropout": {"dropout": 0.3, "input_dropout": 0.1},
    "rrelu": {"activation": "rrelu"},
    "batch_norm": {"normalization": "batch"},
    "early_stopping": {"early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 100},
}


def arrays(estimator):
    named = ("coefs_", "intercepts_", "running_means_", "running_variances_")
    return [array for name in named for array in getattr(estimator, name, [])]


def assert_same(a, b):
    for x, y in zip(arrays(a), arrays(b), strict=True):
        np.testing.assert_array_equal(x, y)
    assert a.loss_curve_ == b.loss_curve_
    assert a.validation_scores_ == b.validation_scores_
    assert a.best_loss_ == b.best_loss_
    assert a.t_ == b.t_


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_warm_start_equals_one_fit(Estimator, setting, backend):
    parameters = {"hidden_layer_sizes": (7, 6), "batch_size": 32, "random_state": 5, "backend": backend}
    parameters |= {"learning_rate_init": 0.02} | SETTINGS[setting]
    whole = Estimator(**parameters, max_iter=10).fit(X, Y)
    parts = Estimator(**parameters, max_iter=5, warm_start=True).fit(X, Y)
    parts = through_pickle(parts).fit(X, Y)
    assert_same(parts, whole)


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_copy_of_the_estimator_during_a_fit_goes_on_like_the_fit(setting, before, backend):
    parameters = {"hidden_layer_sizes": (7, 6), "batch_size": 32, "random_state": 5, "backend": backend}
    whole, kept = MLPClassifier(**parameters | {"learning_rate_init": 0.02} | SETTINGS[setting], warm_start=True), []
    if before:
        whole.set_params(max_iter=before).fit(X, Y)
    whole.set_params(max_iter=6, epoch_callback=lambda epoch: kept.append(epoch.estimator)).fit(X, Y)
    copy = through_pickle(kept[3].set_params(epoch_callback=None, max_iter=2))
    assert_same(copy.fit(X, Y), whole)


@pytest.mark.parametrize("setting", [name for name in SETTINGS if name != "early_stopping"])
def test_partial_fit_equals_fit(setting, backend):
    parameters = {"hidden_layer_sizes": 7, "batch_size": 32, "random_state": 5, "backend": backend} | SETTINGS[setting]
    whole = MLPClassifier(**parameters, max_iter=10).fit(X, Y)
    parts = MLPClassifier(**parameters)
    for _ in range(5):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    parts = through_pickle(parts)
    for _ in range(5):
        parts.partial_fit(X, Y)
    assert parts.n_iter_ == 1
    assert_same(parts, whole)


@pytest.mark.parametrize("learning_rate", ["cosine", "one_cycle", WarmUp(epochs=2, then="cosine")])
def test_a_schedule_with_an_end_spans_max_iter_calls_of_partial_fit(learning_rate, backend):
    parameters = {"hidden_layer_sizes": 7, "batch_size": 32, "random_state": 5, "max_iter": 10, "backend": backend}
    whole = MLPClassifier(**parameters, learning_rate=learning_rate).fit(X, Y)
    parts = MLPClassifier(**parameters, learning_rate=learning_rate)
    for _ in range(10):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    assert parts.history_["learning_rate"] == whole.history_["learning_rate"]
    assert_same(parts, whole)


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_schedule_with_an_end_starts_anew_in_partial_fit_after_a_fit(warm_start, backend):
    parameters = {"learning_rate": "cosine", "warm_start": warm_start, "max_iter": 5, "backend": backend}
    model = MLPClassifier(7, batch_size=32, random_state=5, **parameters).fit(X, Y)
    whole = model.history_["learning_rate"][:]
    for _ in range(5):
        model.partial_fit(X, Y)
    assert model.history_["learning_rate"] == 2 * whole


def test_early_stopping_goes_on_from_the_last_weights_and_keeps_the_best(backend):
    parameters = {"early_stopping": True, "random_state": 1, "n_iter_no_change": 3, "tol": 0.5, "backend": backend}
    model = MLPClassifier(**parameters, learning_rate_init=0.05, warm_start=True).fit(X, Y)
    assert model.n_iter_ < 20
    best = max(model.validation_scores_)
    model.fit(X, Y)
    assert model.best_validation_score_ == max(model.validation_scores_) >= best


def test_the_best_score_is_that_of_the_scorer_in_use(backend):
    parameters = {"early_stopping": True, "random_state": 0, "max_iter": 10, "learning_rate_init": 0.02}
    model = MLPClassifier((8,), **parameters, warm_start=True, backend=backend).fit(X, Y)
    accurate = model.coefs_[0]
    model.set_params(scoring="neg_log_loss").fit(X, Y)
    assert model.best_validation_score_ == max(model.validation_scores_[10:]) < 0
    assert not np.array_equal(model.coefs_[0], accurate)


@pytest.mark.parametrize("incremental", [False, True])
def test_early_stopping_forgets_a_score_that_later_weights_do_not_have(incremental, backend):
    held_out = {"X_val": X, "y_val": Y}
    parameters = {"hidden_layer_sizes": (8,), "random_state": 0, "learning_rate_init": 0.02, "backend": backend}
    model = MLPClassifier(**parameters, early_stopping=True, warm_start=True, max_iter=30).fit(X, Y, **held_out)
    model.set_params(early_stopping=False, learning_rate_init=0.5, max_iter=3)
    model = model.partial_fit(X, Y) if incremental else model.fit(X, Y)
    worse = model.score(X, Y)
    model.set_params(early_stopping=True, learning_rate_init=1e-3).fit(X, Y, **held_out)
    assert model.best_validation_score_ == model.score(X, Y) == np.nanmax(model.validation_scores_)
    assert model.best_validation_score_ >= worse


def test_changed_weights_are_what_training_goes_on_from(backend):
    parameters = {"early_stopping": True, "random_state": 1, "max_iter": 3, "backend": backend}
    model = MLPClassifier(**parameters, warm_start=True).fit(X, Y)
    for array in model.coefs_:
        array[:] = 0.0
    model.fit(X, Y)
    assert np.abs(model.coefs_[0]).max() < 0.02


@pytest.mark.parametrize("warm_start", [False, True])
def test_size_of_a_pickle(warm_start, backend):
    digits, y = load_digits(return_X_y=True)
    parameters = {"max_iter": 5, "early_stopping": True, "warm_start": warm_start, "backend": backend}
    model = MLPClassifier((256, 128), **parameters).fit(digits[:400], y[:400])
    size = len(pickle.dumps(model)) / sum(array.nbytes for array in model.coefs_ + model.intercepts_)
    assert size < (4.2 if warm_start else 1.2)


def test_partial_fit_after_fit_starts_a_fresh_optimiser(backend):
    model = MLPClassifier(random_state=0, max_iter=20, backend=backend).fit(X, Y)
    before = model.loss_
    assert model._progress.states is None
    model.partial_fit(X, Y)
    assert model._progress.states
    assert model.loss_ < before + 1e-2
    assert len(model.loss_curve_) == 21
    model.fit(X, Y)
    assert model._progress.states is None
    assert len(model.loss_curve_) == 20


def test_predictions_survive_a_pickle(backend):
    model = MLPClassifier(random_state=0, max_iter=20, normalization="batch", backend=backend).fit(X, Y)
    np.testing.assert_array_equal(through_pickle(model).predict_proba(X), model.predict_proba(X))


def test_predictions_follow_changed_weights(backend):
    model = MLPClassifier((5,), random_state=0, max_iter=20, backend=backend).fit(X, Y)
    model.coefs_[-1][:, 2] = 0.0
    model.intercepts_[-1][:] = [0, 0, 1e3]
    assert (model.predict(X) == 2).all()
    model.coefs_ = [model.coefs_[0][:, :3], model.coefs_[1][:3]]
    model.intercepts_[0] = model.intercepts_[0][:3]
    assert model.predict_proba(X).shape == (150, 3)


def test_weights_that_do_not_fit_each_other(backend):
    model = MLPClassifier((5,), max_iter=2, backend=backend).fit(X, Y)
    model.coefs_[0] = model.coefs_[0][:, :3]
    with pytest.raises(ValueError, match=r"intercepts_\[0\]: expected shape \(3,\), got shape \(5,\)"):
        model.predict(X)


def test_warm_start_with_another_network(backend):
    model = MLPClassifier((5,), max_iter=2, warm_start=True, backend=backend).fit(X, Y)
    with pytest.raises(ValueError, match=r"coefs_\[0\] should have shape \(4, 6\) but has shape \(4, 5\)"):
        model.set_params(hidden_layer_sizes=(6,)).fit(X, Y)


def test_another_optimiser_starts_with_its_own_state(backend):
    model = MLPClassifier((5,), max_iter=2, warm_start=True, random_state=0, backend=backend).fit(X, Y)
    model.set_params(solver="sgd").fit(X, Y)
    assert set(model._progress.states) == {f"dense{i}.{p}.state0" for i in (0, 1) for p in "Wb"}


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 8e-7),
        ({"learning_rate_init": 0.05}, 0.05),
        ({"learning_rate": "constant"}, 1e-4),
        ({"solver": "adam"}, 1e-4),
        ({"momentum": 0.8}, 1e-4),
    ],
)
def test_a_rate_that_came_down_stays_down_until_something_about_it_is_changed(changes, rate, backend):
    parameters = {"learning_rate": "adaptive", "learning_rate_init": 1e-4, "n_iter_no_change": 1, "tol": 10.0}
    model = MLPClassifier((5,), solver="sgd", warm_start=True, random_state=0, backend=backend, **parameters).fit(X, Y)
    assert model.history_["learning_rate"][-1] == pytest.approx(8e-7)
    before = model.n_iter_
    model.set_params(**changes).fit(X, Y)
    assert model.history_["learning_rate"][before] == pytest.approx(rate)


def test_another_loss_begins_with_patience_of_its_own(backend):
    parameters = {"max_iter": 30, "learning_rate_init": 0.005, "warm_start": True, "random_state": 0}
    model = MLPClassifier((8,), **parameters, backend=backend).fit(X, Y)
    model.set_params(loss="hinge").fit(X, Y)
    hinge = model.loss_curve_[30:]
    assert hinge[0] > model.loss_curve_[29]
    assert len(hinge) == model.n_iter_ == 30
    assert model.best_loss_ == min(hinge)


def test_the_seed_is_drawn_after_the_weights_and_kept(backend):
    state = np.random.RandomState(0)
    model = MLPClassifier((5,), max_iter=2, warm_start=True, random_state=state, backend=backend).fit(X, Y)
    seed, position = model._progress.seed, state.get_state()[2]
    model.fit(X, Y)
    assert model._progress.seed == seed
    assert state.get_state()[2] == position


def test_a_failed_continuation_changes_nothing(backend):
    model = MLPClassifier((5,), max_iter=3, warm_start=True, random_state=0, backend=backend).fit(X, Y)
    kept = pickle.dumps(model)
    with pytest.raises(ValueError, match="non-finite"):
        model.partial_fit(np.full((4, 4), 1e308), [0, 1, 2, 0])
    assert pickle.dumps(model) == kept


def test_history_starts_anew_with_a_fresh_fit_and_clones(backend):
    model = MLPClassifier((5,), max_iter=3, random_state=0, backend=backend).fit(X, Y)
    first = [array.copy() for array in arrays(model)]
    model.fit(X, Y)
    assert len(model.history_["loss"]) == 3
    assert not hasattr(clone(model), "history_")
    for a, b in zip(arrays(model), first, strict=True):
        np.testing.assert_array_equal(a, b)


def test_lbfgs_warm_start_goes_on(backend):
    parameters = {"hidden_layer_sizes": (5,), "solver": "lbfgs", "max_iter": 5, "random_state": 0}
    model = MLPRegressor(**parameters, warm_start=True, backend=backend)
    model.fit(X, Y)
    first = model.loss_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, Y)
    assert model.loss_ < first
    assert len(model.loss_curve_) == 10


def test_partial_fit_lengthens_the_curves_it_has():
    """A copy of them in each of a hundred thousand calls would take more time than all else."""
    model = MLPClassifier((5,), random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    curves = {key: id(values) for key, values in model.history_.items()}
    model.partial_fit(X, Y)
    assert {key: id(values) for key, values in model.history_.items()} == curves
    assert id(model.loss_curve_) == curves["loss"] and len(model.loss_curve_) == 2


@pytest.mark.parametrize(
    "parameters", [{"learning_rate_init": 1e30, "solver": "sgd"}, {"epoch_callback": lambda e: 1 / 0}]
)
def test_partial_fit_that_fails_leaves_the_curves(parameters):
    model = MLPClassifier((5,), random_state=0, batch_size=10).partial_fit(X, Y, classes=[0, 1, 2])
    before, history = pickle.dumps(model.history_), model.history_
    model.set_params(**parameters)
    with pytest.raises((ValueError, ZeroDivisionError)):
        model.partial_fit(X, Y)
    assert model.history_ is history and pickle.dumps(history) == before


def test_a_copy_has_curves_of_its_own():
    model = MLPClassifier((5,), random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    twin, curve = copy.copy(model), list(model.loss_curve_)
    twin.partial_fit(X, Y)
    assert model.loss_curve_ == curve == model.history_["loss"] and model.n_iter_ == 1
    assert twin.loss_curve_ is twin.history_["loss"] and len(twin.loss_curve_) == 2
    model.partial_fit(X, Y)
    assert_same(model, twin)


@pytest.mark.parametrize("y", [[-1], [3], ["0"]])
def test_partial_fit_names_classes_it_does_not_know(y):
    model = MLPClassifier((5,), random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="has classes not in"):
        model.partial_fit(X[:1], y)


CHANGES = {  # between two calls of partial_fit
    "nothing": lambda model: None,
    "a weight": lambda model: model.coefs_[1].__setitem__((2, 3), 0.5),
    "an array": lambda model: model.intercepts_.__setitem__(0, np.ones(7)),
    "alpha": lambda model: model.set_params(alpha=0.1),
    "momentum": lambda model: model.set_params(beta_1=0.8),
    "solver": lambda model: model.set_params(solver="sgd"),
    "threads": lambda model: model.set_params(n_jobs=1),
    "backend": lambda model: model.set_params(backend="numpy"),
    "predictions": lambda model: model.predict_proba(X),
    "fit": lambda model: model.fit(X, Y),
}


@pytest.mark.parametrize("setting", sorted(SETTINGS.keys() - {"early_stopping"}))
@pytest.mark.parametrize("change", CHANGES)
def test_partial_fit_goes_on_as_from_a_pickle(change, setting):
    """What waits for the next call in the runner of the last one is never seen."""
    parameters = {"hidden_layer_sizes": (7, 6), "random_state": 5, "max_iter": 2} | SETTINGS[setting]
    model = MLPClassifier(**parameters).partial_fit(X[:32], Y[:32], classes=[0, 1, 2])
    other = through_pickle(model)
    for first, n in ((0, 32), (32, 32), (64, 32), (96, 20), (7, 50), (57, 50)):
        for each in (model, other):
            each.partial_fit(X[first : first + n], Y[first : first + n])
            if first == 64:
                CHANGES[change](each)
        assert_same(model, other)
        other = through_pickle(other)


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, through_pickle])
def test_copies_of_a_model_in_partial_fit_go_their_own_ways(make):
    def trained(calls):
        model = MLPClassifier((7, 6), normalization="batch", random_state=5)
        for first in calls:
            model.partial_fit(X[first : first + 50], Y[first : first + 50], classes=[0, 1, 2])
        return model

    model = trained([0, 50])
    twin = make(model)
    model.partial_fit(X[100:], Y[100:])
    twin.partial_fit(X[20:70], Y[20:70])
    model.partial_fit(X[10:60], Y[10:60])
    assert_same(model, trained([0, 50, 100, 10]))
    assert_same(twin, trained([0, 50, 20]))


@pytest.mark.parametrize("n", [32, 40])
def test_a_call_of_partial_fit_that_diverges_changes_nothing(n, backend):
    model = MLPRegressor(hidden_layer_sizes=(7, 6), random_state=5, backend=backend)
    model.partial_fit(X[:32], Y[:32]).partial_fit(X[:32], Y[:32])
    other = through_pickle(model)
    with pytest.raises(ValueError, match="non-finite"):
        model.partial_fit(np.full((n, 4), 1e200), Y[:n])
    assert_same(model, other)
    assert_same(model.partial_fit(X[:32], Y[:32]), other.partial_fit(X[:32], Y[:32]))


def test_large_models_do_not_wait_in_memory(monkeypatch):
    monkeypatch.setattr(resumable, "HELD_BYTES", 10_000)
    for units, kind in ((5, resumable.Resumable), (50, dict)):
        model = MLPClassifier((units,), random_state=0).partial_fit(X[:10], Y[:10], classes=[0, 1, 2])
        assert type(model._progress.states) is kind


def test_the_rows_of_a_call_do_not_wait_in_memory():
    model = MLPClassifier((5,), random_state=0)
    for _ in range(2):
        rows = X.copy()
        model.partial_fit(rows, Y, classes=[0, 1, 2])
        rows = weakref.ref(rows)
        assert rows() is None


def test_two_calls_of_partial_fit_never_share_a_runner():
    model = MLPClassifier((5,), random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    other, memory = through_pickle(model), model._progress.states
    runner = memory.runner
    asked = (model, runner.plan, runner.rows, runner.dtype, runner.limit())
    assert memory.take(*asked)  # as a call in another thread does
    assert not memory.take(*asked)
    assert_same(model.partial_fit(X, Y), other.partial_fit(X, Y))
    assert model._progress.states.runner is not runner
    memory.give_back()
    assert not memory.take(*asked)  # with other weights than the estimator


def test_a_pickle_has_the_memory_from_before_a_call_in_another_thread():
    model = MLPClassifier((5,), random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    before, memory = through_pickle(model), model._progress.states
    runner = memory.runner

    def train():
        assert memory.take(model, runner.plan, runner.rows, runner.dtype, runner.limit())
        for name in memory:
            runner.set(name, np.ones(runner.plan.buffers[name].shape))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    during = through_pickle(model)
    memory.give_back()
    assert_same(during.partial_fit(X, Y), before.partial_fit(X, Y))


def test_a_pickle_of_a_callback_has_the_memory_from_before_its_call():
    model, kept = MLPClassifier((5,), random_state=0), []
    for _ in range(2):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    before = through_pickle(model)
    model.set_params(epoch_callback=lambda epoch: kept.append(through_pickle(model.set_params(epoch_callback=None))))
    model.partial_fit(X, Y)
    for a, b in zip(arrays(kept[0].partial_fit(X, Y)), arrays(before.partial_fit(X, Y)), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("scoring", [None, "balanced_accuracy"])
def test_early_stopping_compares_scores_of_the_rows_that_are_held_out_now(scoring, backend):
    easy, hard = Y == 0, Y > 0
    parameters = {"early_stopping": True, "warm_start": True, "random_state": 0, "max_iter": 30, "backend": backend}
    model = MLPClassifier((8,), learning_rate_init=0.02, **parameters).fit(X, Y, X_val=X[easy], y_val=Y[easy])
    assert model.best_validation_score_ == 1.0
    model.set_params(scoring=scoring).fit(X, Y, X_val=X[hard], y_val=Y[hard])
    expected = np.nanmax(model.validation_scores_[30:])
    assert model.best_validation_score_ == expected < 1.0
    if scoring is None:
        assert model.score(X[hard], Y[hard]) == expected


def test_ctrl_c_in_numpy_keeps_the_epochs_that_the_curves_have(monkeypatch):
    parameters = {"backend": "numpy", "random_state": 0, "batch_size": 32}
    expected = MLPClassifier((5,), max_iter=6, **parameters).fit(X, Y)
    shuffle = Reference.shuffle

    def interrupted(runner, epoch):
        if epoch == 6:
            raise KeyboardInterrupt
        shuffle(runner, epoch)

    monkeypatch.setattr(training, "SLICE", 1e9)
    monkeypatch.setattr(Reference, "shuffle", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = MLPClassifier((5,), max_iter=50, **parameters).fit(X, Y)
    assert model.n_iter_ == 6
    assert model.loss_curve_ == expected.loss_curve_
    assert_same(model, expected)
