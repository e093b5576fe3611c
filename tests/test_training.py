"""The course of a fit, below the estimators: rates, patience, slices, the choice of a backend."""

import math
import sys
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastnn import layers, losses, optimizers, schedules, training
from fastnn.lower import Network, lower
from fastnn.training import Control, Divergence, Progress, Rates, run_epochs, run_lbfgs
from tests.estimators.conftest import BACKENDS

RANDOM = np.random.RandomState(0)
X = RANDOM.normal(size=(60, 3))
Y = X @ [[1.0], [-2.0], [0.5]] + 1.0
NETWORK = Network(3, (layers.Dense(4, "tanh"), layers.Dense(1, "identity")), losses.SquaredError())


def started(runner, plan):
    state = np.random.RandomState(0)
    for name in plan.parameters:
        runner.set(name, state.uniform(-1, 1, plan.buffers[name].shape))
    runner.bind(X, Y)
    return runner


@pytest.fixture(params=BACKENDS)
def make(request):
    Runner = training.runner_class(request.param)

    def make(purpose, dtype=np.float64):
        options = {"optimizer": optimizers.SGD()} if purpose == "train" else {}
        plan = lower(NETWORK, purpose, **options)
        return plan, started(Runner(plan, dtype=dtype, rows=60, seed=7), plan)

    return make


def control(**changes):
    return Control(**{"rows": 60, "batch_size": 16, "max_iter": 20} | changes)


def train(make, schedule=None, rate=0.05, progress=None, hooks=None, **changes):
    plan, runner = make("train")
    settings = control(**changes)
    progress = progress or Progress(7)
    rates = Rates(schedule or schedules.Constant(), rate, settings, progress)
    n_iter = run_epochs(runner, plan, progress, settings, rates, **hooks or {})
    return n_iter, progress, runner


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_counters_and_curves(make):
    n_iter, progress, _ = train(make)
    assert n_iter == 20
    assert (progress.epoch, progress.step, progress.samples) == (20, 80, 1200)
    assert set(progress.history) == {"loss", "learning_rate", "seconds"}
    assert {len(curve) for curve in progress.history.values()} == {20}
    assert progress.history["loss"][-1] < 0.1 * progress.history["loss"][0]
    assert progress.best_loss == min(progress.history["loss"])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_slices_add_up_to_the_whole(make, monkeypatch):
    _, progress, runner = train(make)
    monkeypatch.setattr(training, "SLICE", 0.0)
    _, sliced, sliced_runner = train(make)
    # Summed in pieces, the loss may differ in its last digit; the weights may not.
    np.testing.assert_allclose(progress.history["loss"], sliced.history["loss"], rtol=1e-12)
    for name in runner.plan.parameters:
        np.testing.assert_array_equal(runner.get(name), sliced_runner.get(name))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("schedule", [schedules.Constant(), schedules.Cosine(), schedules.InverseScaling(0.5)])
@pytest.mark.parametrize("changes", [{}, {"tol": 1.0, "patience": 4}, {"shuffle": False, "patience": math.inf}])
def test_epochs_nobody_watches_are_those_run_one_by_one(make, schedule, changes):
    n_iter, progress, runner = train(make, schedule, **changes)
    n_watched, watched, watched_runner = train(make, schedule, **changes, hooks={"after": lambda _: False})
    assert n_iter == n_watched
    for curve in ("loss", "learning_rate"):
        assert progress.history[curve] == watched.history[curve]
    for key in ("epoch", "step", "samples", "stalled", "best_loss"):
        assert getattr(progress, key) == getattr(watched, key)
    for name in runner.plan.parameters:
        np.testing.assert_array_equal(runner.get(name), watched_runner.get(name))


def test_epochs_may_be_cut_anywhere(make):
    _, whole = make("train")
    expected = []
    for epoch in range(3):
        whole.shuffle(5 + epoch)
        expected.append(whole.train(16, 0, 4, 4 * epoch, np.full(4, 0.05), 1e9)[1])
    _, cut = make("train")
    sums, done, total = np.zeros(3), 0, 0.0
    for n in (3, 4, 1, 2, 2):
        more, total = cut.train(16, done, n, done, np.full(n, 0.05), 1e9, total, 5, sums)
        done += more
    assert done == 12
    assert total == 0.0
    assert sums.tolist() == expected
    for name in whole.plan.parameters:
        np.testing.assert_array_equal(whole.get(name), cut.get(name))


