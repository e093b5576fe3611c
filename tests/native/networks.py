"""Random networks and data for comparisons between backends."""

import numpy as np

from fastnn.activations import ACTIVATIONS
from fastnn.layers import BatchNorm, Dense, Dropout, LayerNorm
from fastnn.losses import AbsoluteError, Hinge, Huber, LogLoss, Perceptron, Poisson, Quantile, SquaredError
from fastnn.lower import Network, lower
from fastnn.optimizers import SGD, AdaGrad, Adam, AdamW, RMSProp

SIZES = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 130)
OPTIMIZERS = (SGD(0.0, False), SGD(0.9, False), SGD(0.9, True), AdaGrad(), RMSProp(), Adam(), AdamW(weight_decay=0.1))
LOSSES = {
    "softmax": (LogLoss(), "softmax"),
    "logistic": (LogLoss(), "logistic"),
    "squared_error": (SquaredError(), "identity"),
    "absolute_error": (AbsoluteError(), "identity"),
    "huber": (Huber(0.5), "identity"),
    "quantile": (Quantile(0.3), "identity"),
    "poisson": (Poisson(), "exp"),
    "hinge": (Hinge(), "identity"),
    "perceptron": (Perceptron(), "identity"),
}


def network(features, hidden, outputs, *, activation="tanh", loss="softmax", extra=()):
    """Dense layers with `extra` layers (Dropout, BatchNorm, LayerNorm) after each hidden one."""
    layers = []
    for units in hidden:
        layers += [Dense(units, activation), *extra]
    return Network(features, (*layers, Dense(outputs, "identity")), *LOSSES[loss])


def random_network(rng):
    """A network of up to three hidden layers with anything in it."""
    hidden = [int(rng.choice(SIZES)) for _ in range(rng.integers(0, 4))]
    extras = [(), (Dropout(0.3),), (BatchNorm(),), (LayerNorm(),), (LayerNorm(), Dropout(0.5))]
    return network(
        int(rng.choice(SIZES)),
        hidden,
        int(rng.choice((1, 2, 3, 10, 17, 70))),
        activation=rng.choice(list(ACTIVATIONS)),
        loss=rng.choice(list(LOSSES)),
        extra=extras[rng.integers(len(extras))],
    )


def data(rng, net, rows, dtype, *, one_hot=False, weighted=False):
    """X, y, sample_weight for a network's plan."""
    outputs = net.layers[-1].units
    X = rng.standard_normal((rows, net.features)).astype(dtype)
    y = rng.integers(0, outputs, rows) if one_hot else rng.integers(0, 2, (rows, outputs)).astype(dtype)
    return X, y, rng.uniform(0.1, 2.0, rows) if weighted else None


def draw(rng, plan):
    """Values for the parameters of a plan, scaled so that activations stay moderate."""
    values = {}
    for name in plan.parameters:
        shape = plan.buffers[name].shape
        values[name] = rng.standard_normal(shape) / np.sqrt(shape[0])
    return values


def lowered(net, purpose="train", **options):
    options.setdefault("optimizer", Adam())
    return lower(net, purpose, **options)
