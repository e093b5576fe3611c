"""The native backend computes what the NumPy backend computes, buffer by buffer, on every instruction set."""

import numpy as np
import pytest

from fastnn.activations import ACTIVATIONS
from fastnn.layers import BatchNorm, Dropout, LayerNorm
from fastnn.native import Runner as Native
from fastnn.native import _machine
from fastnn.reference.run import Runner as Reference
from tests.native.networks import (
    LOSSES,
    OPTIMIZERS,
    data,
    draw,
    lowered,
    network,
    random_image_network,
    random_network,
    random_sequence_network,
)
from tests.native.once import once

TOLERANCE = {np.float32: 3e-5, np.float64: 1e-11}


@pytest.fixture(params=_machine.isa_names())
def isa(request):
    return request.param


def assert_close(actual, expected, dtype, where, widen=1.0):
    scale = max(1e-3, np.abs(expected).max(initial=0.0))
    error = np.abs(actual - expected).max(initial=0.0) / scale
    assert error <= TOLERANCE[dtype] * widen, f"{where}: differs by {error:.2g} of its largest element"


class Recorded(Reference):
    """The NumPy backend, which keeps what every op wrote last: name -> (op, step, array), in order of execution."""

    def _batch(self, buffers, *batch):
        self.written = {}
        for section, at, op in super()._batch(buffers, *batch):
            for name in op.outputs:
                self.written.pop(name, None)
                self.written[name] = op, at, np.array(buffers[name])
            yield section, at, op


@once
def reference_batch(plan, X, y, w, values, dtype, chunk, step, rate):
    """The runner after one batch, and the sum of its losses."""
    runner = Recorded(plan, dtype=dtype, rows=chunk, seed=7)
    runner.bind(X, y, w)
    for name, value in values.items():
        runner.set(name, value)
    _, loss_sum = runner.train(X.shape[0], 0, 1, step, np.array([rate]), 1e9)
    return runner, loss_sum


def compare_one_batch(
    plan, X, y, w, values, dtype, isa, *, rate=0.01, step=4, threads=2, chunk=None, close=assert_close
):
    """Runs one batch on both backends and names the first buffer in which they differ."""
    rows = X.shape[0]
    native = Native(plan, dtype=dtype, rows=chunk or rows, n_threads=threads, seed=7, isa=isa, keep=True)
    native.bind(X, y, w)
    for name, value in values.items():
        native.set(name, value)
    reference, expected_sum = reference_batch(plan, X, y, w, values, dtype, chunk or rows, step, rate)
    _, loss_sum = native.train(rows, 0, 1, step, np.array([rate]), 1e9)
    last_chunk = (rows - 1) // (chunk or rows)
    # In order of execution; what an op has written over is gone.
    for name, (op, at, expected) in reference.written.items():
        buffer = plan.buffers[name]
        if buffer.role == "batch" and buffer.layout != "entries" and at.chunk == last_chunk:
            close(native.get(name)[: at.n], expected, dtype, f"{op.kind} -> {name}")
    for name in plan.parameters + plan.statistics + plan.states + tuple(plan.gradients.values()):
        # A step of Adam or RMSProp divides by the gradient's own size: a gradient that is pure rounding error may
        # move a weight by up to the learning rate either way.
        close(native.get(name), reference.get(name), dtype, name, widen=100.0)
    assert loss_sum == pytest.approx(expected_sum, rel=TOLERANCE[dtype] * 10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation(activation, dtype, isa):
    rng = np.random.default_rng(1)
    net = network(9, (33, 17), 3, activation=activation)
    plan = lowered(net, one_hot=True, whole_batch=True, l2=0.01)
    compare_one_batch(plan, *data(rng, net, 23, dtype, one_hot=True), draw(rng, plan), dtype, isa)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outputs", [1, 3, 16, 70])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss(loss, outputs, dtype, isa):
    rng = np.random.default_rng(2)
    net = network(9, (20,), outputs, loss=loss)
    plan = lowered(net, weighted=True, on=1.0, off=-1.0 if loss in ("hinge", "perceptron") else 0.0)
    compare_one_batch(plan, *data(rng, net, 19, dtype, weighted=True), draw(rng, plan), dtype, isa)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["softmax", "logistic"])
