"""Whole convolution nets on both backends: gradients of every layer are finite differences, and what the data may look
like makes no difference.
"""

import numpy as np
import pytest

from fastnn.layers import (
    Activation,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    Reshape,
    Residual,
)
from fastnn.losses import LogLoss, SquaredError
from fastnn.lower import Network, lower
from fastnn.optimizers import SGD
from tests.backends import RUNNERS
from tests.test_lower import worst_relative_error

pytestmark = pytest.mark.parametrize("backend", RUNNERS)

IMAGE, SIGNAL = (6, 5, 2), (11, 2)
SOBEL = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
# Each stands between a convolution and a dense layer: its input's gradient is asked for as well as its weights'.
LAYERS = {
    "convolution": (IMAGE, [Conv2D(2, 3)]),
    "convolution without bias": (IMAGE, [Conv2D(2, (2, 3), bias=False)]),
    "strides and dilation": (IMAGE, [Conv2D(2, (2, 3), stride=(1, 2), dilation=(3, 1), activation="tanh")]),
    "same padding": (IMAGE, [Conv2D(2, (3, 2), stride=2, padding="same", activation="gelu")]),
    "uneven padding": (IMAGE, [Conv2D(1, 3, padding=((2, 0), (1, 3)), activation="softplus")]),
    "kernel beyond the image": (IMAGE, [Conv2D(1, 7, padding=3)]),
    "groups": (IMAGE, [Conv2D(6, 2, groups=3, activation="tanh")]),
    "depthwise": (IMAGE, [Conv2D(6, 3, padding=1, groups=3, activation="silu")]),
    "fixed weights": ((6, 5, 1), [Conv2D(3, 3, groups=3, weights=np.tile(np.reshape(SOBEL, (3, 3, 1, 1)), 3),
                                         trainable=False)]),
    "max pool": (IMAGE, [MaxPool2D(2)]),
    "max pool of a convolution": (IMAGE, [Conv2D(3, 2, activation="relu"), MaxPool2D((2, 1))]),
    "max pool that overlaps": (IMAGE, [MaxPool2D(3, stride=1)]),
    "max pool with padding": (IMAGE, [MaxPool2D(3, stride=2, padding=1)]),
    "max pool, activation not increasing": (IMAGE, [Conv2D(3, 2, activation="mish"), MaxPool2D(2)]),
    "average pool": (IMAGE, [AvgPool2D(2)]),
    "average pool that overlaps": (IMAGE, [AvgPool2D((3, 2), stride=1, padding="same")]),
    "global max pool": (IMAGE, [GlobalMaxPool()]),
    "global average pool": (IMAGE, [GlobalAvgPool()]),
    "flatten and reshape": (IMAGE, [Flatten(), Reshape((5, 4, 3)), Conv2D(1, 2)]),
    "activation": (IMAGE, [Activation("elu")]),
    "dropout": (IMAGE, [Dropout(0.4)]),
    "dropout of channels": (IMAGE, [Conv2D(5, 1), Dropout(0.4, channels=True)]),
    "batch norm": (IMAGE, [BatchNorm(), Activation("tanh")]),
    "batch norm of features": (IMAGE, [GlobalAvgPool(), BatchNorm()]),
    "layer norm": (IMAGE, [LayerNorm(), Activation("tanh")]),
    "residual": (IMAGE, [Residual([Conv2D(3, 3, padding="same", activation="tanh")])]),
    "residual with a shortcut": (IMAGE, [Residual([Conv2D(2, 2, stride=2), BatchNorm()], [Conv2D(2, 2, stride=2)])]),
    "residual in a residual": (IMAGE, [Residual([Conv2D(3, 1), Residual([Activation("tanh")])]), Activation("gelu")]),
    "residual of nothing": (IMAGE, [Residual([])]),
    "signal": (SIGNAL, [Conv1D(3, 3, stride=2, dilation=2, padding="same", activation="tanh")]),
    "signal in groups": (SIGNAL, [Conv1D(6, 4, groups=3, padding=(1, 0))]),
    "signal, max pool": (SIGNAL, [Conv1D(3, 2, activation="relu"), MaxPool1D(3)]),
    "signal, max pool that overlaps": (SIGNAL, [MaxPool1D(3, stride=2, padding=1)]),
    "signal, average pool": (SIGNAL, [AvgPool1D(3, stride=2)]),
    "signal, norms": (SIGNAL, [BatchNorm(), LayerNorm()]),
    "signal, global pool": (SIGNAL, [GlobalMaxPool()]),
}  # fmt: skip


def network(shape, layers, outputs=1, loss=None, **options):
    kind = Conv1D if len(shape) == 2 else Conv2D
    layers = (kind(3, 2, activation="tanh"), *layers, Dense(outputs, "identity"))
    return Network(shape, layers, *(loss or (SquaredError(), "identity")), **options)


