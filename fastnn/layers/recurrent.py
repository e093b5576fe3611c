"""Recurrent layers over sequences (n, time, channels), and what stands around them."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from fastnn import ops
from fastnn.activations import RReLU, get_activation
from fastnn.initializers import GlorotUniform, get_initializer
from fastnn.layers.activation import Activation
from fastnn.layers.dense import Dense
from fastnn.layers.norm import LayerNorm
from fastnn.layers.random import Dropout
from fastnn.layers.stack import expected
from fastnn.layers.weights import check_flag


def check_sequence(shape):
    """(time, channels), which the shape of a row must be."""
    if len(shape) != 2:
        raise expected(("time", "channels"), shape, "recurrent layers take sequences: put them before LastStep, or "
                       "before a recurrent layer without return_sequences=True")  # fmt: skip
    return shape


@dataclass(frozen=True)
class _Recurrent:
    units: int
    return_sequences: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    init: Any = None
    recurrent_init: Any = "orthogonal"
    truncate: Any = None
    trainable: bool = True

    cell: ClassVar[ops.recurrent.Cell]
    respects_lengths: ClassVar[bool] = True

    def __post_init__(self):
        name = type(self).__name__
        for field, least in (("units", 1), ("truncate", 1)):
            value = getattr(self, field)
            if field == "truncate" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise ValueError(f"{name}: {field} must be an int >= {least}, got {value!r}")
        for field in ("dropout", "recurrent_dropout"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < 1:
                raise ValueError(f"{name}: {field} must be a number in [0, 1), got {value!r}")
        if self.init is not None:
            get_initializer(self.init, where=f"{name}: init")
        get_initializer(self.recurrent_init, where=f"{name}: recurrent_init")
        check_flag(self, "return_sequences", "trainable")

    def lower(self, builder, x):
        """Adds the cell and, unless sequences are returned, the last step; returns the name of y."""
        return self.lower_one_way(builder, x, reverse=False)

    def lower_one_way(self, builder, x, reverse):
        """`lower`, forwards or backwards in time."""
        check_sequence(builder.shape(x))
        x = ops.shape.in_panels(builder, x)
        name = f"{self.cell.kind}{builder.number('weights')}"
        if builder.training and self.dropout:
            x = ops.random.dropout(builder, x, self.dropout, self._stream(builder), f"{name}.x", True)
        mask = None
        if builder.training and self.recurrent_dropout:
            rate, stream = self.recurrent_dropout, self._stream(builder)
            mask = ops.recurrent.state_mask(builder, int(self.units), rate, stream, f"{name}.mask")
        truncate = None if self.truncate is None else int(self.truncate)
        h = ops.recurrent.recurrent(
            builder, x, self.cell, int(self.units), name, activation=self._activation(), mask=mask, reverse=reverse,
            truncate=truncate, trainable=bool(self.trainable),
        )  # fmt: skip
        return h if self.return_sequences else ops.steps.over_steps(builder, h, "last_step", name, reverse=reverse)

    @staticmethod
    def _stream(builder):
        return builder.number("stream") + 1

    def _activation(self):
        return None

    def starting_weights(self, random_state, shape, activation_name, init):
        """(W, b): each gate's W by this layer's `init`, by the estimator's, or Glorot's rule where that is "auto"."""
        given = get_initializer(init if self.init is None else self.init)
        draw = (GlorotUniform() if self.init is None and given.name == "auto" else given).draw
        W = _each_gate(shape, lambda *sizes: draw(random_state, *sizes, activation_name)[0])
        return W, self._starting_bias(np.zeros((*shape[:-2], shape[-1])))

    def starting_recurrence(self, random_state, shape):
        """U, each gate's by `recurrent_init`."""
        draw = get_initializer(self.recurrent_init).draw
        return _each_gate(shape, lambda *sizes: draw(random_state, *sizes, "tanh")[0])

    def _starting_bias(self, b):
        return b


def _each_gate(shape, draw):
    """An array of this shape whose matrices are drawn one after another."""
    *axis, rows, columns = shape
    return draw(rows, columns) if not axis else np.stack([draw(rows, columns) for _ in range(*axis)])


