"""Convolution (correlation, channels last) and its products: a matrix product for each group of channels, of the
patches under the kernel with the kernel.
"""

import numpy as np

from fastnn.reference import activation
from fastnn.reference.bfloat16 import bfloat16, operands
from fastnn.reference.dense import accumulate, in_parts
from fastnn.reference.pool import max_pool, unpool
from fastnn.reference.window import as_images, fold, put, windows


def _patches(x, geometry, groups):
    """What the kernel reads of images x at each place of the output: (groups, n oh ow, kh kw in/groups)."""
    values = windows(x, geometry)
    n, oh, ow, c, kh, kw = values.shape
    values = values.reshape(n, oh, ow, groups, c // groups, kh, kw)
    return values.transpose(3, 0, 1, 2, 5, 6, 4).reshape(groups, n * oh * ow, kh * kw * (c // groups))


def _by_group(z, groups):
    """(n, oh, ow, out) as (groups, n oh ow, out/groups)."""
    return z.reshape(-1, groups, z.shape[-1] // groups).transpose(1, 0, 2)


def _kernels(W, groups):
    """(kh, kw, in/groups, out) as (groups, kh kw in/groups, out/groups)."""
    return W.reshape(-1, groups, W.shape[-1] // groups).transpose(1, 0, 2)


def _conv(op, buffers, step):
    x, W, *b = (buffers[name] for name in op.inputs)
    x, W = operands(op, x, W)
    geometry, groups, pool = (op.attributes[name] for name in ("geometry", "groups", "pool"))
    z = _patches(as_images(x, geometry.image), geometry, groups) @ _kernels(W, groups)
    z = z.transpose(1, 0, 2).reshape(len(x), *geometry.output, W.shape[-1])
    for bias in b:
        z = z + bias
    if pool is not None:
        z, index = max_pool(z, pool)
    put(buffers, op.outputs[0], activation.apply(op.attributes["activation"], z))
    if len(op.outputs) == 2:
        put(buffers, op.outputs[1], z if pool is None else index)


def _conv_transpose(op, buffers, step):
    (W,), groups = operands(op, buffers[op.inputs[0]]), op.attributes["groups"]
    *kernel, inputs, filters = W.shape
    WT = np.swapaxes(W.reshape(*kernel, inputs, groups, filters // groups), -1, -3)
    buffers[op.outputs[0]] = np.ascontiguousarray(WT).reshape(*kernel, filters // groups, groups * inputs)


def _output_gradient(dz, index, geometry, pool):
    """The gradient at the convolution's output: dz itself, or dz at the pool's output put where the maxima were."""
    if pool is None:
        return as_images(dz, geometry.output)
    return unpool(as_images(dz, pool.output), as_images(index, pool.output), pool)


def _conv_grad_input(op, buffers, step):
    dz, WT, *rest = (buffers[name] for name in op.inputs)
    dz, WT = operands(op, dz, WT)
    geometry, groups, pool = (op.attributes[name] for name in ("geometry", "groups", "pool"))
    index = None if pool is None else rest.pop(0)
    dz = _output_gradient(dz, index, geometry, pool)
    kh, kw = geometry.kernel
    WT = WT.reshape(kh * kw, WT.shape[-2], groups, -1).transpose(2, 1, 0, 3)
    values = _by_group(dz, groups) @ WT.reshape(groups, WT.shape[1], -1)
    values = values.reshape(groups, len(dz), *geometry.output, kh, kw, WT.shape[-1])
    values = values.transpose(1, 2, 3, 0, 6, 4, 5).reshape(len(dz), *geometry.output, -1, kh, kw)
    put(buffers, op.outputs[0], fold(values, geometry))
    if op.attributes["activation"] is not None:
        buffers[op.outputs[0]] *= activation.derivative(op.attributes["activation"], rest[0])


def _conv_grad_weights(op, buffers, step):
    x, dz, *index = (buffers[name] for name in op.inputs)
    geometry, groups, pool, parts = (op.attributes[name] for name in ("geometry", "groups", "pool", "parts"))
    x, dz = as_images(x, geometry.image), _output_gradient(dz, *(index or [None]), geometry, pool)
    dW, db = [], []
    for x_part, dz_part in zip(in_parts(x, parts), in_parts(dz, parts), strict=True):
        rounded_x, rounded_dz = operands(op, x_part, dz_part)
        product = _patches(rounded_x, geometry, groups).transpose(0, 2, 1) @ _by_group(rounded_dz, groups)
        dW.append(product.transpose(1, 0, 2).reshape(buffers[op.outputs[0]].shape[1:]))
        db.append(dz_part.sum(axis=(0, 1, 2), dtype=np.float64).astype(dz.dtype))
    partials = (np.stack(dW), np.stack(db))
    accumulate(buffers, op.outputs, partials[: len(op.outputs)], step)


def _conv_pack(op, buffers, step):
    buffers[op.outputs[0]] = bfloat16(buffers[op.inputs[0]])


def _sum_parts(op, buffers, step):
    partial = buffers[op.inputs[0]]
    buffers[op.outputs[0]] = partial.sum(axis=0, dtype=np.float64).astype(partial.dtype)


OPS = {
    "conv": _conv,
    "conv_pack": _conv_pack,
    "conv_transpose": _conv_transpose,
    "conv_grad_input": _conv_grad_input,
    "conv_grad_weights": _conv_grad_weights,
    "sum_parts": _sum_parts,
}
