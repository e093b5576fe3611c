"""Layers over the steps of sequences (n, time, channels): the same at every step, or the last step alone."""

from dataclasses import dataclass
from typing import Any, ClassVar

from fastnn import ops
from fastnn.layers.activation import Activation
from fastnn.layers.dense import Dense
from fastnn.layers.norm import LayerNorm
from fastnn.layers.random import Dropout
from fastnn.layers.stack import expected
from fastnn.spec import shown


def check_sequence(shape):
    """(time, channels), which the shape of a row must be."""
    if len(shape) == 2:
        return shape
    if len(shape) == 1:
        way_out = f"put Reshape(({shape[0]}, 1)) first, or give the recurrent layer before it return_sequences=True"
    else:
        height, width, channels = shape
        way_out = f"put Reshape(({height}, {width * channels})) first to read an image line by line"
    raise expected(("time", "channels"), shape, way_out)


@dataclass(frozen=True)
class TimeDistributed:
    """y[n,t] = f(x[n,t]) for x (n, time, channels): a layer at every step, with the same weights.

    Parameters
    ----------
    layer : Dense, Activation, Dropout or LayerNorm
        f. Dense without TimeDistributed takes all steps together, (n, time * channels); the others do the same at every
        step anyway.
    """

    layer: Any

    respects_lengths: ClassVar[bool] = True

    def __post_init__(self):
        if not isinstance(self.layer, (Dense, Activation, Dropout, LayerNorm)):
            raise ValueError(
                f"TimeDistributed: layer must be a Dense, Activation, Dropout or LayerNorm, got {shown(self.layer)}"
            )

    @property
    def layers(self):
        return (self.layer,)

    @property
    def units(self):
        """Outputs of a Dense at each step."""
        return self.layer.units

    def lower(self, builder, x):
        """Adds the layer; returns the name of y."""
        check_sequence(builder.shape(x))
        x = ops.shape.in_panels(builder, x)
        lower = self.layer.lower_steps if isinstance(self.layer, Dense) else self.layer.lower
        return lower(builder, x)


@dataclass(frozen=True)
class LastStep:
    """y[n,c] = x[n, time - 1, c], the last step; of sequences of unequal length each one's own."""

    respects_lengths: ClassVar[bool] = True

    def lower(self, builder, x):
        """Adds the choice; returns the name of y."""
        check_sequence(builder.shape(x))
        x = ops.shape.in_panels(builder, x)
        return ops.steps.over_steps(builder, x, "last_step", f"pool{builder.number('pool')}")
