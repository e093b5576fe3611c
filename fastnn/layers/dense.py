"""Fully connected layers."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

from fastnn import ops
from fastnn.activations import LeakyReLU, RReLU, get_activation
from fastnn.initializers import get_initializer


@dataclass(frozen=True)
class Dense:
    """y = f(x W + b) for x (n, in), W (in, units), b (units,).

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    activation : str or activation spec, default="relu"
        f; see ``fastnn.activations``.
    init : str or initialiser spec, default="auto"
        How W and b start; "auto" is scikit-learn's: uniform with the bound of Glorot and Bengio (2010).
    """

    units: int
    activation: Any = "relu"
    init: Any = "auto"

    def __post_init__(self):
        if isinstance(self.units, bool) or not isinstance(self.units, Integral) or self.units < 1:
            raise ValueError(f"Dense: units must be an int >= 1, got {self.units!r}")
        get_activation(self.activation, where="Dense: activation")
        get_initializer(self.init, where="Dense: init")

    def lower(self, builder, x):
        """Adds the affine map and the activation; returns the name of y."""
        name = f"dense{builder.number('dense')}"
        z = ops.dense.dense(builder, x, int(self.units), name)
        return activate(builder, z, get_activation(self.activation), f"{name}.y")


def activate(builder, z, spec, name):
    """Adds an activation; identity adds nothing, the randomised leaky ReLU is random in training only."""
    if spec.name == "identity":
        return z
    if isinstance(spec, RReLU):
        if builder.training:
            return ops.random.rrelu(builder, z, spec.lower, spec.upper, builder.number("stream") + 1, name)
        spec = LeakyReLU((spec.lower + spec.upper) / 2)
    return ops.activation.activation(builder, z, spec, name)
