"""Whole recurrent nets on both backends: gradients of every layer are finite differences, and neither padding nor what
lies in it makes a difference.
"""

import numpy as np
import pytest

from fastnn.layers import (
    GRU,
    LSTM,
    Activation,
    BatchNorm,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    GlobalAvgPool,
    GlobalMaxPool,
    LastStep,
    LayerNorm,
    Residual,
    SimpleRNN,
    TimeDistributed,
)
from fastnn.losses import LogLoss, SquaredError
from fastnn.lower import Network, lower
from fastnn.optimizers import SGD, Adam
from tests.backends import RUNNERS
from tests.test_lower import worst_relative_error

pytestmark = pytest.mark.parametrize("backend", RUNNERS)

TIME, CHANNELS, TOKENS = 4, 2, 5
CELLS = {"SimpleRNN": SimpleRNN, "LSTM": LSTM, "GRU": GRU}
DROPS = {"dropout": 0.3, "recurrent_dropout": 0.4}
LAYERS = {
    f"{name}, {variant}": layers
    for name, cell in CELLS.items()
    for variant, layers in {
        "last state": [cell(3)],
        "sequence": [cell(2, True)],
        "two layers": [cell(2, True), cell(1, True)],
        "dropout": [cell(2, True, **DROPS), cell(2, **DROPS)],
        "bidirectional": [Bidirectional(cell(2, True)), Bidirectional(cell(1))],
        "bidirectional, summed": [Bidirectional(cell(2, True, **DROPS), merge="sum"), Bidirectional(cell(1), "sum")],
        "truncated beyond the end": [cell(2, True, truncate=TIME), Bidirectional(cell(1, truncate=9))],
        "frozen": [cell(2, True), cell(3, True, trainable=False)],
        "residual": [cell(2, True), Residual([cell(2, True), Residual([Activation("tanh")])])],
        "residual with a shortcut": [Residual([cell(2, True)], [Bidirectional(cell(1, True))]), LayerNorm()],
        "a shortcut around the last step": [Residual([cell(2)], [LastStep(), Dense(2)])],
    }.items()
}
LAYERS |= {
    "SimpleRNN, derivative from the input": [SimpleRNN(3, True, activation="gelu"), SimpleRNN(2, activation="mish")],
    "SimpleRNN, identity": [SimpleRNN(3, activation="identity")],
    "last step": [GRU(3, True), LastStep()],
    "mean": [GRU(3, True), GlobalAvgPool()],
    "maximum": [GRU(3, True), GlobalMaxPool()],
    "a dense layer at every step": [TimeDistributed(Dense(4, "gelu")), GRU(3, True), TimeDistributed(Dense(2, "tanh"))],
    "other layers at every step": [
        GRU(3, True), TimeDistributed(LayerNorm()), TimeDistributed(Activation("silu")), TimeDistributed(Dropout(0.3)),
    ],
}  # fmt: skip
EQUAL_LENGTHS = {
    "convolution and batch norm": [Conv1D(3, 2, activation="tanh"), GRU(3, True), BatchNorm(), LSTM(2)],
    "flattened": [GRU(3, True), Dense(2, "tanh")],
}


def network(layers, sequence=False, **options):
    """Layers behind a map of every step, whose weights' gradient shows that of their input, and before the output."""
    output = TimeDistributed(Dense(2)) if sequence else Dense(2)
    return Network((TIME, CHANNELS), (TimeDistributed(Dense(3, "tanh")), *layers, output), SquaredError(), **options)


def yields_sequences(layers):
    plan = lower(Network((TIME, 3), tuple(layers), SquaredError()), "predict")
    return len(plan.buffers[plan.output].shape) == 2


def draw(rng, plan):
    """Weights by name, statistics of frozen layers among them."""
    names = plan.parameters + tuple(name for name in plan.statistics if name.endswith((".W", ".U", ".b", ".d")))
    shapes = {name: plan.buffers[name].shape for name in names}
    return {name: rng.standard_normal(shape) / np.sqrt(shape[-1]) for name, shape in shapes.items()}


def runner_for(backend, plan, values, rows=4, dtype=np.float64, seed=5):
    runner = RUNNERS[backend](plan, dtype=dtype, rows=rows, seed=seed)
    for name, value in values.items():
        runner.set(name, value)
    return runner


