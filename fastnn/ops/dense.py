"""The affine map y = x W + b and the three products of its forward and backward pass."""

from math import prod

from fastnn.plan import Op


def dense(builder, x, units, name, *, trainable=True):
    """y = x W + b with ``name.W`` (in, units) and ``name.b`` (units,): parameters, or statistics if not trained.

    Of a sequence x (n, time, in), the same map at every step.
    """
    *steps, features = builder.shape(x)
    role = "parameter" if trainable else "statistic"
    W = builder.buffer(f"{name}.W", (features, units), role)
    b = builder.buffer(f"{name}.b", (units,), role)
    y = builder.batch(f"{name}.z", (*steps, units))
    work = prod(steps) * features * units
    builder.emit(Op("dense", (x, W, b), (y,), {"activation": None}, multiply_adds=work))
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
    work = builder.buffers[x].positions * prod(builder.shape(W))
    dx = None
    if x in builder.dependent:
        dx = builder.batch(f"{x}.gradient", builder.shape(x))
        WT = transpose(builder, W)
        builder.emit(Op("dense_grad_input", (dz, WT), (dx,), {"activation": None}, multiply_adds=work))
    if W in builder.parameters:
        for parameter in (W, b):
            shape = builder.shape(parameter)
            builder.gradients[parameter] = builder.buffer(f"{parameter}.gradient", shape, "gradient")
        gradients = builder.gradients[W], builder.gradients[b]
        op = Op("dense_grad_weights", (x, dz), gradients, split="columns", multiply_adds=work)
        builder.emit(op, section="deferred")
    return dx


GRADIENTS = {"dense": _dense_gradient}
