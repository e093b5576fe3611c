"""The course of a fit: epochs, learning rates, patience, L-BFGS. A backend's Runner does all the arithmetic on rows.

A fit is a `Progress` (counters, curves, the best weights so far) that `run_epochs` or `run_lbfgs` moves forward. What
is to be watched from outside (validation scores, callbacks, messages) comes in as plain callables.
"""

import functools
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from fastnn import blas

SLICE = 0.1  # seconds in one call of a backend: Python then sees Ctrl-C well within 0.2 s


@functools.cache
def runner_class(backend):
    """The Runner of a backend, "native" or "numpy"; NumPy's with one warning where the compiled core cannot load."""
    if backend == "native":
        try:
            from fastnn.native import Runner
        except ImportError as cause:
            warnings.warn(
                f"fastnn's compiled core cannot be loaded ({cause}); NumPy computes instead, which is slower. "
                "Install fastnn anew where there is a C compiler, or choose backend='numpy'.",
                RuntimeWarning,
                stacklevel=2,
            )
        else:
            return Runner
    from fastnn.reference.run import Runner

    return Runner


def thread_limit(backend, n_jobs):
    """The largest number of threads a Runner of this backend may use."""
    runner = runner_class(backend)
    if not runner.__module__.startswith("fastnn.native"):
        return 1
    from fastnn.native import effective_threads

    return effective_threads(n_jobs)


def all_finite(array, backend, n_jobs, dtype=None):
    """Whether there is neither NaN nor infinity in an array of numbers, also as numbers of `dtype`, which a backend
    finds out as fast as it can."""
    if array.dtype.kind != "f":
        return True
    return runner_class(backend).all_finite(array, dtype or array.dtype, thread_limit(backend, n_jobs))


class Divergence(ArithmeticError):
    """The loss or the weights are no longer finite numbers.

    Parameters
    ----------
    iteration : int
        Epoch or iteration, counted from 1 within the fit.
    learning_rate : float or None
        The last learning rate used; None for L-BFGS.
    """

    def __init__(self, iteration, learning_rate):
        super().__init__(iteration, learning_rate)
        self.iteration, self.learning_rate = iteration, learning_rate


@dataclass
class Progress:
    """How far a model's training has come; with the weights, all that is needed to go on as if it had never stopped.

    Attributes
    ----------
    seed : int
        64 bits; key of the counter-based generator (shuffles, masks) and of the validation split.
    epoch, step, samples : int
        Epochs begun, optimiser steps done and rows seen.
    rate : float or None
        What adaptive learning rates have come down to; None before the first reduction.
    rated : (schedule spec, float) or None
        The schedule and the base rate that `rate` belongs to.
    origin : int
        The step at which the calls of `partial_fit` began that a schedule with an end spans.
    stalled : int
        Epochs in a row without improvement.
    best_loss, best_score : float
        Lowest training loss and highest validation score.
    history : dict of str to list
        One number per epoch: loss, validation_loss, validation_score, learning_rate, seconds.
    best : dict of str to ndarray, or None
        The weights of `best_score`.
    optimizer : optimiser spec or None
        The rule that `states` belong to.
    states : mapping of str to ndarray, or None
        The optimiser's memory; None where it was not kept.
    last : dict of str to ndarray, or None
        Weights after the last epoch, where early stopping made the model show earlier ones.
    shown : bytes or None
        Fingerprint of those shown instead of `last`.
    """

    seed: int
    epoch: int = 0
    step: int = 0
    samples: int = 0
    rate: float | None = None
    rated: tuple | None = None
    origin: int = 0
    stalled: int = 0
    best_loss: float = math.inf
    best_score: float = -math.inf
    history: dict = field(default_factory=dict)
    best: dict | None = None
    optimizer: Any = None
    states: Mapping | None = None
    last: dict | None = None
    shown: bytes | None = None

    def copy(self, *, lists=True):
        """A copy with lists and states of its own, so that a fit that fails leaves this one as it was. Or with the same
        `lists`, which get longer: copied in each of many short fits, they would take more time than all else."""
        if not lists:
            return replace(self)
        history = {key: list(values) for key, values in self.history.items()}
        return replace(self, history=history, states=None if self.states is None else dict(self.states))

    def curves(self, keys):
        """The lists of `history` under these keys, new ones filled up with NaN; all other keys are dropped."""
        length, known = len(self.history.get("loss", ())), self.history
        short = {key: length - len(known.get(key, ())) for key in keys}
        self.history = {
            key: [math.nan] * n + known.get(key, []) if n else known.get(key, []) for key, n in short.items()
        }
        return tuple(self.history.values())

    def cut(self, epochs):
        """Takes what later epochs have added from the curves."""
        for values in self.history.values():
            del values[epochs:]

    def level(self):
        """Fills the curves up with NaN, after an interruption in the middle of an epoch's bookkeeping: its steps are
        made and its loss is known."""
        longest = max(map(len, self.history.values()), default=0)
        for values in self.history.values():
            values += [math.nan] * (longest - len(values))


