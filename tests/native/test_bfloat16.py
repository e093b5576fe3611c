"""Products of operands rounded to bfloat16: tiles, vectors and plain code agree with NumPy on every instruction set."""

import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from fastnn import bfloat16 as rounding
from fastnn import passes
from fastnn.layers import AvgPool2D, Conv2D, Dense, MaxPool2D
from fastnn.losses import LogLoss
from fastnn.lower import Network
from fastnn.native import Runner, _machine, _peak
from fastnn.optimizers import SGD, AdaGrad, Adam, AdamW, RMSProp
from fastnn.plan import PAIRS, PRODUCTS, TILES, Op
from fastnn.reference.bfloat16 import bfloat16
from tests.native.networks import (
    OPTIMIZERS,
    data,
    draw,
    lowered,
    network,
    random_image_network,
    random_network,
    random_sequence_network,
)
from tests.native.ops import Case, check
from tests.native.test_equals_reference import compare_one_batch
from tests.native.test_threads import train

ROUNDED = {"precision": "bfloat16"}
SIZES = (1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65, 130)


@pytest.fixture(params=_machine.isa_names(bfloat16=True))
def isa(request):
    return request.param


def operands(rng, *shapes):
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def dense(x, W, b):
    ops = [
        Op("pack", ("W",), ("copy",), ROUNDED, "columns"),
        Op("dense", ("x", "copy", "b"), ("y",), {"activation": None, **ROUNDED}),
    ]
    outputs = {"y": ((W.shape[1],), "batch")}
    return Case(ops, {"x": x}, outputs, {"W": W, "b": b}, packed={"copy": W.shape})


@pytest.mark.parametrize("outputs", SIZES)
@pytest.mark.parametrize("inputs", SIZES)
def test_forward(inputs, outputs, isa, any_work_deserves_threads):
    rng = np.random.default_rng(inputs)
    check(dense(*operands(rng, (21, inputs), (inputs, outputs), (outputs,))), np.float32, isa)


@pytest.mark.parametrize("rows", [*SIZES, 200])
def test_rows(rows, isa, any_work_deserves_threads):
    rng = np.random.default_rng(rows)
    check(dense(*operands(rng, (rows, 70), (70, 100), (100,))), np.float32, isa)


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("inputs", SIZES)
def test_gradients(inputs, rows, isa, any_work_deserves_threads):
    x, dz, W = operands(np.random.default_rng(inputs), (rows, inputs), (rows, 50), (inputs, 50))
    ops = [
        Op("transpose", ("W",), ("WT",), ROUNDED, "columns"),
        Op("dense_grad_input", ("dz", "WT"), ("dx",), {"activation": None, **ROUNDED}),
        Op("dense_grad_weights", ("x", "dz"), ("dW", "db"), ROUNDED, "columns"),
    ]
    outputs = {"dx": ((inputs,), "batch"), "dW": ((inputs, 50), "gradient"), "db": ((50,), "gradient")}
    check(Case(ops, {"x": x, "dz": dz}, outputs, {"W": W}, packed={"WT": (50, inputs)}), np.float32, isa)


def test_rounding_is_that_of_the_reference(isa):
    numbers = (np.arange(0x80, 0x7F80, dtype=np.uint32) << 16)[::37].view(np.float32)
    middle = np.append((numbers[:-1].astype(np.float64) + numbers[1:]) / 2, [1.0, 1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8])
    x = np.concatenate([middle.astype(np.float32), *(np.nextafter(middle.astype(np.float32), end) for end in (0, 9e9))])
    one, none = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    y = dense(x[:, np.newaxis], one, none).native(np.float32, isa)["y"][:, 0]
    assert np.array_equal(y, bfloat16(x))


def test_infinity_and_nan_stay(isa):
    x = np.array([[np.inf], [-np.inf], [np.nan], [-np.nan], [np.finfo(np.float32).max]], np.float32)
    y = dense(x, np.ones((1, 1), np.float32), np.zeros(1, np.float32)).native(np.float32, isa)["y"][:, 0]
    np.testing.assert_array_equal(y, [np.inf, -np.inf, np.nan, np.nan, np.inf])


