"""Rows of the caller's arrays into batch buffers, and predictions back out."""

import math

import numpy as np

from fastnn.reference.bfloat16 import bfloat16
from fastnn.reference.random import philox


def _rows(step, partner=None):
    """Index of the chunk's rows in the caller's arrays; with a stream `partner`, of a row drawn for each of them.

    Row r then has row partners[word0 * total >> 32], word0 being the first word of the counter (0, row + r, t,
    partner).
    """
    if partner is not None:
        words = philox(step.seed, 0, step.row + np.arange(step.n), step.t & 0xFFFFFFFF, partner)
        places = ((words[:, 0] * np.uint64(step.total)) >> np.uint64(32)).astype(np.int64)
        return places if step.partners is None else step.partners[places]
    rows = slice(step.first, step.first + step.n)
    return rows if step.order is None else step.order[rows]


def _gather(op, buffers, step):
    empty = buffers[op.outputs[0]]
    rows = buffers[op.inputs[0]][_rows(step, op.attributes.get("partner"))]
    dense = rows.toarray() if hasattr(rows, "toarray") else rows
    first, size = op.attributes.get("first", 0), math.prod(empty.shape[1:])
    dense = dense.reshape(step.n, -1)[:, first : first + size]
    x = np.array(dense, dtype=empty.dtype, order="C").reshape(step.n, *empty.shape[1:])
    x = x * empty.dtype.type(op.attributes.get("scale", 1.0))
    buffers[op.outputs[0]] = bfloat16(x) if op.attributes.get("precision") == "bfloat16" else x


def _gather_target(op, buffers, step):
    y = buffers[op.inputs[0]][_rows(step, op.attributes.get("partner"))]
    empty = buffers[op.outputs[0]]
    if op.attributes["one_hot"]:
        outputs = empty.shape[-1]
        classes = np.arange(outputs) if outputs > 1 else np.ones(1)
        y = y[..., np.newaxis] == classes
    off, on = op.attributes["off"], op.attributes["on"]
    buffers[op.outputs[0]] = (off + (on - off) * y.astype(np.float64)).astype(empty.dtype)


def _gather_weight(op, buffers, step):
    dtype = buffers[op.outputs[0]].dtype
    buffers[op.outputs[0]] = buffers[op.inputs[0]][_rows(step)].astype(dtype)


def _store(op, buffers, step):
    buffers[op.outputs[0]][step.first : step.first + step.n] = buffers[op.inputs[0]]


OPS = {
    "gather": _gather,
    "gather_target": _gather_target,
    "gather_weight": _gather_weight,
    "store": _store,
}