def test_logits_of_ten_thousand(loss, dtype, isa):
    net = network(3, (), 3, loss=loss)
    plan = lowered(net, "gradient")
    logits = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4], [1e4, 0, 1]], dtype)
    y = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]], dtype)
    results = []
    for runner in (Native(plan, dtype=dtype, rows=4, isa=isa), Reference(plan, dtype=dtype, rows=4)):
        runner.bind(logits, y)
        runner.set("dense0.W", np.eye(3))
        results.append((runner.loss_and_gradient(), runner.get("dense0.b.gradient")))
    assert np.isfinite(results[0][0])
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("whole_batch", [True, False])
@pytest.mark.parametrize("clip", [{}, {"clip_value": 0.01}, {"clip_norm": 0.1}])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_optimizer(optimizer, clip, whole_batch, dtype, isa):
    rng = np.random.default_rng(3)
    net = network(70, (65,), 2)
    plan = lowered(net, one_hot=True, optimizer=optimizer, l1=0.01, l2=0.02, whole_batch=whole_batch, **clip)
    compare_one_batch(plan, *data(rng, net, 40, dtype, one_hot=True), draw(rng, plan), dtype, isa)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("extra", [(Dropout(0.4),), (BatchNorm(),), (LayerNorm(),)], ids=str)
@pytest.mark.parametrize("units", [1, 5, 64, 100])
def test_every_layer(units, extra, dtype, isa):
    rng = np.random.default_rng(4)
    net = network(11, (units, 20), 3, extra=extra)
    plan = lowered(net, one_hot=True, whole_batch=True)
    compare_one_batch(plan, *data(rng, net, 25, dtype, one_hot=True), draw(rng, plan), dtype, isa)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("draw_network", [random_network, random_image_network, random_sequence_network])
@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed, draw_network, dtype, isa):
    rng = np.random.default_rng(seed)
    net = draw_network(rng)
    rows = int(rng.integers(1, 71))
    options = {"weighted": bool(rng.integers(2)), "l2": 0.01, "whole_batch": bool(rng.integers(2)), "rows": rows}
    plan = lowered(net, optimizer=OPTIMIZERS[rng.integers(len(OPTIMIZERS))], **options)
    X, y, w = data(rng, net, rows, dtype, weighted=options["weighted"])
    compare_one_batch(plan, X, y, w, draw(rng, plan), dtype, isa)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("extra", [(), (Dropout(0.4),), (LayerNorm(),)], ids=str)
def test_chunks_of_a_batch_add_up(extra, dtype, isa):
    rng = np.random.default_rng(5)
    net = network(11, (30, 20), 3, extra=extra)
    plan = lowered(net, one_hot=True, weighted=True, l2=0.1)
    X, y, w = data(rng, net, 50, dtype, one_hot=True, weighted=True)
    compare_one_batch(plan, X, y, w, draw(rng, plan), dtype, isa, chunk=16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions(dtype, isa):
    rng = np.random.default_rng(6)
    for seed in range(60):
        draw_network = (random_network, random_image_network, random_sequence_network)[seed % 3]
        net = draw_network(np.random.default_rng(seed))
        plan = lowered(net, "predict")
        X, _, _ = data(rng, net, int(rng.integers(1, 200)), dtype)
        values = draw(rng, plan)
        if seed % 3 == 1:  # running statistics that make a difference
            values |= {name: rng.uniform(0.5, 1.5, plan.buffers[name].shape) for name in plan.statistics}
        expected = reference_predictions(plan, X, values, dtype)
        native = Native(plan, dtype=dtype, rows=32, n_threads=2, isa=isa)
        for name, value in values.items():
            native.set(name, value)
        assert_close(native.forward(X), expected, dtype, f"network {seed}")


@once
def reference_predictions(plan, X, values, dtype):
    runner = Reference(plan, dtype=dtype, rows=32)
    for name, value in values.items():
        runner.set(name, value)
    return runner.forward(X)


def test_shuffled_epochs(isa):
    rng = np.random.default_rng(8)
    net = network(12, (40,), 3, activation="relu", extra=(Dropout(0.2),))
    plan = lowered(net, one_hot=True, whole_batch=True, l2=0.01)
    X, y, _ = data(rng, net, 101, np.float64, one_hot=True)
    native = Native(plan, dtype=np.float64, rows=16, n_threads=2, seed=2**63 + 5, isa=isa)
    reference = Reference(plan, dtype=np.float64, rows=16, seed=2**63 + 5)
    values = draw(rng, plan)
    for runner in (native, reference):
        runner.bind(X, y)
        for name, value in values.items():
            runner.set(name, value)
        for epoch in range(3):
            runner.shuffle(epoch)
            runner.train(16, 0, 7, 7 * epoch, np.full(7, 0.01), 1e9)
    assert np.array_equal(native.order, reference.order)
    for name in plan.parameters:
        assert_close(native.get(name), reference.get(name), np.float64, name, widen=100.0)
