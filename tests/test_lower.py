"""Gradients of whole plans equal finite differences on both backends; lowering refuses what it cannot do."""

import numpy as np
import pytest

from fastnn.activations import ACTIVATIONS
from fastnn.augment import Mixup, Scale
from fastnn.layers import GRU, LSTM, BatchNorm, Dense, Dropout, LayerNorm, SimpleRNN, TimeDistributed
from fastnn.losses import AbsoluteError, Hinge, Huber, LogLoss, Perceptron, Poisson, Quantile, SquaredError
from fastnn.lower import Network, lower
from fastnn.optimizers import SGD
from tests.backends import RUNNERS

# Their derivative is by definition not that of the function: a straight-through estimator.
SMOOTH = sorted(set(ACTIVATIONS) - {"unit_step", "sign"})
LOSSES = [
    (LogLoss(), "softmax"),
    (LogLoss(), "logistic"),
    (SquaredError(), "identity"),
    (AbsoluteError(), "identity"),
    (Huber(0.5), "identity"),
    (Quantile(0.3), "identity"),
    (Poisson(), "exp"),
    (Hinge(), "identity"),
    (Perceptron(), "identity"),
]


def up_to_the_loss(plan):
    """The plan without what only gradients need."""
    needed, kept = {plan.row_loss, *plan.penalties}, set()
    for op in reversed(plan.ops):
        if not needed.isdisjoint(op.outputs):
            needed.update(op.inputs)
            kept.add(id(op))
    prepare, step, update = ([op for op in ops if id(op) in kept] for ops in (plan.prepare, plan.step, plan.update))
    return plan.with_(prepare=tuple(prepare), step=tuple(step), update=tuple(update))


def worst_relative_error(runner, plan, epsilon=1e-6):
    """Largest |backprop - central difference| over all parameters, relative to the parameter's largest gradient."""
    loss, worst = runner.loss_and_gradient(), 0.0
    gradients = {name: runner.get(plan.gradients[name]).ravel() for name in plan.parameters}
    if isinstance(runner, RUNNERS["numpy"]):  # would spend its time on gradients nobody looks at, and on chunks
        runner.plan, runner.rows = up_to_the_loss(plan), runner._n
        assert runner.loss_and_gradient() == pytest.approx(loss, rel=1e-14)
    for name, gradient in gradients.items():
        value = runner.get(name)
        for i in range(value.size):
            losses = []
            for sign in (1, -1):
                moved = value.copy()
                moved.ravel()[i] += sign * epsilon
                runner.set(name, moved)
                losses.append(runner.loss_and_gradient())
            numeric = (losses[0] - losses[1]) / (2 * epsilon)
            worst = max(worst, abs(numeric - gradient[i]) / max(1e-2, np.abs(gradient).max()))
        runner.set(name, value)
    return worst


def check(backend, layers, loss, output_activation, features=3, rows=7):
    rng = np.random.default_rng(len(layers))
    network = Network(features, layers, loss, output_activation)
    plan = lower(network, "gradient", weighted=True, l1=0.01, l2=0.1)
    runner = RUNNERS[backend](plan, dtype=np.float64, rows=rows if plan.needs_whole_batch else 4, seed=5)
    for name in plan.parameters:
        runner.set(name, rng.standard_normal(plan.buffers[name].shape))
    y = rng.integers(0, 2, (rows, layers[-1].units)).astype(float)
    if loss.name in ("hinge", "perceptron"):
        y = 2 * y - 1
    runner.bind(rng.standard_normal((rows, features)), y, rng.uniform(0.5, 2, rows))
    assert worst_relative_error(runner, plan) < 1e-6


@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("activation", SMOOTH)
def test_gradient_through_each_activation(backend, activation):
    check(backend, (Dense(4, activation), Dense(3, activation), Dense(2, "identity")), LogLoss(), "softmax")


@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize(("loss", "output_activation"), LOSSES, ids=str)
def test_gradient_of_each_loss(backend, loss, output_activation):
    check(backend, (Dense(4, "tanh"), Dense(3, "identity")), loss, output_activation)


@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("layer", [BatchNorm(), LayerNorm(), Dropout(0.4)], ids=str)
def test_gradient_through_each_layer(backend, layer):
    check(backend, (Dropout(0.2), Dense(5, "tanh"), layer, Dense(3, "identity")), SquaredError(), "identity", rows=9)


