"""The networks of the benchmarks, described once, and the same network in each library."""

from dataclasses import dataclass
from math import prod

import fastnn
from fastnn import layers

RECURRENT = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}


@dataclass(frozen=True)
class Network:
    """Hidden layers between rows of some shape and classes.

    Attributes
    ----------
    shape : tuple of int
        Of a row: (features,), (height, width, channels) or (time, channels).
    hidden : tuple
        Units of a dense layer with relu, or (name, number...) for other layers: ("conv", filters, size, padding) with
        relu, ("pool", size), ("dropout", rate), ("lstm", units), ("gru", units), ("rnn", units).
    classes : int
    name : str
        What tables call it instead of its sizes.
    """

    shape: tuple
    hidden: tuple
    classes: int
    name: str = ""

    @property
    def kind(self):
        names = {layer[0] for layer in self.hidden if isinstance(layer, tuple)}
        return "recurrent" if names & {*RECURRENT} else "convolutional" if names else "dense"

    @property
    def outputs(self):
        """One logistic output for two classes, as the estimators have."""
        return 1 if self.classes == 2 else self.classes

    def __str__(self):
        return self.name or "-".join(map(str, (*self.shape, *self.hidden, self.classes)))


# The network of Keras' example for MNIST, and LeNet-5 as it is usually written today.
KERAS = Network(
    (28, 28, 1),
    (("conv", 32, 3, "valid"), ("pool", 2), ("conv", 64, 3, "valid"), ("pool", 2), ("dropout", 0.5)),
    10,
    "32@3x3-pool-64@3x3-pool",
)
LENET = Network(
    (28, 28, 1), (("conv", 6, 5, "same"), ("pool", 2), ("conv", 16, 5, "valid"), ("pool", 2), 120, 84), 10, "LeNet-5"
)


def recurrent(name, units):
    """A recurrent layer over the 28 lines of an image."""
    return Network((28, 28), ((name, units),), 10, f"{RECURRENT[name]}-{units}")


class NotOffered(Exception):
    """A competitor does not have what a row asks for, or is not installed."""


def layers_of(network):
    """The hidden layers as specs of fastnn."""
    make = {
        "conv": lambda filters, size, padding: layers.Conv2D(filters, size, padding=padding, activation="relu"),
        "pool": layers.MaxPool2D,
        "dropout": layers.Dropout,
        **{name: getattr(layers, layer, None) for name, layer in RECURRENT.items()},
    }
    return [
        make[layer[0]](*layer[1:]) if isinstance(layer, tuple) else layers.Dense(layer, "relu")
        for layer in network.hidden
    ]


def estimator(network, **parameters):
    """The classifier of fastnn; recurrent ones without the clipping that is their default: no peer clips."""
    name = {"dense": "MLPClassifier", "convolutional": "ConvNet", "recurrent": "RecurrentClassifier"}[network.kind]
    Estimator = getattr(fastnn, name)
    precision = parameters.get("precision", "auto")
    if not any(allowed.is_satisfied_by(precision) for allowed in Estimator._parameter_constraints["precision"]):
        raise NotOffered(f"has no {precision}")
    if network.kind == "recurrent":
        parameters["clip_norm"] = None
    return Estimator(network.hidden if network.kind == "dense" else layers_of(network), **parameters)


def torch_model(network):
    """The module of PyTorch, images channels first; the units of lazy layers are settled by one batch."""
    import torch
    from torch import nn

    class Last(nn.Module):
        """A recurrent layer's last output."""

        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x)[0][:, -1]

    shape = (network.shape[-1], *network.shape[:-1]) if network.kind == "convolutional" else network.shape
    make = {
        "conv": lambda filters, size, padding: [nn.LazyConv2d(filters, size, padding=padding), nn.ReLU()],
        "pool": lambda size: [nn.MaxPool2d(size)],
        "dropout": lambda rate: [nn.Dropout(rate)],
        "lstm": lambda units: [Last(nn.LSTM(shape[-1], units, batch_first=True))],
        "gru": lambda units: [Last(nn.GRU(shape[-1], units, batch_first=True))],
        "rnn": lambda units: [Last(nn.RNN(shape[-1], units, batch_first=True))],
    }
    modules, flat = [], network.kind != "convolutional"
    for layer in network.hidden:
        if isinstance(layer, tuple):
            modules += make[layer[0]](*layer[1:])
            continue
        modules += [*([] if flat else [nn.Flatten()]), nn.LazyLinear(layer), nn.ReLU()]
        flat = True
    model = nn.Sequential(*modules, *([] if flat else [nn.Flatten()]), nn.LazyLinear(network.outputs))
    model(torch.zeros(2, *shape))
    return model.to(memory_format=torch.channels_last)


