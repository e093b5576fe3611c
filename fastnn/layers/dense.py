"""Fully connected layers."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn import ops
from fastnn.activations import get_activation
from fastnn.initializers import get_initializer
from fastnn.layers.activation import activate
from fastnn.layers.stack import ShapeError, show_shape
from fastnn.layers.weights import check_flag, given_weights, keep_weights
from fastnn.spec import keep_count


@dataclass(frozen=True)
class Dense:
    """y = f(x W + b) for x (n, in), W (in, units), b (units,); images and signals are flattened first.

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    activation : str or activation spec, default="identity"
        f; see ``fastnn.activations``.
    init : str, initialiser spec or None, default=None
        How W and b start. None: as the estimator's parameter `init` says.
    weights : array of shape (in, units) or None, default=None
        What W starts from instead; b starts at zero.
    trainable : bool, default=True
        Whether W and b change in training.
    """

    units: int
    activation: Any = "identity"
    init: Any = None
    weights: Any = field(default=None, repr=False)
    trainable: bool = True

    def __post_init__(self):
        keep_count(self, "units")
        get_activation(self.activation, where="Dense: activation")
        if self.init is not None:
            get_initializer(self.init, where="Dense: init")
        check_flag(self, "trainable")
        if self.weights is not None:
            W = given_weights(self)
            keep_weights(self, W, W.ndim == 2 and W.shape[1] == self.units, f"(in, {self.units})")

    def lower(self, builder, x):
        """Adds the affine map and the activation; returns the name of y."""
        return self.lower_steps(builder, ops.shape.flat(builder, x))

    def lower_steps(self, builder, x):
        """`lower` for an x in panels whose columns are the inputs, of a sequence at each step."""
        if self.weights is not None and len(self.weights) != builder.columns(x):
            raise ShapeError(
                f"the weights are for {len(self.weights)} inputs, got {show_shape(builder.shape(x))}; give weights of "
                f"shape ({builder.columns(x)}, {self.units})"
            )
        name = f"dense{builder.number('weights')}"
        z = ops.dense.dense(builder, x, self.units, name, trainable=bool(self.trainable))
        return activate(builder, z, get_activation(self.activation), f"{name}.y")

    def starting_weights(self, random_state, shape, activation_name, init):
        """(W, b) for W of this shape: the given weights, or drawn by `init` (this layer's own, where it has one)."""
        if self.weights is not None:
            return np.array(self.weights), np.zeros(self.units)
        return get_initializer(init if self.init is None else self.init).draw(random_state, *shape, activation_name)
