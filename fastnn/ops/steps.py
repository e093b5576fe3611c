"""From a sequence to one vector: the last step, the mean or the maximum of all. Steps beyond a sequence's length do not
count, and get zero gradients."""

from fastnn.plan import Op

KINDS = ("last_step", "mean_over_steps", "max_over_steps")


def over_steps(builder, x, kind, name, *, reverse=False):
    """y (n, channels) of x (n, time, channels); with `reverse` the last step is the first."""
    _, channels = builder.shape(x)
    outputs = (builder.batch(f"{name}.y", (channels,)),)
    if kind == "max_over_steps":
        outputs += (builder.batch(f"{name}.index", (channels,)),)
    lengths = () if builder.lengths is None else (builder.lengths,)
    attributes = {"lengths": bool(lengths)} | ({"reverse": reverse} if kind == "last_step" else {})
    builder.emit(Op(kind, (x, *lengths), outputs, attributes))
    return outputs[0]


def _gradient(builder, op, dy):
    x, *lengths = op.inputs
    dx = builder.batch(f"{x}.gradient", builder.shape(x))
    builder.emit(Op(f"{op.kind}_grad", (dy, *op.outputs[1:], *lengths), (dx,), dict(op.attributes)))
    return dx


GRADIENTS = dict.fromkeys(KINDS, _gradient)
