"""Gradients of whole plans equal finite differences on both backends; lowering refuses what it cannot do."""

import numpy as np
import pytest

from fastnn.activations import ACTIVATIONS
from fastnn.layers import BatchNorm, Dense, Dropout, LayerNorm
from fastnn.losses import AbsoluteError, Hinge, Huber, LogLoss, Perceptron, Poisson, Quantile, SquaredError
from fastnn.lower import Network, lower
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


def worst_relative_error(runner, plan, epsilon=1e-6):
    """Largest |backprop - central difference| over all parameters, relative to the parameter's largest gradient."""
    worst = 0.0
    for name in plan.parameters:
        runner.loss_and_gradient()
        gradient = runner.get(plan.gradients[name]).ravel()
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
