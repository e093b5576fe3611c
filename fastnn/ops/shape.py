"""Changes of shape, and the sum where two branches meet."""

from math import prod

from fastnn.plan import Op


def extend(shape, output, columns):
    """The shape of a window's results: (height, width, columns), or (time, columns) where `shape` is a signal's."""
    return (*output[-(len(shape) - 1) :], columns)


def reshape(builder, x, shape, name="reshape.y"):
    """The same elements in row-major order under another shape, in panels."""
    if prod(shape) != builder.buffers[x].size:
        raise ValueError(f"{builder.shape(x)} cannot become {tuple(shape)}")
    if builder.shape(x) == tuple(shape) and builder.buffers[x].layout == "panels":
        return x
    y = builder.batch(name, shape)
    builder.emit(Op("reshape", (x,), (y,)))
    return y


def in_panels(builder, x):
    """x itself, or a copy in panels of what was gathered row by row."""
    return reshape(builder, x, builder.shape(x), f"{x}.panels")


def flat(builder, x):
    """x with one axis of features."""
    return reshape(builder, x, (builder.buffers[x].size,), f"{x}.flat")


def add(builder, a, b, name):
    """y = a + b."""
    y = builder.batch(name, builder.shape(a))
    builder.emit(Op("add", (a, b), (y,)))
    return y


def concatenate(builder, a, b, name):
    """y = (a b), the columns of both side by side."""
    *positions, left = builder.shape(a)
    y = builder.batch(name, (*positions, left + builder.columns(b)))
    builder.emit(Op("concatenate", (a, b), (y,)))
    return y


def _concatenate_gradient(builder, op, dy):
    gradients, first = {}, 0
    for x in op.inputs:
        gradients[x] = builder.batch(f"{x}.gradient", builder.shape(x))
        builder.emit(Op("take_columns", (dy,), (gradients[x],), {"first": first}))
        first += builder.columns(x)
    return gradients


def _reshape_gradient(builder, op, dy):
    (x,) = op.inputs
    dx = builder.batch(f"{x}.gradient", builder.shape(x))
    builder.emit(Op("reshape", (dy,), (dx,)))
    return dx


def _add_gradient(builder, op, dy):
    a, b = op.inputs
    return {a: dy, b: dy} if a != b else {a: add(builder, dy, dy, f"{a}.gradient")}


GRADIENTS = {"reshape": _reshape_gradient, "add": _add_gradient, "concatenate": _concatenate_gradient}
