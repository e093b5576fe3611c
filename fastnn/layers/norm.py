"""Normalisation layers."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from fastnn import ops
from fastnn.spec import is_number, shown


def _check(layer, name, low, high):
    value = getattr(layer, name)
    if not (is_number(value) and low < value <= high):
        interval = f"({low}, {high}{']' if high < inf else ')'}"
        raise ValueError(f"{type(layer).__name__}: {name} must be a number in {interval}, got {shown(value)}")


@dataclass(frozen=True)
class BatchNorm:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, with mean and biased variance of each feature over the batch.

    The features of an image are its channels, and its positions count like rows. Prediction uses running averages:
    running <- (1 - momentum) running + momentum batch, with the unbiased variance. Sample weights do not enter the
    statistics. Source: Ioffe and Szegedy (2015).

    Parameters
    ----------
    momentum : float in (0, 1], default=0.1
    epsilon : float > 0, default=1e-5
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self):
        _check(self, "momentum", 0, 1)
        _check(self, "epsilon", 0, inf)

    def lower(self, builder, x):
        """Adds the normalisation; returns the name of y."""
        x = ops.shape.in_panels(builder, x)
        name = f"norm{builder.number('norm')}"
        return ops.norm.batch_norm(builder, x, float(self.momentum), float(self.epsilon), name)


@dataclass(frozen=True)
class LayerNorm:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, with mean and biased variance of each row over its features.

    Of an image each position counts as a row. The same in training and prediction. Source: Ba, Kiros and Hinton (2016).

    Parameters
    ----------
    epsilon : float > 0, default=1e-5
    """

    epsilon: float = 1e-5

    respects_lengths: ClassVar[bool] = True

    def __post_init__(self):
        _check(self, "epsilon", 0, inf)

    def lower(self, builder, x):
        """Adds the normalisation; returns the name of y."""
        x = ops.shape.in_panels(builder, x)
        return ops.norm.layer_norm(builder, x, float(self.epsilon), f"norm{builder.number('norm')}")