def test_subnormal_numbers_count_as_zero(isa):
    x = np.array([[1e-39], [-1e-40], [1.0]], np.float32)
    y = dense(x, np.ones((1, 1), np.float32), np.zeros(1, np.float32)).native(np.float32, isa)["y"][:, 0]
    np.testing.assert_allclose(y, [0, 0, 1], atol=2e-38)


def close_on_average(actual, expected, dtype, where, widen=1.0):
    """Sums that differ in their last digit may round to numbers 2^-8 apart further on, or to either side of a kink: so
    single elements may differ by much, but not all together."""
    error = np.linalg.norm(actual - expected) / max(1e-3, np.linalg.norm(expected))
    assert error <= 0.02, f"{where}: differs by {error:.2g} of its norm"


def has_maxima(draw_network, seed):
    """Whether a network looks for maxima: among numbers that rounding has made nearly equal, either may be the one."""
    plan = lowered(draw_network(np.random.default_rng(seed)))
    return any(op.kind in ("max_pool", "max_over_steps") or op.attributes.get("pool") for op in plan.step)


DRAWN = (random_network, random_image_network, random_sequence_network)
NETWORKS = [(random_network, seed) for seed in range(40)]
NETWORKS += [(draw, seed) for draw in DRAWN[1:] for seed in range(80) if not has_maxima(draw, seed)]


@pytest.mark.parametrize(("draw_network", "seed"), NETWORKS)
def test_random_networks(draw_network, seed, isa):
    rng = np.random.default_rng(seed)
    net, rows = replace(draw_network(rng), precision="bfloat16"), int(rng.integers(1, 71))
    options = {"weighted": bool(rng.integers(2)), "l2": 0.01, "whole_batch": bool(rng.integers(2)), "rows": rows}
    options |= {"optimizer": OPTIMIZERS[rng.integers(3)], "products": PRODUCTS[seed % 3], "sparse": seed % 2 > 0}
    plan = lowered(net, **options)
    X, y, w = data(rng, net, rows, np.float32, weighted=options["weighted"])
    compare_one_batch(plan, X, y, w, draw(rng, plan), np.float32, isa, close=close_on_average)


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("whole_batch", [False, True])
@pytest.mark.parametrize("features", [70, 300])  # those are cut into halves
def test_rows_with_many_zeros(features, whole_batch, products, isa, any_work_deserves_threads):
    rng = np.random.default_rng(features)
    net = replace(network(features, (70, 9), 3), precision="bfloat16")
    options = {"rows": 40, "sparse": True, "whole_batch": whole_batch, "optimizer": SGD(), "l2": 0.1}
    plan = lowered(net, one_hot=True, products=products, **options)
    assert any(op.attributes.get("nonzero") for op in plan.step) == (products != TILES)
    X, y, w = data(rng, net, 90, np.float32, one_hot=True)
    X[rng.random(X.shape) < 0.8] = 0
    values = draw(rng, plan)
    compare_one_batch(plan, X[:40], y[:40], w, values, np.float32, isa, close=close_on_average)
    losses, expected = train(plan, 40, X, y, w, values, np.float32, 1, isa)
    other_losses, actual = train(plan, 40, X, y, w, values, np.float32, 3, isa)
    assert other_losses == losses
    for name, value in expected.items():
        assert np.array_equal(actual[name], value), name


