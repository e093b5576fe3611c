"""The affine map y = x W + b and the three products of its forward and backward pass."""

from math import prod

from fastnn.plan import Op


def dense(builder, x, units, name):
    """y = x W + b with parameters ``name.W`` (in, units) and ``name.b`` (units,)."""
    (features,) = builder.shape(x)
    W = builder.buffer(f"{name}.W", (features, units), "parameter")
    b = builder.buffer(f"{name}.b", (units,), "parameter")
    y = builder.batch(f"{name}.z", (units,))
    builder.emit(Op("dense", (x, W, b), (y,), {"activation": None}, multiply_adds=features * units))
    return y


def transpose(builder, W):
    """WT = W^T: the copy that the backward product reads; made before the first step and again by each update."""
    WT = f"{W}.T"
    if WT not in builder.buffers:
        builder.buffer(WT, builder.shape(W)[::-1], "transposed")
        builder.emit(Op("transpose", (W,), (WT,), split="columns"), section="prepare")
    return WT


def _dense_gradient(builder, op, dz):
    x, W, b = op.inputs
    size = prod(builder.shape(W))
    gradients = []
    for parameter in (W, b):
        gradients.append(builder.buffer(f"{parameter}.gradient", builder.shape(parameter), "gradient"))
        builder.gradients[parameter] = gradients[-1]
    dx = None
    if x in builder.dependent:
        dx = builder.batch(f"{x}.gradient", builder.shape(x))
        WT = transpose(builder, W)
        builder.emit(Op("dense_grad_input", (dz, WT), (dx,), {"activation": None}, multiply_adds=size))
    op = Op("dense_grad_weights", (x, dz), tuple(gradients), split="columns", multiply_adds=size)
    builder.emit(op, section="deferred")
    return dx


GRADIENTS = {"dense": _dense_gradient}