def test_unknown_purpose_is_refused():
    with pytest.raises(ValueError, match="purpose must be one of"):
        lower(Network(3, (Dense(2),), LogLoss()), "fit")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(0), "units must be an int >= 1, got 0"),
        (lambda: Dense(2.5), "units must be an int >= 1"),
        (lambda: Dense(2, "relo"), "Dense: activation"),
        (lambda: Dropout(1.0), r"rate must be a number in \[0, 1\)"),
        (lambda: BatchNorm(momentum=0), r"momentum must be a number in \(0, 1\]"),
        (lambda: LayerNorm(epsilon=-1), "epsilon must be a number"),
    ],
)
def test_bad_layers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def sequences(*layers, lengths=False):
    return Network((12, 3), layers, LogLoss(), "softmax", lengths=lengths)


def test_rows_of_unequal_length_are_not_blended():
    specs, options = (Scale(), Mixup()), {"layers": (GRU(4), Dense(2)), "loss": LogLoss()}
    with pytest.raises(ValueError, match=r"augment\[1\] Mixup.*lengths of their own.*the same length"):
        Network((12, 3), **options, augment=specs, lengths=True)
    Network((12, 3), **options, augment=specs)
    Network((12, 3), **options, augment=specs[:1], lengths=True)


def test_lengths_are_one_number_more_behind_each_row():
    layers = GRU(4, True), TimeDistributed(Dense(2))
    plan = lower(sequences(*layers, lengths=True), "gradient", one_hot=True)
    assert plan.buffers["X"].shape == (12 * 3 + 1,) and sequences(*layers, lengths=True).features == 37
    assert plan.buffers["x"].shape == (12, 3) and plan.buffers["lengths"].shape == (1,)
    gather = next(op for op in plan.step if op.outputs == ("lengths",))
    assert gather.inputs == ("X",) and gather.attributes["first"] == 36
    readers = [op.kind for op in plan.step if "lengths" in op.inputs]
    assert readers == ["gru", "loss", "gru_grad"]
    assert "lengths" not in lower(sequences(*layers), "gradient", one_hot=True).buffers


def test_targets_of_sequences_are_classes_or_values_of_every_step():
    network = sequences(GRU(4, True), TimeDistributed(Dense(2)))
    classes, values = (lower(network, "evaluate", one_hot=one_hot).buffers for one_hot in (True, False))
    assert classes["y"].shape == (12,) and values["y"].shape == (12, 2)
    assert classes["t"].shape == values["t"].shape == (12, 2)


@pytest.mark.parametrize(
    ("layer", "saved"),
    [
        (LSTM(4), ("lstm0.h", "lstm0.gates", "lstm0.c")),
        (GRU(4), ("gru0.h", "gru0.gates")),
        (SimpleRNN(4), ("simple_rnn0.h",)),
        (SimpleRNN(4, activation="gelu"), ("simple_rnn0.h", "simple_rnn0.gates")),
    ],
    ids=str,
)
def test_cells_keep_what_their_gradients_read_in_training_only(layer, saved):
    for purpose, outputs in (("gradient", saved), ("predict", saved[:1]), ("evaluate", saved[:1])):
        plan = lower(sequences(layer, Dense(2)), purpose, one_hot=True)
        assert next(op for op in plan.step if op.kind == layer.cell.kind).outputs == outputs


def test_random_masks_are_drawn_in_training_only():
    layers = GRU(4, dropout=0.2, recurrent_dropout=0.3), Dense(2)
    drawn = {"dropout", "state_mask", "masked_states"}
    assert drawn <= {op.kind for op in lower(sequences(*layers), "gradient", one_hot=True).step}
    for purpose in ("predict", "evaluate"):
        assert not drawn & {op.kind for op in lower(sequences(*layers), purpose, one_hot=True).step}


def test_the_first_layer_has_no_gradient_of_its_input():
    plan = lower(sequences(LSTM(4, True), GRU(3), Dense(2)), "gradient", one_hot=True)
    products = [op for op in plan.step if op.kind == "recurrent_grad_input"]
    assert [op.inputs[1] for op in products] == ["gru1.W.T"]
    assert "lstm0.W.T" not in plan.buffers


def test_updates_renew_each_transposed_copy():
    plan = lower(sequences(LSTM(4, True), GRU(3, trainable=False), Dense(2)), "train", one_hot=True, optimizer=SGD())
    copies = {"lstm0.U.T", "gru1.U.T", "gru1.W.T"}
    assert {op.outputs[0] for op in plan.prepare if op.kind == "transpose_gates"} == copies
    assert {op.outputs[0] for op in plan.update if op.kind == "transpose_gates"} == {"lstm0.U.T"}


def test_only_weights_of_inputs_and_states_are_penalised():
    plan = lower(sequences(GRU(4), Dense(2)), "gradient", one_hot=True, l2=0.1)
    assert [op.inputs[0] for op in plan.update if op.kind == "penalty"] == ["gru0.W", "gru0.U", "dense1.W"]