@dataclass(frozen=True)
class SimpleRNN(_Recurrent):
    """h[t] = f(x[t] W + h[t-1] U + b) for x (n, time, channels), W (channels, units), U (units, units), b (units,).

    Source: Elman (1990), Finding structure in time.

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    return_sequences : bool, default=False
        Whether y is h of every step, (n, time, units), or of the last one, (n, units).
    dropout, recurrent_dropout : float in [0, 1), default=0.0
        Rates at which channels of x, and units of h[t-1], are dropped; a row's mask is the same at all of its steps
        (Gal and Ghahramani, 2016).
    init : str, initialiser spec or None, default=None
        How W starts. None: as the estimator's parameter `init` says, and by Glorot's uniform rule where that is "auto".
    recurrent_init : str or initialiser spec, default="orthogonal"
        How U starts.
    truncate : int or None, default=None
        Gradients do not go back beyond steps whose number is a multiple of this (truncated backpropagation through
        time); None: they go back to the first step.
    trainable : bool, default=True
        Whether the weights change in training.
    activation : str or activation spec, default="tanh"
        f; see ``fastnn.activations``.
    """

    activation: Any = "tanh"

    cell: ClassVar = ops.recurrent.SIMPLE_RNN

    def __post_init__(self):
        super().__post_init__()
        if isinstance(get_activation(self.activation, where="SimpleRNN: activation"), RReLU):
            raise ValueError("SimpleRNN: activation 'rrelu' is random; choose another, such as 'leaky_relu'")

    def _activation(self):
        return get_activation(self.activation)


@dataclass(frozen=True)
class LSTM(_Recurrent):
    """Long short-term memory: h[t] = o tanh(c[t]), c[t] = f c[t-1] + i g with the gates

    i, f, o = logistic(x[t] W + h[t-1] U + b) and g = tanh(x[t] W + h[t-1] U + b), each with weights of its own, in the
    order i, f, g, o: W (4, channels, units), U (4, units, units), b (4, units).

    PyTorch's weights are these: ``weight_ih_l0 = W.transpose(0, 2, 1).reshape(4 * units, channels)``, ``weight_hh_l0``
    likewise from U, and ``bias_ih_l0 + bias_hh_l0 = b.ravel()``.

    Sources: Hochreiter and Schmidhuber (1997), Long short-term memory; Gers, Schmidhuber and Cummins (2000), Learning
    to forget.

    Parameters
    ----------
    units, return_sequences, dropout, recurrent_dropout, init, recurrent_init, truncate, trainable
        As for SimpleRNN.
    forget_bias : float, default=1.0
        What b of the forget gate starts from (Jozefowicz, Zaremba and Sutskever, 2015); other biases start at zero.
    """

    forget_bias: float = 1.0

    cell: ClassVar = ops.recurrent.LSTM

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.forget_bias, bool) or not isinstance(self.forget_bias, Real):
            raise ValueError(f"LSTM: forget_bias must be a number, got {self.forget_bias!r}")

    def _starting_bias(self, b):
        b[1] = self.forget_bias
        return b


@dataclass(frozen=True)
class GRU(_Recurrent):
    """Gated recurrent unit: h[t] = (1 - z) n + z h[t-1] with the gates r, z = logistic(x[t] W + h[t-1] U + b) and

    n = tanh(x[t] W + b + r (h[t-1] U + d)): the reset gate acts after the product. The gates' order is r, z, n:
    W (3, channels, units), U (3, units, units), b (3, units), d (units,).

    PyTorch's weights are these: ``weight_ih_l0 = W.transpose(0, 2, 1).reshape(3 * units, channels)``, ``weight_hh_l0``
    likewise from U, ``bias_ih_l0 = b.ravel()`` and ``bias_hh_l0 = (0, 0, d)``; its own bias_hh of r and z adds to b.

    Source: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder; reset after the product:
    version 1 of arXiv:1406.1078.

    Parameters
    ----------
    units, return_sequences, dropout, recurrent_dropout, init, recurrent_init, truncate, trainable
        As for SimpleRNN.
    """

    cell: ClassVar = ops.recurrent.GRU


