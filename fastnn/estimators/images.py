"""Images and signals: which shapes of X mean what, and X as rows that a backend reads."""

import warnings
from math import prod

import numpy as np

from fastnn.estimators import sequences, validation
from fastnn.layers import all_layers
from fastnn.spec import is_whole, shown

CHANNELS = 16  # the last of two axes is read as channels up to here, where nothing else says what it is

# uint8 goes to the backend as it is; everything that is no real type becomes float64.
X_OPTIONS = {"dtype": (np.float64, np.float32, np.uint8), "order": "C"}


def check_input_shape(estimator):
    """The parameter `input_shape` as a tuple of one to three ints, or None."""
    given = estimator.input_shape
    if given is None:
        return None
    shape = tuple(given) if np.iterable(given) else (given,)
    if not all(map(is_whole, shape)) or not 1 <= len(shape) <= 3:
        raise ValueError(
            f"{type(estimator).__name__}: input_shape must be (height, width, channels), (height, width) or "
            f"(time, channels), got {shown(given)}"
        )
    return tuple(map(int, shape))


def with_channels(estimator, shape):
    """The shape of a row with its axis of channels: (height, width, channels) or (time, channels).

    Of two axes the first convolution or pool among the layers tells images from signals; without one, up to 16 columns
    that are fewer than the rows are the channels of a signal.
    """
    if len(shape) == 1:
        return (*shape, 1)
    if len(shape) == 3:
        return shape
    axes = next((layer.axes for layer in all_layers(estimator._given_layers()) if hasattr(layer, "axes")), None)
    signal = axes == 1 if axes else shape[1] <= CHANNELS and shape[1] < shape[0]
    return shape if signal else (*shape, 1)


def read(estimator, X, *, reset, **y):
    """X as (n, *input_shape_), C-contiguous, of type uint8, float32 or float64, or (X, y).

    With `reset` it is learnt how many tokens there are, if any, the input shape and the scale; else X is held against
    those of the fit.
    """
    X = X if hasattr(X, "shape") else np.asarray(X)
    shape = tuple(X.shape[1:])
    if len(shape) > 3:
        raise ValueError(
            f"{type(estimator).__name__}: expected X of shape (n, features), (n, height, width), (n, time, channels) "
            f"or (n, height, width, channels), got (n, {_text(shape)}); bring it into one of them with X.reshape"
        )
    if not reset and len(shape) > 1 and not _is_form(shape, estimator.input_shape_):
        raise ValueError(
            f"{type(estimator).__name__}: expected X of shape (n, {_text(estimator.input_shape_)}) as in fit, or flat "
            f"(n, {prod(estimator.input_shape_)}), got (n, {_text(shape)})"
        )
    table = np.asarray(X).reshape(len(X), prod(shape)) if len(shape) > 1 else X
    checked = validation.checked(estimator, table, **y, options=X_OPTIONS, reset=reset)
    X, *target = checked if y else (checked,)
    if reset:
        estimator._tokens = sequences.tokens(estimator._given_layers())
        estimator.input_shape_ = _input_shape(estimator, shape)
        estimator.scale_ = _scale(estimator, X)
    elif X.dtype == np.uint8 and warns_of_bytes(estimator):
        warnings.warn(
            f"{type(estimator).__name__}: X is of type uint8, but in the first fit it was not, so scale='auto' does "
            "not divide it by 255. If the fit saw numbers from 0 to 1, pass X / 255, or fit on uint8 or with "
            "scale=1/255; if both are in the same units, set scale=1.",
            stacklevel=6,  # the caller of predict
        )
    if estimator._tokens is not None:
        sequences.check_tokens(type(estimator).__name__, X, estimator._tokens)
    X = validation.as_rows(X).reshape(len(X), *estimator.input_shape_)
    return (X, *target) if y else X


def warns_of_bytes(estimator):
    """Whether X of type uint8 is probably in other units than that of the fit."""
    return estimator.scale == "auto" and estimator.scale_ == 1.0 and estimator._tokens is None


def _scale(estimator, X):
    """What X is multiplied with; tokens stay as they are."""
    if estimator._tokens is None:
        automatic = 1 / 255 if X.dtype == np.uint8 else 1.0
        return automatic if estimator.scale == "auto" else float(estimator.scale)
    if estimator.scale not in ("auto", 1):
        raise ValueError(
            f"{type(estimator).__name__}: scale={estimator.scale!r} would change the tokens that Embedding reads; "
            "leave it out"
        )
    return 1.0


def _input_shape(estimator, came):
    """The shape of a row: `input_shape` where it is given, else what came; both with channels."""
    given = check_input_shape(estimator)
    if given is None:
        return with_channels(estimator, came)
    shape = with_channels(estimator, given)
    if prod(shape) != prod(came) or (len(came) > 1 and not _is_form(came, shape)):
        raise ValueError(
            f"{type(estimator).__name__}: input_shape={shown(estimator.input_shape)} does not fit X of shape "
            f"(n, {_text(came)}); it must be the shape of one row, {prod(came)} numbers"
        )
    return shape


def _is_form(came, shape):
    """Whether rows that came in this shape are rows of `shape`: with or without a single channel."""
    return came in (shape, shape[:-1]) and prod(came) == prod(shape)


def _text(shape):
    return ", ".join(map(str, shape))
