"""The affine map y = f(x W + b) and the two products of its backward pass, of rows or of every step of sequences."""

import numpy as np

from fastnn.reference import activation


def product(x, W):
    """x W, each row on its own: BLAS rounds the product of two matrices by the number of their rows."""
    return (x[..., np.newaxis, :] @ W)[..., 0, :]


def row_sum(x, axes=1):
    """The sum over the first axes of x, added up in float64."""
    return x.sum(axis=tuple(range(axes)), dtype=np.float64).astype(x.dtype)


def weight_gradients(x, dz):
    """dW = x^T dz and db, the sum of dz, over all rows and steps."""
    x, dz = (values.reshape(-1, values.shape[-1]) for values in (x, dz))
    return x.T @ dz, row_sum(dz)


def accumulate(buffers, names, values, step):
    """Gradients of a batch: set by its first chunk of rows, added to by the others."""
    for name, value in zip(names, values, strict=True):
        buffers[name] = value if step.chunk == 0 else buffers[name] + value


def in_parts(x, parts):
    """The rows of a chunk in `parts` groups, as equal as may be: a list of arrays."""
    return [x[len(x) * part // parts : len(x) * (part + 1) // parts] for part in range(parts)]


def _dense(op, buffers, step):
    x, W, b = (buffers[name] for name in op.inputs)
    z = product(x, W) + b
    buffers[op.outputs[0]] = activation.apply(op.attributes["activation"], z)
    if len(op.outputs) == 2:
        buffers[op.outputs[1]] = z


def _dense_grad_input(op, buffers, step):
    dz, WT = buffers[op.inputs[0]], buffers[op.inputs[1]]
    dx = product(dz, WT)
    if op.attributes["activation"] is not None:
        dx *= activation.derivative(op.attributes["activation"], buffers[op.inputs[2]])
    buffers[op.outputs[0]] = dx


def _dense_grad_weights(op, buffers, step):
    x, dz = (buffers[name] for name in op.inputs)
    accumulate(buffers, op.outputs, weight_gradients(x, dz), step)


OPS = {
    "dense": _dense,
    "dense_grad_input": _dense_grad_input,
    "dense_grad_weights": _dense_grad_weights,
}