def data(rng, rows, unequal, channels=CHANNELS):
    """Sequences, flat with their lengths behind them where these differ."""
    X = rng.standard_normal((rows, TIME, channels))
    return np.c_[X.reshape(rows, -1), np.arange(rows) % TIME + 1] if unequal else X


def check(backend, net, X=None, rows=5):
    rng = np.random.default_rng(1)
    plan = lower(net, "gradient", weighted=True, l1=0.01, l2=0.1)
    runner = runner_for(backend, plan, draw(rng, plan), rows if plan.needs_whole_batch else 3)
    X = data(rng, rows, net.lengths) if X is None else X
    runner.bind(X, rng.standard_normal((rows, *plan.buffers["y"].shape)), rng.uniform(0.5, 2, rows))
    assert worst_relative_error(runner, plan) < 1e-6


@pytest.mark.parametrize("unequal", [False, True], ids=["equal", "unequal"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradient_through_each_layer(backend, name, unequal):
    layers = LAYERS[name]
    check(backend, network(layers, yields_sequences(layers), lengths=unequal))


@pytest.mark.parametrize("name", EQUAL_LENGTHS)
def test_gradient_through_layers_of_equal_lengths(backend, name):
    check(backend, network(EQUAL_LENGTHS[name]))


@pytest.mark.parametrize("unequal", [False, True], ids=["equal", "unequal"])
def test_gradient_of_an_embedding(backend, unequal):
    rng = np.random.default_rng(0)
    X = rng.integers(0, TOKENS, (5, TIME)).astype(float)
    X = np.c_[X, np.arange(5) % TIME + 1] if unequal else X
    layers = (Embedding(TOKENS, 2), Dropout(0.2), LSTM(2, True), TimeDistributed(Dense(2)))
    check(backend, Network((TIME, 1), layers, SquaredError(), lengths=unequal), X)


@pytest.mark.parametrize("unequal", [False, True], ids=["equal", "unequal"])
def test_loss_of_classes_at_every_step(backend, unequal):
    rng = np.random.default_rng(0)
    net = Network((TIME, CHANNELS), (GRU(4, True), TimeDistributed(Dense(3))), LogLoss(), "softmax", lengths=unequal)
    X, y = data(rng, 7, unequal), rng.integers(0, 3, (7, TIME))
    plan = lower(net, "gradient", one_hot=True)
    values = draw(rng, plan)
    runner = runner_for(backend, plan, values)
    runner.bind(X, y)
    probability = runner_for(backend, lower(net, "predict"), values).forward(X)
    losses = -np.log(np.take_along_axis(probability, y[..., np.newaxis], axis=2)[..., 0])
    steps = np.arange(7) % TIME + 1 if unequal else np.full(7, TIME)
    expected = np.mean([row[:n].mean() for row, n in zip(losses, steps, strict=True)])
    assert runner.loss_and_gradient() == pytest.approx(expected, rel=1e-10)
    assert worst_relative_error(runner, plan) < 1e-6


PADDED = {
    "last state": [Bidirectional(LSTM(5, True)), GRU(4), Dense(3)],
    "mean": [LSTM(17, True), GlobalAvgPool(), Dense(3)],
    "maximum": [SimpleRNN(9, True), GlobalMaxPool(), Dense(3)],
    "sequence": [Bidirectional(GRU(33, True), merge="sum"), LayerNorm(), TimeDistributed(Dense(3))],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PADDED)
def test_predictions_of_a_sequence_have_the_same_bits_alone_and_padded_among_others(backend, name, dtype):
    rng = np.random.default_rng(0)
    layers, lengths = tuple(PADDED[name]), np.array([3, 40, 1, 17, 39, 8, 40])
    X, values = rng.standard_normal((7, 40, CHANNELS)).astype(dtype), None

    def predict(X, lengths):
        nonlocal values
        plan = lower(Network(X.shape[1:], layers, LogLoss(), "softmax", lengths=True), "predict")
        values = values or draw(rng, plan)
        rows = np.c_[X.reshape(len(X), -1), lengths].astype(dtype)
        return runner_for(backend, plan, values, dtype=dtype).forward(rows)

    together = predict(X, lengths)
    for row, length in enumerate(lengths):
        alone = predict(X[row : row + 1, :length], lengths[row : row + 1])[0]
        assert np.array_equal(alone, together[row][:length] if name == "sequence" else together[row])


@pytest.mark.parametrize("name", PADDED)
def test_what_the_padding_holds_makes_no_difference(backend, name):
    rng = np.random.default_rng(0)
    net = Network((TIME, CHANNELS), tuple(PADDED[name]), SquaredError(), lengths=True)
    X, plan = data(rng, 7, unequal=True), lower(net, "gradient")
    y = rng.standard_normal((7, *plan.buffers["y"].shape))
    other = X.copy()
    other[:, :-1].reshape(7, TIME, CHANNELS)[np.arange(TIME) >= X[:, -1:]] = 1e3
    if name == "sequence":
        y_other = np.where((np.arange(TIME) >= X[:, -1:])[..., np.newaxis], -1e3, y)
    else:
        y_other = y
    values, results = draw(rng, plan), []
    for rows, target in ((X, y), (other, y_other)):
        runner = runner_for(backend, plan, values)
        runner.bind(rows, target)
        results.append([runner.loss_and_gradient(), *(runner.get(name) for name in plan.gradients.values())])
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1:], results[1][1:], strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", PADDED)
def test_full_lengths_change_nothing(backend, name):
    rng = np.random.default_rng(0)
    X, results, values = rng.standard_normal((7, TIME, CHANNELS)), [], None
    for unequal in (False, True):
        net = Network((TIME, CHANNELS), tuple(PADDED[name]), SquaredError(), lengths=unequal)
        plan = lower(net, "gradient")
        values = values or draw(rng, plan)
        runner = runner_for(backend, plan, values)
        y = np.random.default_rng(1).standard_normal((7, *plan.buffers["y"].shape))
        runner.bind(np.c_[X.reshape(7, -1), np.full(7, TIME)] if unequal else X, y)
        results.append([runner.loss_and_gradient(), *(runner.get(name) for name in plan.gradients.values())])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_truncation_keeps_the_states_and_changes_the_gradient(backend, cell):
    rng = np.random.default_rng(0)
    X, values, results = data(rng, 5, unequal=False), None, []
    for truncate in (None, 2, TIME):
        net = Network((TIME, CHANNELS), (cell(4, truncate=truncate), Dense(2)), SquaredError())
        plan = lower(net, "gradient")
        values = values or draw(rng, plan)
        runner = runner_for(backend, plan, values, rows=5)
        runner.bind(X, np.zeros((5, 2)))
        results.append((runner.loss_and_gradient(), runner.get(plan.gradients[f"{cell.cell.kind}0.U"])))
    assert results[0][0] == results[1][0] == results[2][0]
    assert np.array_equal(results[0][1], results[2][1])
    assert not np.allclose(results[0][1], results[1][1])


@pytest.mark.parametrize("optimizer", [SGD(0.9, True), Adam()], ids=str)
def test_a_second_step_sees_the_weights_of_the_first(backend, optimizer):
    """The transposed copies that gradients read are made anew by each update."""
    rng = np.random.default_rng(0)
    net = Network((TIME, CHANNELS), (Bidirectional(LSTM(4, True)), GRU(3), Dense(2)), SquaredError())
    X, y = data(rng, 7, unequal=False), rng.standard_normal((7, 2))
    plan, gradient = lower(net, "train", optimizer=optimizer), lower(net, "gradient")
    runner = runner_for(backend, plan, draw(rng, plan), rows=7)
    runner.bind(X, y)
    runner.train(7, 0, 1, 0, np.array([0.1]), 1e9)
    other = runner_for(backend, gradient, {name: runner.get(name) for name in plan.parameters}, rows=7)
    other.bind(X, y)
    loss = other.loss_and_gradient()
    assert runner.train(7, 0, 1, 1, np.array([0.0]), 1e9)[1] == pytest.approx(7 * loss, rel=1e-12)
    for name in plan.parameters:
        if name in plan.gradients:
            np.testing.assert_allclose(runner.get(plan.gradients[name]), other.get(gradient.gradients[name]), rtol=1e-9)


def test_frozen_cells_stay(backend):
    rng = np.random.default_rng(0)
    net = Network((TIME, CHANNELS), (GRU(4, True), LSTM(3, trainable=False), Dense(2)), SquaredError())
    plan = lower(net, "train", optimizer=SGD())
    values = draw(rng, plan)
    runner = runner_for(backend, plan, values, rows=7)
    runner.bind(data(rng, 7, unequal=False), rng.standard_normal((7, 2)))
    runner.train(7, 0, 1, 0, np.array([0.1]), 1e9)
    for name, value in values.items():
        assert np.array_equal(runner.get(name), value) == name.startswith("lstm1"), name