WHOLE = [
    ((9, 8, 1), (Conv2D(8, 3, activation="relu"), MaxPool2D(), Conv2D(5, 2, activation="relu"), MaxPool2D(1, 2))),
    ((9, 8, 2), (Conv2D(32, 3, padding="same", activation="relu"), MaxPool2D(), Conv2D(20, 3), MaxPool2D(2, 1))),
    ((8, 8, 3), (Conv2D(6, 2, stride=2), MaxPool2D(), Conv2D(70, 2, padding=1, activation="relu"), MaxPool2D(3))),
    ((9, 11, 1), (Conv2D(32, 3, activation="relu"), MaxPool2D(), Conv2D(33, 2, activation="relu"), AvgPool2D())),
    ((7, 9, 4), (Conv2D(4, 3, groups=2, padding=1), MaxPool2D(3, 2, "same"), Conv2D(18, 3, dilation=2, padding=2))),
]


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize(("shape", "layers"), WHOLE)
def test_pooled_networks_of_whole_numbers(shape, layers, products, isa, any_work_deserves_threads):
    """Whose sums are exact, so that all ways find the same maxima."""
    rng = np.random.default_rng(len(layers))
    net = Network(shape, (*layers, Dense(3, "identity")), LogLoss(), "softmax", precision="bfloat16")
    X, y, w = data(rng, net, 21, np.float32, one_hot=True)
    plan = lowered(net, one_hot=True, rows=21, whole_batch=True, optimizer=SGD(), products=products)
    values = {name: rng.integers(-2, 3, plan.buffers[name].shape) for name in plan.parameters}
    values["dense2.W"] = values["dense2.W"] / 64
    compare_one_batch(plan, np.round(X), y, w, values, np.float32, isa, close=close_on_average)


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("trainable", [True, False])
def test_a_kernel_that_is_its_own_transpose(trainable, products, isa):
    rng = np.random.default_rng(6)
    layers = (Conv2D(1, 3, activation="tanh"), Conv2D(1, 3, trainable=trainable), Dense(3, "identity"))
    net = Network((9, 8, 1), layers, LogLoss(), "softmax", precision="bfloat16")
    plan = lowered(net, one_hot=True, optimizer=SGD(), products=products)
    X, y, w = data(rng, net, 20, np.float32, one_hot=True)
    values = draw(rng, plan) | {name: rng.standard_normal(plan.buffers[name].shape) for name in plan.statistics}
    compare_one_batch(plan, X, y, w, values, np.float32, isa, close=close_on_average)


@pytest.mark.parametrize("products", PRODUCTS[1:])
@pytest.mark.parametrize("whole_batch", [False, True])
def test_rounded_copies_follow_their_weights(whole_batch, products, isa):
    rng = np.random.default_rng(4)
    layers = (Conv2D(5, 3), MaxPool2D(), Conv2D(6, 2), Dense(70, "relu"), Dense(3))
    for net in (network(300, (70, 9), 3), Network((9, 8, 1), layers, LogLoss(), "softmax")):
        net = replace(net, precision="bfloat16")
        options = {"one_hot": True, "rows": 20, "sparse": True, "whole_batch": whole_batch, "products": products}
        plan = lowered(net, optimizer=SGD(), **options)
        X, y, _ = data(rng, net, 60, np.float32, one_hot=True)
        runner = Runner(plan, dtype=np.float32, rows=20, n_threads=2, isa=isa)
        runner.bind(X, y)
        for name, value in draw(rng, plan).items():
            runner.set(name, value)
        runner.train(20, 0, 3, 0, np.full(3, 0.1), 1e9)
        copies = {op.outputs[0]: op.inputs[0] for op in plan.prepare if op.kind == "round"}
        assert copies
        for copy, W in copies.items():
            np.testing.assert_array_equal(runner.get(copy), bfloat16(runner.get(W)), copy)
        transposed = [op for op in plan.prepare if op.kind == "transpose" and op.inputs[0] in copies]
        assert len(transposed) == {"pairs": 0, "numbers": 2}[products] or isinstance(net.input_shape, tuple)
        for op in transposed:
            np.testing.assert_array_equal(runner.get(op.outputs[0]), runner.get(op.inputs[0]).T, op.outputs[0])


def test_ways_agree():
    """Whatever multiplies rounded numbers, a step is the same within the rounding of its sums."""
    rng = np.random.default_rng(1)
    net = replace(network(100, (70, 20), 3), precision="bfloat16")
    X, y, w = data(rng, net, 40, np.float32, one_hot=True)
    results = []
    for products in PRODUCTS:
        plan = lowered(net, one_hot=True, rows=40, whole_batch=True, sparse=True, optimizer=SGD(), products=products)
        values = draw(np.random.default_rng(2), plan)
        results.append(train(plan, 40, X, y, w, values, np.float32, 1, _machine.best_isa())[1])
    for name, value in results[0].items():
        for other in results[1:]:
            close_on_average(other[name], value, np.float32, name, 1.0)


