"""Layers that are random in training."""

from dataclasses import dataclass
from typing import ClassVar

from fastnn import ops
from fastnn.layers.weights import check_flag
from fastnn.spec import is_number, shown


@dataclass(frozen=True)
class Dropout:
    """Sets each input to zero with probability `rate` in training and scales the others by 1 / (1 - rate).

    Prediction passes its input through. Source: Srivastava et al. (2014), in the inverted form.

    Parameters
    ----------
    rate : float in [0, 1)
    channels : bool, default=False
        Whether whole channels of an image or signal are dropped (Tompson et al., 2015).
    """

    rate: float
    channels: bool = False

    respects_lengths: ClassVar[bool] = True

    def __post_init__(self):
        if not (is_number(self.rate) and 0 <= self.rate < 1):
            raise ValueError(f"Dropout: rate must be a number in [0, 1), got {shown(self.rate)}")
        check_flag(self, "channels")

    def lower(self, builder, x):
        """Adds the mask in training; returns the name of the output."""
        if not builder.training or self.rate == 0:
            return x
        x = ops.shape.in_panels(builder, x)
        stream = builder.number("stream") + 1
        return ops.random.dropout(builder, x, self.rate, stream, f"dropout{stream}.y", self.channels)
