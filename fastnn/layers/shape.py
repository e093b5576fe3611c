"""Layers that only change the shape of their input."""

from dataclasses import dataclass
from math import prod

import numpy as np

from fastnn import ops
from fastnn.layers.stack import ShapeError
from fastnn.spec import is_whole, shown


@dataclass(frozen=True)
class Flatten:
    """y (n, features) = x (n, ...) in row-major order."""

    def lower(self, builder, x):
        """Adds the change of shape; returns the name of y."""
        return ops.shape.flat(builder, x)


@dataclass(frozen=True)
class Reshape:
    """y (n, *shape) = x (n, ...) in row-major order.

    Parameters
    ----------
    shape : tuple of int
        Of one row: (features,), (time, channels) or (height, width, channels); one entry may be -1 and follows from
        the others.
    """

    shape: tuple

    def __post_init__(self):
        given = tuple(self.shape) if np.iterable(self.shape) else (self.shape,)
        whole = all(is_whole(size, least=-1) for size in given)
        if not whole or not 1 <= len(given) <= 3 or 0 in given or given.count(-1) > 1:
            raise ValueError(
                f"Reshape: shape must hold one to three numbers >= 1, one of them perhaps -1, got {shown(self.shape)}"
            )
        object.__setattr__(self, "shape", tuple(map(int, given)))

    def lower(self, builder, x):
        """Adds the change of shape; returns the name of y."""
        size, known = builder.buffers[x].size, prod(s for s in self.shape if s != -1)
        shape = tuple(size // known if s == -1 else s for s in self.shape)
        if prod(shape) != size:
            came = " x ".join(map(str, builder.shape(x)))
            raise ShapeError(
                f"{size} numbers a row ({came}) cannot take the shape {self.shape}; choose one that holds {size}"
            )
        return ops.shape.reshape(builder, x, shape)
