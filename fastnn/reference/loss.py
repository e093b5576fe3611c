"""Losses of a row, summed over its outputs, and their gradients with respect to the last
pre-activation z.

`LOSSES` holds a record for each, as `fastnn.reference.activation` does for activations. Values are
float64 whatever the real type, since they are added up over all rows; gradients have the real type.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from fastnn.reference.activation import logistic, softmax_rows
from fastnn.reference.tolerance import Tolerance


def _softmax_log_loss(z, t):
    shifted = z - z.max(axis=-1, keepdims=True)
    return t * (np.log(np.exp(shifted).sum(axis=-1, keepdims=True)) - shifted)


def _softmax_log_loss_gradient(z, t):
    return softmax_rows(z) * t.sum(axis=-1, keepdims=True) - t


def _logistic_log_loss(z, t):
    # max(z, 0) - t z as one product is exact for t in {0, 1}: a confident row keeps its small loss.
    return z * ((z > 0) - t) + np.log1p(np.exp(-np.abs(z)))


def _logistic_log_loss_gradient(z, t):
    return logistic(z) - t


def _squared_error(z, t):
    return 0.5 * (z - t) ** 2


def _squared_error_gradient(z, t):
    return z - t


def _absolute_error(z, t):
    return np.abs(z - t)


def _absolute_error_gradient(z, t):
    return np.sign(z - t)


def _huber(z, t, delta):
    e = np.abs(z - t)
    return np.where(e <= delta, 0.5 * e * e, delta * (e - 0.5 * delta))


def _huber_gradient(z, t, delta):
    return np.clip(z - t, -delta, delta)


def _quantile(z, t, q):
    e = t - z
    return np.maximum(q * e, (q - 1) * e)


def _quantile_gradient(z, t, q):
    return np.where(t > z, -q, np.where(t < z, 1 - q, 0.0)).astype(z.dtype)


def _poisson(z, t):
    return np.exp(z) - t * z + (xlogy(t, t) - t)


def _poisson_gradient(z, t):
    return np.exp(z) - t


def _hinge(z, t):
    return np.maximum(0, 1 - t * z)


def _hinge_gradient(z, t):
    return np.where(t * z < 1, -t, z.dtype.type(0))


def _perceptron(z, t):
    return np.maximum(0, -t * z)


def _perceptron_gradient(z, t):
    return np.where(t * z <= 0, -t, z.dtype.type(0))


_VALUE = Tolerance(16, 16, unit=16)
_GRADIENT = Tolerance(8, 8, unit=8)


@dataclass(frozen=True)
class Loss:
    """One loss: what it is, where to try it and how exact it must be.

    Attributes
    ----------
    name : str
    terms : callable
        terms(z, t, *parameters) -> (n, outputs) array; a row's loss is their sum.
    gradient : callable
        gradient(z, t, *parameters) -> dl/dz, (n, outputs).
    domain : callable
        domain(rows, outputs, random_state) -> (z, t) in float64, extremes included.
    kink : callable
        kink(z, t, *parameters) -> 0 where the gradient jumps, its distance elsewhere.
    parameters : tuple of tuple of float
        Sets of parameters worth trying, the default one first.
    tolerance, gradient_tolerance : Tolerance
        For a row's loss and for dl/dz, once both are divided by `scale(z, t)`.
    """

    name: str
    terms: Callable
    gradient: Callable
    domain: Callable
    kink: Callable
    parameters: tuple = ((),)
    tolerance: Tolerance = _VALUE
    gradient_tolerance: Tolerance = _GRADIENT

    def value(self, z, t, *parameters):
        """Loss of each row (n,), or of each of its steps (n, time), float64."""
        terms = self.terms(z.astype(np.float64), t.astype(np.float64), *parameters)
        return terms.sum(axis=-1)

    @staticmethod
    def scale(z, t):
        """Size of the numbers a row's loss and gradient are differences of: 1 + max(|z|, |t|), (n,
        1).
        """
        return 1.0 + np.maximum(np.abs(z), np.abs(t)).max(axis=1, keepdims=True)


def _logits(rows, outputs, random_state):
    z = random_state.normal(0, 5, (rows, outputs))
    z[::5] *= 2000.0
    z[1::7] = 0.0
    return z


def _one_hot(rows, outputs, random_state):
    t = np.zeros((rows, outputs))
    t[np.arange(rows), random_state.randint(outputs, size=rows)] = 1.0
    return _logits(rows, outputs, random_state), t


def _labels(rows, outputs, random_state):
    return _logits(rows, outputs, random_state), random_state.randint(2, size=(rows, outputs)) * 1.0


def _signs(rows, outputs, random_state):
    z, t = _labels(rows, outputs, random_state)
    return z, 2.0 * t - 1.0


def _values(rows, outputs, random_state):
    z = _logits(rows, outputs, random_state)
    t = random_state.normal(0, 5, (rows, outputs))
    t[2::6] = z[2::6]
    return z, t


def _counts(rows, outputs, random_state):
    z = random_state.uniform(-20, 20, (rows, outputs))
    return z, random_state.poisson(3.0, (rows, outputs)) * 1.0


def _no_kink(z, t, *parameters):
    return np.full(z.shape, np.inf)


def _zero_error(z, t, *parameters):
    return np.abs(z - t)


LOSSES = {
    record.name: record
    for record in (
        Loss("softmax_log_loss", _softmax_log_loss, _softmax_log_loss_gradient, _one_hot, _no_kink),
        Loss("logistic_log_loss", _logistic_log_loss, _logistic_log_loss_gradient, _labels, _no_kink),
        Loss("squared_error", _squared_error, _squared_error_gradient, _values, _no_kink),
        Loss("absolute_error", _absolute_error, _absolute_error_gradient, _values, _zero_error),
        Loss(
            "huber",
            _huber,
            _huber_gradient,
            _values,
            _no_kink,
            parameters=((1.0,), (0.1,), (10.0,)),
        ),
        Loss(
            "quantile",
            _quantile,
            _quantile_gradient,
            _values,
            _zero_error,
            parameters=((0.5,), (0.1,), (0.95,)),
        ),
        Loss("poisson", _poisson, _poisson_gradient, _counts, _no_kink),
        Loss("hinge", _hinge, _hinge_gradient, _signs, lambda z, t: np.abs(1 - t * z)),
        Loss("perceptron", _perceptron, _perceptron_gradient, _signs, lambda z, t: np.abs(z)),
    )
}


def _loss(op, buffers, step):
    z, t = buffers[op.inputs[0]], buffers[op.inputs[1]]
    name, *parameters = op.attributes["loss"]
    record = LOSSES[name]
    gradient = record.gradient(z, t, *parameters) * step.inverse_weight
    value = record.value(z, t, *parameters)
    if z.ndim == 3:
        lengths = buffers[op.inputs[-1]][:, 0] if op.attributes["lengths"] else np.full(len(z), z.shape[1])
        gradient, value = _over_steps(gradient, value, lengths)
    if op.attributes["weighted"]:
        w = buffers[op.inputs[2]]
        gradient *= w.reshape(-1, *[1] * (z.ndim - 1))
        value *= w
    dz, row_loss = op.outputs
    buffers[dz] = gradient
    buffers[row_loss][step.row : step.row + step.n] = value


def _over_steps(gradient, value, lengths):
    """The mean of (n, time) values over each row's own steps, and its gradient: zero beyond them."""
    inside = np.arange(value.shape[1]) < lengths[:, np.newaxis]
    share = (inside / lengths[:, np.newaxis]).astype(gradient.dtype)
    gradient = np.where(inside[..., np.newaxis], gradient * share[..., np.newaxis], gradient.dtype.type(0))
    return gradient, np.where(inside, value, 0.0).sum(axis=1) / lengths


OPS = {"loss": _loss}
