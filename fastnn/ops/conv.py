"""Convolution z = x * W + b in the sense of neural networks (correlation), and the products of its backward pass."""

from math import prod

from fastnn.ops.shape import extend
from fastnn.plan import PARTS, Op


def conv(builder, x, filters, geometry, name, *, groups=1, bias=True, trainable=True):
    """z[n,i,j,o] = b[o] + sum over u, v, c of x[n, i sh - top + u dh, j sw - left + v dw, c] W[u,v,c,o].

    Parameters ``name.W``, (kernel height, kernel width, in / groups, filters) or (kernel, in / groups, filters) for
    signals, and ``name.b`` (filters,); statistics where they are not trained.
    """
    shape = builder.shape(x)
    channels = shape[-1] // groups
    kernel = geometry.kernel if len(shape) == 3 else geometry.kernel[1:]
    role = "parameter" if trainable else "statistic"
    inputs = [x, builder.buffer(f"{name}.W", (*kernel, channels, filters), role)]
    if bias:
        inputs.append(builder.buffer(f"{name}.b", (filters,), role))
    z = builder.batch(f"{name}.z", extend(shape, geometry.output, filters))
    attributes = {"geometry": geometry, "groups": groups, "activation": None, "pool": None}
    multiply_adds = prod(geometry.output) * prod(geometry.kernel) * channels * filters
    builder.emit(Op("conv", tuple(inputs), (z,), attributes, multiply_adds=multiply_adds))
    return z


def _transpose(builder, W, geometry, groups):
    """WT[u,v,o,g*i+c] = W[u,v,c,g*j+o] for o < j, c < i channels of group g: the copy that the backward product reads.

    A depthwise kernel is its own.
    """
    *kernel, inputs, filters = builder.shape(W)
    if inputs == filters // groups == 1:
        return W
    WT = builder.buffer(f"{W}.T", (*kernel, filters // groups, groups * inputs), "transposed")
    attributes = {"geometry": geometry, "groups": groups}
    builder.emit(Op("conv_transpose", (W,), (WT,), attributes, "columns"), section="prepare")
    return WT


def _conv_gradient(builder, op, dz):
    x, *parameters = op.inputs
    attributes = {key: op.attributes[key] for key in ("geometry", "groups", "pool")}
    dx = None
    if x in builder.dependent:
        dx = builder.batch(f"{x}.gradient", builder.shape(x))
        WT = _transpose(builder, parameters[0], attributes["geometry"], attributes["groups"])
        inner = Op("conv_grad_input", (dz, WT), (dx,), attributes | {"activation": None})
        builder.emit(inner.with_(multiply_adds=op.multiply_adds))
    if parameters[0] in builder.parameters:
        partials = []
        for parameter in parameters:
            shape = builder.shape(parameter)
            partials.append(builder.buffer(f"{parameter}.partial", (PARTS, *shape), "vector"))
            builder.gradients[parameter] = builder.buffer(f"{parameter}.gradient", shape, "gradient")
        outer = Op("conv_grad_weights", (x, dz), tuple(partials), attributes | {"parts": PARTS}, "parts")
        builder.emit(outer.with_(multiply_adds=op.multiply_adds), section="deferred")
        for partial, parameter in zip(partials, parameters, strict=True):
            total = Op("sum_parts", (partial,), (builder.gradients[parameter],), {"parts": PARTS}, "columns")
            builder.emit(total, section="update")
    return dx


GRADIENTS = {"conv": _conv_gradient}
