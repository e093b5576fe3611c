"""Batch normalisation (Ioffe and Szegedy, 2015) and layer normalisation (Ba, Kiros and Hinton, 2016)."""

from fastnn.plan import Op


def _scale_and_shift(builder, features, name):
    gamma = builder.buffer(f"{name}.gamma", (features,), "parameter")
    beta = builder.buffer(f"{name}.beta", (features,), "parameter")
    builder.initial |= {gamma: 1.0, beta: 0.0}
    return gamma, beta


def batch_norm(builder, x, momentum, epsilon, name):
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta with the batch's statistics; in prediction, running ones."""
    (features,) = builder.shape(x)
    gamma, beta = _scale_and_shift(builder, features, name)
    running = tuple(builder.buffer(f"{name}.running_{s}", (features,), "statistic") for s in ("mean", "var"))
    builder.initial |= {running[0]: 0.0, running[1]: 1.0}
    y = builder.batch(f"{name}.y", (features,))
    if not builder.training:
        builder.emit(Op("batch_norm_inference", (x, gamma, beta, *running), (y,), {"epsilon": epsilon}))
        return y
    batch = tuple(builder.buffer(f"{name}.{s}", (features,), "vector") for s in ("mean", "rstd"))
    attributes = {"epsilon": epsilon, "momentum": momentum, "mixes_rows": True}
    builder.emit(Op("batch_norm", (x, gamma, beta, *running), (y, *batch, *running), attributes, split="columns"))
    return y


def layer_norm(builder, x, epsilon, name):
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta with each row's own mean and variance."""
    (features,) = builder.shape(x)
    gamma, beta = _scale_and_shift(builder, features, name)
    y = builder.batch(f"{name}.y", (features,))
    row = tuple(builder.buffer(f"{name}.{s}", (), "row") for s in ("mean", "rstd"))
    builder.emit(Op("layer_norm", (x, gamma, beta), (y, *row), {"epsilon": epsilon}))
    return y


def _parameter_gradients(builder, gamma, beta):
    names = []
    for parameter in (gamma, beta):
        names.append(builder.buffer(f"{parameter}.gradient", builder.shape(parameter), "gradient"))
        builder.gradients[parameter] = names[-1]
    return tuple(names)


def _batch_norm_gradient(builder, op, dy):
    x, gamma, beta = op.inputs[:3]
    mean, rstd = op.outputs[1:3]
    gradients = _parameter_gradients(builder, gamma, beta)
    dx = builder.batch(f"{x}.gradient", builder.shape(x))
    attributes = {"mixes_rows": True}
    builder.emit(Op("batch_norm_grad", (dy, x, gamma, mean, rstd), (dx, *gradients), attributes, split="columns"))
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
