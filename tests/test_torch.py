"""What PyTorch's autograd computes from the same weights: SGD steps of estimators and of whole networks, and random
convolutions and pools with all their gradients.
"""

from dataclasses import replace

import numpy as np
import pytest

from fastnn import MLPClassifier, MLPRegressor
from fastnn.layers import (
    Activation,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
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

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'bench')")
torch.set_num_threads(1)  # its threads and ours would wait for each other's cores, busily
functional = torch.nn.functional

ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "softplus": functional.softplus,
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
    "hard_tanh": functional.hardtanh,
    "piecewise_linear": lambda z: torch.clamp(z + 0.5, 0, 1),
}
TASKS = ("binary", "multiclass", "multilabel", "regression", "multi_output")


def draw_task(rng, task, rows):
    """A target, the number of classes, and the estimator's class."""
    if task == "binary":
        y = np.arange(rows) % 2
    elif task == "multiclass":
        y = np.arange(rows) % 5
    elif task == "multilabel":
        y = rng.integers(0, 2, (rows, 7))
    else:
        shape = rows if task == "regression" else (rows, 3)
        return rng.standard_normal(shape).astype(np.float32), MLPRegressor
    return y, MLPClassifier


def torch_loss(z, y, task):
    target = torch.from_numpy(np.asarray(y))
    if task == "multiclass":
        return functional.cross_entropy(z, target)
    if task in ("binary", "multilabel"):
        target = target.float().reshape(z.shape)
        return functional.binary_cross_entropy_with_logits(z, target, reduction="sum") / len(z)
    return 0.5 * ((z - target.reshape(z.shape)) ** 2).sum() / len(z)


def torch_step(coefs, intercepts, activation, X, y, task, alpha, rate):
    W = [torch.tensor(c, requires_grad=True) for c in coefs]
    b = [torch.tensor(i, requires_grad=True) for i in intercepts]
    x = torch.from_numpy(X)
    for layer in range(len(W)):
        x = x @ W[layer] + b[layer]
        if layer < len(W) - 1:
            x = ACTIVATIONS[activation](x)
    loss = torch_loss(x, y, task) + 0.5 * alpha * sum((w**2).sum() for w in W) / len(X)
    loss.backward()
    with torch.no_grad():
        return [(p - rate * p.grad).numpy() for p in W], [(p - rate * p.grad).numpy() for p in b], loss.item()


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("seed", range(60))
def test_one_step(seed, backend):
    rng = np.random.default_rng(seed)
    task = TASKS[seed % len(TASKS)]
    rows = int(rng.integers(5 if task == "multiclass" else 2, 71))
    hidden = tuple(int(h) for h in rng.integers(1, 131, rng.integers(0, 4)))
    activation = str(rng.choice(list(ACTIVATIONS)))
    X = rng.standard_normal((rows, int(rng.integers(1, 131)))).astype(np.float32)
    y, estimator = draw_task(rng, task, rows)
    alpha, rate = float(rng.choice([0.0, 0.1, 1.0])), 0.1
    classes = np.arange(y.shape[1]) if task == "multilabel" else np.unique(y)
    options = {"classes": classes} if estimator is MLPClassifier else {}
    model = estimator(
        hidden_layer_sizes=hidden, activation=activation, solver="sgd", momentum=0.0, learning_rate_init=rate,
        alpha=alpha, batch_size=rows, random_state=seed, backend=backend,
    )  # fmt: skip
    model.partial_fit(X, y, **options)
    coefs = [c.copy() for c in model.coefs_]
    intercepts = [i.copy() for i in model.intercepts_]
    model.partial_fit(X, y)
    expected = torch_step(coefs, intercepts, activation, X, y, task, alpha, rate)
    for actual, wanted in zip(model.coefs_ + model.intercepts_, expected[0] + expected[1], strict=True):
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, wanted, rtol=2e-5, atol=2e-5)
    assert model.loss_ == pytest.approx(expected[2], rel=2e-5, abs=2e-5)


