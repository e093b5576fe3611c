"""Activations: y = f(z) elementwise, their derivatives, and the row softmax.

`ACTIVATIONS` holds a record for each: the formula, its derivative (from y or from z, as the name
`derivative_from` says), where it is interesting and how exact a backend must be. Tests and
benchmarks of every backend take their cases from there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erfc

from fastnn.reference.tolerance import Tolerance

SELU_SCALE = 1.0507009873554804934
SELU_ALPHA = 1.6732632423543772848


def _identity(z):
    return z.copy()


def _identity_derivative(y):
    return np.ones_like(y)


def _unit_step(z):
    return np.heaviside(z, z.dtype.type(0.5))


def _sign(z):
    return np.sign(z)


def _straight_through(z):
    return (np.abs(z) <= 1).astype(z.dtype)


def _piecewise_linear(z):
    return np.clip(z + 0.5, 0, 1)


def _piecewise_linear_derivative(y):
    return ((y > 0) & (y < 1)).astype(y.dtype)


def logistic(z):
    """1 / (1 + exp(-z)), exact in both tails: the exponential never grows."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def _logistic_derivative(y):
    return y * (1 - y)


def _tanh_derivative(y):
    return (1 - y) * (1 + y)


def _relu(z):
    return np.maximum(z, 0)


def _relu_derivative(y):
    return (y > 0).astype(y.dtype)


def _scaled_relu(z, scale):
    return scale * _relu(z)


def _scaled_relu_derivative(y, scale):
    return np.where(y > 0, y.dtype.type(scale), y.dtype.type(0))


def _leaky_relu(z, slope):
    return np.where(z > 0, z, slope * z)


def _leaky_relu_derivative(y, slope):
    return np.where(y > 0, y.dtype.type(1), y.dtype.type(slope))


