"""Batch normalisation and layer normalisation, forward and backward. Sums run in float64, results
in the real type.
"""

import numpy as np

from fastnn.reference.dense import accumulate


def _mean(x, axis):
    return x.mean(axis=axis, dtype=np.float64)


def _moments(x, epsilon, axis):
    """Mean, biased variance and 1 / sqrt(variance + epsilon) along an axis, in float64."""
    mean = _mean(x, axis)
    variance = _mean((x - np.expand_dims(mean, axis)) ** 2, axis)
    return mean, variance, 1 / np.sqrt(variance + epsilon)


def _batch_norm(op, buffers, step):
    x, gamma, beta, running_mean, running_var = (buffers[name] for name in op.inputs)
    dtype = x.dtype
    mean, variance, rstd = _moments(x, op.attributes["epsilon"], axis=0)
    momentum = op.attributes["momentum"]
    unbiased = variance * (len(x) / max(len(x) - 1, 1))
    y = gamma * ((x - mean) * rstd).astype(dtype) + beta
    running_mean = (1 - momentum) * running_mean + momentum * mean
    running_var = (1 - momentum) * running_var + momentum * unbiased
    for name, value in zip(op.outputs, (y, mean, rstd, running_mean, running_var), strict=True):
        buffers[name] = value.astype(dtype)


def _batch_norm_inference(op, buffers, step):
    x, gamma, beta, running_mean, running_var = (buffers[name] for name in op.inputs)
    rstd = 1 / np.sqrt(running_var + op.attributes["epsilon"])
    buffers[op.outputs[0]] = gamma * ((x - running_mean) * rstd) + beta


def _batch_norm_grad(op, buffers, step):
    dy, x, gamma, mean, rstd = (buffers[name] for name in op.inputs)
    standard = (x - mean) * rstd
    dgamma = (dy * standard).sum(axis=0, dtype=np.float64)
    dbeta = dy.sum(axis=0, dtype=np.float64)
    dx = gamma * rstd * (dy - dbeta / len(x) - standard * (dgamma / len(x)))
    for name, value in zip(op.outputs, (dx, dgamma, dbeta), strict=True):
        buffers[name] = value.astype(x.dtype)


def _layer_norm(op, buffers, step):
    x, gamma, beta = (buffers[name] for name in op.inputs)
    dtype = x.dtype
    mean, _, rstd = _moments(x, op.attributes["epsilon"], axis=1)
    standard = ((x - mean[:, np.newaxis]) * rstd[:, np.newaxis]).astype(dtype)
    for name, value in zip(op.outputs, (gamma * standard + beta, mean, rstd), strict=True):
        buffers[name] = value.astype(dtype)


def _layer_norm_grad(op, buffers, step):
    dy, x, gamma, mean, rstd = (buffers[name] for name in op.inputs)
    standard = (x - mean[:, np.newaxis]) * rstd[:, np.newaxis]
    g = dy * gamma
    shift = _mean(g, 1)[:, np.newaxis]
    slope = _mean(g * standard, 1)[:, np.newaxis]
    dx = rstd[:, np.newaxis] * (g - shift - standard * slope)
    buffers[op.outputs[0]] = dx.astype(x.dtype)


def _layer_norm_grad_parameters(op, buffers, step):
    dy, x, mean, rstd = (buffers[name] for name in op.inputs)
    standard = (x - mean[:, np.newaxis]) * rstd[:, np.newaxis]
    sums = (values.sum(axis=0, dtype=np.float64).astype(x.dtype) for values in (dy * standard, dy))
    accumulate(buffers, op.outputs, sums, step)


OPS = {
    "batch_norm": _batch_norm,
    "batch_norm_inference": _batch_norm_inference,
    "batch_norm_grad": _batch_norm_grad,
    "layer_norm": _layer_norm,
    "layer_norm_grad": _layer_norm_grad,
    "layer_norm_grad_parameters": _layer_norm_grad_parameters,
}
