"""Pooling: the maximum or the mean of each window, channel by channel."""

from fastnn.ops.shape import extend
from fastnn.plan import Op


def max_pool(builder, x, geometry, name):
    """y = the maximum of each window; beside it the place u * kernel width + v of the first maximum in the window."""
    shape = extend(builder.shape(x), geometry.output, builder.columns(x))
    y = builder.batch(f"{name}.y", shape)
    index = builder.batch(f"{name}.index", shape)
    builder.emit(Op("max_pool", (x,), (y, index), {"geometry": geometry}))
    return y


def avg_pool(builder, x, geometry, name):
    """y = the mean of each window's places inside the image."""
    y = builder.batch(f"{name}.y", extend(builder.shape(x), geometry.output, builder.columns(x)))
    builder.emit(Op("avg_pool", (x,), (y,), {"geometry": geometry}))
    return y


def _max_pool_gradient(builder, op, dy):
    (x,), (_, index) = op.inputs, op.outputs
    dx = builder.batch(f"{x}.gradient", builder.shape(x))
    builder.emit(Op("max_pool_grad", (dy, index), (dx,), dict(op.attributes)))
    return dx


def _avg_pool_gradient(builder, op, dy):
    (x,) = op.inputs
    dx = builder.batch(f"{x}.gradient", builder.shape(x))
    builder.emit(Op("avg_pool_grad", (dy,), (dx,), dict(op.attributes)))
    return dx


GRADIENTS = {"max_pool": _max_pool_gradient, "avg_pool": _avg_pool_gradient}
