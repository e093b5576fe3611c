"""Fully connected layers."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

from fastnn import ops
from fastnn.activations import get_activation
from fastnn.initializers import get_initializer
from fastnn.layers.activation import activate


@dataclass(frozen=True)
class Dense:
    """y = f(x W + b) for x (n, in), W (in, units), b (units,); images and signals are flattened first.

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    activation : str or activation spec, default="relu"
        f; see ``fastnn.activations``.
    init : str, initialiser spec or None, default=None
        How W and b start. None: as the estimator's parameter `init` says.
    """

    units: int
    activation: Any = "relu"
    init: Any = None

    def __post_init__(self):
        if isinstance(self.units, bool) or not isinstance(self.units, Integral) or self.units < 1:
            raise ValueError(f"Dense: units must be an int >= 1, got {self.units!r}")
        get_activation(self.activation, where="Dense: activation")
        if self.init is not None:
            get_initializer(self.init, where="Dense: init")

    def lower(self, builder, x):
        """Adds the affine map and the activation; returns the name of y."""
        x = ops.shape.flat(builder, x)
        name = f"dense{builder.number('weights')}"
        z = ops.dense.dense(builder, x, int(self.units), name)
        return activate(builder, z, get_activation(self.activation), f"{name}.y")

    def starting_weights(self, random_state, shape, activation_name, init):
        """(W, b) for W of this shape, drawn by `init` or by this layer's own initialiser, where it has one."""
        return get_initializer(init if self.init is None else self.init).draw(random_state, *shape, activation_name)
