"""Pooling of images (n, height, width, channels) and signals (n, time, channels), channel by channel."""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from fastnn import ops
from fastnn.layers.stack import ShapeError, expected
from fastnn.layers.window import check_image, check_padding, keep_tuples, pair, window
from fastnn.ops.window import Geometry
from fastnn.spec import shown

PLACES = 1 << 24  # that float32, which holds the place of a maximum, tells apart


@dataclass(frozen=True)
class _Pool:
    size: Any = 2
    stride: Any = None
    padding: Any = "valid"

    axes: ClassVar[int]

    def __post_init__(self):
        name = type(self).__name__
        pair(self.size, self.axes, f"{name}: size")
        if self.stride is not None:
            pair(self.stride, self.axes, f"{name}: stride")
        padding = check_padding(self.padding, self.axes, f"{name}: padding")
        keep_tuples(self, "size", "stride", "padding")
        if not isinstance(padding, str):
            size = pair(self.size, self.axes, "")
            if any(max(sides) >= side for sides, side in zip(padding, size, strict=True) if max(sides)):
                raise ValueError(f"{name}: padding must be smaller than size={self.size!r}, got {shown(self.padding)}")

    def lower(self, builder, x):
        """Adds the pool; returns the name of y."""
        shape = check_image(builder.shape(x), self.axes)
        geometry = window(shape, self.axes, self.size, self.size if self.stride is None else self.stride, self.padding)
        self._check(geometry.kernel)
        x = ops.shape.in_panels(builder, x)
        return self._pool(builder, x, geometry, f"pool{builder.number('pool')}")


class _Max:
    _pool = staticmethod(ops.pool.max_pool)

    @staticmethod
    def _check(places):
        if prod(places) > PLACES:
            raise ShapeError(
                f"a maximum of {prod(places):,} places, of which float32 can number {PLACES:,}; put a smaller pool "
                "before it"
            )


class _Mean:
    _pool = staticmethod(ops.pool.avg_pool)

    @staticmethod
    def _check(places):
        """Any number of places has a mean."""


@dataclass(frozen=True)
class MaxPool2D(_Max, _Pool):
    """y[n,i,j,c] = max over u, v < size of x[n, i s + u, j s + v, c].

    Parameters
    ----------
    size : int or (int, int), default=2
        Height and width of the window.
    stride : int, (int, int) or None, default=None
        Steps s of the window; None: its size.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
        As for Conv2D; places outside the image never win.
    """

    axes: ClassVar[int] = 2


@dataclass(frozen=True)
class MaxPool1D(_Max, _Pool):
    """y[n,i,c] = max over v < size of x[n, i s + v, c]; parameters as those of MaxPool2D, ints instead of pairs."""

    axes: ClassVar[int] = 1


@dataclass(frozen=True)
class AvgPool2D(_Mean, _Pool):
    """y[n,i,j,c] = mean over u, v < size of x[n, i s + u, j s + v, c].

    Parameters
    ----------
    size : int or (int, int), default=2
        Height and width of the window.
    stride : int, (int, int) or None, default=None
        Steps s of the window; None: its size.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
        As for Conv2D; places outside the image do not count.
    """

    axes: ClassVar[int] = 2


@dataclass(frozen=True)
class AvgPool1D(_Mean, _Pool):
    """y[n,i,c] = mean over v < size of x[n, i s + v, c]; parameters as those of AvgPool2D, ints instead of pairs."""

    axes: ClassVar[int] = 1


class _Global:
    respects_lengths: ClassVar[bool] = True
    _over_steps: ClassVar[str]

    def lower(self, builder, x):
        """Adds the pool over all positions; returns the name of y (n, channels)."""
        shape = builder.shape(x)
        if len(shape) == 1:
            raise expected(
                ("height", "width", "channels"), shape, "global pools belong after convolutions or recurrent layers "
                "with return_sequences=True"
            )  # fmt: skip
        image = (1, *shape[:-1])[-2:]
        self._check(image)
        x = ops.shape.in_panels(builder, x)
        name = f"pool{builder.number('pool')}"
        if builder.lengths is not None:
            return ops.steps.over_steps(builder, x, self._over_steps, name)
        return ops.shape.flat(builder, self._pool(builder, x, Geometry(image, image, image), name))


@dataclass(frozen=True)
class GlobalMaxPool(_Max, _Global):
    """y[n,c] = max over all positions of x[n, ..., c], of an image or a signal; of sequences of unequal length, over
    each one's own steps."""

    _over_steps: ClassVar[str] = "max_over_steps"


@dataclass(frozen=True)
class GlobalAvgPool(_Mean, _Global):
    """y[n,c] = mean over all positions of x[n, ..., c], of an image or a signal; of sequences of unequal length, over
    each one's own steps. Source: Lin, Chen and Yan (2014)."""

    _over_steps: ClassVar[str] = "mean_over_steps"
