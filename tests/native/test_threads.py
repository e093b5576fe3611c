"""The same bits for any number of threads."""

from dataclasses import replace

import numpy as np
import pytest

from fastnn.native import Runner, _machine
from tests.native.networks import (
    data,
    draw,
    lowered,
    network,
    random_image_network,
    random_network,
    random_sequence_network,
)

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


def train(plan, batch, X, y, w, values, dtype, threads, isa, rows=24):
    runner = Runner(plan, dtype=dtype, rows=min(batch, rows), n_threads=threads, seed=3, isa=isa)
    runner.bind(X, y, w)
    for name, value in values.items():
        runner.set(name, value)
    n_batches, sums = -(-len(X) // batch), np.zeros(2)
    runner.train(batch, 0, 2 * n_batches, 0, np.full(2 * n_batches, 0.01), 1e9, epoch=0, sums=sums)
    return sums.tolist(), {name: runner.get(name) for name in plan.parameters + plan.statistics + plan.states}


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("draw_network", [random_network, random_image_network, random_sequence_network])
@pytest.mark.parametrize("seed", range(12))
def test_training_has_the_same_bits(seed, draw_network, dtype, isa):
    rng = np.random.default_rng(seed)
    net = draw_network(rng)
    clip = {"clip_norm": 0.5} if seed % 3 == 0 else {"clip_value": 0.01} if seed % 3 == 1 else {}
    plan = lowered(net, l1=0.01, l2=0.01, weighted=True, whole_batch=bool(seed % 2), rows=24, **clip)
    batch = 24 if plan.needs_whole_batch or seed % 2 else 60
    X, y, w = data(rng, net, 130, dtype, weighted=True)
    values = draw(rng, plan)
    losses, expected = train(plan, batch, X, y, w, values, dtype, 1, isa)
    for threads in (2, 3, 4):
        other_losses, actual = train(plan, batch, X, y, w, values, dtype, threads, isa)
        assert other_losses == losses
        for name, value in expected.items():
            assert np.array_equal(actual[name], value, equal_nan=True), f"{name} differs with {threads} threads"


@pytest.mark.parametrize("precision", ["full", "bfloat16"])
@pytest.mark.parametrize("options", [{"whole_batch": True}, {"clip_norm": 0.5}])
@pytest.mark.parametrize(("features", "units", "batch"), [(130, 70, 24), (450, 400, 200)])
def test_threads_without_work_of_their_own_change_no_bit(features, units, batch, options, precision):
    """More threads than blocks of weights: the rest can only help, and most of them come too late."""
    net = replace(network(features, (units, 9), 3), precision=precision)
    plan, isa = lowered(net, l1=0.01, l2=0.01, one_hot=True, rows=batch, **options), _machine.best_isa()
    assert "columns" in [op.split for op in plan.step if op.kind == "dense"]
    rng = np.random.default_rng(0)
    X, y, _ = data(rng, net, 2 * batch + 9, np.float32, one_hot=True)
    values = draw(rng, plan)
    losses, expected = train(plan, batch, X, y, None, values, np.float32, 1, isa, rows=batch)
    for threads in (2, 5, 16):
        other_losses, actual = train(plan, batch, X, y, None, values, np.float32, threads, isa, rows=batch)
        assert other_losses == losses
        for name, value in expected.items():
            np.testing.assert_array_equal(actual[name], value, err_msg=f"{name}, {threads} threads")


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("draw_network", [random_network, random_image_network, random_sequence_network])
def test_predictions_have_the_same_bits(draw_network, isa):
    rng = np.random.default_rng(1)
    net = draw_network(rng)
    plan = lowered(net, "predict")
    X, _, _ = data(rng, net, 333, np.float32)
    values = draw(rng, plan)
    outputs = []
    for threads, rows in ((1, 333), (2, 32), (3, 17), (4, 1)):
        runner = Runner(plan, dtype=np.float32, rows=rows, n_threads=threads, isa=isa)
        for name, value in values.items():
            runner.set(name, value)
        outputs.append(runner.forward(X))
    for output in outputs[1:]:
        assert np.array_equal(output, outputs[0])


@pytest.mark.parametrize("draw_network", [random_network, random_image_network, random_sequence_network])
def test_packed_parameters_lie_alike_for_any_number_of_rows(draw_network):
    for seed in range(20):
        plan = lowered(draw_network(np.random.default_rng(seed)), "predict")
        first, *others = (Runner(plan, dtype=np.float32, rows=rows).layout for rows in (1, 2, 64, 1024))
        for layout in others:
            assert layout.fixed_size == first.fixed_size
            for name, place in first.offsets.items():
                assert first.has_rows(name) or layout.offsets[name] == place
