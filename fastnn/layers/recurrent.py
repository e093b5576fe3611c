"""Recurrent layers over sequences (n, time, channels), in one direction or both.

States before the first step are zero. Of sequences of unequal length each row has its own last step, and zeros behind.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn import ops
from fastnn.activations import RReLU, get_activation
from fastnn.initializers import GlorotUniform, get_initializer
from fastnn.layers.steps import check_sequence
from fastnn.layers.weights import check_flag
from fastnn.spec import is_number, keep_count, shown


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
        keep_count(self, "units")
        if self.truncate is not None:
            keep_count(self, "truncate", instead=" or None")
        for field in ("dropout", "recurrent_dropout"):
            value = getattr(self, field)
            if not (is_number(value) and 0 <= value < 1):
                raise ValueError(f"{name}: {field} must be a number in [0, 1), got {shown(value)}")
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
            mask = ops.random.state_mask(builder, self.units, rate, stream, f"{name}.mask")
        h = ops.recurrent.recurrent(
            builder, x, self.cell, self.units, name, activation=self._activation(), mask=mask, reverse=reverse,
            truncate=self.truncate, trainable=bool(self.trainable),
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

    PyTorch's weights are these: ``weight_ih_l0 = W.T``, ``weight_hh_l0 = U.T`` and ``bias_ih_l0 + bias_hh_l0 = b``.

    Source: Elman (1990), Finding structure in time.

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    return_sequences : bool, default=False
        Whether y is h of every step, (n, time, units), or of the last one, (n, units).
    dropout, recurrent_dropout : float in [0, 1), default=0.0
        Rates at which channels of x, and units of h[t-1] on their way into U, are dropped in training; the others are
        scaled by 1 / (1 - rate). A row's mask is the same at all of its steps (Gal and Ghahramani, 2016, A
        theoretically grounded application of dropout in recurrent neural networks).
    init : str, initialiser spec or None, default=None
        How W starts. None: as the estimator's parameter `init` says, and by Glorot's uniform rule where that is "auto".
    recurrent_init : str or initialiser spec, default="orthogonal"
        How U starts.
    truncate : int or None, default=None
        Gradients do not cross from step t to step t - 1 where t is a multiple of this (truncated backpropagation
        through time: Williams and Peng, 1990); states do. None: gradients go back to the first step.
    trainable : bool, default=True
        Whether W, U and b change in training.
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
    """h[t] = o tanh(c[t]) with the cell c[t] = f c[t-1] + i g (long short-term memory) for x (n, time, channels).

    The gates i, f, o = logistic(x[t] W + h[t-1] U + b) and g = tanh(x[t] W + h[t-1] U + b) have weights of their own,
    in the order i, f, g, o: W (4, channels, units), U (4, units, units), b (4, units).

    PyTorch's weights are these: ``weight_ih_l0 = W.transpose(0, 2, 1).reshape(4 * units, channels)``, ``weight_hh_l0``
    likewise from U, and ``bias_ih_l0 + bias_hh_l0 = b.ravel()``.

    Sources: Hochreiter and Schmidhuber (1997), Long short-term memory; Gers, Schmidhuber and Cummins (2000), Learning
    to forget.

    Parameters
    ----------
    units, return_sequences, dropout, recurrent_dropout, init, recurrent_init, truncate, trainable
        As for SimpleRNN.
    forget_bias : float, default=1.0
        What b of the forget gate f starts from (Jozefowicz, Zaremba and Sutskever, 2015, An empirical exploration of
        recurrent network architectures); other biases start at zero.
    """

    forget_bias: float = 1.0

    cell: ClassVar = ops.recurrent.LSTM

    def __post_init__(self):
        super().__post_init__()
        if not is_number(self.forget_bias):
            raise ValueError(f"LSTM: forget_bias must be a finite number, got {shown(self.forget_bias)}")

    def _starting_bias(self, b):
        b[1] = self.forget_bias
        return b


@dataclass(frozen=True)
class GRU(_Recurrent):
    """h[t] = (1 - z) n + z h[t-1] (gated recurrent unit) for x (n, time, channels).

    The gates r, z = logistic(x[t] W + h[t-1] U + b) and n = tanh(x[t] W + b + r (h[t-1] U + d)) have weights of their
    own, in the order r, z, n: W (3, channels, units), U (3, units, units), b (3, units), d (units,). The reset gate r
    acts after the product, as in PyTorch, so that the three products with h[t-1] are one.

    PyTorch's weights are these: ``weight_ih_l0 = W.transpose(0, 2, 1).reshape(3 * units, channels)``, ``weight_hh_l0``
    likewise from U, ``bias_ih_l0 = b.ravel()`` and ``bias_hh_l0 = (0, 0, d)`` with units zeros each; where r and z of
    its ``bias_hh_l0`` are not zero, they add to b.

    Source: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical machine
    translation, in the first version of arXiv:1406.1078.

    Parameters
    ----------
    units, return_sequences, dropout, recurrent_dropout, init, recurrent_init, truncate, trainable
        As for SimpleRNN.
    """

    cell: ClassVar = ops.recurrent.GRU


MERGES = {"concatenate": ops.shape.concatenate, "sum": ops.shape.add}


@dataclass(frozen=True)
class Bidirectional:
    """y = (forwards, backwards), (n, time, 2 units): the states of two such layers side by side, with weights and masks
    of their own, one of which goes from the last step to the first.

    With return_sequences=False y is (n, 2 units): the forward layer's state after the last step and the backward
    layer's after the first. PyTorch's ``weight_ih_l0_reverse`` and so on are the backward layer's.

    Source: Schuster and Paliwal (1997), Bidirectional recurrent neural networks.

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
    merge : {"concatenate", "sum"}, default="concatenate"
        Whether both states stand side by side, or are added up to (n, time, units) or (n, units).
    """

    layer: Any
    merge: str = "concatenate"

    respects_lengths: ClassVar[bool] = True

    def __post_init__(self):
        if not isinstance(self.layer, _Recurrent):
            raise ValueError(f"Bidirectional: layer must be a SimpleRNN, LSTM or GRU, got {shown(self.layer)}")
        if not isinstance(self.merge, str) or self.merge not in MERGES:
            raise ValueError(f"Bidirectional: merge must be one of {tuple(MERGES)}, got {shown(self.merge)}")

    @property
    def layers(self):
        return self.layer, self.layer

    def lower(self, builder, x):
        """Adds both directions; returns the name of y."""
        check_sequence(builder.shape(x))
        name = f"bidirectional{builder.number('bidirectional')}"
        x = ops.shape.in_panels(builder, x)
        forwards = self.layer.lower_one_way(builder, x, reverse=False)
        backwards = self.layer.lower_one_way(builder, x, reverse=True)
        return MERGES[self.merge](builder, forwards, backwards, f"{name}.y")
