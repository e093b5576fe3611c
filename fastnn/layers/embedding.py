"""Vectors for tokens."""

from dataclasses import dataclass
from typing import Any, ClassVar

from fastnn import ops
from fastnn.initializers import get_initializer
from fastnn.layers.stack import expected
from fastnn.layers.weights import check_flag
from fastnn.spec import keep_count


@dataclass(frozen=True)
class Embedding:
    """y[n,t] = W[x[n,t]] for whole numbers x (n, time) or (n, time, 1) in [0, tokens), W (tokens, units); the first
    layer.

    PyTorch's ``Embedding.weight`` is W. Source: Bengio, Ducharme, Vincent and Jauvin (2003), A neural probabilistic
    language model.

    Parameters
    ----------
    tokens : int
        Number of different tokens, at least 1 and at most 2**24, as far as float32 counts.
    units : int
        Length of their vectors, at least 1.
    init : str, initialiser spec or None, default=None
        How W starts. None: normal with standard deviation 1, whatever the estimator's parameter `init` says.
    trainable : bool, default=True
        Whether W changes in training.
    """

    tokens: int
    units: int
    init: Any = None
    trainable: bool = True

    respects_lengths: ClassVar[bool] = True

    def __post_init__(self):
        keep_count(self, "tokens", most=1 << 24)
        keep_count(self, "units")
        if self.init is not None:
            get_initializer(self.init, where="Embedding: init")
        check_flag(self, "trainable")

    def lower(self, builder, x):
        """Adds the look-up; returns the name of y."""
        if builder.buffers[x].layout != "rows" or builder.columns(x) != 1 or len(builder.shape(x)) != 2:
            way_out = "Embedding reads tokens: put it first, and give X the shape (n, time) or (n, time, 1)"
            raise expected(("time", "1"), builder.shape(x), way_out)
        name = f"embedding{builder.number('weights')}"
        return ops.embedding.embedding(builder, x, self.tokens, self.units, name, trainable=bool(self.trainable))

    def starting_weights(self, random_state, shape, activation_name, init):
        """(W, None): W from the standard normal distribution, unless this layer has an `init` of its own."""
        if self.init is None:
            return random_state.normal(0.0, 1.0, shape), None
        return get_initializer(self.init).draw(random_state, *shape, activation_name)[0], None
