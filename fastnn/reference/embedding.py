"""Rows of a matrix chosen by number, and the sum of what comes back to each of them."""

import numpy as np

from fastnn.reference.dense import accumulate


def _numbers(x, tokens):
    """Token numbers (n, time) of x (n, time, 1): rounded towards zero, and the nearest one of those that exist; 0 for
    NaN."""
    return np.fmin(np.fmax(x[..., 0], 0), tokens - 1).astype(np.int64)


def _embedding(op, buffers, step):
    x, W = (buffers[name] for name in op.inputs)
    buffers[op.outputs[0]] = W[_numbers(x, len(W))]


def _embedding_grad(op, buffers, step):
    x, dy = (buffers[name] for name in op.inputs)
    dW = np.zeros_like(buffers[op.outputs[0]])
    np.add.at(dW, _numbers(x, len(dW)), dy)
    accumulate(buffers, op.outputs, (dW,), step)


OPS = {"embedding": _embedding, "embedding_grad": _embedding_grad}
