"""Losses as specs: functions of the output layer's pre-activation z and the target t, with
which numbers.

A loss is summed over a row's outputs and averaged over rows (weighted by sample weights). It also
decides what the output layer shows (`output_activation`) and how a classifier's classes become
numbers (`target_values`).
"""

from dataclasses import dataclass, fields
from typing import ClassVar

from fastnn.spec import check_number, look_up


@dataclass(frozen=True)
class Loss:
    """Base of all loss specs.

    Attributes
    ----------
    name : str
        The name users write.
    target_values : tuple of float
        (off, on): the targets of an absent and a present class. Only a classifier uses them; a
        regressor's targets are taken as they are.
    """

    name: ClassVar[str] = ""
    target_values: ClassVar[tuple] = (0.0, 1.0)

    @property
    def parameters(self):
        """The spec's numbers in the order of its fields, as a tuple of floats."""
        return tuple(float(getattr(self, field.name)) for field in fields(self))

    def kernel(self, multiclass=False):
        """The tuple a loss op carries: (kernel name, *parameters).

        Parameters
        ----------
        multiclass : bool, default=False
            True when exactly one of several output columns is right; False for one output, several
            independent labels, and regression.
        """
        return (self.name, *self.parameters)

    def output_activation(self, multiclass=False):
        """The name of the activation that turns z into the prediction."""
        return "identity"


@dataclass(frozen=True)
class LogLoss(Loss):
    """Cross-entropy between t and the predicted probabilities, in nats, range [0, inf).

    Several classes: l = logsumexp(z) - sum_j t_j z_j with softmax outputs. Two classes or
    independent labels: l = sum_j log(1 + exp(z_j)) - t_j z_j with logistic outputs. Both have dl/dz
    = prediction - t.

    References
    ----------
    Bishop (2006), Pattern Recognition and Machine Learning, sections 4.3.2 and 4.3.4.
    """

    name: ClassVar[str] = "log_loss"

    def kernel(self, multiclass=False):
        return ("softmax_log_loss",) if multiclass else ("logistic_log_loss",)

    def output_activation(self, multiclass=False):
        return "softmax" if multiclass else "logistic"


@dataclass(frozen=True)
class SquaredError(Loss):
    """l = sum_j (z_j - t_j)^2 / 2, range [0, inf). As a classifier's loss its targets are -1 and 1.

    References
    ----------
    Widrow and Hoff (1960), Adaptive switching circuits (the classifier's case).
    """

    name: ClassVar[str] = "squared_error"
    target_values: ClassVar[tuple] = (-1.0, 1.0)


@dataclass(frozen=True)
class Hinge(Loss):
    """l = sum_j max(0, 1 - t_j z_j) with t in {-1, 1}, range [0, inf): a margin, no probabilities.

    References
    ----------
    Cortes and Vapnik (1995), Support-vector networks.
    """

    name: ClassVar[str] = "hinge"
    target_values: ClassVar[tuple] = (-1.0, 1.0)


@dataclass(frozen=True)
class Perceptron(Loss):
    """l = sum_j max(0, -t_j z_j) with t in {-1, 1}, range [0, inf); dl/dz = -t where t z <= 0.

    The derivative at t z = 0 is -t, so that training leaves all-zero weights.

    References
    ----------
    Rosenblatt (1958), The perceptron.
    """

    name: ClassVar[str] = "perceptron"
    target_values: ClassVar[tuple] = (-1.0, 1.0)


@dataclass(frozen=True)
class AbsoluteError(Loss):
    """l = sum_j |z_j - t_j|, range [0, inf): fits the conditional median."""

    name: ClassVar[str] = "absolute_error"


@dataclass(frozen=True)
class Huber(Loss):
    """With e = z - t: l = sum_j e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2).

    Parameters
    ----------
    delta : float, default=1.0
        Error at which the parabola turns into a straight line, in units of the target, in (0, inf).

    References
    ----------
    Huber (1964), Robust estimation of a location parameter.
    """

    delta: float = 1.0
    name: ClassVar[str] = "huber"

    def __post_init__(self):
        check_number(self, "delta", "(0, inf)")


@dataclass(frozen=True)
class Poisson(Loss):
    """Half the Poisson deviance, l = sum_j exp(z) - t z + t log t - t; prediction exp(z).

    Targets must be >= 0; t log t counts as 0 at t = 0.

    References
    ----------
    McCullagh and Nelder (1989), Generalized Linear Models, chapter 6.
    """

    name: ClassVar[str] = "poisson"

    def output_activation(self, multiclass=False):
        return "exp"


@dataclass(frozen=True)
class Quantile(Loss):
    """With e = t - z: l = sum_j max(q e, (q - 1) e), fits the conditional q-quantile.

    Parameters
    ----------
    q : float, default=0.5
        The quantile, in (0, 1). At 0.5 the loss is half the absolute error.

    References
    ----------
    Koenker and Bassett (1978), Regression quantiles.
    """

    q: float = 0.5
    name: ClassVar[str] = "quantile"

    def __post_init__(self):
        check_number(self, "q", "(0, 1)")


CLASSIFIER_LOSSES = {spec.name: spec for spec in (LogLoss, SquaredError, Hinge, Perceptron)}
REGRESSOR_LOSSES = {spec.name: spec for spec in (SquaredError, AbsoluteError, Huber, Poisson, Quantile)}
_LOSSES = {"classifier": CLASSIFIER_LOSSES, "regressor": REGRESSOR_LOSSES}


def get_loss(spec_or_name, kind):
    """The loss spec for a name (with its default numbers), or the given spec itself.

    Parameters
    ----------
    spec_or_name : str or Loss
    kind : {"classifier", "regressor"}
        Which losses are allowed: those of `CLASSIFIER_LOSSES` or of `REGRESSOR_LOSSES`.

    Raises
    ------
    ValueError
        When the loss does not exist or does not belong to this kind of estimator.
    """
    other = "regressor" if kind == "classifier" else "classifier"
    named = spec_or_name if isinstance(spec_or_name, str) else getattr(spec_or_name, "name", None)
    if isinstance(named, str) and named in _LOSSES[other]:
        way_out = f"this one belongs to a {other}"
    else:
        way_out = "for other numbers than the defaults pass a spec from fastnn.losses"
    return look_up(spec_or_name, _LOSSES[kind], Loss, f"loss of a {kind}", "a loss", way_out)
