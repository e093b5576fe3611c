"""What PyTorch computes from the same weights, mapped as the layers' docstrings say: random recurrent layers with all
their gradients, sequences of unequal length as packed ones, and steps of whole nets.
"""

import numpy as np
import pytest

from fastnn.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Dense,
    Embedding,
    GlobalAvgPool,
    LastStep,
    SimpleRNN,
    TimeDistributed,
)
from fastnn.losses import LogLoss, SquaredError
from fastnn.lower import Network, lower
from fastnn.optimizers import SGD
from tests.backends import RUNNERS
from tests.test_torch import assert_close, draw, functional, runner_for, torch

packing = torch.nn.utils.rnn
MODULES = {SimpleRNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}


class Theirs:
    """Runs layers with PyTorch on sequences (n, time, channels); `values` are the parameters under their plan's names.

    `lengths` (n,) packs the sequences; None: all have every step.
    """

    def __init__(self, values, lengths=None):
        self.values, self.lengths = values, lengths
        self.modules, self.plain = {}, {}
        self._number = 0

    def run(self, layers, x):
        for layer in layers:
            x = self._RUN[type(layer)](self, layer, x)
        return x

    def gradients(self):
        """Gradients by the names of the plan."""
        found = {name: value.grad for name, value in self.plain.items()}
        for name, (module, suffix) in self.modules.items():
            W, U = self.values[f"{name}.W"], self.values[f"{name}.U"]
            for array, weights, like in (("W", "weight_ih_l0", W), ("U", "weight_hh_l0", U)):
                gradient = getattr(module, weights + suffix).grad
                *gates, inputs, units = like.shape
                found[f"{name}.{array}"] = gradient.reshape(*gates, units, inputs).transpose(-1, -2)
            bias = getattr(module, f"bias_ih_l0{suffix}").grad
            found[f"{name}.b"] = bias.reshape(self.values[f"{name}.b"].shape)
            if f"{name}.d" in self.values:
                found[f"{name}.d"] = getattr(module, f"bias_hh_l0{suffix}").grad[-U.shape[-1] :]
        return found

    def _next(self, kind):
        self._number += 1
        return f"{kind}{self._number - 1}"

    def _tensor(self, name):
        self.plain[name] = torch.tensor(self.values[name], requires_grad=True)
        return self.plain[name]

    def _set(self, name, module, suffix):
        """Puts the weights of one direction into a module."""
        W, U, b = (self.values[f"{name}.{array}"] for array in "WUb")
        recurrent_bias = np.zeros(b.size, b.dtype)
        if f"{name}.d" in self.values:
            recurrent_bias[-U.shape[-1] :] = self.values[f"{name}.d"]
        rows = b.size
        arrays = {
            "weight_ih_l0": np.swapaxes(W, -1, -2).reshape(rows, -1),
            "weight_hh_l0": np.swapaxes(U, -1, -2).reshape(rows, -1),
            "bias_ih_l0": b.ravel(),
            "bias_hh_l0": recurrent_bias,
        }
        for weights, array in arrays.items():
            getattr(module, weights + suffix).data = torch.from_numpy(np.ascontiguousarray(array))
        self.modules[name] = module, suffix

    def _cell(self, layer, x):
        both = isinstance(layer, Bidirectional)
        cell = layer.layer if both else layer
        options = {"nonlinearity": cell.activation} if isinstance(cell, SimpleRNN) else {}
        module = MODULES[type(cell)](x.shape[-1], cell.units, batch_first=True, bidirectional=both, **options)
        for suffix in ("", "_reverse") if both else ("",):
            self._set(self._next(cell.cell.kind), module, suffix)
        if self.lengths is None:
            h, last = module(x)
        else:
            packed, last = module(packing.pack_padded_sequence(x, self.lengths, batch_first=True, enforce_sorted=False))
            h, _ = packing.pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        if not cell.return_sequences:
            h = torch.cat(list(last[0] if isinstance(last, tuple) else last), dim=-1)
        return sum(h.chunk(2, dim=-1)) if both and layer.merge == "sum" else h

    def _dense(self, layer, x):
        name = self._next("dense")
        z = x @ self._tensor(f"{name}.W") + self._tensor(f"{name}.b")
        return torch.tanh(z) if layer.activation == "tanh" else z

    def _embedding(self, layer, x):
        return functional.embedding(x[..., 0].long(), self._tensor(f"{self._next('embedding')}.W"))

    def _last_step(self, layer, x):
        return x[:, -1] if self.lengths is None else x[torch.arange(len(x)), self.lengths - 1]

    def _mean(self, layer, x):
        return (x * inside(x, self.lengths)[..., None]).sum(1) / steps(x, self.lengths)[:, None]

    _RUN = {
        Bidirectional: _cell,
        Dense: _dense,
        Embedding: _embedding,
        GRU: _cell,
        GlobalAvgPool: _mean,
        LSTM: _cell,
        LastStep: _last_step,
        SimpleRNN: _cell,
        TimeDistributed: lambda self, layer, x: self._dense(layer.layer, x),
    }


def steps(x, lengths):
    return torch.full((len(x),), x.shape[1]) if lengths is None else lengths


def inside(x, lengths):
    """Which steps of x count, (n, time)."""
    return torch.arange(x.shape[1]) < steps(x, lengths)[:, None]


def mean_loss(row_loss, z, lengths):
    """The mean over rows of a loss (n,), or of the means over their own steps of losses (n, time)."""
    if row_loss.ndim == 2:
        row_loss = torch.where(inside(z, lengths), row_loss, 0.0).sum(1) / steps(z, lengths)
    return row_loss.mean()


