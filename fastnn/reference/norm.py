"""Batch normalisation and layer normalisation, forward and backward, over the last axis of (n, ..., c). Sums run in
float64, results in the real type.
"""

from math import prod

import numpy as np

from fastnn.reference.dense import accumulate, in_parts


def _mean(x, axis):
    return x.mean(axis=axis, dtype=np.float64)


def _column_sums(x):
    """Sums over all axes but the last, in float64."""
    return x.sum(axis=tuple(range(x.ndim - 1)), dtype=np.float64)


def _batch_norm_sums(op, buffers, step):
    x = buffers[op.inputs[0]]
    sums = []
    for part in in_parts(x, op.attributes["parts"]):
        mean = _column_sums(part) / max(prod(part.shape[:-1]), 1)
        sums.append((mean, _column_sums((part - mean) ** 2)))
    buffers[op.outputs[0]] = np.array(sums).astype(x.dtype)


def _batch_norm_statistics(op, buffers, step):
    """Combines the parts' means and squared deviations in their order (Chan, Golub and LeVeque, 1983)."""
    partial, running_mean, running_var = (buffers[name] for name in op.inputs)
    epsilon, momentum, parts, positions = (op.attributes[a] for a in ("epsilon", "momentum", "parts", "positions"))
    counts = [positions * len(rows) for rows in in_parts(range(step.n), parts)]
    count, mean, squares = 0, 0.0, 0.0
    for part_count, (part_mean, part_squares) in zip(counts, partial.astype(np.float64), strict=True):
        if part_count:
            difference = part_mean - mean
            mean = mean + difference * (part_count / (count + part_count))
            squares = squares + part_squares + difference**2 * (count * part_count / (count + part_count))
            count += part_count
    running_mean = (1 - momentum) * running_mean + momentum * mean
    running_var = (1 - momentum) * running_var + momentum * (squares / max(count - 1, 1))
    rstd = 1 / np.sqrt(squares / count + epsilon)
    for name, value in zip(op.outputs, (mean, rstd, running_mean, running_var), strict=True):
        buffers[name] = value.astype(partial.dtype)


def _batch_norm(op, buffers, step):
    x, gamma, beta, mean, rstd = (buffers[name] for name in op.inputs)
    buffers[op.outputs[0]] = gamma * ((x - mean) * rstd) + beta


def _batch_norm_inference(op, buffers, step):
    x, gamma, beta, running_mean, running_var = (buffers[name] for name in op.inputs)
    rstd = 1 / np.sqrt(running_var + op.attributes["epsilon"])
    buffers[op.outputs[0]] = gamma * ((x - running_mean) * rstd) + beta


def _batch_norm_grad_sums(op, buffers, step):
    dy, x, mean, rstd = (buffers[name] for name in op.inputs)
    products = dy * ((x - mean) * rstd)
    parts = zip(*(in_parts(values, op.attributes["parts"]) for values in (products, dy)), strict=True)
    sums = [[_column_sums(values) for values in part] for part in parts]
    buffers[op.outputs[0]] = np.array(sums).astype(x.dtype)


def _batch_norm_grad_parameters(op, buffers, step):
    partial = buffers[op.inputs[0]]
    for name, value in zip(op.outputs, partial.sum(axis=0, dtype=np.float64), strict=True):
        buffers[name] = value.astype(partial.dtype)


def _batch_norm_grad(op, buffers, step):
    dy, x, gamma, mean, rstd, dgamma, dbeta = (buffers[name] for name in op.inputs)
    count = len(x) * op.attributes["positions"]
    standard = (x - mean) * rstd
    buffers[op.outputs[0]] = gamma * rstd * (dy - dbeta / count - standard * (dgamma / count))


def _layer_norm(op, buffers, step):
    x, gamma, beta = (buffers[name] for name in op.inputs)
    mean = _mean(x, -1)
    deviation = x - mean[..., np.newaxis]
    rstd = 1 / np.sqrt(_mean(deviation**2, -1) + op.attributes["epsilon"])
    standard = (deviation * rstd[..., np.newaxis]).astype(x.dtype)
    for name, value in zip(op.outputs, (gamma * standard + beta, mean, rstd), strict=True):
        buffers[name] = value.astype(x.dtype)


def _layer_norm_grad(op, buffers, step):
    dy, x, gamma, mean, rstd = (buffers[name] for name in op.inputs)
    mean, rstd = mean[..., np.newaxis], rstd[..., np.newaxis]
    standard = (x - mean) * rstd
    g = dy * gamma
    shift = _mean(g, -1)[..., np.newaxis]
    slope = _mean(g * standard, -1)[..., np.newaxis]
    buffers[op.outputs[0]] = (rstd * (g - shift - standard * slope)).astype(x.dtype)


def _layer_norm_grad_parameters(op, buffers, step):
    dy, x, mean, rstd = (buffers[name] for name in op.inputs)
    standard = (x - mean[..., np.newaxis]) * rstd[..., np.newaxis]
    sums = (_column_sums(values).astype(x.dtype) for values in (dy * standard, dy))
    accumulate(buffers, op.outputs, sums, step)


def _fold_norm(op, buffers, step):
    """W' = W s and b' = (b - mean) s + beta with s = gamma / sqrt(var + epsilon): normalises what the layer yields."""
    W, *b, gamma, beta, running_mean, running_var = (buffers[name] for name in op.inputs)
    scale = gamma / np.sqrt(running_var + op.attributes["epsilon"])
    shift = b[0] - running_mean if op.attributes["bias"] else -running_mean
    for name, value in zip(op.outputs, (W * scale, shift * scale + beta), strict=True):
        buffers[name] = value


OPS = {
    "batch_norm_sums": _batch_norm_sums,
    "batch_norm_statistics": _batch_norm_statistics,
    "batch_norm": _batch_norm,
    "batch_norm_inference": _batch_norm_inference,
    "batch_norm_grad_sums": _batch_norm_grad_sums,
    "batch_norm_grad_parameters": _batch_norm_grad_parameters,
    "batch_norm_grad": _batch_norm_grad,
    "layer_norm": _layer_norm,
    "layer_norm_grad": _layer_norm_grad,
    "layer_norm_grad_parameters": _layer_norm_grad_parameters,
    "fold_norm": _fold_norm,
}
