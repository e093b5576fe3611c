"""Learning-rate schedules as specs: `rates` gives the learning rate of each batch.

Steps are batches, counted from 0 over the whole fit; an epoch is `steps_per_epoch` of them. Every
formula is a function of the step's number alone, so a fit that stops and resumes sees the same
rates.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fastnn.spec import check_number, look_up


@dataclass(frozen=True)
class Schedule:
    """Base of all schedule specs.

    Attributes
    ----------
    name : str
        The name users write.
    needs_total : bool
        True when `rates` needs `total_steps`, the length of the whole fit.
    adaptive : bool
        True when the training loop divides the base rate by `Adaptive.divisor` on lack of progress.
    """

    name: ClassVar[str] = ""
    needs_total: ClassVar[bool] = False
    adaptive: ClassVar[bool] = False

    def rates(
        self,
        base_rate,
        first_step,
        n_steps,
        steps_per_epoch,
        total_steps=None,
        samples_per_epoch=None,
    ):
        """Learning rates of the batches first_step, ..., first_step + n_steps - 1.

        Parameters
        ----------
        base_rate : float
            The rate the schedule scales: the start, or the peak where the schedule warms up.
        first_step : int
            Number of the first batch, counted from 0 over the whole fit.
        n_steps : int
            How many rates.
        steps_per_epoch : int
            Batches in an epoch, >= 1.
        total_steps : int, optional
            Batches of the whole fit, for schedules that end somewhere (`needs_total`). Later steps
            keep the last rate.
        samples_per_epoch : int, optional
            Rows seen in an epoch, for `InverseScaling`.

        Returns
        -------
        ndarray of shape (n_steps,), float64
        """
        if self.needs_total and total_steps is None:
            raise ValueError(
                f"{type(self).__name__}.rates: expected total_steps, got None; "
                "this schedule ends with the fit, so give the number of batches of the whole fit"
            )
        steps = np.arange(first_step, first_step + n_steps, dtype=np.float64)
        factors = self._factors(steps, steps_per_epoch, total_steps, samples_per_epoch)
        return base_rate * factors

    def _factors(self, steps, steps_per_epoch, total_steps, samples_per_epoch):
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """rate = base, always."""

    name: ClassVar[str] = "constant"

    def _factors(self, steps, steps_per_epoch, total_steps, samples_per_epoch):
        return np.ones_like(steps)


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """rate = base / (samples + 1)^power, samples = rows seen by the end of the last epoch.

    Parameters
    ----------
    power : float, default=0.5
        In [0, inf).

    References
    ----------
    scikit-learn's MLPClassifier, learning_rate="invscaling".
    """

    power: float = 0.5
    name: ClassVar[str] = "invscaling"

    def __post_init__(self):
        check_number(self, "power", "[0, inf)")

    def _factors(self, steps, steps_per_epoch, total_steps, samples_per_epoch):
        if samples_per_epoch is None:
            raise ValueError(
                "InverseScaling.rates: expected samples_per_epoch, got None; "
                "this schedule counts rows, so give the number of rows of an epoch"
            )
        samples = np.floor(steps / steps_per_epoch) * samples_per_epoch
        return 1.0 / (samples + 1.0) ** self.power


@dataclass(frozen=True)
class Adaptive(Schedule):
    """rate = base, which the training loop divides by 5 whenever progress stops.

    The loop ends when the rate is down to `minimum`. The spec holds the numbers; the state is the
    loop's.

    References
    ----------
    scikit-learn's MLPClassifier, learning_rate="adaptive".
    """

    name: ClassVar[str] = "adaptive"
    adaptive: ClassVar[bool] = True
    divisor: ClassVar[float] = 5.0
    minimum: ClassVar[float] = 1e-6

    def _factors(self, steps, steps_per_epoch, total_steps, samples_per_epoch):
        return np.ones_like(steps)


@dataclass(frozen=True)
class Step(Schedule):
    """rate = base * factor^floor(epoch / every).

    Parameters
    ----------
    every : int, default=10
        Epochs between two drops, >= 1.
    factor : float, default=0.1
        What a drop multiplies with, in (0, 1].

    References
    ----------
    He, Zhang, Ren and Sun (2016), Deep residual learning (drops by 10).
    """

    every: int = 10
    factor: float = 0.1
    name: ClassVar[str] = "step"

    def __post_init__(self):
        check_number(self, "every", "[1, inf)", whole=True)
        check_number(self, "factor", "(0, 1]")

    def _factors(self, steps, steps_per_epoch, total_steps, samples_per_epoch):
        return self.factor ** np.floor(np.floor(steps / steps_per_epoch) / self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """rate = base * factor^epoch, epoch counted from 0.

    Parameters
    ----------
    factor : float, default=0.95
        In (0, 1].

    References
    ----------
    Bottou (2012), Stochastic gradient descent tricks (on decreasing rates).
    """

    factor: float = 0.95
    name: ClassVar[str] = "exponential"

    def __post_init__(self):
        check_number(self, "factor", "(0, 1]")

    def _factors(self, steps, steps_per_epoch, total_steps, samples_per_epoch):
        return self.factor ** np.floor(steps / steps_per_epoch)


@dataclass(frozen=True)
class Cosine(Schedule):
    """rate = base * (final + (1 - final) (1 + cos(pi step / total_steps)) / 2), per batch.

    Starts at base and would reach final * base on the step after the last.

    Parameters
    ----------
    final : float, default=0.0
        The last rate as a share of the base rate, in [0, 1].

    References
    ----------
    Loshchilov and Hutter (2017), SGDR: stochastic gradient descent with warm restarts (one cycle,
    no restart).
    """

    final: float = 0.0
    name: ClassVar[str] = "cosine"
    needs_total: ClassVar[bool] = True

    def __post_init__(self):
        check_number(self, "final", "[0, 1]")

    def _factors(self, steps, steps_per_epoch, total_steps, samples_per_epoch):
        done = np.minimum(steps / max(total_steps, 1), 1.0)
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + np.cos(math.pi * done))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """From base / start_divisor up to base, then down to that start / final_divisor, per batch.

    Both ways follow half a cosine. The first and the last batch have the outer rates; the peak lies
    `warmup_fraction` of the way between them.

    Parameters
    ----------
    warmup_fraction : float, default=0.3
        Share of the fit that rises, in [0, 1).
    start_divisor : float, default=25.0
        Base rate over first rate, in [1, inf).
    final_divisor : float, default=1e4
        First rate over last rate, in [1, inf).

    References
    ----------
    Smith and Topin (2019), Super-convergence: very fast training of neural networks using large
    learning rates.
    """

    warmup_fraction: float = 0.3
    start_divisor: float = 25.0
    final_divisor: float = 1e4
    name: ClassVar[str] = "one_cycle"
    needs_total: ClassVar[bool] = True

    def __post_init__(self):
        check_number(self, "warmup_fraction", "[0, 1)")
        check_number(self, "start_divisor", "[1, inf)")
        check_number(self, "final_divisor", "[1, inf)")

    def _factors(self, steps, steps_per_epoch, total_steps, samples_per_epoch):
        done = np.minimum(steps / max(total_steps - 1, 1), 1.0)
        peak = self.warmup_fraction
        first, last = 1.0 / self.start_divisor, 1.0 / (self.start_divisor * self.final_divisor)
        rise = np.minimum(done / peak, 1.0) if peak > 0 else np.ones_like(done)
        fall = np.maximum(done - peak, 0.0) / (1.0 - peak)
        rising = first + (1.0 - first) * 0.5 * (1.0 - np.cos(math.pi * rise))
        falling = last + (1.0 - last) * 0.5 * (1.0 + np.cos(math.pi * fall))
        return np.where(done < peak, rising, falling)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """rate = base * (step + 1) / steps over the first epochs, then another schedule's.

    Parameters
    ----------
    epochs : float, default=1.0
        Length of the linear rise, in (0, inf); fractions of an epoch are allowed.
    then : Schedule or str, default=Constant()
        What follows; it sees the rest of the fit as if it were the whole.

    References
    ----------
    Goyal et al. (2017), Accurate, large minibatch SGD: training ImageNet in 1 hour.
    """

    epochs: float = 1.0
    then: Schedule | str = field(default_factory=Constant)
    name: ClassVar[str] = "warm_up"

    def __post_init__(self):
        check_number(self, "epochs", "(0, inf)")
        object.__setattr__(self, "then", get_schedule(self.then, where="WarmUp(then=)"))

    @property
    def needs_total(self):
        return self.then.needs_total

    @property
    def adaptive(self):
        return self.then.adaptive

    def _factors(self, steps, steps_per_epoch, total_steps, samples_per_epoch):
        length = max(1, round(self.epochs * steps_per_epoch))
        rest = None if total_steps is None else max(total_steps - length, 1)
        later = np.maximum(steps - length, 0.0)
        then = self.then._factors(later, steps_per_epoch, rest, samples_per_epoch)
        return np.where(steps < length, (steps + 1.0) / length, then)


SCHEDULES = {
    spec.name: spec
    for spec in (
        Constant, InverseScaling, Adaptive, Step, Exponential, Cosine, OneCycle, WarmUp,
    )
}  # fmt: skip


def get_schedule(spec_or_name, where="learning_rate"):
    """The schedule spec for a name (with its default numbers), or the given spec itself.

    Raises
    ------
    ValueError
        For anything else, with the list of names; `where` is the place the message names.
    """
    way_out = "for other numbers than the defaults pass a spec, such as Cosine(final=0.1)"
    return look_up(spec_or_name, SCHEDULES, Schedule, where, "a schedule", way_out)
