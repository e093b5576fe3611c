"""Activations as layers of their own."""

from dataclasses import dataclass
from typing import Any, ClassVar

from fastnn import ops
from fastnn.activations import RReLU, get_activation


@dataclass(frozen=True)
class Activation:
    """y = f(x), elementwise; lets a normalisation stand between a layer and its activation.

    Parameters
    ----------
    activation : str or activation spec, default="relu"
        f; see ``fastnn.activations``.
    """

    activation: Any = "relu"

    respects_lengths: ClassVar[bool] = True

    def __post_init__(self):
        get_activation(self.activation, where="Activation: activation")

    def lower(self, builder, x):
        """Adds the activation; returns the name of y."""
        x = ops.shape.in_panels(builder, x)
        spec = get_activation(self.activation)
        return activate(builder, x, spec, f"activation{builder.number('activation')}.y")


def activate(builder, z, spec, name):
    """Adds an activation; identity adds nothing, the randomised leaky ReLU is random in training only."""
    if spec.name == "identity":
        return z
    if isinstance(spec, RReLU):
        if builder.training:
            return ops.random.rrelu(builder, z, spec.lower, spec.upper, builder.number("stream") + 1, name)
        spec = spec.at_prediction
    return ops.activation.activation(builder, z, spec, name)