def jax_model(network, precision):
    """(parameters, apply) of JAX, where ``apply(parameters, x, key)`` gives the logits and the key draws the dropout.

    In bfloat16, weights and activations are rounded to it; parameters and logits stay in float32.
    """
    import jax
    from jax import lax, nn
    from jax import numpy as jnp

    dtype, glorot, zeros = jnp.dtype(precision), nn.initializers.glorot_uniform(), jnp.zeros
    keys = iter(jax.random.split(jax.random.key(0), 2 * len(network.hidden) + 1))
    parameters, functions, shape = [], [], network.shape

    def add(function, after, *weights):
        nonlocal shape
        parameters.append(weights)
        functions.append(function)
        shape = after

    def dense(units, activation):
        weights = glorot(next(keys), (prod(shape), units)), zeros(units)
        add(lambda p, x, key: activation(x.reshape(len(x), -1) @ p[0] + p[1]), (units,), *weights)

    def conv(filters, size, padding):
        def function(p, x, key):
            dimensions = ("NHWC", "HWIO", "NHWC")
            y = lax.conv_general_dilated(x, p[0], (1, 1), padding.upper(), dimension_numbers=dimensions)
            return nn.relu(y + p[1])

        after = [n if padding == "same" else n - size + 1 for n in shape[:-1]]
        add(function, (*after, filters), glorot(next(keys), (size, size, shape[-1], filters)), zeros(filters))

    def pool(size):
        window = (1, size, size, 1)
        add(lambda p, x, key: lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID"),
            (shape[0] // size, shape[1] // size, shape[2]))  # fmt: skip

    def dropout(rate):
        add(lambda p, x, key: jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0), shape)

    def recurrent(name, units):
        gates = {"lstm": 4, "gru": 3, "rnn": 1}[name]
        weights = [glorot(next(keys), (rows, gates * units)) for rows in (shape[-1], units)]
        add(lambda p, x, key: _jax_recurrent(name, units, *p, x), (units,), *weights, *(zeros(gates * units),) * 2)

    make = {"conv": conv, "pool": pool, "dropout": dropout} | {
        name: lambda units, name=name: recurrent(name, units) for name in RECURRENT
    }
    for layer in network.hidden:
        if isinstance(layer, tuple):
            make[layer[0]](*layer[1:])
        else:
            dense(layer, nn.relu)
    dense(network.outputs, lambda z: z)

    def apply(parameters, x, key):
        x = x.astype(dtype)
        for function, weights in zip(functions, parameters, strict=True):
            x = function([w.astype(dtype) for w in weights], x, key)
        return x.astype(jnp.float32)

    return parameters, apply


def _jax_recurrent(name, units, W, U, b, c, x):
    """The last state of a recurrent layer over x (n, time, channels); the products with x are one for all steps."""
    from jax import lax, nn
    from jax import numpy as jnp

    def lstm(state, z):
        h, cell = state
        i, f, o = jnp.split(nn.sigmoid((z := z + h @ U + c)[:, : 3 * units]), 3, axis=1)
        cell = f * cell + i * jnp.tanh(z[:, 3 * units :])
        return (o * jnp.tanh(cell), cell), None

    def gru(state, z):
        (h,) = state
        v = h @ U + c
        r, u = jnp.split(nn.sigmoid(z[:, : 2 * units] + v[:, : 2 * units]), 2, axis=1)
        candidate = jnp.tanh(z[:, 2 * units :] + r * v[:, 2 * units :])
        return (candidate + u * (h - candidate),), None

    def rnn(state, z):
        return (jnp.tanh(z + state[0] @ U + c),), None

    step = {"lstm": lstm, "gru": gru, "rnn": rnn}[name]
    start = (jnp.zeros((len(x), units), x.dtype),) * (2 if name == "lstm" else 1)
    return lax.scan(step, start, x.swapaxes(0, 1) @ W + b)[0][0]