def with_lengths(X, lengths):
    """The rows as a plan reads them."""
    return X if lengths is None else np.c_[X.reshape(len(X), -1), lengths].astype(X.dtype)


def draw_case(rng, seed):
    """Layers, sequences for them, and their lengths or None."""
    kind, sequences = (SimpleRNN, LSTM, GRU)[seed % 3], bool(rng.integers(2))
    layers = []
    for last in (False, True)[-int(rng.integers(1, 3)) :]:
        options = {"activation": str(rng.choice(["tanh", "relu"]))} if kind is SimpleRNN else {}
        layer = kind(int(rng.integers(1, 131)), sequences or not last, **options)
        if rng.random() < 0.5:
            layer = Bidirectional(layer, str(rng.choice(["concatenate", "sum"])))
        layers.append(layer)
    rows, time, channels = (int(rng.integers(1, most + 1)) for most in (33, 40, 40))
    X = rng.standard_normal((rows, time, channels))
    return layers, X, rng.integers(1, time + 1, rows) if rng.random() < 0.6 else None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("seed", range(60))
def test_random_recurrent_layers(seed, backend, dtype):
    rng = np.random.default_rng(seed)
    layers, X, lengths = draw_case(rng, seed)
    X, channels = X.astype(dtype), X.shape[-1]
    same = TimeDistributed(Dense(channels))  # changes nothing, so that the gradient of the cells' input is asked for
    network = Network(X.shape[1:], (same, *layers), SquaredError(), lengths=lengths is not None)
    plan = lower(network, "gradient")
    values = draw(rng, plan, dtype) | {"dense0.W": np.eye(channels, dtype=dtype), "dense0.b": np.zeros(channels, dtype)}
    theirs = Theirs(values, None if lengths is None else torch.from_numpy(lengths))
    x = torch.from_numpy(X).requires_grad_()
    z = theirs.run(network.layers, x)
    y = rng.standard_normal(z.shape).astype(dtype)
    loss = mean_loss(0.5 * ((z - torch.from_numpy(y)) ** 2).sum(-1), x, theirs.lengths)
    loss.backward()

    rows = with_lengths(X, lengths)
    prediction = runner_for(backend, lower(network, "predict"), len(X), values, dtype).forward(rows)
    assert_close(prediction, z, "output")
    runner = runner_for(backend, plan, len(X), values, dtype)
    runner.bind(rows, y)
    assert runner.loss_and_gradient() == pytest.approx(loss.item(), rel=1e-5)
    dx = next(op.inputs[1] for op in plan.step if op.outputs[0] == plan.gradients["dense0.W"])
    assert_close(runner.get(dx)[: len(X)], x.grad, "gradient of the input")
    expected = theirs.gradients()
    assert set(expected) == set(plan.gradients)
    for name, gradient in plan.gradients.items():
        assert_close(runner.get(gradient), expected[name], gradient)


TOKENS, CLASSES = 17, 5
A_CLASS = TimeDistributed(Dense(CLASSES))
NETWORKS = {
    "a class for each token": (1, [Embedding(TOKENS, 8), LSTM(20, True), A_CLASS]),
    "both directions": (
        6,
        [Bidirectional(GRU(9, True)), TimeDistributed(Dense(9, "tanh")), LSTM(7, True), A_CLASS],
    ),
    "last step": (6, [LSTM(20, True), LastStep(), Dense(CLASSES)]),
    "last state of two layers": (6, [GRU(20, True), GRU(11), Dense(13, "tanh"), Dense(CLASSES)]),
    "mean of steps": (1, [Embedding(TOKENS, 8), SimpleRNN(20, True), GlobalAvgPool(), Dense(CLASSES)]),
}  # fmt: skip


@pytest.mark.parametrize("unequal", [False, True], ids=["equal", "unequal"])
@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_one_step_of_a_network(name, backend, unequal):
    rng, rows, time, rate = np.random.default_rng(0), 19, 14, 0.1
    channels, layers = NETWORKS[name]
    network = Network((time, channels), tuple(layers), LogLoss(), "softmax", lengths=unequal)
    plan = lower(network, "train", one_hot=True, optimizer=SGD(0.0, False), whole_batch=True, rows=rows)
    values = draw(rng, plan)
    X = rng.integers(0, TOKENS, (rows, time, 1)) if channels == 1 else rng.standard_normal((rows, time, channels))
    X, lengths = X.astype(np.float32), rng.integers(1, time + 1, rows) if unequal else None
    y = rng.integers(0, CLASSES, (rows, time)[: len(plan.buffers["y"].shape) + 1])
    theirs = Theirs(values, torch.from_numpy(lengths) if unequal else None)
    z = theirs.run(network.layers, torch.from_numpy(X))
    losses = functional.cross_entropy(z.movedim(-1, 1), torch.from_numpy(y), reduction="none")
    loss = mean_loss(losses, z, theirs.lengths)
    loss.backward()

    runner = runner_for(backend, plan, rows, values)
    runner.bind(with_lengths(X, lengths), y)
    done, loss_sum = runner.train(rows, 0, 1, 0, np.array([rate]), 1e9)
    assert done == 1 and loss_sum == pytest.approx(loss.item() * rows, rel=1e-5)
    for parameter, gradient in theirs.gradients().items():
        assert_close(runner.get(parameter), torch.from_numpy(values[parameter]) - rate * gradient, parameter)
