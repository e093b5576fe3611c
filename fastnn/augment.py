"""Expanding the data as specs: random changes of each row of a training batch, drawn anew at every step.

A spec's `kernel` is the tuple ops carry. Transforms work in the order given; neighbours that move pixels (Shift,
Rotate, Zoom and the flips) become one map, so an image is interpolated once. What comes from outside an image is 0.
Validation and prediction see the rows as they are.
"""

import numbers
from dataclasses import dataclass, fields
from typing import ClassVar

from fastnn.spec import check_number, look_up, shown

KINDS = {3: "images", 2: "signals"}  # by the number of axes of a row
SHAPES = {"images": "(height, width, channels)", "signals": "(time, channels)"}


@dataclass(frozen=True)
class Augmentation:
    """Base of all specs that expand the data.

    Attributes
    ----------
    name : str
        The name users write.
    applies_to : tuple of {"images", "signals"}
        The kinds of rows it can change.
    """

    name: ClassVar[str] = ""
    applies_to: ClassVar[tuple[str, ...]] = ("images",)

    @property
    def kernel(self):
        """The tuple ops carry: (name, *numbers)."""
        return (self.name, *(float(getattr(self, field.name)) for field in fields(self)))

    def check(self, shape, where="augment"):
        """Raises ValueError unless rows of `shape`, (h, w, c) or (t, c), can be changed so."""
        kind = KINDS.get(len(shape))
        if kind not in self.applies_to:
            others = [spec.__name__ for spec in AUGMENTATIONS.values() if kind in spec.applies_to]
            way_out = f"for {kind} there is {', '.join(others)}" if kind else "check the input's shape"
            expected = " or ".join(f"{kind} {SHAPES[kind]}" for kind in self.applies_to)
            raise ValueError(f"{where} {self}: expected {expected}, got rows of shape {tuple(shape)}; {way_out}")


class Sized:
    """What specs with a `size` share: a whole number counts pixels or time steps, a fraction is one of the side."""

    def __post_init__(self):
        size = self.size
        if isinstance(size, numbers.Real) and not isinstance(size, bool):
            if size >= 1 if isinstance(size, numbers.Integral) else 0 < size < 1:
                return
        raise ValueError(
            f"{type(self).__name__}(size=): expected a whole number of pixels or time steps from 1, or a fraction of "
            f"the side in (0, 1), got {shown(size)}; the usual value is {type(self).size:g}"
        )

    def check(self, shape, where="augment"):
        """Raises ValueError unless rows of `shape` can be changed so and more than `size` of them remains."""
        super().check(shape, where)
        side = min(shape[:-1])
        if max(1, round(self.size * side) if self.size < 1 else self.size) >= side:
            raise ValueError(
                f"{where} {self}: expected a size below the shortest side, got rows of shape {tuple(shape)}; "
                "choose a smaller size"
            )


@dataclass(frozen=True)
class Shift(Sized, Augmentation):
    """Moves a row by whole pixels, both ways for images, along time for signals; no interpolation.

    Parameters
    ----------
    size : int or float, default=0.1
        The farthest: pixels or time steps from 1, or a fraction of the side in (0, 1), rounded, at least 1. Each whole
        number in [-size, size] is as likely.

    References
    ----------
    Simard, Steinkraus and Platt (2003), Best practices for convolutional neural networks applied to visual document
    analysis.
    """

    size: float = 0.1
    name: ClassVar[str] = "shift"
    applies_to: ClassVar[tuple[str, ...]] = ("images", "signals")


@dataclass(frozen=True)
class Rotate(Augmentation):
    """Tilts an image about its centre by an angle uniform in [-degrees, degrees], bilinear.

    Parameters
    ----------
    degrees : float, default=10.0
        In (0, 180].
    """

    degrees: float = 10.0
    name: ClassVar[str] = "rotate"

    def __post_init__(self):
        check_number(self, "degrees", "(0, 180]")


@dataclass(frozen=True)
class Zoom(Augmentation):
    """Enlarges an image about its centre by a factor uniform in [1 - fraction, 1 + fraction], bilinear.

    Parameters
    ----------
    fraction : float, default=0.1
        In (0, 1).
    """

    fraction: float = 0.1
    name: ClassVar[str] = "zoom"

    def __post_init__(self):
        check_number(self, "fraction", "(0, 1)")


@dataclass(frozen=True)
class HorizontalFlip(Augmentation):
    """Exchanges left and right of an image.

    Parameters
    ----------
    probability : float, default=0.5
        In (0, 1].
    """

    probability: float = 0.5
    name: ClassVar[str] = "horizontal_flip"

    def __post_init__(self):
        check_number(self, "probability", "(0, 1]")