class Autograd:
    """Runs layers with PyTorch on tensors (n, ..., channels); `values` are the parameters under their plan's names."""

    def __init__(self, values):
        self.parameters = {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}
        self.running = {}
        self._counts = {"weights": 0, "norm": 0}

    def _number(self, family):
        self._counts[family] += 1
        return self._counts[family] - 1

    def run(self, layers, x):
        for layer in layers:
            x = self._RUN[type(layer)](self, layer, x)
        return x

    def _conv(self, layer, x):
        name, axes = f"conv{self._number('weights')}", layer.axes
        W = self.parameters[f"{name}.W"]
        kernel, stride, dilation = (as_tuple(v, axes) for v in (layer.kernel_size, layer.stride, layer.dilation))
        x = functional.pad(channels_first(x), torch_padding(layer, x.shape[1:-1], kernel, stride, dilation))
        convolve = functional.conv1d if axes == 1 else functional.conv2d
        W = W.permute(*range(W.ndim)[::-1][:2], *range(axes))
        z = convolve(x, W, self.parameters.get(f"{name}.b"), stride, 0, dilation, layer.groups)
        return ACTIVATIONS[layer.activation](channels_last(z))

    def _max_pool(self, layer, x):
        pool = functional.max_pool1d if layer.axes == 1 else functional.max_pool2d
        return channels_last(pool(channels_first(x), layer.size, layer.stride, pool_padding(layer)))

    def _avg_pool(self, layer, x):
        pool = functional.avg_pool1d if layer.axes == 1 else functional.avg_pool2d
        padding = {"padding": pool_padding(layer), "count_include_pad": False}
        return channels_last(pool(channels_first(x), layer.size, layer.stride, **padding))

    def _norm_parameters(self):
        name = f"norm{self._number('norm')}"
        return name, self.parameters[f"{name}.gamma"], self.parameters[f"{name}.beta"]

    def _batch_norm(self, layer, x):
        name, gamma, beta = self._norm_parameters()
        running = self.running[name] = (torch.zeros(x.shape[-1]), torch.ones(x.shape[-1]))
        y = functional.batch_norm(channels_first(x), *running, gamma, beta, True, layer.momentum, layer.epsilon)
        return channels_last(y)

    def _layer_norm(self, layer, x):
        _, gamma, beta = self._norm_parameters()
        return functional.layer_norm(x, x.shape[-1:], gamma, beta, layer.epsilon)

    def _dense(self, layer, x):
        name = f"dense{self._number('weights')}"
        z = x.flatten(1) @ self.parameters[f"{name}.W"] + self.parameters[f"{name}.b"]
        return ACTIVATIONS[layer.activation](z)

    def _residual(self, layer, x):
        y = self.run(layer.layers, x)
        return self.run(layer.shortcut, x) + y

    _RUN = {
        Activation: lambda self, layer, x: ACTIVATIONS[layer.activation](x),
        AvgPool1D: _avg_pool,
        AvgPool2D: _avg_pool,
        BatchNorm: _batch_norm,
        Conv1D: _conv,
        Conv2D: _conv,
        Dense: _dense,
        Flatten: lambda self, layer, x: x.flatten(1),
        GlobalAvgPool: lambda self, layer, x: x.flatten(1, -2).mean(1),
        GlobalMaxPool: lambda self, layer, x: x.flatten(1, -2).amax(1),
        LayerNorm: _layer_norm,
        MaxPool1D: _max_pool,
        MaxPool2D: _max_pool,
        Reshape: lambda self, layer, x: x.reshape(len(x), *layer.shape),
        Residual: _residual,
    }


def channels_first(x):
    return x.movedim(-1, 1)


def channels_last(x):
    return x.movedim(1, -1)


def as_tuple(value, axes):
    return value if isinstance(value, tuple) else (value,) * axes


