"""Ops that draw from the counter-based generator: dropout, its mask alone, the randomised leaky ReLU."""

from fastnn.plan import Op


def dropout(builder, x, rate, stream, name, channels=False):
    """Inverted dropout: y = x / (1 - rate) with probability 1 - rate, else 0 (Srivastava et al., 2014).

    With `channels`, one draw decides for all positions of a channel (Tompson et al., 2015).
    """
    y = builder.batch(name, builder.shape(x))
    builder.emit(Op("dropout", (x,), (y,), {"rate": float(rate), "stream": stream, "channels": channels}))
    return y


def state_mask(builder, units, rate, stream, name):
    """mask (n, units): 1 / (1 - rate) with probability 1 - rate, else 0 (Gal and Ghahramani, 2016)."""
    mask = builder.batch(name, (units,))
    builder.emit(Op("state_mask", (), (mask,), {"rate": float(rate), "stream": stream}))
    return mask


def rrelu(builder, z, lower, upper, stream, name):
    """y = z where z >= 0, else a z with a drawn from [lower, upper) (Xu et al., 2015)."""
    y = builder.batch(name, builder.shape(z))
    builder.emit(Op("rrelu", (z,), (y,), {"lower": float(lower), "upper": float(upper), "stream": stream}))
    return y


def _dropout_gradient(builder, op, dy):
    (x,) = op.inputs
    dx = builder.batch(f"{x}.gradient", builder.shape(x))
    builder.emit(Op("dropout_grad", (dy,), (dx,), dict(op.attributes)))
    return dx


def _rrelu_gradient(builder, op, dy):
    (z,) = op.inputs
    dz = builder.batch(f"{z}.gradient", builder.shape(z))
    builder.emit(Op("rrelu_grad", (dy, z), (dz,), dict(op.attributes)))
    return dz


GRADIENTS = {"dropout": _dropout_gradient, "rrelu": _rrelu_gradient}
