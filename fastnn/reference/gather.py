"""Rows of the caller's arrays into batch buffers, and predictions back out."""

import numpy as np


def _rows(step):
    """Index of the chunk's rows in the caller's arrays."""
    rows = slice(step.first, step.first + step.n)
    return rows if step.order is None else step.order[rows]


def _gather(op, buffers, step):
    X = buffers[op.inputs[0]]
    dtype = buffers[op.outputs[0]].dtype
    rows = X[_rows(step)]
    dense = rows.toarray() if hasattr(rows, "toarray") else rows
    buffers[op.outputs[0]] = np.array(dense, dtype=dtype, order="C")


def _gather_target(op, buffers, step):
    y = buffers[op.inputs[0]][_rows(step)]
    empty = buffers[op.outputs[0]]
    if op.attributes["one_hot"]:
        outputs = empty.shape[1]
        classes = np.arange(outputs) if outputs > 1 else np.ones(1)
        y = y[:, np.newaxis] == classes
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
