"""What convolutions and pools share: their window's numbers, and what does not fit the image."""

from math import isqrt

from fastnn.layers.stack import ShapeError, expected, show_shape
from fastnn.ops.window import Geometry, same_padding
from fastnn.spec import an_int, is_whole, shown

_DIMENSIONS = {1: ("time", "channels"), 2: ("height", "width", "channels")}


def pair(value, axes, where):
    """(vertical, horizontal) from an int or, in two dimensions, a pair of them; a signal has height 1."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
    if len(values) != axes or not all(map(is_whole, values)):
        raise ValueError(f"{where} must be {an_int(*values)}{' or a pair of them' * (axes == 2)}, got {shown(value)}")
    return ((1,) if axes == 1 else ()) + tuple(map(int, values))


def keep_tuples(layer, *names):
    """Makes tuples of what was given as lists, nested ones too: layers are hashable, since plans are cached by them."""
    for name in names:
        object.__setattr__(layer, name, _as_tuple(getattr(layer, name)))


def _as_tuple(value):
    return tuple(map(_as_tuple, value)) if isinstance(value, (list, tuple)) else value


def check_padding(padding, axes, where):
    """((top, bottom), (left, right)), "valid" or "same"."""
    if isinstance(padding, str) and padding in ("valid", "same"):
        return padding
    sides = padding if isinstance(padding, (tuple, list)) else (padding,) * axes
    if axes == 1 and len(sides) == 2:  # (before, after)
        sides = (sides,)
    sides = tuple(tuple(side) if isinstance(side, (tuple, list)) else (side, side) for side in sides)
    if len(sides) != axes or not all(len(side) == 2 and all(is_whole(v, 0) for v in side) for side in sides):
        pairs = "(before, after)" if axes == 1 else "(vertical, horizontal) or ((top, bottom), (left, right))"
        number = an_int(*(v for side in sides for v in side), least=0)
        raise ValueError(f"{where} must be 'valid', 'same', {number} or {pairs}, got {shown(padding)}")
    return (((0, 0),) if axes == 1 else ()) + tuple(tuple(map(int, side)) for side in sides)


def check_image(shape, axes):
    """The shape, which must be that of an image or a signal."""
    if len(shape) == axes + 1:
        return shape
    if len(shape) == 1:
        height = max(d for d in range(1, isqrt(shape[0]) + 1) if shape[0] % d == 0)
        example = f"({height}, {shape[0] // height}, 1)" if axes == 2 else f"({shape[0]}, 1)"
        raise expected(_DIMENSIONS[axes], shape, f"put Reshape({example}) first")
    other = {1: "Conv1D, MaxPool1D and AvgPool1D take signals", 2: "Conv2D, MaxPool2D and AvgPool2D take images"}
    raise expected(_DIMENSIONS[axes], shape, other[len(shape) - 1])


def window(shape, axes, kernel, stride, padding, dilation=1):
    """The Geometry over an image or signal of this shape; ShapeError where nothing comes out."""
    image = (1, shape[0]) if axes == 1 else shape[:2]
    kernel, stride, dilation = (pair(value, axes, "") for value in (kernel, stride, dilation))
    padding = check_padding(padding, axes, "")
    bare = Geometry(image, kernel, stride, dilation)
    if padding == "valid":
        geometry = bare
    elif padding == "same":
        geometry = bare._replace(padding=tuple(map(same_padding, image, bare.extent, stride)))
    else:
        geometry = bare._replace(padding=padding)
    if min(geometry.output) < 1:
        sizes = [size + sum(pad) for size, pad in zip(image, geometry.padding, strict=True)]
        what = "x".join(map(str, geometry.extent[-axes:]))
        came = "x".join(map(str, sizes[-axes:]))
        raise ShapeError(
            f"a window of {what} does not fit into {came}, the input {show_shape(shape)} with its padding; choose "
            "padding='same', a smaller window, or fewer pools before it"
        )
    return geometry
