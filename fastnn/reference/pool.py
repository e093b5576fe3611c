"""Maximum and mean over windows of images."""

import numpy as np

from fastnn.reference.window import as_images, fold, put, windows


def _inside(geometry, dtype):
    """1 where a window lies inside the image: (1, oh, ow, 1, kh, kw)."""
    return windows(np.ones((1, *geometry.image, 1), dtype), geometry)


def max_pool(x, geometry):
    """The maxima of images x (n, h, w, c) and u kw + v of the first place (u, v) in the window that holds it.

    Padding never wins; a window with a NaN yields NaN, and the place of the first.
    """
    values = windows(x, geometry, fill=-np.inf)
    values = values.reshape(*values.shape[:4], -1)
    y = values.max(axis=-1)
    wins = (values == y[..., np.newaxis]) | np.isnan(values)
    inside = _inside(geometry, bool).reshape(1, *geometry.output, 1, -1)
    return y, (wins & inside).argmax(axis=-1).astype(x.dtype)


def unpool(dy, index, geometry):
    """The gradient of `max_pool`: dy (n, oh, ow, c) added at the place in the window that `index` names."""
    kh, kw = geometry.kernel
    places = np.arange(kh * kw).reshape(kh, kw)
    chosen = index[..., np.newaxis, np.newaxis] == places
    return fold(np.where(chosen, dy[..., np.newaxis, np.newaxis], dy.dtype.type(0)), geometry)


def _max_pool(op, buffers, step):
    geometry = op.attributes["geometry"]
    results = max_pool(as_images(buffers[op.inputs[0]], geometry.image), geometry)
    for name, value in zip(op.outputs, results, strict=True):
        put(buffers, name, value)


def _max_pool_grad(op, buffers, step):
    geometry = op.attributes["geometry"]
    dy, index = (as_images(buffers[name], geometry.output) for name in op.inputs)
    put(buffers, op.outputs[0], unpool(dy, index, geometry))


def _avg_pool(op, buffers, step):
    geometry = op.attributes["geometry"]
    x = as_images(buffers[op.inputs[0]], geometry.image)
    sums = windows(x, geometry).sum(axis=(4, 5))
    put(buffers, op.outputs[0], sums / _inside(geometry, x.dtype).sum(axis=(4, 5)))


def _avg_pool_grad(op, buffers, step):
    geometry = op.attributes["geometry"]
    dy = as_images(buffers[op.inputs[0]], geometry.output)
    inside = _inside(geometry, dy.dtype)
    share = dy / inside.sum(axis=(4, 5))
    put(buffers, op.outputs[0], fold(share[..., np.newaxis, np.newaxis] * inside, geometry))


OPS = {
    "max_pool": _max_pool,
    "max_pool_grad": _max_pool_grad,
    "avg_pool": _avg_pool,
    "avg_pool_grad": _avg_pool_grad,
}
