"""The affine map y = f(x W + b) and the two products of its backward pass, of rows or of every step of sequences."""

import numpy as np

from fastnn.reference import activation
from fastnn.reference.bfloat16 import bfloat16, operands


def product(x, W):
    """x W, each row on its own: BLAS rounds the product of two matrices by the number of their rows."""
    return (x[..., np.newaxis, :] @ W)[..., 0, :]


def row_sum(x, axes=1):
    """The sum over the first axes of x, added up in float64."""
    return x.sum(axis=tuple(range(axes)), dtype=np.float64).astype(x.dtype)


def weight_gradients(op, x, dz):
    """dW = x^T dz and db, the sum of dz, over all rows and steps."""
    x, dz = (values.reshape(-1, values.shape[-1]) for values in (x, dz))
    rounded_x, rounded_dz = operands(op, x, dz)
    return rounded_x.T @ rounded_dz, row_sum(dz)


def accumulate(buffers, names, values, step):
    """Gradients of a batch: set by its first chunk of rows, added to by the others."""
    for name, value in zip(names, values, strict=True):
        buffers[name] = value if step.chunk == 0 else buffers[name] + value


def in_parts(x, parts):
    """The rows of a chunk in `parts` groups, as equal as may be: a list of arrays."""
    return [x[len(x) * part // parts : len(x) * (part + 1) // parts] for part in range(parts)]


def _dense(op, buffers, step):
    x, W = operands(op, *(buffers[name] for name in op.inputs[:2]))
    cut = op.attributes.get("cut")
    if cut:
        buffers[op.outputs[0]] = product(x[:, :cut], W[:cut]) + buffers[op.inputs[2]]
        buffers[op.outputs[1]] = product(x[:, cut:], W[cut:])
        return
    z = product(x, W) + buffers[op.inputs[2]]
    buffers[op.outputs[0]] = activation.apply(op.attributes["activation"], z)
    if len(op.outputs) == 2:
        buffers[op.outputs[1]] = z


def _dense_grad_input(op, buffers, step):
    dz, WT = operands(op, *(buffers[name] for name in op.inputs[:2]))
    dx = product(dz, WT)
    if op.attributes["activation"] is not None:
        dx *= activation.derivative(op.attributes["activation"], buffers[op.inputs[2]])
    buffers[op.outputs[0]] = dx


def _dense_grad_weights(op, buffers, step):
    x, dz = (buffers[name] for name in op.inputs[:2])
    accumulate(buffers, op.outputs, weight_gradients(op, x, dz), step)


def _round(op, buffers, step):
    buffers[op.outputs[0]] = bfloat16(buffers[op.inputs[0]])


OPS = {
    "pack": _round,
    "round": _round,
    "dense": _dense,
    "dense_grad_input": _dense_grad_input,
    "dense_grad_weights": _dense_grad_weights,
}