def test_the_instruction_set_in_use_decides_between_the_ways(monkeypatch):
    for isa in _machine.isa_names(bfloat16=True):
        monkeypatch.setenv("FASTNN_ISA", isa)
        assert Runner.products() == {"amx": TILES, "avx512_bf16": PAIRS}.get(isa, "numbers")


def test_chunks_of_a_batch_add_up(isa):
    rng = np.random.default_rng(5)
    net = replace(network(11, (30, 20), 3), precision="bfloat16")
    plan = lowered(net, one_hot=True, weighted=True, l2=0.1)
    X, y, w = data(rng, net, 50, np.float32, one_hot=True, weighted=True)
    compare_one_batch(plan, X, y, w, draw(rng, plan), np.float32, isa, chunk=16, close=close_on_average)


@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("options", [{}, {"l2": 0.1}, {"clip_value": 0.01}], ids=str)
@pytest.mark.parametrize("optimizer", [SGD(0.9, True), AdaGrad(), RMSProp(), Adam(), AdamW()], ids=repr)
def test_weights_updated_beside_products_have_the_bits_of_those_updated_later(
    optimizer, options, turns, isa, monkeypatch
):
    """Of blocks of all heights and widths."""
    shapes = ((1, 64, (64,)), (40, 130, (100, 16)), (200, 97, (33, 64)), (70, 16, (160, 48)))
    if turns:
        monkeypatch.setattr(passes, "UNCACHED", 1)
        shapes = ((1, 64, (64,)), (40, 130, (100, 160)), (30, 97, (140, 64)), (10, 31, (160, 48)))
    for rows, inputs, hidden in shapes:
        rng = np.random.default_rng(rows)
        net = replace(network(inputs, hidden, 20), precision="bfloat16")
        X, y, w = data(rng, net, 3 * rows, np.float32, one_hot=True)
        results = []
        for whole_batch in (True, False):
            plan = lowered(net, one_hot=True, rows=rows, whole_batch=whole_batch, optimizer=optimizer, **options)
            updates = [op for op in plan.update if op.kind == "dense_update"]
            assert bool(updates) == whole_batch
            assert any("turns" in op.attributes for op in updates) == (turns and whole_batch)
            values = draw(np.random.default_rng(0), plan)
            results.append(train(plan, rows, X, y, w, values, np.float32, 1, isa, rows))
        (losses, actual), (expected_losses, expected) = results
        np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
        for name, value in expected.items():
            assert np.array_equal(actual[name], value), name


@pytest.mark.parametrize("draw_network", DRAWN)
@pytest.mark.parametrize("seed", range(8))
def test_training_has_the_same_bits_for_any_number_of_threads(seed, draw_network, isa, any_work_deserves_threads):
    rng = np.random.default_rng(seed)
    net = replace(draw_network(rng), precision="bfloat16")
    options = {"products": PRODUCTS[seed % 3], "sparse": seed % 4 > 1, "whole_batch": bool(seed % 2)}
    plan = lowered(net, l2=0.01, weighted=True, rows=24, **options)
    batch = 24 if plan.needs_whole_batch or seed % 2 else 60
    X, y, w = data(rng, net, 130, np.float32, weighted=True)
    values = draw(rng, plan)
    losses, expected = train(plan, batch, X, y, w, values, np.float32, 1, isa)
    for threads in (2, 3, 4):
        other_losses, actual = train(plan, batch, X, y, w, values, np.float32, threads, isa)
        assert other_losses == losses
        for name, value in expected.items():
            assert np.array_equal(actual[name], value, equal_nan=True), f"{name} differs with {threads} threads"