def test_the_end_of_patience(make):
    said = []
    n_iter, progress, _ = train(make, tol=100.0, patience=3, hooks={"say": said.append})
    assert n_iter == 5
    assert progress.stalled == 4
    assert said[-1] == "Training loss did not improve more than tol=100.000000 for 3 consecutive epochs. Stopping."


def test_patience_goes_on_where_it_was(make):
    progress = Progress(7)
    for _ in range(5):
        train(make, tol=100.0, patience=3, progress=progress, max_iter=1, incremental=True)
    assert progress.stalled == 4


def test_adaptive_rates_come_down_to_a_millionth(make):
    _, progress, _ = train(make, schedules.Adaptive(), rate=1e-4, tol=100.0, patience=1, max_iter=100)
    rates = list(dict.fromkeys(progress.history["learning_rate"]))
    assert rates == pytest.approx([1e-4, 2e-5, 4e-6, 8e-7])


def test_warm_up_then_adaptive(make):
    schedule = schedules.WarmUp(epochs=2, then="adaptive")
    _, progress, _ = train(make, schedule, rate=1e-3, tol=100.0, patience=2, max_iter=100)
    rates = progress.history["learning_rate"]
    assert rates[:4] == pytest.approx([0.5e-3, 1e-3, 1e-3, 1e-3])
    assert rates[-1] <= 1e-6


def test_rates_by_rows_count_the_rows_really_seen():
    progress = Progress(7, samples=99, step=12345)
    rates = Rates(schedules.InverseScaling(0.5), 1.0, control(), progress)
    np.testing.assert_allclose(rates.upcoming(), [0.1] * 4)


def test_rates_with_an_end_span_each_fit_but_go_on_in_partial_fit():
    progress = Progress(7, step=40)
    whole = Rates(schedules.Cosine(), 1.0, control(max_iter=10), progress)
    assert whole.upcoming()[0] == 1.0
    part = Rates(schedules.Cosine(), 1.0, control(max_iter=20, incremental=True), Progress(7, step=40))
    assert part.upcoming()[0] == pytest.approx(0.5)


def test_reaching_max_iter(make):
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(20\) reached"):
        train(make)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(make, max_iter=1, incremental=True)


def test_hooks_come_before_and_after_each_epoch(make):
    events = []

    def after(iteration):
        events.append(iteration)
        return iteration == 3

    train(make, hooks={"before": lambda: events.append("before"), "after": after})
    assert events == ["before", 1, "before", 2, "before", 3]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_early_stopping_keeps_the_weights_of_the_best_score(make):
    scores, seen = iter([0.1, 0.5, math.nan, 0.3, 0.2]), []

    def validate(weights):
        seen.append(weights["dense0.W"].copy())
        return next(scores), 1.0

    n_iter, progress, _ = train(make, hooks={"validate": validate}, max_iter=5, early_stopping=True, patience=2)
    assert n_iter == 5
    assert progress.stalled == 3
    assert progress.best_score == 0.5
    np.testing.assert_array_equal(progress.best["dense0.W"], seen[1])


def test_divergence_names_epoch_and_rate(make):
    with pytest.raises(Divergence) as caught:
        train(make, rate=1e10, max_iter=100)
    assert caught.value.iteration > 1
    assert caught.value.learning_rate == 1e10


def test_divergence_after_a_good_epoch_goes_back_to_it(make):
    scores = iter([0.5])
    with pytest.warns(ConvergenceWarning, match="is not finite"):
        n_iter, progress, _ = train(
            make,
            rate=1e10,
            early_stopping=True,
            max_iter=100,
            hooks={"validate": lambda weights: (next(scores, -1.0), 1.0)},
        )
    assert progress.best_score == 0.5
    assert math.isnan(progress.history["validation_score"][-1])
    assert len(progress.history["validation_score"]) == n_iter


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_new_curves_are_filled_up(make):
    progress = Progress(7)
    train(make, max_iter=2, progress=progress)
    train(make, max_iter=2, progress=progress, hooks={"validate": lambda weights: (0.5, 1.0)})
    np.testing.assert_array_equal(progress.history["validation_score"], [math.nan, math.nan, 0.5, 0.5])
    assert len(progress.history["loss"]) == 4


