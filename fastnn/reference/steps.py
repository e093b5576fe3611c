"""From a sequence to one vector: its last step, the mean or the maximum of its steps; the first of equal maxima wins,
and NaN before numbers. Steps beyond a sequence's length do not count."""

import numpy as np


def _lengths(op, buffers, x):
    """Numbers of steps (n, 1), and the (n, time, 1) mask of those that count."""
    lengths = buffers[op.inputs[-1]].astype(np.int64) if op.attributes["lengths"] else np.full((len(x), 1), x.shape[1])
    return lengths, np.arange(x.shape[1])[:, np.newaxis] < lengths[:, np.newaxis]


def _chosen(lengths, reverse):
    """The step that `last_step` chooses, (n, 1, 1)."""
    last = np.zeros_like(lengths) if reverse else lengths - 1
    return last[:, np.newaxis]


def _last_step(op, buffers, step):
    x = buffers[op.inputs[0]]
    lengths, _ = _lengths(op, buffers, x)
    buffers[op.outputs[0]] = np.take_along_axis(x, _chosen(lengths, op.attributes["reverse"]), axis=1)[:, 0]


def at_last_step(dy, time, lengths=None, reverse=False):
    """A gradient (n, channels) in a sequence (n, time, channels) of zeros."""
    dx = np.zeros((len(dy), time, dy.shape[-1]), dy.dtype)
    lengths = np.full((len(dy), 1), time) if lengths is None else lengths.astype(np.int64)
    np.put_along_axis(dx, _chosen(lengths, reverse), dy[:, np.newaxis], axis=1)
    return dx


def _last_step_grad(op, buffers, step):
    dy, *lengths = (buffers[name] for name in op.inputs)
    time = buffers[op.outputs[0]].shape[1]
    buffers[op.outputs[0]] = at_last_step(dy, time, *lengths, reverse=op.attributes["reverse"])


def _zeros(op, buffers, dy):
    return np.zeros((len(dy), *buffers[op.outputs[0]].shape[1:]), dy.dtype)


def _mean_over_steps(op, buffers, step):
    x = buffers[op.inputs[0]]
    lengths, inside = _lengths(op, buffers, x)
    # Step by step: NumPy's own order of sums depends on their number, so that padding would change bits.
    total = np.zeros_like(x[:, 0])
    for t in range(x.shape[1]):
        total += np.where(inside[:, t], x[:, t], 0)
    buffers[op.outputs[0]] = total / lengths.astype(x.dtype)


def _mean_over_steps_grad(op, buffers, step):
    dy = buffers[op.inputs[0]]
    dx = _zeros(op, buffers, dy)
    lengths, inside = _lengths(op, buffers, dx)
    buffers[op.outputs[0]] = np.where(inside, (dy / lengths.astype(dy.dtype))[:, np.newaxis], dx)


def _max_over_steps(op, buffers, step):
    x = buffers[op.inputs[0]]
    _, inside = _lengths(op, buffers, x)
    y = np.where(inside, x, -np.inf).max(axis=1)
    wins = inside & ((x == y[:, np.newaxis]) | np.isnan(x))
    for name, value in zip(op.outputs, (y, wins.argmax(axis=1)), strict=True):
        buffers[name] = value.astype(x.dtype)


def _max_over_steps_grad(op, buffers, step):
    dy, index = (buffers[name] for name in op.inputs[:2])
    dx = _zeros(op, buffers, dy)
    np.put_along_axis(dx, index.astype(np.int64)[:, np.newaxis], dy[:, np.newaxis], axis=1)
    buffers[op.outputs[0]] = dx


OPS = {
    "last_step": _last_step,
    "last_step_grad": _last_step_grad,
    "mean_over_steps": _mean_over_steps,
    "mean_over_steps_grad": _mean_over_steps_grad,
    "max_over_steps": _max_over_steps,
    "max_over_steps_grad": _max_over_steps_grad,
}
