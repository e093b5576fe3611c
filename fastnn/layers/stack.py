"""Layers one after the other, and the residual block, which adds its input to what they make of it."""

from dataclasses import dataclass
from typing import ClassVar

from fastnn import ops
from fastnn.spec import shown


class ShapeError(ValueError):
    """A layer cannot take the shape that reaches it. `lower_stack` puts the layer's place before the message."""


def lower_stack(builder, layers, x):
    """Adds the ops of all layers; returns the name of the last one's output."""
    for i, layer in enumerate(layers):
        try:
            _check_lengths(builder, layer, x)
            x = layer.lower(builder, x)
        except ShapeError as error:
            raise ShapeError(f"layers[{i}] {type(layer).__name__}: {error}") from None
    return x


def _check_lengths(builder, layer, x):
    """A layer that would mix steps, or rows, with what lies behind the end of a shorter sequence is refused."""
    sequence = builder.lengths is not None and len(builder.shape(x)) > 1
    if sequence and not getattr(layer, "respects_lengths", False):
        raise ShapeError(
            "cannot tell where sequences of unequal length end; put LastStep(), GlobalAvgPool() or GlobalMaxPool() "
            "before it, choose recurrent layers, or make all sequences equally long"
        )


def check_layers(layers, where):
    """The layers as a tuple; ValueError for anything that is no layer."""
    if not isinstance(layers, (list, tuple)):
        raise ValueError(f"{where} must be a list of layers such as [Conv2D(32, 3), Flatten()], got {shown(layers)}")
    for i, layer in enumerate(layers):
        if isinstance(layer, (type, str)) or not hasattr(layer, "lower"):  # str.lower is no layer's
            hint = f"; write {layer.__name__}(...) with brackets" if isinstance(layer, type) else ""
            raise ValueError(f"{where}[{i}]: expected a layer of fastnn.layers, got {shown(layer)}{hint}")
    return tuple(layers)


def all_layers(layers):
    """The layers, those inside of blocks included, in the order in which they are lowered."""
    for layer in layers:
        yield layer
        yield from all_layers((*getattr(layer, "layers", ()), *getattr(layer, "shortcut", ())))


def show_shape(shape):
    """The shape of n such rows as text."""
    return f"(n, {', '.join(map(str, shape))})"


def expected(dimensions, shape, way_out):
    """ShapeError for a row of the wrong kind of shape."""
    return ShapeError(f"expected {show_shape(dimensions)}, got {show_shape(shape)}; {way_out}")


@dataclass(frozen=True)
class Residual:
    """y = s(x) + f(x): f is made of `layers`, s of `shortcut`, by default the identity.

    Source: He, Zhang, Ren and Sun (2016), Deep residual learning for image recognition.

    Parameters
    ----------
    layers : list of layers
        f; must keep the shape of x, or give the shape that the shortcut gives.
    shortcut : list of layers, default=()
        s; such as ``[Conv2D(64, 1, stride=2)]`` where f changes the shape.
    """

    layers: tuple
    shortcut: tuple = ()

    respects_lengths: ClassVar[bool] = True  # its own layers are asked one by one

    def __post_init__(self):
        object.__setattr__(self, "layers", check_layers(self.layers, "Residual: layers"))
        object.__setattr__(self, "shortcut", check_layers(self.shortcut, "Residual: shortcut"))

    def lower(self, builder, x):
        """Adds both branches and their sum; returns the name of y."""
        name = f"residual{builder.number('residual')}"
        x = ops.shape.in_panels(builder, x)
        y = lower_stack(builder, self.layers, x)
        try:
            s = lower_stack(builder, self.shortcut, x)
        except ShapeError as error:
            raise ShapeError(f"shortcut: {error}") from None
        if builder.shape(s) != builder.shape(y):
            raise ShapeError(
                f"the layers turn {show_shape(builder.shape(x))} into {show_shape(builder.shape(y))}, but the shortcut "
                f"gives {show_shape(builder.shape(s))}; keep the shape with padding='same' and stride=1 (recurrent "
                "layers: return_sequences=True and as many units as channels), or give a shortcut such as "
                "[Conv2D(filters, 1, stride=...)]"
            )
        return ops.shape.add(builder, s, y, f"{name}.y")
