"""Fusions keep the numbers, barriers stand where threads could disturb each other."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from fastnn import passes
from fastnn.layers import (
    GRU,
    LSTM,
    Activation,
    BatchNorm,
    Bidirectional,
    Conv2D,
    Dense,
    Dropout,
    LastStep,
    MaxPool2D,
    Residual,
    SimpleRNN,
    TimeDistributed,
)
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


def test_the_gradient_of_dropout_behind_a_relu_draws_no_mask():
    hidden = (Dense(7, "relu"), Dropout(0.2), Dense(5, "relu"), Dense(4, "gelu"), Dropout(0.3))
    plan = lower(replace(NETWORK, layers=(*hidden, Dense(3, "identity"))), "gradient", one_hot=True)
    through = [op.attributes["activation"] for op in plan.step if op.kind == "dense_grad_input"]
    assert through == [None, ("relu",), ("scaled_relu", 1.25)]
    assert kinds(plan.step).count("dropout_grad") == 1, "behind a gelu a zero may be a number that was kept"


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
    network = Network(6, (Dense(7, "relu"), BatchNorm(), Dense(3, "identity")), LogLoss(), "softmax")
    plan = lower(network, "train", one_hot=True, optimizer=Adam())
    waiting = [op.kind for op in plan.step if op.barrier]
    assert waiting[:3] == ["batch_norm_sums", "batch_norm_statistics", "batch_norm"]
    assert {"batch_norm_grad_sums", "batch_norm_grad"} <= set(waiting)


def test_a_writer_waits_for_readers():
    reader = Op("dense_grad_weights", ("x", "dz"), ("dW", "db"), split="columns")
    writer = Op("gather", ("X",), ("x",))
    plan = lower(NETWORK, "predict").with_(step=(reader, writer), update=())
    assert [op.barrier for op in passes.place_barriers(plan).step] == [False, True]


def test_wide_layers_are_shared_by_columns():
    network = Network(784, (Dense(512, "relu"), Dense(16, "relu"), Dense(10, "identity")), LogLoss(), "softmax")
    plan = lower(network, "train", one_hot=True, optimizer=Adam(), rows=128)
    assert [op.split for op in plan.step if op.kind == "dense"] == ["columns", "rows", "rows"]
    assert not any("turns" in op.attributes for op in plan.step + plan.update)


@pytest.mark.parametrize("rows, threads, splits", [
    (256, 2, ["columns", "columns", "rows"]),
    (256, 3, ["columns", "rows", "rows"]),  # 128 units are less than three panels
    (8000, 2, ["rows", "rows", "rows"]),
])  # fmt: skip
def test_layers_that_are_updated_are_shared_by_columns(rows, threads, splits):
    network = Network(64, (Dense(256, "relu"), Dense(128, "relu"), Dense(10, "identity")), LogLoss(), "softmax")
    options = {"one_hot": True, "optimizer": Adam(), "rows": rows, "threads": threads, "whole_batch": True}
    for clip in ({}, {"clip_norm": 1.0}):
        plan = lower(network, "train", **options, **clip)
        assert [op.split for op in plan.step if op.kind == "dense"] == splits
        assert [op.split for op in plan.step if op.kind == "dense_grad_input"] == ["rows", splits[1]]
        own = [op.attributes.get("own_columns", False) for op in plan.update if op.kind == "dense_update"]
        assert own == ([] if clip else [split == "columns" for split in splits[::-1]])
    for plan in (
        lower(network, "gradient", **options),
        lower(replace(network, precision="bfloat16"), "train", **options),
    ):
        assert {op.split for op in plan.step if op.kind == "dense"} == {"rows"}


def test_threads_take_turns_where_weights_outgrow_the_caches():
    network = Network(1024, (Dense(1024, "relu"), Dense(1024, "relu"), Dense(10, "identity")), LogLoss(), "softmax")
    network = replace(network, precision="bfloat16")
    plan = lower(network, "train", one_hot=True, optimizer=Adam(), rows=128, whole_batch=True)
    taking = [op for op in plan.step + plan.update if op.attributes.get("turns")]
    assert [op.kind for op in taking] == ["dense", "dense", "dense_grad_input", "dense_update", "dense_update"]
    assert {op.split for op in taking} == {"columns"}


def test_input_gradients_are_shared_by_columns_where_weights_outgrow_the_caches():
    network = Network(1024, (Dense(1024, "relu"), Dense(1024, "relu"), Dense(10, "identity")), LogLoss(), "softmax")
    plan = lower(network, "train", one_hot=True, optimizer=Adam(), rows=128, whole_batch=True)
    splits = {op.inputs[1]: op.split for op in plan.step if op.kind == "dense_grad_input"}
    assert splits == {"dense1.W.T": "columns", "dense2.W.T": "rows"}


@pytest.mark.parametrize("rows", [None, 128])
def test_long_rows_are_halved_for_any_number_of_threads(rows):
    network = Network(784, (Dense(256, "relu"), Dense(10, "identity")), LogLoss(), "softmax")
    plan = lower(network, "train", one_hot=True, optimizer=Adam(), rows=rows, sparse=True)
    halves = [op for op in plan.step if op.split == "halves"]
    assert [op.kind for op in halves] == ["gather", "nonzero", "dense"]
    assert {op.attributes["cut"] for op in halves} == {384}
    assert not any(op.barrier for op in halves)
    assert [op.kind for op in plan.step][3:5] == ["add", "dense"]
    assert plan.step[3].barrier


def test_halves_of_long_rows_take_no_place_of_their_own():
    network = Network(784, (Dense(256, "relu"), Dense(10, "identity")), LogLoss(), "softmax")
    plan = lower(network, "train", one_hot=True, optimizer=Adam())
    (dense,) = [op for op in plan.step if op.kind == "dense" and op.split == "halves"]
    update = next(op for op in plan.step + plan.update if op.kind == "dense_grad_weights" and op.inputs[0] == "x")
    assert dense.outputs == ("dense0.y", update.inputs[1])


@pytest.mark.parametrize("features, hidden", [(255, 64), (784, 63), (784, 393)])
def test_short_rows_and_many_units_are_not_halved(features, hidden):
    network = Network(features, (Dense(hidden, "relu"), Dense(10, "identity")), LogLoss(), "softmax")
    plan = lower(network, "train", one_hot=True, optimizer=Adam())
    assert "halves" not in [op.split for op in plan.step]


@pytest.mark.parametrize(
    "filters, channels, pool, rounded",
    [(8, 1, 3, True), (9, 1, 3, False), (8, 2, 3, False), (32, 1, 2, True), (32, 2, 2, False)],
)
def test_small_convolutions_are_multiplied_in_float32_on_rounded_operands(filters, channels, pool, rounded):
    layers = (Conv2D(filters, 3, activation="relu"), MaxPool2D(pool), Dense(3, "identity"))
    network = Network((9, 8, channels), layers, LogLoss(), "softmax", precision="bfloat16")
    plan = lower(network, "train", one_hot=True, optimizer=Adam())
    (conv,) = [op for op in plan.step if op.kind == "conv"]
    assert conv.inputs[:2] == ("x", "conv0.W.rounded" if rounded else "conv0.W.bfloat16")
    assert ("precision" in conv.attributes) == (not rounded)
    assert plan.step[0].kind == "gather" and plan.step[0].attributes["precision"] == "bfloat16"
    gradient = next(op for op in plan.step + plan.update if op.kind == "conv_grad_weights")
    assert gradient.inputs[0] == "x" and gradient.attributes["precision"] == "bfloat16"


@pytest.mark.parametrize(
    ("products", "expected"),
    [
        ("tiles", ["conv", "conv_grad_input", "conv_grad_weights", "dense", "dense_grad_input", "dense_update"]),
        ("pairs", ["conv", "dense", "dense_grad_input", "dense_update"]),
        ("numbers", []),
    ],
)
def test_what_multiplies_bfloat16_decides_which_ops_do(products, expected):
    layers = (Conv2D(6, 3, activation="relu"), MaxPool2D(), Conv2D(9, 3, activation="relu"), MaxPool2D(), Dense(5))
    network = Network((14, 14, 2), layers, LogLoss(), "softmax", precision="bfloat16")
    plan = lower(network, "train", one_hot=True, optimizer=Adam(), whole_batch=True, products=products)
    kinds = {"conv", "conv_grad_input", "conv_grad_weights", "dense", "dense_grad_input", "dense_update"}
    rounded = {op.kind for op in plan.ops if op.kind in kinds and op.attributes.get("precision") == "bfloat16"}
    assert sorted(rounded) == expected
    for op in plan.ops:
        if op.kind in kinds - rounded:
            assert all(name == "x" or name.endswith((".rounded", ".T")) for name in op.inputs[:2]), op


@pytest.mark.parametrize(
    ("side", "products", "rounded"),
    [(6, "pairs", True), (7, "pairs", False), (3, "tiles", True), (4, "tiles", False)],
)
def test_gradients_of_weights_that_sum_over_few_places_are_left_to_float32(side, products, rounded):
    network = Network(
        (side, side, 4), (Conv2D(9, 3, padding="same"), Dense(3)), LogLoss(), "softmax", precision="bfloat16"
    )
    plan = lower(network, "train", one_hot=True, optimizer=Adam(), products=products)
    (gradient,) = [op for op in plan.step + plan.update if op.kind == "conv_grad_weights"]
    assert ("precision" in gradient.attributes) == (not rounded)
    assert gradient.inputs[1].endswith(".rounded") == rounded


def test_unknown_ways_to_multiply_are_refused():
    network = Network(4, (Dense(3),), LogLoss(), "softmax", precision="bfloat16")
    with pytest.raises(ValueError, match="products must be one of"):
        lower(network, "predict", products="dots")


@pytest.mark.parametrize("products", ["tiles", "pairs"])
@pytest.mark.parametrize("options", [{"whole_batch": True}, {"clip_norm": 1.0}])
@pytest.mark.parametrize("units", [1, 4, 5])
def test_layers_of_few_units_are_multiplied_in_float32_on_rounded_operands(units, options, products):
    network = Network(20, (Dense(30, "relu"), Dense(units)), LogLoss(), "softmax", precision="bfloat16")
    plan = lower(network, "train", one_hot=True, optimizer=Adam(), products=products, **options)
    dense = [op for op in plan.step + plan.update if op.kind.startswith("dense")]
    assert len(dense) == 5
    for op in dense:
        last = op.kind == "dense_grad_input" or op.outputs[0].startswith("dense1")
        assert (op.attributes.get("precision") == "bfloat16") == (not last or units > 4), op


@pytest.mark.parametrize(
    ("first", "precision", "layout"),
    [
        ((), "bfloat16", "operand"),
        ((), "full", "panels"),
        ((Dropout(0.2),), "bfloat16", "panels"),
        ((BatchNorm(),), "bfloat16", "panels"),
    ],
)
def test_rows_that_only_products_of_bfloat16_read_are_rounded_as_they_are_gathered(first, precision, layout):
    layers = (*first, Dense(7, "relu"), Dense(3, "identity"))
    network = Network(6, layers, LogLoss(), "softmax", precision=precision)
    plan = lower(network, "train", one_hot=True, optimizer=Adam())
    assert plan.buffers["x"].layout == layout


IMAGES = Network(
    (9, 8, 2),
    (
        Conv2D(5, 3, activation="relu"), MaxPool2D(), Dropout(0.25),
        Conv2D(4, 2, bias=False), BatchNorm(), Activation("tanh"), MaxPool2D(1),
        Residual([Conv2D(4, 3, padding="same"), BatchNorm()]), Dense(3, "identity"),
    ),
    LogLoss(),
    "softmax",
)  # fmt: skip


def unfused(plan, **_):
    return plan


def one_batch(monkeypatch, purpose, fused):
    """The output of a plan, and gradients if it has some, with the passes or without them."""
    with monkeypatch.context() as patch:
        if not fused:
            patch.setattr(passes, "fuse", unfused)
            patch.setattr(passes, "fold_norms", unfused)
            patch.setattr(passes, "pool_first", lambda builder: builder.step)
        plan = lower(IMAGES, purpose, one_hot=True)
    rng = np.random.default_rng(0)
    runner = Runner(plan, dtype=np.float64, rows=10, seed=1)
    for name in plan.parameters + plan.statistics:
        runner.set(name, rng.uniform(0.1, 1.0, plan.buffers[name].shape) - 0.4 * name.endswith(("W", "mean")))
    X = rng.standard_normal((10, 9, 8, 2))
    if purpose == "predict":
        return plan, runner.forward(X)
    runner.bind(X, rng.integers(0, 3, 10))
    runner.loss_and_gradient()
    return plan, np.concatenate([runner.get(plan.gradients[name]).ravel() for name in plan.parameters])


@pytest.mark.parametrize("purpose", ["predict", "gradient"])
def test_fusing_convolutions_keeps_the_numbers(monkeypatch, purpose):
    plan, numbers = one_batch(monkeypatch, purpose, fused=True)
    plain, expected = one_batch(monkeypatch, purpose, fused=False)
    assert len(plan.step) < len(plain.step)
    np.testing.assert_allclose(numbers, expected, rtol=1e-9, atol=1e-12)


def test_pools_and_activations_are_fused_into_convolutions():
    plan = lower(IMAGES, "gradient", one_hot=True)
    first = next(op for op in plan.step if op.kind == "conv")
    assert (first.attributes["activation"], first.attributes["pool"].kernel) == (("relu",), (2, 2))
    assert first.outputs == ("pool0.y", "pool0.index")
    unpooling = [op for op in plan.step if op.kind == "conv_grad_weights" and op.attributes["pool"]]
    assert unpooling[0].inputs == ("x", "pool0.y.z.gradient", "pool0.index")


def test_batch_norms_are_folded_into_weights_for_prediction_only():
    plan = lower(IMAGES, "predict")
    assert "batch_norm_inference" not in kinds(plan.step)
    assert kinds(plan.prepare) == ["fold_norm"] * 2
    assert "fold_norm" not in kinds(lower(IMAGES, "gradient").prepare)


def test_overlapping_pools_and_other_activations_stay_apart():
    layers = (Conv2D(4, 3, activation="gelu"), MaxPool2D(2), Conv2D(4, 2), MaxPool2D(2, 1), Dense(2, "identity"))
    plan = lower(Network((9, 9, 1), layers, LogLoss(), "softmax"), "gradient", one_hot=True)
    assert kinds(plan.step).count("max_pool") == kinds(plan.step).count("max_pool_grad") == 2


def test_sums_of_parts_wait_for_rows():
    plan = lower(IMAGES, "train", one_hot=True, optimizer=Adam())
    ops = plan.step + plan.update
    for before, op in itertools.pairwise(ops):
        if {before.split, op.split} == {"rows", "parts"} and set(before.outputs) & set(op.inputs):
            assert op.barrier, op


def test_late_threads_get_help_with_images_only_right_before_a_barrier():
    gradient = Op("conv_grad_input", ("dz", "WT"), ("dx",))
    reader = Op("activation_grad", ("dx", "s"), ("ds",))
    waiting = Op("batch_norm_grad_sums", ("dx",), ("sums",), split="parts")
    plan = lower(NETWORK, "predict").with_(update=())

    def helped(*step):
        return [op.attributes.get("helped", False) for op in passes.place_barriers(plan.with_(step=step)).step]

    assert helped(gradient) == [True], "threads wait at the end of a chunk"
    assert helped(gradient, waiting) == [True, False]
    assert helped(gradient, reader) == [False, False], "the reader would not wait for who helps"
    assert helped(gradient, reader, gradient) == [False, False, True]
    layers = (Conv2D(4, 3, activation="relu"), MaxPool2D(), Conv2D(4, 2), MaxPool2D(1), Dense(2, "identity"))
    lenet = lower(Network((9, 9, 1), layers, LogLoss(), "softmax"), "train", one_hot=True, optimizer=Adam())
    assert [op.kind for op in lenet.step if "helped" in op.attributes] == ["conv_grad_input"]


def sequences(*layers, lengths=False):
    return Network((12, 3), layers, LogLoss(), "softmax", lengths=lengths)


def test_activations_of_every_step_are_fused_into_their_products():
    network = sequences(GRU(4, True), TimeDistributed(Dense(5, "relu")), TimeDistributed(Dense(2)))
    plan = lower(network, "gradient", one_hot=True)
    assert "activation" not in kinds(plan.step) and "activation_grad" not in kinds(plan.step)
    assert next(op for op in plan.step if op.kind == "dense").attributes["activation"] == ("relu",)


def test_a_layer_at_every_step_is_wide_only_beside_the_rows_of_all_steps():
    network = sequences(TimeDistributed(Dense(400)), LastStep(), Dense(400), Dense(2))
    plan = lower(network, "train", one_hot=True, optimizer=Adam(), rows=4)
    assert [op.split for op in plan.step if op.kind == "dense"] == ["rows", "columns", "rows"]
    wide = lower(sequences(TimeDistributed(Dense(400)), TimeDistributed(Dense(400)), LastStep(), Dense(2)), "evaluate",
                 one_hot=True, rows=17)  # fmt: skip
    assert [op.split for op in wide.step if op.kind == "dense"] == ["rows", "rows", "rows"], "17 rows of 12 steps"
    few = lower(sequences(TimeDistributed(Dense(400)), TimeDistributed(Dense(400)), LastStep(), Dense(2)), "evaluate",
                one_hot=True, rows=16)  # fmt: skip
    assert [op.split for op in few.step if op.kind == "dense"] == ["rows", "columns", "rows"], "16 rows of 12 steps"


def test_a_row_goes_through_all_its_steps_without_waiting_and_weights_wait_for_all_rows():
    network = sequences(Bidirectional(LSTM(4, True)), GRU(5), Dense(2), lengths=True)
    plan = lower(network, "train", one_hot=True, optimizer=Adam(), clip_norm=1.0)
    waiting = [op for op in plan.step if op.barrier]
    assert [op.kind for op in waiting] == ["dense_grad_weights"], "the first of the ops that sum over rows"
    first = plan.step.index(waiting[0])
    assert {op.split for op in plan.step[:first]} == {"rows"}
    assert {op.split for op in plan.step[first:]} == {"columns", "parts"}


def last_steps(layer, **options):
    plan = lower(sequences(*layer, Dense(2), **options), "gradient", one_hot=True)
    cells = [op for op in plan.step if op.kind in passes.RECURRENT_GRADIENTS]
    return kinds(plan.step).count("last_step_grad"), [op.attributes.get("last", False) for op in cells]


@pytest.mark.parametrize("lengths", [False, True])
def test_the_gradient_of_a_last_step_goes_right_into_its_cell(lengths):
    assert last_steps([LSTM(4)], lengths=lengths) == (0, [True])
    assert last_steps([GRU(4, True), SimpleRNN(3)], lengths=lengths) == (0, [True, False])
    assert last_steps([Bidirectional(GRU(4))], lengths=lengths) == (0, [True, True])
    assert last_steps([Bidirectional(GRU(4, True)), LastStep()], lengths=lengths) == (1, [False, False])
    assert last_steps([GRU(4, truncate=5)], lengths=lengths) == (1, [False]), "sequences start between the cuts"


@pytest.mark.parametrize("layer", [LSTM(4), GRU(4), SimpleRNN(4), Bidirectional(LSTM(3))], ids=str)
def test_fusing_last_steps_keeps_the_numbers(monkeypatch, layer):
    gradients = []
    for fused in (True, False):
        with monkeypatch.context() as patch:
            if not fused:
                patch.setattr(passes, "fuse", unfused)
            plan = lower(sequences(layer, Dense(2), lengths=True), "gradient", one_hot=True)
        rng = np.random.default_rng(0)
        runner = Runner(plan, dtype=np.float64, rows=9)
        for name in plan.parameters:
            runner.set(name, rng.uniform(-1, 1, plan.buffers[name].shape))
        X = np.hstack([rng.standard_normal((9, 36)), rng.integers(1, 13, (9, 1))])
        runner.bind(X, rng.integers(0, 2, 9))
        runner.loss_and_gradient()
        gradients.append(np.concatenate([runner.get(plan.gradients[name]).ravel() for name in plan.parameters]))
    assert np.array_equal(*gradients)