def draw(rng, plan):
    return {
        name: rng.standard_normal(plan.buffers[name].shape) / np.sqrt(np.prod(plan.buffers[name].shape[:-1]))
        for name in plan.parameters
    }


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_through_each_layer(backend, name):
    shape, layers = LAYERS[name]
    rng, rows = np.random.default_rng(1), 7
    plan = lower(network(shape, layers), "gradient", weighted=True, l1=0.01, l2=0.1)
    runner = RUNNERS[backend](plan, dtype=np.float64, rows=rows if plan.needs_whole_batch else 4, seed=5)
    for parameter, value in draw(rng, plan).items():
        runner.set(parameter, value)
    for fixed in plan.statistics:
        if fixed.endswith(".W"):
            runner.set(fixed, rng.standard_normal(plan.buffers[fixed].shape))
    runner.bind(rng.standard_normal((rows, *shape)), rng.standard_normal((rows, 1)), rng.uniform(0.5, 2, rows))
    assert worst_relative_error(runner, plan) < 1e-6


LENET = [Conv2D(4, 3, padding="same", activation="relu"), MaxPool2D(), Conv2D(6, 2), BatchNorm(), Activation("relu")]


def trained(backend, net, X, y):
    """A runner after three steps, and its loss."""
    plan = lower(net, "train", one_hot=True, optimizer=SGD(0.9, True))
    runner = RUNNERS[backend](plan, dtype=np.float64, rows=len(X), seed=3)
    for name, value in draw(np.random.default_rng(0), plan).items():
        runner.set(name, value)
    runner.bind(X, y)
    loss = [runner.train(len(X), 0, 1, step, np.array([0.1]), 1e9)[1] for step in range(3)]
    return runner, loss


def data(rows=13, shape=(9, 9, 2)):
    rng = np.random.default_rng(2)
    return rng.integers(0, 256, (rows, *shape)).astype(np.uint8), rng.integers(0, 3, rows)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("flat", [False, True])
def test_images_of_any_type_flat_or_not_train_alike(backend, dtype, flat):
    images, y = data()
    net = network((9, 9, 2), LENET, 3, (LogLoss(), "softmax"), scale=1 / 255)
    X = images.astype(dtype).reshape((13, -1) if flat else images.shape)
    runner, loss = trained(backend, net, X, y)
    expected, expected_loss = trained(backend, network((9, 9, 2), LENET, 3, (LogLoss(), "softmax")), images / 255, y)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-12)
    for name in runner.plan.parameters + runner.plan.statistics:
        np.testing.assert_allclose(runner.get(name), expected.get(name), rtol=1e-9, atol=1e-12)


def test_predictions_with_norms_folded_into_weights_have_the_loss_of_evaluation(backend):
    images, y = data()
    net = network((9, 9, 2), LENET, 3, (LogLoss(), "softmax"), scale=1 / 255)
    runner, _ = trained(backend, net, images, y)
    losses = []
    for purpose in ("evaluate", "predict"):
        plan = lower(net, purpose, one_hot=True)
        other = RUNNERS[backend](plan, dtype=np.float64, rows=5)
        for name in plan.parameters + plan.statistics:
            other.set(name, runner.get(name))
        if purpose == "predict":
            losses.append(-np.log(other.forward(images)[np.arange(len(y)), y]).mean())
        else:
            other.bind(images, y)
            losses.append(other.evaluate())
    assert losses[0] == pytest.approx(losses[1], rel=1e-10)


def test_outputs_of_the_shape_of_images(backend):
    plan = lower(Network((6, 5, 2), (Conv2D(3, 2),), SquaredError()), "predict")
    runner = RUNNERS[backend](plan, dtype=np.float64, rows=4)
    values = draw(np.random.default_rng(0), plan)
    for name, value in values.items():
        runner.set(name, value)
    X = np.random.default_rng(1).standard_normal((7, 6, 5, 2))
    output = runner.forward(X)
    windows = np.stack([X[:, u : u + 5, v : v + 4] for u in range(2) for v in range(2)], axis=3)
    expected = np.einsum("nijkc,kco->nijo", windows, values["conv0.W"].reshape(4, 2, 3)) + values["conv0.b"]
    np.testing.assert_allclose(output.reshape(expected.shape), expected, rtol=1e-12)


def test_fixed_weights_stay(backend):
    images, y = data(shape=(9, 9, 1))
    fixed = Conv2D(3, 3, groups=3, weights=np.tile(np.reshape(SOBEL, (3, 3, 1, 1)), 3), trainable=False)
    net = network((9, 9, 1), [fixed], 3, (LogLoss(), "softmax"))
    plan = lower(net, "train", one_hot=True, optimizer=SGD())
    runner = RUNNERS[backend](plan, dtype=np.float64, rows=13)
    weights = np.random.default_rng(0).standard_normal((3, 3, 1, 3))
    runner.set("conv1.W", weights)
    runner.bind(images / 255, y)
    runner.train(13, 0, 1, 0, np.array([0.1]), 1e9)
    assert np.array_equal(runner.get("conv1.W"), weights)
    assert runner.get("dense2.b").any()