@pytest.mark.parametrize("features", [5, 33, 150, 300])
@pytest.mark.parametrize("rows", [1, 31, 70])
@pytest.mark.parametrize("whole_batch", [False, True])
def test_rows_that_are_rounded_once_give_the_bits_of_rows_rounded_by_each_product(
    whole_batch, rows, features, isa, any_work_deserves_threads, monkeypatch
):
    rng = np.random.default_rng(rows)
    net = replace(network(features, (70, 20), 3), precision="bfloat16")
    X, y, w = data(rng, net, 130, np.float32, one_hot=True)
    results = []
    for once in (True, False):
        if not once:
            monkeypatch.setattr(rounding._Rounding, "_gathered", lambda made: ())
        plan = lowered(net, one_hot=True, rows=rows, whole_batch=whole_batch)
        assert (plan.buffers["x"].layout == "operand") == once
        values = draw(np.random.default_rng(0), plan)
        results.append(train(plan, rows if whole_batch else 65, X, y, w, values, np.float32, 2, isa))
    (loss, actual), (expected_loss, expected) = results
    assert loss == expected_loss
    for name, value in expected.items():
        assert np.array_equal(actual[name], value), name


@pytest.mark.parametrize("rows", [24, 130])
def test_threads_that_take_turns_pack_operands_together(rows, isa, any_work_deserves_threads, monkeypatch):
    monkeypatch.setattr(passes, "UNCACHED", 150 * 300)
    rng = np.random.default_rng(5)
    net = replace(network(150, (300, 500, 40), 3), precision="bfloat16")
    plan = lowered(net, l2=0.01, one_hot=True, rows=24, whole_batch=True, optimizer=SGD())
    assert sum(op.attributes.get("turns", False) for op in plan.step + plan.update) == 5
    X, y, w = data(rng, net, rows, np.float32, one_hot=True)
    values = draw(rng, plan)
    compare_one_batch(plan, X, y, w, values, np.float32, isa, close=close_on_average)
    losses, expected = train(plan, 24, X, y, w, values, np.float32, 1, isa)
    for threads in (2, 3, 4):
        other_losses, actual = train(plan, 24, X, y, w, values, np.float32, threads, isa)
        assert other_losses == losses
        for name, value in expected.items():
            assert np.array_equal(actual[name], value), f"{name} differs with {threads} threads"


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("draw_network", DRAWN)
def test_predictions_have_the_same_bits_for_any_chunks(draw_network, products, isa, any_work_deserves_threads):
    rng = np.random.default_rng(1)
    net = replace(draw_network(rng), precision="bfloat16")
    plan = lowered(net, "predict", products=products)
    X, _, _ = data(rng, net, 333, np.float32)
    values, outputs = draw(rng, plan), []
    for threads, rows in ((1, 333), (2, 32), (3, 17), (4, 1)):
        runner = Runner(plan, dtype=np.float32, rows=rows, n_threads=threads, isa=isa)
        for name, value in values.items():
            runner.set(name, value)
        outputs.append(runner.forward(X))
    for output in outputs[1:]:
        assert np.array_equal(output, outputs[0])


def test_float64_is_refused(isa):
    plan = lowered(replace(network(3, (4,), 2), precision="bfloat16"), "predict")
    with pytest.raises(ValueError, match="products of bfloat16 need float32"):
        Runner(plan, dtype=np.float64, rows=4, isa=isa)


def test_the_peak_probe_counts_its_work():
    for isa in _machine.isa_names(bfloat16=True):
        lanes, *_ = _machine.geometry(isa, 4)
        assert _peak.bfloat16_peak(isa, 10) % (2 * 10 * 2 * lanes) == 0


@pytest.mark.skipif(
    "amx" not in _machine.isa_names(bfloat16=True) or "tiles emulated" in _machine.compiler(),
    reason="this CPU or system has no tiles to deny",
)
def test_where_the_system_denies_tiles_the_next_set_is_taken():
    # A signal stack without room for the tiles is what makes Linux deny them.
    code = """
        import ctypes, faulthandler
        faulthandler.disable()
        class Stack(ctypes.Structure):
            _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
        memory = ctypes.create_string_buffer(1 << 16)
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, 6144)), None) == 0
        import numpy as np
        from fastnn import MLPClassifier
        from fastnn.native import _machine
        assert _machine.best_isa() == "avx512_bf16", _machine.best_isa()
        X = np.random.default_rng(0).standard_normal((50, 9)).astype(np.float32)
        MLPClassifier((8,), precision="bfloat16", max_iter=3, tol=0.0).fit(X, X[:, 0] > 0)
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