def test_a_copy_has_curves_of_its_own():
    progress = Progress(7, history={"loss": [1.0]})
    copy = progress.copy()
    copy.history["loss"].append(2.0)
    assert progress.history == {"loss": [1.0]}


class Interrupted:
    """A runner whose calls of several epochs are interrupted as they return."""

    def __init__(self, runner, ended):
        self.runner, self.ended = runner, ended

    def __getattr__(self, name):
        return getattr(self.runner, name)

    def train(self, batch_size, first, n_batches, step, rates, seconds, loss_sum, epoch, sums):
        if len(sums) == 1:
            return self.runner.train(batch_size, first, n_batches, step, rates, seconds, loss_sum, epoch, sums)
        n_batches = 4 * self.ended + 1
        self.runner.train(batch_size, first, n_batches, step, rates[:n_batches], math.inf, loss_sum, epoch, sums)
        raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("ended", [0, 1, 5, 10])
def test_ctrl_c_in_a_call_of_several_epochs_keeps_the_curves_of_those_that_had_ended(make, ended, monkeypatch):
    monkeypatch.setattr(training, "SLICE", 1e9)
    _, whole, _ = train(make)
    plan, runner = make("train")
    progress, settings = Progress(7), control(max_iter=20)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        rates = Rates(schedules.Constant(), 0.05, settings, progress)
        n_iter = run_epochs(Interrupted(runner, ended), plan, progress, settings, rates)
    assert n_iter == 1 + ended
    assert progress.history["loss"] == whole.history["loss"][: 1 + ended]
    assert {len(curve) for curve in progress.history.values()} == {1 + ended}
    assert (progress.epoch, progress.step, progress.samples) == (1 + ended, 4 * n_iter, 60 * n_iter)


def test_lbfgs_finds_the_minimum(make):
    plan, runner = make("gradient")
    progress, events = Progress(7), []
    hooks = {"before": lambda: events.append("before"), "after": lambda iteration: events.append(iteration)}
    n_iter = run_lbfgs(runner, plan, progress, control(max_iter=500, tol=1e-7), 15000, **hooks)
    assert progress.history["loss"][-1] == progress.best_loss < 1e-3
    assert runner.loss_and_gradient() == progress.best_loss
    assert len(progress.history["loss"]) == n_iter
    # One iteration is begun more than is run, unless max_iter says that there will be none.
    assert [event for event in events if event != "before"] == list(range(1, n_iter + 1))
    assert events.count("before") in (n_iter, n_iter + 1)


@pytest.mark.filterwarnings("error")
def test_lbfgs_stops_when_told_to(make):
    plan, runner = make("gradient")
    n_iter = run_lbfgs(runner, plan, Progress(7), control(max_iter=500), 15000, after=lambda iteration: iteration == 3)
    assert n_iter == 3


def test_lbfgs_says_when_it_has_not_converged(make):
    plan, runner = make("gradient")
    with pytest.warns(ConvergenceWarning, match=r"(?s)after 3 iteration\(s\) \(status=1\).*max_iter=3"):
        run_lbfgs(runner, plan, Progress(7), control(max_iter=3), 15000)


def test_lbfgs_interrupted_keeps_the_last_iterate(make):
    plan, runner = make("gradient")

    def after(iteration):
        if iteration == 4:
            raise KeyboardInterrupt

    progress = Progress(7)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        assert run_lbfgs(runner, plan, progress, control(max_iter=500), 15000, after=after) == 4
    assert runner.loss_and_gradient() == progress.history["loss"][-1]


def test_a_core_that_cannot_load_is_said_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastnn.native", None)
    training.runner_class.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="compiled core cannot be loaded.*fastnn.native") as caught:
            chosen = [training.runner_class("native") for _ in range(3)]
        assert len(caught) == 1
        assert set(chosen) == {training.runner_class("numpy")}
        assert training.thread_limit("native", 4) == 1
    finally:
        training.runner_class.cache_clear()