@dataclass(frozen=True)
class VerticalFlip(Augmentation):
    """Exchanges top and bottom of an image.

    Parameters
    ----------
    probability : float, default=0.5
        In (0, 1].
    """

    probability: float = 0.5
    name: ClassVar[str] = "vertical_flip"

    def __post_init__(self):
        check_number(self, "probability", "(0, 1]")


@dataclass(frozen=True)
class Cutout(Sized, Augmentation):
    """Sets a square of an image to 0; its centre is uniform over the pixels, so the border may cut it.

    Parameters
    ----------
    size : int or float, default=0.25
        Side of the square: pixels from 1, or a fraction of the shorter side in (0, 1), rounded, at least 1.

    References
    ----------
    DeVries and Taylor (2017), Improved regularization of convolutional neural networks with cutout (a quarter of the
    side for CIFAR-100, half of it for CIFAR-10).
    """

    size: float = 0.25
    name: ClassVar[str] = "cutout"


@dataclass(frozen=True)
class TimeMask(Sized, Augmentation):
    """Sets a stretch of a signal to 0 in all channels; its centre is uniform over time, so an end may cut it.

    Parameters
    ----------
    size : int or float, default=0.1
        Length of the stretch: time steps from 1, or a fraction of the length in (0, 1), rounded, at least 1.

    References
    ----------
    Park et al. (2019), SpecAugment: a simple data augmentation method for automatic speech recognition (which draws
    the length too).
    """

    size: float = 0.1
    name: ClassVar[str] = "time_mask"
    applies_to: ClassVar[tuple[str, ...]] = ("signals",)

    @property
    def kernel(self):
        """Along one axis a square is a stretch."""
        return (Cutout.name, float(self.size))


@dataclass(frozen=True)
class GaussianNoise(Augmentation):
    """Adds to each element a number from a normal distribution with mean 0; also known as jitter.

    Parameters
    ----------
    std : float, default=0.1
        Standard deviation in the units of the (scaled) rows, in (0, inf). Nothing drawn lies beyond 5.8 of them.

    References
    ----------
    Bishop (1995), Training with noise is equivalent to Tikhonov regularization.
    """

    std: float = 0.1
    name: ClassVar[str] = "gaussian_noise"
    applies_to: ClassVar[tuple[str, ...]] = ("images", "signals")

    def __post_init__(self):
        check_number(self, "std", "(0, inf)")


@dataclass(frozen=True)
class Scale(Augmentation):
    """Multiplies a signal by one number from a normal distribution with mean 1.

    Parameters
    ----------
    std : float, default=0.1
        Standard deviation of the factor, in (0, inf).

    References
    ----------
    Um et al. (2017), Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
    neural networks.
    """

    std: float = 0.1
    name: ClassVar[str] = "scale"
    applies_to: ClassVar[tuple[str, ...]] = ("signals",)

    def __post_init__(self):
        check_number(self, "std", "(0, inf)")


@dataclass(frozen=True)
class Mixup(Augmentation):
    """Blends each row and its target with another row's: lambda a + (1 - lambda) b, lambda ~ Beta(alpha, alpha).

    The other is drawn from all rows whose sample weight is positive; the blend has the weight of the first.

    Parameters
    ----------
    alpha : float, default=0.2
        In [0.05, 1]: small numbers leave most rows nearly as they are, 1 draws lambda uniformly.

    References
    ----------
    Zhang, Cisse, Dauphin and Lopez-Paz (2018), mixup: beyond empirical risk minimization.
    """

    alpha: float = 0.2
    name: ClassVar[str] = "mixup"
    applies_to: ClassVar[tuple[str, ...]] = ("images", "signals")

    def __post_init__(self):
        check_number(self, "alpha", "[0.05, 1]")


AUGMENTATIONS = {
    spec.name: spec
    for spec in (
        Shift, Rotate, Zoom, HorizontalFlip, VerticalFlip, Cutout, GaussianNoise, Scale, TimeMask, Mixup,
    )
}  # fmt: skip


def get_augmentations(given, shape, where="augment"):
    """The specs of a list of specs and names (with their default numbers), or of None, for rows of `shape`, as a tuple.

    Raises
    ------
    ValueError
        For anything else, with the list of names, and for a spec that cannot change such rows; `where` is the place
        the message names.
    """
    way_out = "for other numbers than the defaults pass a spec, such as Rotate(degrees=15)"
    if given is not None and not isinstance(given, (list, tuple)):
        raise ValueError(f"{where}: expected a list of names and specs, ['shift', Rotate(15)] say, got {shown(given)}")
    specs = []
    for i, one in enumerate(given or ()):
        specs.append(look_up(one, AUGMENTATIONS, Augmentation, f"{where}[{i}]", "an augmentation", way_out))
        specs[-1].check(shape, f"{where}[{i}]")
    return tuple(specs)