@dataclass(frozen=True)
class Bidirectional:
    """y = (forwards, backwards): the outputs of two such layers side by side, one of which goes from the last step to
    the first.

    With return_sequences=False these are the forward layer's state after the last step and the backward layer's after
    the first. Source: Schuster and Paliwal (1997), Bidirectional recurrent neural networks.

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
    """

    layer: Any

    respects_lengths: ClassVar[bool] = True

    def __post_init__(self):
        if not isinstance(self.layer, _Recurrent):
            raise ValueError(f"Bidirectional: layer must be a SimpleRNN, LSTM or GRU, got {self.layer!r}")

    @property
    def layers(self):
        return self.layer, self.layer

    def lower(self, builder, x):
        """Adds both directions; returns the name of y."""
        name = f"bidirectional{builder.number('bidirectional')}"
        x = ops.shape.in_panels(builder, x)
        forwards = self.layer.lower_one_way(builder, x, reverse=False)
        backwards = self.layer.lower_one_way(builder, x, reverse=True)
        return ops.shape.concatenate(builder, forwards, backwards, f"{name}.y")


@dataclass(frozen=True)
class TimeDistributed:
    """y[n,t] = f(x[n,t]): a layer at every step, with the same weights.

    Parameters
    ----------
    layer : Dense, Activation, Dropout or LayerNorm
        f; all but Dense do the same without TimeDistributed.
    """

    layer: Any

    respects_lengths: ClassVar[bool] = True

    def __post_init__(self):
        if not isinstance(self.layer, (Dense, Activation, Dropout, LayerNorm)):
            raise ValueError(
                f"TimeDistributed: layer must be a Dense, Activation, Dropout or LayerNorm, got {self.layer!r}"
            )

    @property
    def layers(self):
        return (self.layer,)

    @property
    def units(self):
        return self.layer.units

    def lower(self, builder, x):
        """Adds the layer; returns the name of y."""
        check_sequence(builder.shape(x))
        x = ops.shape.in_panels(builder, x)
        lower = self.layer.lower_steps if isinstance(self.layer, Dense) else self.layer.lower
        return lower(builder, x)


@dataclass(frozen=True)
class LastStep:
    """y[n] = x[n, last step], of sequences of unequal length each one's own last step."""

    respects_lengths: ClassVar[bool] = True

    def lower(self, builder, x):
        """Adds the choice; returns the name of y."""
        check_sequence(builder.shape(x))
        x = ops.shape.in_panels(builder, x)
        return ops.steps.over_steps(builder, x, "last_step", f"pool{builder.number('pool')}")


@dataclass(frozen=True)
class Embedding:
    """y[n,t] = W[x[n,t]] for whole numbers x (n, time) in [0, tokens), W (tokens, units); the first layer.

    Parameters
    ----------
    tokens : int
        Number of different tokens, at least 1 and at most 2**24.
    units : int
        Length of their vectors.
    init : str or initialiser spec, default="normal" with standard deviation 1
        How W starts.
    trainable : bool, default=True
        Whether W changes in training.
    """

    tokens: int
    units: int
    init: Any = None
    trainable: bool = True

    respects_lengths: ClassVar[bool] = True

    def __post_init__(self):
        for field, most in (("tokens", 1 << 24), ("units", None)):
            value = getattr(self, field)
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            if not whole or value < 1 or (most and value > most):
                bound = f" and <= {most}" if most else ""
                raise ValueError(f"Embedding: {field} must be an int >= 1{bound}, got {value!r}")
        if self.init is not None:
            get_initializer(self.init, where="Embedding: init")
        check_flag(self, "trainable")

    def lower(self, builder, x):
        """Adds the look-up; returns the name of y."""
        if builder.buffers[x].layout != "rows" or builder.columns(x) != 1 or len(builder.shape(x)) != 2:
            way_out = "Embedding reads tokens: put it first, and give X the shape (n, time) or (n, time, 1)"
            raise expected(("time", "1"), builder.shape(x), way_out)
        name = f"embedding{builder.number('weights')}"
        return ops.embedding.embedding(
            builder, x, int(self.tokens), int(self.units), name, trainable=bool(self.trainable)
        )

    def starting_weights(self, random_state, shape, activation_name, init):
        """(W, None): W from the standard normal distribution unless this layer has an `init`."""
        if self.init is None:
            return random_state.normal(0.0, 1.0, shape), None
        return get_initializer(self.init).draw(random_state, *shape, activation_name)[0], None
