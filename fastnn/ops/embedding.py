"""A vector for each of a finite number of tokens."""

from math import prod

from fastnn.plan import Op


def embedding(builder, x, tokens, units, name, *, trainable=True):
    """y[n, t] = W[x[n, t]] for whole numbers x (n, time, 1) in [0, tokens), gathered row by row; W is ``name.W``."""
    time, _ = builder.shape(x)
    W = builder.buffer(f"{name}.W", (tokens, units), "parameter" if trainable else "statistic")
    y = builder.batch(f"{name}.y", (time, units))
    builder.emit(Op("embedding", (x, W), (y,)))
    return y


def _gradient(builder, op, dy):
    x, W = op.inputs
    if W in builder.parameters:
        dW = builder.gradients[W] = builder.buffer(f"{W}.gradient", builder.shape(W), "gradient")
        op = Op("embedding_grad", (x, dy), (dW,), split="columns", multiply_adds=prod(builder.shape(dy)))
        builder.emit(op, section="deferred")


GRADIENTS = {"embedding": _gradient}
