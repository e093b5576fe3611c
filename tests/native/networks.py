"""Random networks and data for comparisons between backends."""

import numpy as np

from fastnn.activations import ACTIVATIONS
from fastnn.augment import Cutout, GaussianNoise, HorizontalFlip, Mixup, Rotate, Shift
from fastnn.layers import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    GlobalAvgPool,
    GlobalMaxPool,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    Reshape,
    Residual,
)
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


CHANNELS = (1, 2, 3, 6, 8, 16, 17, 33, 64, 67)


def random_image_network(rng):
    """A convolution net over small images or signals with anything in it."""
    if rng.integers(4) == 0:
        shape, layers = (int(rng.integers(8, 40)), int(rng.choice(CHANNELS))), _random_signal_layers(rng)
    else:
        shape, layers = (*map(int, rng.integers(6, 15, 2)), int(rng.choice(CHANNELS))), _random_image_layers(rng)
    augment = (Shift(1), Rotate(10), HorizontalFlip(), Cutout(3), GaussianNoise(0.1), Mixup(0.4))
    chosen = tuple(spec for spec in augment if len(shape) == 3 and rng.integers(4) == 0)
    outputs = int(rng.choice((1, 3, 17)))
    loss = LOSSES[rng.choice(("softmax", "squared_error"))]
    scale = float(rng.choice((1.0, 0.5)))
    return Network(shape, (*layers, Dense(outputs, "identity")), *loss, scale=scale, augment=chosen)


def _random_image_layers(rng):
    filters = int(rng.choice(CHANNELS))
    groups = int(rng.choice([g for g in (1, 1, 2, 3) if filters % g == 0]))
    first = Conv2D(filters, int(rng.integers(1, 5)), stride=int(rng.integers(1, 3)), padding=int(rng.integers(0, 3)),
                   bias=bool(rng.integers(2)), activation=rng.choice(("relu", "tanh", "gelu")))  # fmt: skip
    middle = [
        (), (BatchNorm(), Activation("relu")), (LayerNorm(),), (Dropout(0.3, True),), (MaxPool2D(),),
        (MaxPool2D(3, 2, "same"), Dropout(0.3)), (AvgPool2D(2, 1, "same"),),
        # No bias before a batch norm: its gradient would be nothing but rounding, which Adam turns into steps.
        (Residual([Conv2D(filters, 3, padding="same", groups=groups, bias=False), BatchNorm(), Activation("silu")]),),
    ]  # fmt: skip
    second = Conv2D(int(rng.choice(CHANNELS)), 3, padding="same", dilation=int(rng.integers(1, 3)), activation="relu")
    last = [(), (GlobalAvgPool(),), (GlobalMaxPool(),), (MaxPool2D(2, padding="same"),), (Dense(20, "relu"),)]
    return (first, *middle[rng.integers(len(middle))], second, *last[rng.integers(len(last))])


def _random_signal_layers(rng):
    first = Conv1D(int(rng.choice(CHANNELS)), 5, stride=int(rng.integers(1, 3)), padding="same", activation="relu")
    last = [(BatchNorm(), GlobalAvgPool()), (MaxPool1D(),), (Reshape((-1, 1)), Conv1D(3, 2))]
    return (first, *last[rng.integers(len(last))])


def data(rng, net, rows, dtype, *, one_hot=False, weighted=False):
    """X, y, sample_weight for a network's plan."""
    outputs = net.layers[-1].units
    X = rng.standard_normal((rows, *net.input_shape)).astype(dtype)
    y = rng.integers(0, outputs, rows) if one_hot else rng.integers(0, 2, (rows, outputs)).astype(dtype)
    return X, y, rng.uniform(0.1, 2.0, rows) if weighted else None


def draw(rng, plan):
    """Values for the parameters of a plan, scaled so that activations stay moderate."""
    values = {}
    for name in plan.parameters:
        shape = plan.buffers[name].shape
        values[name] = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]) if len(shape) > 1 else shape[0])
    return values


def lowered(net, purpose="train", **options):
    options.setdefault("optimizer", Adam())
    return lower(net, purpose, **options)
