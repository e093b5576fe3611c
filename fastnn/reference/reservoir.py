"""States of an echo state network, step by step. Every sum runs within a row of its own, so that a sequence has the
same bits alone and among others."""

import numpy as np

from fastnn.reference import activation
from fastnn.reference.dense import product


def _reservoir(op, buffers, step):
    u, start, W_in, b, W = (buffers[name] for name in op.inputs)
    function, leak, links = (op.attributes[name] for name in ("activation", "leak", "links"))
    leak = u.dtype.type(leak)
    driven = product(u, W_in) + b
    s, states = start, np.empty_like(driven)
    for t in range(u.shape[1]):
        heard = product(s, W) if links is None else _heard(s, W, links.shift)
        s = s + leak * (activation.apply(function, driven[:, t] + heard) - s)
        states[:, t] = s
    buffers[op.outputs[0]] = states


def _heard(s, W, shift):
    source = (np.arange(s.shape[1])[:, np.newaxis] + shift) % s.shape[1]
    # take, unlike s[:, source], lays the links of a unit side by side whatever the number of rows.
    return np.vecdot(s.take(source, axis=1), np.ascontiguousarray(W.T))


OPS = {"reservoir": _reservoir}
