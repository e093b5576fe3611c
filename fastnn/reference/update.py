"""From gradients to new parameters: penalty, clipping, the optimiser's step, the transposed copy.

`OPTIMIZERS` maps a rule's name to a function (W, g, states, rate, t, *constants) -> (W, states).
"""

import math

import numpy as np

from fastnn.reference.bfloat16 import bfloat16, operands
from fastnn.reference.dense import weight_gradients


def _sgd(W, g, states, rate, t, momentum, nesterov):
    (v,) = states
    v = momentum * v - rate * g
    return W + (momentum * v - rate * g if nesterov else v), (v,)


def _adagrad(W, g, states, rate, t, epsilon):
    (s,) = states
    s = s + g * g
    return W - rate * g / (np.sqrt(s) + epsilon), (s,)


def _rmsprop(W, g, states, rate, t, rho, epsilon):
    (s,) = states
    s = rho * s + (1 - rho) * (g * g)
    return W - rate * g / (np.sqrt(s) + epsilon), (s,)


def _adam(W, g, states, rate, t, beta_1, beta_2, epsilon):
    m, v = states
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * (g * g)
    rate = rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return W - rate * m / (np.sqrt(v) + epsilon), (m, v)


OPTIMIZERS = {"sgd": _sgd, "adagrad": _adagrad, "rmsprop": _rmsprop, "adam": _adam}


def optimise(W, g, states, step, optimizer, decay):
    """New parameter and new states after one optimiser step; decoupled decay comes first."""
    name, *constants = optimizer
    if decay:
        W = W * (1 - step.rate * decay)
    return OPTIMIZERS[name](W, g, states, step.rate, step.t, *constants)


def penalise(W, g, l1, l2, inverse_weight):
    """Gradient with that of the penalty (l1 |W|_1 + l2/2 |W|_2^2) / weight_sum added, and the
    penalty (float64).
    """
    slope = l2 * W + l1 * np.sign(W)
    W = W.astype(np.float64)
    value = l1 * np.abs(W).sum() + 0.5 * l2 * (W * W).sum()
    return g + inverse_weight * slope, inverse_weight * value


def _penalty(op, buffers, step):
    W = buffers[op.inputs[0]]
    gradient, value = op.outputs
    l1, l2 = op.attributes["l1"], op.attributes["l2"]
    buffers[gradient], buffers[value] = penalise(W, buffers[gradient], l1, l2, step.inverse_weight)


def _clip_value(op, buffers, step):
    limit = op.attributes["limit"]
    buffers[op.outputs[0]] = np.clip(buffers[op.inputs[0]], -limit, limit)


def _square_sum(op, buffers, step):
    g = buffers[op.inputs[0]].astype(np.float64)
    buffers[op.outputs[0]] = (g * g).sum()


def _clip_norm(op, buffers, step):
    g, *squares = (buffers[name] for name in op.inputs)
    limit = op.attributes["limit"]
    norm = math.sqrt(sum(float(square) for square in squares))
    # A norm that is not a number compares false: the gradient keeps its NaN for the loss to show.
    buffers[op.outputs[0]] = g * (limit / norm) if norm > limit else g


def _update(op, buffers, step):
    W, g, *states = (buffers[name] for name in op.inputs)
    W, states = optimise(W, g, states, step, op.attributes["optimizer"], op.attributes["decay"])
    for name, value in zip(op.outputs, (W, *states), strict=True):
        buffers[name] = value


def _transpose(op, buffers, step):
    buffers[op.outputs[0]] = np.ascontiguousarray(*operands(op, buffers[op.inputs[0]].T))


def _dense_update(op, buffers, step):
    operands_and_states = op.inputs[: len(op.inputs) - op.attributes.get("nonzero", False)]
    x, dz, W, b, *states = (buffers[name] for name in operands_and_states)
    dW, db = weight_gradients(op, x, dz)
    l1, l2, clip = (op.attributes[name] for name in ("l1", "l2", "clip"))
    dW, penalty = penalise(W, dW, l1, l2, step.inverse_weight)
    if clip is not None:
        dW, db = np.clip(dW, -clip, clip), np.clip(db, -clip, clip)
    optimizer, half = op.attributes["optimizer"], len(states) // 2
    W, states_W = optimise(W, dW, states[:half], step, optimizer, op.attributes["decay"])
    b, states_b = optimise(b, db, states[half:], step, optimizer, 0.0)
    rounded = op.attributes.get("rounded") or op.attributes.get("precision") == "bfloat16"
    results = [W, b, *states_W, *states_b]
    if op.attributes["penalty"]:
        results.append(penalty)
    if op.attributes["transposed"]:
        results.append(np.ascontiguousarray(bfloat16(W.T) if rounded else W.T))
    if rounded:
        results.append(bfloat16(W))
    for name, value in zip(op.outputs, results, strict=True):
        buffers[name] = value


OPS = {
    "penalty": _penalty,
    "clip_value": _clip_value,
    "square_sum": _square_sum,
    "clip_norm": _clip_norm,
    "update": _update,
    "transpose": _transpose,
    "dense_update": _dense_update,
}
