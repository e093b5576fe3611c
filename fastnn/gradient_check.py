"""Backpropagation against finite differences."""

import copy
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from fastnn.estimators import network as networks
from fastnn.estimators.base import BaseNetwork
from fastnn.estimators.fitting import Fit
from fastnn.estimators.validation import check_sum
from fastnn.spec import is_number, shown

STEP = np.finfo(np.float64).eps ** (1 / 3)  # balances truncation (step^2) against rounding (eps / step)


class GradientCheck(dict):
    """Worst relative error of each checked parameter, such as ``{"coefs_[0]": 2.1e-10, ...}``."""

    @property
    def worst(self):
        """The largest error of all."""
        return max(self.values(), default=0.0)

    def __repr__(self):
        lines = [f"{name:<20} {error:.1e}" for name, error in self.items()]
        return "\n".join(["relative error of the gradient", *lines, f"{'worst':<20} {self.worst:.1e}"])


def check_gradient(estimator, X, y, sample_weight=None, *, epsilon=None, max_entries=50, random_state=0):
    """Compares the gradient of the training loss with central differences, in float64 whatever the precision is.

    For each checked entry w of a parameter, g' = (loss(w + h) - loss(w - h)) / (2 h) with h = epsilon * max(1, |w|) is
    held against backpropagation's g; the error is |g - g'| / max(|g|, |g'|, 1e-4 * largest |g| of all, 1e7 * rounding),
    where rounding is measured: near a minimum, differences of losses consist of nothing else.

    The loss is that of all rows as one batch, with penalty, sample and class weights, and with the same dropout masks
    every time. An entry that disagrees is tried again with a smaller and a larger step: a step across the kink of relu
    or of the hinge loss proves nothing. Where a pre-activation is exactly 0 the two may differ without an error.
    Gradients that are not meant to be those of the loss, straight-through or truncated ones, are refused.

    Parameters
    ----------
    estimator : estimator of fastnn that trains by gradients
        Fitted: its weights are checked. Unfitted: those training would start from. Never changed.
    X : array-like of shape (n_samples, ...)
        A few dozen rows are enough.
    y : array-like
    sample_weight : array-like of shape (n_samples,), default=None
    epsilon : float, default=None
        Relative step; None means 6.1e-6, the cube root of float64's resolution.
    max_entries : int, default=50
        Entries checked of each parameter, drawn at random where it has more.
    random_state : int, RandomState instance or None, default=0
        For that draw.

    Returns
    -------
    GradientCheck
        A dict from "coefs_[0]" and so on to the worst relative error; 1e-6 is reason to look closer.

    Examples
    --------
    >>> from fastnn import MLPRegressor, check_gradient
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=20, n_features=4, random_state=0)
    >>> check_gradient(MLPRegressor(random_state=0), X, y).worst < 1e-6
    True
    """
    positive = epsilon is None or (is_number(epsilon) and epsilon > 0)
    if not positive or not isinstance(max_entries, Integral) or max_entries < 1:
        raise ValueError(
            "check_gradient: expected a positive epsilon or None and a max_entries of at least 1, got "
            f"{shown(epsilon)} and {shown(max_entries)}"
        )
    fit = _as_if_fitting(estimator, X, y, sample_weight)
    plan, runner = fit.gradient_runner()
    draw = check_random_state(random_state)
    step = STEP if epsilon is None else float(epsilon)
    runner.loss_and_gradient()
    gradients = {name: runner.get(plan.gradients[name]) for name in plan.parameters}
    largest = max(float(np.abs(g).max(initial=0.0)) for g in gradients.values())
    floor = max(1e-4 * largest, 1e7 * _rounding(runner, plan) / step, np.finfo(np.float64).tiny)
    result = GradientCheck()
    for name, gradient in gradients.items():
        size = gradient.size
        entries = range(size) if size <= max_entries else sorted(draw.choice(size, int(max_entries), replace=False))
        weights = runner.get(name)
        errors = [_entry_error(runner, name, weights, entry, gradient.flat[entry], step, floor) for entry in entries]
        runner.set(name, weights)
        result[networks.public_name(fit.network, name)] = max(errors, default=0.0)
    return result


def _as_if_fitting(estimator, X, y, sample_weight):
    """The Fit that `estimator.fit` would run, or that a warm start would."""
    if not isinstance(estimator, BaseNetwork):
        raise TypeError(
            f"check_gradient: expected an estimator of fastnn that trains by gradients, got {shown(estimator)}"
        )
    fitted = hasattr(estimator, "coefs_")
    twin = copy.copy(estimator) if fitted else clone(estimator)
    twin._validate_params()
    rows, network, progress, weights, _ = twin._prepare(X, y, sample_weight, first=not fitted, incremental=fitted)
    check_sum(twin, rows, split=False)
    if fitted:  # not at the last epoch's, where early stopping shows better ones
        weights = networks.from_attributes(estimator, network)
    inexact = networks.inexact_gradient(network)
    if inexact:
        what, instead = inexact
        raise ValueError(
            f"check_gradient: {what}, which finite differences cannot confirm; check the network with {instead}"
        )
    return Fit(twin, network, progress, weights, False, np.dtype(np.float64), rows, None, incremental=False)


def _rounding(runner, plan):
    """Spread of the loss when all weights move by a few units in their last place, at least one unit of the loss."""
    weights = {name: runner.get(name) for name in plan.parameters}
    losses = []
    for units in range(-3, 4):
        for name, array in weights.items():
            runner.set(name, array * (1 + units * np.finfo(np.float64).eps))
        losses.append(runner.loss_and_gradient())
    for name, array in weights.items():
        runner.set(name, array)
    return max(max(losses) - min(losses), np.finfo(np.float64).eps * max(map(abs, losses)))


def _entry_error(runner, name, weights, entry, exact, step, floor):
    """Relative error of one entry: the best of up to three differences, since each has a blind spot.

    Smaller steps avoid kinks, larger ones with the rule of fourth order have less rounding; wrong gradients fail all.
    """

    def central(h):
        losses = []
        for moved in (weights.flat[entry] + h, weights.flat[entry] - h):
            changed = weights.copy()
            changed.flat[entry] = moved
            runner.set(name, changed)
            losses.append(runner.loss_and_gradient())
        return (losses[0] - losses[1]) / (2 * h)

    h = step * max(1.0, abs(weights.flat[entry]))
    differences = (
        lambda: central(h),
        lambda: (4 * central(16 * h) - central(32 * h)) / 3,
        lambda: central(h / 16),
    )
    best = np.inf
    for difference in differences:
        value = difference()
        best = min(best, float(abs(exact - value) / max(abs(exact), abs(value), floor)))
        if best < 1e-7:
            break
    return best
