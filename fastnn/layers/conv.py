"""Convolutions of images (n, height, width, channels) and signals (n, time, channels)."""

from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

import numpy as np

from fastnn import ops
from fastnn.activations import get_activation
from fastnn.initializers import get_initializer
from fastnn.layers.activation import activate
from fastnn.layers.stack import ShapeError, show_shape
from fastnn.layers.weights import check_flag, given_weights, keep_weights
from fastnn.layers.window import check_image, check_padding, keep_tuples, pair, window
from fastnn.spec import keep_count


@dataclass(frozen=True)
class Conv2D:
    """z[n,i,j,o] = b[o] + sum over u, v, c of x[n, i s + u d, j s + v d, c] W[u,v,c,o], y = f(z).

    x is (n, height, width, channels) with zeros around it, W (kernel height, kernel width, channels / groups, filters).

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), default=1
        Steps of the window, s above.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default="valid"
        Zeros around the image: none; as many as make the output's size ceil(size / stride), the odd one below and
        right; or numbers, the same on all sides, (vertical, horizontal) or ((top, bottom), (left, right)).
    dilation : int or (int, int), default=1
        Distance of neighbouring places in the window, d above.
    groups : int, default=1
        Splits the channels: output channel o reads those of its group only. With as many groups as channels the
        convolution is depthwise.
    bias : bool, default=True
        Whether there is a b.
    activation : str or activation spec, default="identity"
        f; see ``fastnn.activations``.
    init : str, initialiser spec or None, default=None
        How W and b start; fan-in and fan-out are kernel height * kernel width times channels / groups and
        filters / groups. None: as the estimator's parameter `init` says.
    weights : array of shape (kernel height, kernel width, channels / groups, filters) or None, default=None
        What W starts from instead, such as an edge detector; (kernel height, kernel width) for one channel and filter.
    trainable : bool, default=True
        Whether W and b change in training.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document recognition.
    Yu and Koltun (2016), Multi-scale context aggregation by dilated convolutions (dilation).
    """

    filters: int
    kernel_size: Any
    stride: Any = 1
    padding: Any = "valid"
    dilation: Any = 1
    groups: int = 1
    bias: bool = True
    activation: Any = "identity"
    init: Any = None
    weights: Any = field(default=None, repr=False)
    trainable: bool = True

    axes: ClassVar[int] = 2

    def __post_init__(self):
        name = type(self).__name__
        keep_count(self, "filters")
        keep_count(self, "groups")
        if self.filters % self.groups:
            raise ValueError(f"{name}: filters must be a multiple of groups, got {self.filters} and {self.groups}")
        for field_name in ("kernel_size", "stride", "dilation"):
            pair(getattr(self, field_name), self.axes, f"{name}: {field_name}")
        check_padding(self.padding, self.axes, f"{name}: padding")
        keep_tuples(self, "kernel_size", "stride", "dilation", "padding")
        get_activation(self.activation, where=f"{name}: activation")
        if self.init is not None:
            get_initializer(self.init, where=f"{name}: init")
        check_flag(self, "bias", "trainable")
        if self.weights is not None:
            self._keep_weights()

    def _keep_weights(self):
        """The given weights with four axes (three for signals)."""
        W = given_weights(self)
        kernel = pair(self.kernel_size, self.axes, "")[-self.axes :]
        if W.shape == kernel:
            W = W[..., np.newaxis, np.newaxis]
        fits = W.ndim == self.axes + 2 and W.shape[: self.axes] == kernel and W.shape[-1] == self.filters
        keep_weights(self, W, fits, f"({', '.join(map(str, kernel))}, channels / groups, {self.filters})")

    def lower(self, builder, x):
        """Adds the convolution and the activation; returns the name of y."""
        shape = check_image(builder.shape(x), self.axes)
        channels = shape[-1]
        if channels % self.groups:
            raise ShapeError(
                f"{channels} channels cannot be split into groups={self.groups}, got {show_shape(shape)}; choose "
                f"groups that divide {channels}, or other filters in the layer before"
            )
        if self.weights is not None and np.shape(self.weights)[-2] != channels // self.groups:
            known = np.shape(self.weights)[-2] * self.groups
            raise ShapeError(
                f"the weights are for {known} channels, got {show_shape(shape)}; give weights whose last axis but one "
                f"is {channels // self.groups}, or repeat one kernel along the last axis for groups={channels}"
            )
        geometry = window(shape, self.axes, self.kernel_size, self.stride, self.padding, self.dilation)
        name = f"conv{builder.number('weights')}"
        options = {"groups": self.groups, "bias": bool(self.bias), "trainable": bool(self.trainable)}
        z = ops.conv.conv(builder, x, self.filters, geometry, name, **options)
        return activate(builder, z, get_activation(self.activation), f"{name}.y")

    def starting_weights(self, random_state, shape, activation_name, init):
        """(W, b) for W of this shape: the given weights, or `init` (this layer's own, where it has one) drawn for its
        fans."""
        if self.weights is not None:
            W, b = np.array(self.weights), np.zeros(self.filters)
        else:
            initializer = get_initializer(init if self.init is None else self.init)
            fan_out = prod(shape[:-2]) * self.filters // self.groups
            W, b = initializer.draw(random_state, prod(shape[:-1]), self.filters, activation_name, fan_out)
        return W.reshape(shape), b


@dataclass(frozen=True)
class Conv1D(Conv2D):
    """z[n,i,o] = b[o] + sum over v, c of x[n, i s + v d, c] W[v,c,o], y = f(z).

    x is (n, time, channels) with zeros before and after it, W (kernel size, channels / groups, filters). Parameters as
    those of Conv2D, with an int for each pair; padding may also be (before, after).
    """

    axes: ClassVar[int] = 1
