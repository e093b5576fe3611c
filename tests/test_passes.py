"""Fusions keep the numbers, barriers stand where threads could disturb each other."""

import numpy as np
import pytest

from fastnn import passes
from fastnn.layers import BatchNorm, Dense, Dropout
from fastnn.losses import LogLoss
from fastnn.lower import Network, lower
from fastnn.optimizers import Adam
from fastnn.plan import Op
from fastnn.reference.run import Runner

NETWORK = Network(6, (Dense(7, "relu"), Dropout(0.3), Dense(5, "gelu"), Dense(3, "identity")), LogLoss(), "softmax")


def kinds(ops):
    return [op.kind for op in ops]


def test_activations_are_fused_into_their_products():
    plan = lower(NETWORK, "train", one_hot=True, optimizer=Adam(), whole_batch=True)
    assert "activation" not in kinds(plan.step)
    dense = [op for op in plan.step if op.kind == "dense"]
    assert [op.attributes["activation"] and op.attributes["activation"][0] for op in dense] == ["relu", "gelu", None]
    assert dense[0].outputs == ("dense0.y",)
    assert dense[1].outputs == ("dense1.y", "dense1.z"), "gelu's derivative needs its input"


def test_updates_are_fused_where_a_batch_is_never_split():
    assert (
        kinds(lower(NETWORK, "train", one_hot=True, optimizer=Adam(), whole_batch=True).update) == ["dense_update"] * 3
    )
    assert "dense_update" not in kinds(lower(NETWORK, "train", one_hot=True, optimizer=Adam()).update)
    clipped = lower(NETWORK, "train", one_hot=True, optimizer=Adam(), whole_batch=True, clip_norm=1.0)
    assert "dense_update" not in kinds(clipped.update), "the norm needs all gradients first"


@pytest.mark.parametrize("clip", [{}, {"clip_value": 0.01}])
def test_fusing_the_update_keeps_the_numbers(clip):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 6)), rng.integers(0, 3, 20)
    results = []
    for whole_batch in (False, True):
        plan = lower(NETWORK, "train", one_hot=True, optimizer=Adam(), l2=0.1, whole_batch=whole_batch, **clip)
        runner = Runner(plan, dtype=np.float64, rows=20, seed=1)
        for name in plan.parameters:
            shape = plan.buffers[name].shape
            runner.set(name, np.random.default_rng(len(name)).standard_normal(shape))
        runner.bind(X, y)
        loss = runner.train(20, 0, 1, 0, np.array([0.01]), 1e9)
        results.append((loss, [runner.get(name) for name in plan.parameters]))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-13)
    for a, b in zip(*(result[1] for result in results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_rows_never_wait_for_rows():
    plan = lower(NETWORK, "train", one_hot=True, optimizer=Adam(), whole_batch=True)
    assert not any(op.barrier for op in plan.step)
    assert [op.barrier for op in plan.update] == [True, False, False]


def test_batch_norm_waits_for_all_rows():
    network = Network(6, (Dense(7), BatchNorm(), Dense(3, "identity")), LogLoss(), "softmax")
    plan = lower(network, "train", one_hot=True, optimizer=Adam())
    waiting = [op.kind for op in plan.step if op.barrier]
    assert waiting[:2] == ["batch_norm", "dense"]
    assert "batch_norm_grad" in waiting


def test_a_writer_waits_for_readers():
    reader = Op("dense_grad_weights", ("x", "dz"), ("dW", "db"), split="columns")
    writer = Op("gather", ("X",), ("x",))
    plan = lower(NETWORK, "predict").with_(step=(reader, writer), update=())
    assert [op.barrier for op in passes.place_barriers(plan).step] == [False, True]


def test_wide_layers_are_shared_by_columns():
    network = Network(784, (Dense(256), Dense(16), Dense(10, "identity")), LogLoss(), "softmax")
    plan = lower(network, "train", one_hot=True, optimizer=Adam(), rows=128)
    assert [op.split for op in plan.step if op.kind == "dense"] == ["columns", "rows", "rows"]
