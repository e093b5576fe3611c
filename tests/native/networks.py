"""Random networks and data for comparisons between backends."""

import numpy as np

from fastnn.activations import ACTIVATIONS
from fastnn.augment import Cutout, GaussianNoise, HorizontalFlip, Mixup, Rotate, Shift
from fastnn.layers import (
    GRU,
    LSTM,
    Activation,
    AvgPool2D,
    BatchNorm,
    Bidirectional,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    GlobalAvgPool,
    GlobalMaxPool,
    LastStep,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    Reshape,
    Residual,
    SimpleRNN,
    TimeDistributed,
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


def random_sequence_network(rng):
    """A recurrent net over short sequences with anything in it; of half of them only the first steps count."""
    time, lengths = int(rng.choice((1, 2, 3, 9, 40))), bool(rng.integers(2))
    channels, first = int(rng.choice((1, 2, 7, 16, 33, 40))), ()
    if rng.integers(4) == 0:
        channels, first = 1, (Embedding(TOKENS, int(rng.choice((1, 8, 17, 70)))),)
    cells = [_random_cell(rng, True) for _ in range(rng.integers(0, 2))]
    steps = bool(rng.integers(3) == 0)
    pool = (GlobalAvgPool(), GlobalMaxPool(), LastStep(), None)[rng.integers(4)]
    cells.append(_random_cell(rng, steps or pool is not None))
    outputs = Dense(int(rng.choice((1, 3, 17))), "identity")
    last = (TimeDistributed(Dense(9, "tanh")), TimeDistributed(outputs)) if steps else (pool, outputs)
    layers = tuple(layer for layer in (*first, *cells, *last) if layer is not None)
    loss = LOSSES[rng.choice(("softmax", "squared_error"))]
    return Network((time, channels), layers, *loss, lengths=lengths)


def _random_cell(rng, sequences):
    kind = (SimpleRNN, LSTM, GRU)[rng.integers(3)]
    options = {"activation": rng.choice(("tanh", "relu", "gelu", "softplus"))} if kind is SimpleRNN else {}
    if rng.integers(3) == 0:
        options |= {"dropout": 0.2, "recurrent_dropout": 0.3}
    if rng.integers(3) == 0:
        options |= {"truncate": int(rng.integers(1, 6))}
    layer = kind(int(rng.choice((1, 3, 16, 17, 33, 64, 65, 130))), return_sequences=sequences, **options)
    return Bidirectional(layer) if rng.integers(3) == 0 else layer


TOKENS = 6


def data(rng, net, rows, dtype, *, one_hot=False, weighted=False):
    """X, y, sample_weight for a network's plan."""
    last = net.layers[-1]
    shape = (rows, net.input_shape[0]) if isinstance(last, TimeDistributed) else (rows,)
    X = rng.standard_normal((rows, *net.input_shape)).astype(dtype)
    if isinstance(net.layers[0], Embedding):
        X = rng.integers(0, TOKENS, X.shape).astype(dtype)
    if net.lengths:
        lengths = rng.integers(1, net.input_shape[0] + 1, (rows, 1))
        X = np.hstack([X.reshape(rows, -1), lengths]).astype(dtype)
    y = rng.integers(0, last.units, shape) if one_hot else rng.integers(0, 2, (*shape, last.units)).astype(dtype)
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