def torch_padding(layer, image, kernel, stride, dilation):
    """The zeros before and after each axis, from the last axis to the first."""
    if layer.padding == "same":
        total = [
            max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
            for size, k, s, d in zip(image, kernel, stride, dilation, strict=True)
        ]
        sides = [(t // 2, t - t // 2) for t in total]
    else:
        sides = [(p, p) for p in as_tuple(0 if layer.padding == "valid" else layer.padding, layer.axes)]
    return [side for pair in reversed(sides) for side in pair]


def pool_padding(layer):
    return 0 if layer.padding == "valid" else layer.padding


def draw(rng, plan, dtype=np.float32):
    """Parameters that keep activations moderate."""
    values = {}
    for name in plan.parameters:
        shape = plan.buffers[name].shape
        values[name] = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(dtype)
    return values


def runner_for(backend, plan, rows, values, dtype=np.float32):
    keep = {"keep": True} if backend == "native" else {}
    runner = RUNNERS[backend](plan, dtype=dtype, rows=rows, n_threads=2, **keep)
    for name, value in values.items():
        runner.set(name, value)
    return runner


def assert_close(actual, expected, what):
    expected = expected.detach().numpy()
    assert actual.shape == expected.shape, what
    error = np.abs(actual - expected).max() / max(1e-3, np.abs(expected).max())
    limit = 3e-5 if expected.dtype == np.float32 else 1e-12
    assert error < limit, f"{what}: differs by {error:.2g} of its largest element"


def check_gradients(backend, layers, X, rng):
    """Output, loss and all gradients of layers behind a convolution that changes nothing, so that the gradient of
    their input is asked for; and of the layers alone, which then read the images as they were gathered.

    A pool may be joined with that convolution: only its weights' gradient then shows that of the pool's input.
    """
    kind = Conv1D if X.ndim == 3 else Conv2D
    for first in ((kind(X.shape[-1], 1, bias=False),), ()):
        network = Network(X.shape[1:], (*first, *layers, Flatten()), SquaredError())
        plan = lower(network, "gradient")
        values = draw(rng, plan, X.dtype)
        if first:
            values["conv0.W"] = np.eye(X.shape[-1], dtype=X.dtype).reshape(values["conv0.W"].shape)
        theirs = Autograd(values)
        x = torch.from_numpy(X).requires_grad_()
        z = theirs.run(network.layers, x)
        y = rng.standard_normal(z.shape).astype(X.dtype)
        loss = 0.5 * ((z - torch.from_numpy(y)) ** 2).sum() / len(X)
        loss.backward()

        prediction = runner_for(backend, lower(network, "predict"), len(X), values, X.dtype).forward(X)
        assert_close(prediction, z, "output")
        runner = runner_for(backend, plan, len(X), values, X.dtype)
        runner.bind(X, y)
        assert runner.loss_and_gradient() == pytest.approx(loss.item(), rel=1e-5)
        for name, gradient in plan.gradients.items():
            assert_close(runner.get(gradient), theirs.parameters[name].grad, gradient)
        if first and "conv0.z.gradient" in plan.buffers:
            assert_close(runner.get("conv0.z.gradient")[: len(X)], x.grad, "gradient of the input")


def draw_convolution(rng):
    """A convolution and images for it, small enough for a quick test."""
    kind = Conv1D if rng.random() < 0.3 else Conv2D
    axes = kind.axes

    def numbers(low, high):
        drawn = tuple(int(v) for v in rng.integers(low, high + 1, axes))
        return drawn if axes == 2 else drawn[0]

    kernel = numbers(1, 7)
    stride, dilation = (numbers(1, 3), numbers(1, 2)) if rng.random() < 0.6 else (1, 1)
    padding = ["valid", "same", numbers(0, 3)][rng.integers(3)]
    channels, filters, groups = int(rng.integers(1, 68)), int(rng.integers(1, 68)), 1
    if rng.random() < 0.25:
        channels = int(rng.choice((1, 3)))
    if rng.random() < 0.2:
        groups, filters = channels, channels * int(rng.integers(1, 3))
    elif rng.random() < 0.15:  # groups of whole vectors on every instruction set
        groups = int(rng.integers(2, 5))
        channels, filters = (groups * int(n) for n in rng.choice((16, 32, 48, 64), 2))
    elif rng.random() < 0.3:
        groups = int(rng.integers(2, 6))
        channels, filters = groups * int(rng.integers(1, 13)), groups * int(rng.integers(1, 13))
    extent = [d * (k - 1) + 1 for k, d in zip(as_tuple(kernel, axes), as_tuple(dilation, axes), strict=True)]
    image = tuple(int(e + rng.integers(0, 13)) for e in extent)
    work = np.prod(image) * np.prod(as_tuple(kernel, axes)) * channels * filters / groups
    rows = int(rng.integers(1, 34)) if work < 3e6 else int(rng.integers(1, 4))
    layer = kind(filters, kernel, stride, padding, dilation, groups, bias=bool(rng.random() < 0.8))
    return layer, rng.standard_normal((rows, *image, channels)).astype(np.float32)


@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("seed", range(300))
def test_random_convolution(seed, backend):
    rng = np.random.default_rng(seed)
    layer, X = draw_convolution(rng)
    check_gradients(backend, (layer,), X, rng)


@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("seed", range(100))
def test_random_convolution_with_activation_and_pool(seed, backend):
    # In float64: two float32 values may be so near each other that rounding decides which one is the maximum.
    rng = np.random.default_rng(1000 + seed)
    layer, X = draw_convolution(rng)
    layer = replace(layer, activation=str(rng.choice(["identity", "relu", "tanh", "silu"])))
    plan = lower(Network(X.shape[1:], (layer,), SquaredError()), "predict")
    size = tuple(min(int(rng.integers(1, 4)), places) for places in plan.buffers[plan.output].shape[:-1])
    pool = MaxPool1D(size[0]) if layer.axes == 1 else MaxPool2D(size)
    check_gradients(backend, (layer, pool), X.astype(np.float64), rng)


@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("seed", range(80))
def test_random_pool(seed, backend):
    rng = np.random.default_rng(seed)
    kind = (MaxPool1D, MaxPool2D, AvgPool1D, AvgPool2D)[seed % 4]
    size, stride = (tuple(int(v) for v in rng.integers(1, 5, kind.axes)) for _ in range(2))
    padding = tuple(int(rng.integers(0, s // 2 + 1)) for s in size)
    if kind.axes == 1:
        size, stride, padding = size[0], stride[0], padding[0]
    image = tuple(int(v) for v in rng.integers(4, 18, kind.axes))
    X = rng.standard_normal((int(rng.integers(1, 34)), *image, int(rng.integers(1, 68)))).astype(np.float32)
    check_gradients(backend, (kind(size, stride, padding),), X, rng)


IMAGE, SIGNAL = (13, 11, 3), (29, 2)
NETWORKS = {
    "LeNet-5": (
        (28, 28, 1),
        (
            Conv2D(6, 5, padding="same", activation="relu"), MaxPool2D(), Conv2D(16, 5, activation="relu"), MaxPool2D(),
            Dense(120, "relu"), Dense(84, "relu"),
        ),
    ),
    "average pools and tanh": (
        IMAGE,
        (Conv2D(9, 3, activation="tanh"), AvgPool2D(2), Conv2D(17, 2, activation="gelu"), AvgPool2D(3, 1, 1)),
    ),
    "batch norm between convolution and activation": (
        IMAGE,
        (
            Conv2D(10, 3, bias=False), BatchNorm(), Activation("relu"), MaxPool2D(), Conv2D(18, 3), BatchNorm(),
            Activation("silu"), GlobalAvgPool(),
        ),
    ),
    "layer norm on positions": (
        IMAGE,
        (Conv2D(10, 3, activation="elu"), LayerNorm(), Conv2D(7, 3, stride=2), LayerNorm(), Dense(20, "tanh")),
    ),
    "residual blocks": (
        IMAGE,
        (
            Conv2D(8, 3, padding="same"),
            Residual([Conv2D(8, 3, padding="same", activation="relu"), Conv2D(8, 3, padding="same")]),
            Activation("relu"),
            Residual(
                [Conv2D(12, 3, stride=2, padding="same"), BatchNorm(), Activation("softplus")],
                shortcut=[Conv2D(12, 1, stride=2)],
            ),
            GlobalMaxPool(),
        ),
    ),
    "depthwise separable": (
        IMAGE,
        (
            Conv2D(6, 3, padding=1, groups=3, activation="mish"), Conv2D(20, 1, activation="relu"),
            Conv2D(20, 3, stride=2, groups=20), Conv2D(30, 1, activation="leaky_relu"), GlobalAvgPool(),
        ),
    ),
    "signal": (
        SIGNAL,
        (
            Conv1D(8, 7, padding="same"), BatchNorm(), Activation("relu"), Conv1D(16, 5, dilation=2, activation="selu"),
            MaxPool1D(3, 2, 1), Residual([LayerNorm(), Conv1D(16, 3, padding="same", activation="logistic")]),
            AvgPool1D(2), GlobalMaxPool(), Dense(10, "relu"),
        ),
    ),
    "signal as an image": (
        (30,),
        (Reshape((5, 6, 1)), Conv2D(4, 3, activation="relu"), Flatten(), Reshape((-1, 4)), Conv1D(5, 2), MaxPool1D()),
    ),
}  # fmt: skip


@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_one_step_of_a_network(name, backend):
    rng = np.random.default_rng(0)
    shape, layers = NETWORKS[name]
    network = Network(shape, (*layers, Dense(5, "identity")), LogLoss(), "softmax")
    rows, rate, alpha = 19, 0.1, 0.3
    plan = lower(network, "train", one_hot=True, optimizer=SGD(0.0, False), l2=alpha, whole_batch=True, rows=rows)
    values = draw(rng, plan)
    X, y = rng.standard_normal((rows, *shape)).astype(np.float32), np.arange(rows) % 5
    theirs = Autograd(values)
    loss = torch_loss(theirs.run(network.layers, torch.from_numpy(X)), y, "multiclass")
    weights = [parameter for parameter in theirs.parameters.values() if parameter.ndim > 1]
    loss = loss + 0.5 * alpha * sum((W**2).sum() for W in weights) / rows
    loss.backward()

    runner = runner_for(backend, plan, rows, values)
    runner.bind(X, y)
    done, loss_sum = runner.train(rows, 0, 1, 0, np.array([rate]), 1e9)
    assert done == 1 and loss_sum == pytest.approx(loss.item() * rows, rel=1e-5)
    for parameter, value in theirs.parameters.items():
        assert_close(runner.get(parameter), value - rate * value.grad, parameter)
    for norm, running in theirs.running.items():
        for statistic, value in zip(("running_mean", "running_var"), running, strict=True):
            assert_close(runner.get(f"{norm}.{statistic}"), value, f"{norm}.{statistic}")