def softplus(z):
    """log(1 + exp(z)) without overflow, and without the loss of small values for negative z."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _softplus_derivative(y):
    return -np.expm1(-y)


def _elu(z, alpha):
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def _elu_derivative(y, alpha):
    return np.where(y > 0, y.dtype.type(1), y + y.dtype.type(alpha))


def _selu(z):
    return SELU_SCALE * _elu(z, SELU_ALPHA)


def _selu_derivative(y):
    return np.where(y > 0, y.dtype.type(SELU_SCALE), y + y.dtype.type(SELU_SCALE * SELU_ALPHA))


def _normal_distribution(z):
    return 0.5 * erfc(-math.sqrt(0.5) * z)


def _gelu(z):
    return z * _normal_distribution(z)


def _gelu_derivative(z):
    return _normal_distribution(z) + z * (np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi))


def _silu(z):
    return z * logistic(z)


def _silu_derivative(z):
    s = logistic(z)
    return s * (1 + z * logistic(-z))


def _tanh_softplus(z):
    """u = tanh(softplus(z)) and 1 - u^2 as quotients of polynomials in e = exp(-|z|).

    With x = exp(z): u = (x^2 + 2x) / (x^2 + 2x + 2); for z > 0 numerator and denominator are
    divided by x^2.
    """
    e = np.exp(-np.abs(z))
    negative = e * (e + 2)
    positive = 1 + 2 * e
    denominator = np.where(z > 0, positive + 2 * e * e, negative + 2)
    u = np.where(z > 0, positive, negative) / denominator
    rest = np.where(z > 0, 4 * (e * (1 + e)) ** 2, 4 * (1 + negative))
    return u, rest / (denominator * denominator)


def _mish(z):
    u, _ = _tanh_softplus(z)
    return z * u


def _mish_derivative(z):
    u, rest = _tanh_softplus(z)
    return u + z * rest * logistic(z)


def _hard_tanh(z):
    return np.clip(z, -1, 1)


def _hard_tanh_derivative(y):
    return ((y > -1) & (y < 1)).astype(y.dtype)


def _exp_derivative(y):
    return y.copy()


def _points(*tails):
    """Sample points: a fine grid around 0, both zeros, very small numbers, and the given tails with
    both signs.
    """
    small = np.array([0.0, 1e-30, 1e-12, 1e-6, 1e-3, 0.5, 1.0])
    ends = np.concatenate([small, np.array(tails, dtype=np.float64)])
    return np.concatenate([np.linspace(-9, 9, 181), ends, -ends])


@dataclass(frozen=True)
class Activation:
    """One activation: what it is, where to try it and how exact it must be.

    Attributes
    ----------
    name : str
    function : callable
        function(z, *parameters) -> y.
    derivative : callable
        derivative(s, *parameters) -> f', s being y or z as `derivative_from` says.
    derivative_from : {"output", "input"}
    parameters : tuple of tuple of float
        Sets of parameters worth trying, the default one first.
    domain : ndarray of float64
        Values of z worth trying.
    kinks : tuple of float
        Values of z where the derivative jumps; finite differences across them mean nothing.
    differentiated : callable or None
        The function whose derivative `derivative` is, where that is not `function`
        (straight-through).
    tolerance : Tolerance
        For y; the derivative, compared from equal s, has `derivative_tolerance`.
    """

    name: str
    function: Callable
    derivative: Callable
    derivative_from: str
    tolerance: Tolerance
    derivative_tolerance: Tolerance
    parameters: tuple = ((),)
    domain: np.ndarray = None
    kinks: tuple = ()
    differentiated: Callable | None = None


_EXACT = Tolerance(0, 0, tiny=1)
_ROUNDED = Tolerance(2, 2)
_FUNCTION = Tolerance(6, 6)
# Differences of numbers around 1: Phi(z) by way of erf in gelu, derivatives that pass through 0.
_CANCELLING = Tolerance(8, 8, unit=8)


def _record(name, function, derivative, source, tolerance, derivative_tolerance, **fields):
    fields.setdefault("domain", _points(20.0, 50.0, 100.0, 1e4))
    return Activation(name, function, derivative, source, tolerance, derivative_tolerance, **fields)


ACTIVATIONS = {
    record.name: record
    for record in (
        _record("identity", _identity, _identity_derivative, "output", _EXACT, _EXACT),
        _record("unit_step", _unit_step, _straight_through, "input", _EXACT, _EXACT,
                kinks=(-1.0, 1.0), differentiated=_hard_tanh),
        _record("sign", _sign, _straight_through, "input", _EXACT, _EXACT,
                kinks=(-1.0, 1.0), differentiated=_hard_tanh),
        _record("piecewise_linear", _piecewise_linear, _piecewise_linear_derivative, "output",
                _ROUNDED, _EXACT, kinks=(-0.5, 0.5)),
        _record("logistic", logistic, _logistic_derivative, "output", _FUNCTION, _ROUNDED),
        _record("tanh", np.tanh, _tanh_derivative, "output", _FUNCTION, _CANCELLING),
        _record("relu", _relu, _relu_derivative, "output", _EXACT, _EXACT, kinks=(0.0,)),
        _record("scaled_relu", _scaled_relu, _scaled_relu_derivative, "output", _ROUNDED, _EXACT,
                parameters=((2.0,), (1.25,)), kinks=(0.0,)),
        _record("leaky_relu", _leaky_relu, _leaky_relu_derivative, "output", _ROUNDED, _ROUNDED,
                parameters=((0.01,), (0.0,), (0.3,)), kinks=(0.0,)),
        _record("softplus", softplus, _softplus_derivative, "output", _FUNCTION, _FUNCTION),
        _record("elu", _elu, _elu_derivative, "output", _FUNCTION, _CANCELLING,
                parameters=((1.0,), (0.5,)), kinks=(0.0,)),
        _record("selu", _selu, _selu_derivative, "output", _FUNCTION, _CANCELLING, kinks=(0.0,)),
        _record("gelu", _gelu, _gelu_derivative, "input", _CANCELLING, _CANCELLING),
        _record("silu", _silu, _silu_derivative, "input", _FUNCTION, _CANCELLING),
        _record("mish", _mish, _mish_derivative, "input", _FUNCTION, _CANCELLING),
        _record("hard_tanh", _hard_tanh, _hard_tanh_derivative, "output", _EXACT, _EXACT,
                kinks=(-1.0, 1.0)),
        # exp(88.8) is already infinite in float32.
        _record("exp", np.exp, _exp_derivative, "output", _FUNCTION, _EXACT,
                domain=_points(20.0, 50.0, 80.0)),
    )
}  # fmt: skip


def apply(kernel, z):
    """y = f(z) for kernel = (name, *parameters); a copy of z for None."""
    if kernel is None:
        return z.copy()
    name, *parameters = kernel
    return ACTIVATIONS[name].function(z, *parameters)


def derivative(kernel, s):
    """f' for kernel = (name, *parameters), from s = y or z as the activation's record says."""
    name, *parameters = kernel
    return ACTIVATIONS[name].derivative(s, *parameters)


def softmax_rows(z):
    """exp(z) / sum(exp(z)) over the last axis; less the largest entry first, against overflow."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _activation(op, buffers, step):
    buffers[op.outputs[0]] = apply(op.attributes["activation"], buffers[op.inputs[0]])


def _softmax(op, buffers, step):
    buffers[op.outputs[0]] = softmax_rows(buffers[op.inputs[0]])


def _activation_grad(op, buffers, step):
    dy, s = (buffers[name] for name in op.inputs)
    buffers[op.outputs[0]] = dy * derivative(op.attributes["activation"], s)


OPS = {"activation": _activation, "softmax": _softmax, "activation_grad": _activation_grad}
