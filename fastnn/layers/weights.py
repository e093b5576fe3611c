"""What layers with weights share: weights that a user gives, and flags."""

import numpy as np

from fastnn.spec import shown


def check_flag(layer, *names):
    """ValueError unless these fields of a layer are True or False."""
    for name in names:
        if not isinstance(getattr(layer, name), (bool, np.bool_)):
            raise ValueError(f"{type(layer).__name__}: {name} must be True or False, got {shown(getattr(layer, name))}")


def given_weights(layer):
    """The field `weights` of a layer as a float64 array; ValueError for what is no array of numbers."""
    try:
        return np.asarray(layer.weights, np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{type(layer).__name__}: weights must be an array of numbers, got {shown(layer.weights)}"
        ) from None


def keep_weights(layer, W, fits, expected):
    """Sets the field `weights` of a layer to an array as nested tuples: layers are hashable, since plans are cached by
    them. ValueError unless it `fits`, with the shape `expected` as text."""
    name = type(layer).__name__
    if not fits:
        raise ValueError(f"{name}: weights must have shape {expected}, got {np.shape(layer.weights)}")
    if not np.isfinite(W).all():
        raise ValueError(f"{name}: weights hold NaN or infinity")
    object.__setattr__(layer, "weights", _Given(_as_tuples(W)))


class _Given(tuple):
    """A tuple whose hash is taken once: every prediction looks up its plan by it."""

    def __hash__(self):
        if "hash" not in vars(self):
            self.hash = super().__hash__()
        return self.hash

    def __getstate__(self):
        """None: the hash is no part of a pickle."""


def _as_tuples(array):
    return tuple(map(_as_tuples, array)) if array.ndim else float(array)
