"""Batch normalisation (Ioffe and Szegedy, 2015) and layer normalisation (Ba, Kiros and Hinton, 2016).

Features are the columns: of an image each channel is one, over all its positions. Sums over the rows of a batch are
formed part by part.
"""

from fastnn.plan import PARTS, Op


def _scale_and_shift(builder, features, name):
    gamma = builder.buffer(f"{name}.gamma", (features,), "parameter")
    beta = builder.buffer(f"{name}.beta", (features,), "parameter")
    builder.initial |= {gamma: 1.0, beta: 0.0}
    return gamma, beta


def batch_norm(builder, x, momentum, epsilon, name):
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta with the batch's statistics; in prediction, running ones."""
    shape, features = builder.shape(x), builder.columns(x)
    gamma, beta = _scale_and_shift(builder, features, name)
    running = tuple(builder.buffer(f"{name}.running_{s}", (features,), "statistic") for s in ("mean", "var"))
    builder.initial |= {running[0]: 0.0, running[1]: 1.0}
    y = builder.batch(f"{name}.y", shape)
    if not builder.training:
        builder.emit(Op("batch_norm_inference", (x, gamma, beta, *running), (y,), {"epsilon": epsilon}))
        return y
    common = _common(builder, x)
    sums = builder.buffer(f"{name}.sums", (PARTS, 2, features), "vector")
    builder.emit(Op("batch_norm_sums", (x,), (sums,), common, split="parts"))
    batch = tuple(builder.buffer(f"{name}.{s}", (features,), "vector") for s in ("mean", "rstd"))
    attributes = common | {"epsilon": epsilon, "momentum": momentum}
    op = Op("batch_norm_statistics", (sums, *running), (*batch, *running), attributes, split="columns")
    builder.emit(op)
    builder.emit(Op("batch_norm", (x, gamma, beta, *batch), (y,), common))
    return y


def _common(builder, x):
    return {"mixes_rows": True, "parts": PARTS, "positions": builder.buffers[x].positions}


def layer_norm(builder, x, epsilon, name):
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta with each row's, or position's, own mean and variance."""
    *positions, features = builder.shape(x)
    gamma, beta = _scale_and_shift(builder, features, name)
    y = builder.batch(f"{name}.y", builder.shape(x))
    row = tuple(builder.buffer(f"{name}.{s}", positions, "row") for s in ("mean", "rstd"))
    builder.emit(Op("layer_norm", (x, gamma, beta), (y, *row), {"epsilon": epsilon}))
    return y


def _parameter_gradients(builder, gamma, beta):
    names = []
    for parameter in (gamma, beta):
        names.append(builder.buffer(f"{parameter}.gradient", builder.shape(parameter), "gradient"))
        builder.gradients[parameter] = names[-1]
    return tuple(names)


def _batch_norm_gradient(builder, op, dy):
    x, gamma, beta, mean, rstd = op.inputs
    common = _common(builder, x)
    sums = builder.buffer(f"{gamma}.sums", (PARTS, 2, builder.columns(x)), "vector")
    builder.emit(Op("batch_norm_grad_sums", (dy, x, mean, rstd), (sums,), common, split="parts"))
    gradients = _parameter_gradients(builder, gamma, beta)
    builder.emit(Op("batch_norm_grad_parameters", (sums,), gradients, common, split="columns"))
    if x not in builder.dependent:
        return None
    dx = builder.batch(f"{x}.gradient", builder.shape(x))
    builder.emit(Op("batch_norm_grad", (dy, x, gamma, mean, rstd, *gradients), (dx,), common))
    return dx


def _layer_norm_gradient(builder, op, dy):
    x, gamma, beta = op.inputs
    _, mean, rstd = op.outputs
    gradients = _parameter_gradients(builder, gamma, beta)
    op = Op("layer_norm_grad_parameters", (dy, x, mean, rstd), gradients, split="columns")
    builder.emit(op, section="deferred")
    if x not in builder.dependent:
        return None
    dx = builder.batch(f"{x}.gradient", builder.shape(x))
    builder.emit(Op("layer_norm_grad", (dy, x, gamma, mean, rstd), (dx,)))
    return dx


GRADIENTS = {"batch_norm": _batch_norm_gradient, "layer_norm": _layer_norm_gradient}