@dataclass(frozen=True)
class Control:
    """When a fit stops and how it takes its rows.

    Attributes
    ----------
    rows, batch_size : int
    max_iter : int
        Most epochs; schedules with an end span them.
    shuffle : bool
    tol : float
        Improvements by less do not count.
    patience : int or inf
        The fit stops at the first epoch after more than this many epochs in a row without improvement.
    early_stopping : bool
        Whether improvement is that of the validation score and the best weights are kept, not of the training loss.
    incremental : bool
        A single epoch of a training that goes on elsewhere: its end is no event.
    """

    rows: int
    batch_size: int
    max_iter: int
    shuffle: bool = True
    tol: float = 1e-4
    patience: float = 10
    early_stopping: bool = False
    incremental: bool = False

    @property
    def n_batches(self):
        return -(-self.rows // self.batch_size)

    @property
    def epochs(self):
        """The epochs to train, at most."""
        return 1 if self.incremental else self.max_iter


class Rates:
    """The learning rate of every batch of the coming epochs.

    Parameters
    ----------
    schedule : schedule spec
    base : float
    control : Control
    progress : Progress
    """

    def __init__(self, schedule, base, control, progress):
        self.schedule, self.base, self.control, self.progress = schedule, float(base), control, progress
        if progress.rated != (schedule, self.base):
            progress.rate, progress.rated = None, (schedule, self.base)
        # A schedule with an end spans this fit, or as many calls of partial_fit; one without goes on with the model.
        begin = progress.origin if control.incremental else progress.step
        self.origin = begin if schedule.needs_total else 0
        self.by_rows = schedule.name == "invscaling"
        self.fixed = schedule.name in ("constant", "adaptive")

    @property
    def current(self):
        """The base rate after reductions."""
        return self.base if self.progress.rate is None else self.progress.rate

    def upcoming(self, epochs=1):
        """Float64 array, one rate a batch."""
        n, control = self.control.n_batches, self.control
        if self.fixed:
            return np.full(epochs * n, self.current)
        if self.by_rows:
            # Counting rows as steps keeps to the rows really seen, also where partial_fit brings batches of any size.
            seen = [self.progress.samples + i * control.rows for i in range(epochs)]
            rates = [self.schedule.rates(self.current, rows, 1, 1, samples_per_epoch=1)[0] for rows in seen]
            return np.repeat(rates, n)
        first = self.progress.step - self.origin
        return self.schedule.rates(self.current, first, epochs * n, n, control.max_iter * n, control.rows)

    def reduce(self):
        """Divides an adaptive rate; returns the new one, or None when it is too small or not adaptive at all."""
        if not self.schedule.adaptive or self.current <= _adaptive(self.schedule).minimum:
            return None
        self.progress.rate = self.current / _adaptive(self.schedule).divisor
        return self.progress.rate


def _adaptive(schedule):
    return schedule if hasattr(schedule, "divisor") else _adaptive(schedule.then)


def weights_of(runner, plan, places=None):
    """Parameters and statistics by name, as a backend holds them now; in `places`, arrays by name, as far as they fit:
    memory that is fresh from the system takes longer than all else about it."""
    fitting = {
        name: array
        for name, array in (places or {}).items()
        if array.dtype == runner.dtype and array.flags.c_contiguous and array.flags.writeable
    }
    return {name: runner.get(name, fitting.get(name)) for name in plan.parameters + plan.statistics}


def run_epochs(runner, plan, progress, control, rates, *, validate=None, before=None, after=None, say=None):
    """Trains epoch by epoch until patience, a callback, Ctrl-C or `max_iter` ends it.

    Parameters
    ----------
    runner : Runner
        Of a "train" plan, bound to the training rows, holding weights and optimiser state.
    plan : Plan
    progress : Progress
        Moved forward in place.
    control : Control
    rates : Rates
    validate : callable, optional
        ``validate(weights) -> (score, loss)`` on held-out rows.
    before, after : callable, optional
        ``before()`` at the start of an epoch, ``after(iteration) -> stop`` at its end.
    say : callable, optional
        Takes the lines of a talkative fit.

    Returns
    -------
    int
        Epochs completed.

    Raises
    ------
    Divergence
        When the loss is not finite and there are no better weights to go back to.
    """
    keys = ("loss", "learning_rate", "seconds") + (("validation_score", "validation_loss") if validate else ())
    losses, learning_rates, seconds, *held_out = progress.curves(keys)
    watched = any(hook is not None for hook in (validate, before, after, say))
    n_batches, iteration, stop = control.n_batches, 0, False
    try:
        while iteration < control.epochs and not stop:
            if before is not None:
                before()
            start = perf_counter()
            left = control.epochs - iteration
            epochs = 1 if watched or not iteration else _unwatched(progress, control, left, seconds[-1])
            batch_rates = rates.upcoming(epochs)
            for totals in _run_batches(runner, progress, control, batch_rates, epochs):
                ended = [total / control.rows for total in totals]
                diverged = (i for i, loss in enumerate(ended) if not math.isfinite(loss))
                ended = ended[: next(diverged, epochs) + 1]
                finite = math.isfinite(ended[-1])
                iteration += len(ended)
                progress.samples += len(ended) * control.rows
                losses += ended
                learning_rates += batch_rates[n_batches - 1 :: n_batches][: len(ended)].tolist()
                if finite and not control.early_stopping:
                    _compare(progress, control, ended)
                if say is not None:
                    say(f"Iteration {iteration}, loss = {losses[-1]:.8f}")
                if validate is not None:
                    _validate(runner, plan, progress, control, validate if finite else None, held_out, say)
                seconds += [(perf_counter() - start) / epochs] * len(ended)
                if not finite:
                    _diverged(progress, control, iteration, learning_rates[-1])
                    stop = True
                    break
                stop = after is not None and after(iteration)
                if not stop and progress.stalled > control.patience:
                    stop = _out_of_patience(progress, control, rates, say)
        if control.early_stopping and progress.best_score == -math.inf:
            warnings.warn(
                f"None of {iteration} validation scores was a finite number, so none is the best: the weights are "
                "those of the last epoch. Check scoring and the validation rows.",
                stacklevel=2,
            )
        if not stop and not control.incremental:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({control.max_iter}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=2,
            )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
        progress.level()
    return iteration


def _unwatched(progress, control, left, seconds):
    """How many epochs a backend may run before anybody has to look: what is left, in the time of a slice, and short of
    the end of patience, which no epoch brings nearer by more than one."""
    return max(1, int(min(left, SLICE / max(seconds, 1e-9), control.patience - progress.stalled + 1)))


def _run_batches(runner, progress, control, rates, epochs):
    """Runs epochs batch by batch; then yields, in one list, the sum of the loss over the rows of each.

    Ctrl-C is raised behind those epochs that had ended.
    """
    n_batches, done, total, sums = control.n_batches, 0, 0.0, np.full(epochs, np.nan)
    begun, first, interruption = progress.epoch, progress.step, None
    # One batch of all rows is the same in any order.
    shuffled = begun if control.shuffle and n_batches > 1 else None
    try:
        while done < len(rates):
            left, rest = len(rates) - done, rates[done:]
            more, total = runner.train(control.batch_size, done, left, first + done, rest, SLICE, total, shuffled, sums)
            done += more
            _count(progress, begun, first, done, n_batches)
    except KeyboardInterrupt as cause:  # what the backend would have returned is lost, but not the sums
        interruption = cause
        unfinished = np.isnan(sums)
        sums = sums[: unfinished.argmax()] if unfinished.any() else sums
        _count(progress, begun, first, max(done, len(sums) * n_batches), n_batches)
    if len(sums):
        yield sums.tolist()
    if interruption is not None:
        raise interruption


def _count(progress, begun, first, done, n_batches):
    """Notes so many batches after epoch `begun` and step `first`."""
    progress.step = first + done
    progress.epoch = begun + -(-done // n_batches)


def _compare(progress, control, losses):
    """Notes the lowest training loss, and for how many epochs in a row, these included, it has not come down."""
    stalled, best = progress.stalled, progress.best_loss
    for loss in losses:
        stalled = stalled + 1 if loss > best - control.tol else 0
        best = min(best, loss)
    progress.stalled, progress.best_loss = stalled, best


def _validate(runner, plan, progress, control, validate, held_out, say):
    """Scores the weights of this epoch (NaN without `validate`) and keeps the best ones for early stopping."""
    score = loss = math.nan
    if validate is not None:
        weights = weights_of(runner, plan)
        score, loss = validate(weights)
    for curve, value in zip(held_out, (score, loss), strict=True):
        curve.append(value)
    if say is not None:
        say(f"Validation score: {score:f}")
    if control.early_stopping:
        progress.stalled = 0 if score >= progress.best_score + control.tol else progress.stalled + 1
        if score > progress.best_score:
            progress.best_score, progress.best = score, weights


def _diverged(progress, control, iteration, learning_rate):
    """Stops at a loss that is not finite: with a warning where better weights were kept, else with an error."""
    if not control.early_stopping or progress.best is None:
        raise Divergence(iteration, learning_rate)
    warnings.warn(
        f"The loss of epoch {iteration} is not finite (learning rate {learning_rate:g}); training stops with the "
        "weights of the best validation score.",
        ConvergenceWarning,
        stacklevel=3,
    )


def _out_of_patience(progress, control, rates, say):
    """Stops, or lowers an adaptive rate and goes on."""
    what = "Validation score" if control.early_stopping else "Training loss"
    message = f"{what} did not improve more than tol={control.tol:f} for {control.patience:d} consecutive epochs."
    rate = rates.reduce()
    if rate is not None:
        progress.stalled = 0
        message += f" Setting learning rate to {rate:f}"
    else:
        message += " Learning rate too small. Stopping." if rates.schedule.adaptive else " Stopping."
    if say is not None:
        say(message)
    return rate is None


def run_lbfgs(runner, plan, progress, control, max_fun, *, validate=None, before=None, after=None, say=None):
    """Minimises the penalised loss of all bound rows by L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995).

    BLAS, which works on the vectors of weights in between, is kept to one thread: bits do not depend on how many it
    has, and its threads do not keep the cores from the backend's (767-84-12-1, 4298 rows, two threads: 0.5 of the
    time). Few weights need that too: some of its calls wake all its threads however small they are.

    Parameters
    ----------
    runner : Runner
        Of a "gradient" plan in float64, bound to the rows, holding the starting weights; holds the result afterwards.
    plan, progress, control
        As for `run_epochs`; only `max_iter` and `tol` (on the largest gradient component) matter of `control`.
    max_fun : int
        Limit of loss evaluations.
    validate, before, after, say
        As for `run_epochs`, per iteration.

    Returns
    -------
    int
        Iterations completed.
    """
    keys = ("loss", "seconds") + (("validation_score", "validation_loss") if validate else ())
    losses, seconds, *held_out = progress.curves(keys)
    parameters = tuple(plan.parameters)
    gradients = tuple(plan.gradients[name] for name in parameters)
    best, iteration, start, raised = runner.get_vector(parameters), 0, perf_counter(), None

    def loss_and_gradient(x):
        runner.set_vector(parameters, x)
        return runner.loss_and_gradient(), runner.get_vector(gradients)

    def ends_after(intermediate_result):
        nonlocal best, iteration, start
        iteration += 1
        best = intermediate_result.x.copy()
        losses.append(float(intermediate_result.fun))
        progress.best_loss = min(progress.best_loss, losses[-1])
        if say is not None:
            say(f"Iteration {iteration}, loss = {losses[-1]:.8f}")
        runner.set_vector(parameters, best)
        if validate is not None:
            _validate(runner, plan, progress, control, validate, held_out, say)
        now = perf_counter()
        seconds.append(now - start)
        start = now
        if after is not None and after(iteration):
            return True
        if before is not None and iteration < control.max_iter:
            before()
        return False

    def iterated(intermediate_result):
        nonlocal raised
        try:
            ends = ends_after(intermediate_result)
        except StopIteration as error:  # of a callback or score, which SciPy would take for the end of the fit
            raised, ends = error, True
        if ends:
            raise StopIteration

    if before is not None:
        before()
    stopped = False
    try:
        options = {"maxiter": control.max_iter, "maxfun": max_fun, "gtol": control.tol}
        with blas.one_thread():
            result = minimize(loss_and_gradient, best, jac=True, method="L-BFGS-B", callback=iterated, options=options)
        if raised is not None:
            raise raised
        best = result.x
        stopped = result.status == 99  # scipy's status after StopIteration
        loss = float(result.fun)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
        progress.level()
        result, loss = None, losses[-1] if losses else math.nan
    runner.set_vector(parameters, best)
    if plan.statistics:
        runner.loss_and_gradient()  # leaves the statistics of the final weights
    if result is not None:
        if not (math.isfinite(loss) and np.isfinite(best).all()):
            raise Divergence(iteration, None)
        if not losses:
            losses.append(loss)
            for curve in (seconds, *held_out):
                curve.append(math.nan)
        if result.status != 0 and not stopped:
            _not_converged(result, min(result.nit, control.max_iter), control.max_iter)
        progress.best_loss = min(progress.best_loss, loss)
    return iteration


def _not_converged(result, iterations, max_iter):
    message = f"lbfgs failed to converge after {iterations} iteration(s) (status={result.status}):\n{result.message}\n"
    if iterations == max_iter:
        message += f"\nMore iterations may help (max_iter={max_iter})."
    message += "\nScaling the columns of X to similar ranges may help too, for instance with StandardScaler."
    warnings.warn(message, ConvergenceWarning, stacklevel=3)
