"""Dense layers: of few outputs, whose weights the native backend keeps turned, (out, in), and what ends a product."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fastnn.native import Runner, _machine
from fastnn.optimizers import SGD, Adam
from fastnn.plan import Op
from fastnn.reference.run import Runner as Reference
from tests.native.networks import data, draw, lowered, network
from tests.native.ops import Case
from tests.native.test_equals_reference import compare_one_batch

DEPTHS = (1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 130)
ROWS = (1, 2, 7, 8, 9, 15, 16, 17, 33)


@pytest.fixture(params=_machine.isa_names())
def isa(request):
    return request.param


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["softmax", "logistic", "squared_error"])
@pytest.mark.parametrize("outputs", [1, 2, 3, 4, 5])
def test_few_outputs(outputs, loss, dtype, isa):
    for i, depth in enumerate(DEPTHS):
        rng = np.random.default_rng(i)
        net = network(3, (depth,), outputs, activation="logistic", loss=loss)
        plan = lowered(net, weighted=True, l1=0.01, l2=0.02, whole_batch=bool(i % 2))
        rows = ROWS[i % len(ROWS)]
        compare_one_batch(plan, *data(rng, net, rows, dtype, weighted=True), draw(rng, plan), dtype, isa)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("whole_batch", [True, False])
@pytest.mark.parametrize("depth", DEPTHS)
def test_pads_of_weights_stay_zero(depth, whole_batch, dtype, isa):
    rng = np.random.default_rng(depth)
    net = network(5, (depth,), 3, activation="logistic")
    plan = lowered(net, one_hot=True, optimizer=SGD(0.9, True), l2=0.1, whole_batch=whole_batch)
    X, y, _ = data(rng, net, 12, dtype, one_hot=True)
    runner = Runner(plan, dtype=dtype, rows=12 if whole_batch else 5, n_threads=2, isa=isa)
    runner.bind(X, y)
    for name, value in draw(rng, plan).items():
        runner.set(name, value)
    runner.train(12, 0, 1, 0, np.array([0.1]), 1e9)
    for name in (*plan.parameters, *plan.states, *plan.gradients.values()):
        packed = runner._view(name).copy()
        runner.set(name, runner.get(name))
        np.testing.assert_array_equal(packed, runner._view(name), err_msg=name)


def test_weights_come_back_as_they_were_set(isa):
    plan = lowered(network(5, (6,), 3), one_hot=True, whole_batch=True)
    runner = Runner(plan, dtype=np.float64, rows=4, isa=isa)
    W = np.random.default_rng(0).normal(size=(6, 3))
    runner.set("dense1.W", W)
    np.testing.assert_array_equal(runner.get("dense1.W"), W)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_of_a_row_do_not_depend_on_the_others(dtype, isa):
    rng = np.random.default_rng(0)
    net = network(9, (70,), 3)
    plan = lowered(net, "predict")
    runner = Runner(plan, dtype=dtype, rows=32, isa=isa)
    for name, value in draw(rng, plan).items():
        runner.set(name, value)
    X = rng.normal(size=(37, 9)).astype(dtype)
    alone = np.concatenate([runner.forward(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_array_equal(alone, runner.forward(X))


@pytest.mark.usefixtures("any_work_deserves_threads")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("features", [1, 70, 2047, 2048, 2049, 4200])
def test_rows_read_in_place_give_the_bits_of_gathered_ones(features, dtype, isa):
    rng = np.random.default_rng(0)
    net = network(features, (70,), 9)
    X, y, _ = data(rng, net, 23, dtype)
    values = draw(rng, lowered(net, "predict"))
    outputs, losses = [], []
    for keep in (False, True):
        for purpose in ("predict", "evaluate"):
            runner = Runner(lowered(net, purpose), dtype=dtype, rows=16, n_threads=3, isa=isa, keep=keep)
            assert runner.layout.in_place == (set() if keep else {"x"})
            for name, value in values.items():
                runner.set(name, value)
            if purpose == "evaluate":
                runner.bind(X, y)
                losses.append(runner.evaluate())
            else:
                outputs += [runner.forward(X), runner.forward(X[:1]), runner.forward(X.astype(np.float32))]
    for in_place, gathered in zip(outputs[:2], outputs[3:5], strict=True):
        np.testing.assert_array_equal(in_place, gathered)
    assert losses[0] == losses[1]
    reference = Reference(lowered(net, "predict"), dtype=dtype, rows=16)
    for name, value in values.items():
        reference.set(name, value)
    for output in outputs:
        np.testing.assert_allclose(output, reference.forward(X)[: len(output)], rtol=0, atol=1e-4)


@pytest.mark.parametrize("products", ["numbers", "pairs", "tiles"])
def test_rows_that_are_rounded_are_not_read_in_place(products, isa):
    rng = np.random.default_rng(0)
    net = replace(network(9, (70,), 9), precision="bfloat16")
    X, plan = data(rng, net, 23, np.float32)[0], lowered(net, "predict", products=products)
    runner, reference = (make(plan, dtype=np.float32, rows=16) for make in (partial(Runner, isa=isa), Reference))
    for name, value in draw(rng, plan).items():
        runner.set(name, value)
        reference.set(name, value)
    np.testing.assert_array_equal(runner.forward(X), runner.forward(X.astype(np.float64)))
    np.testing.assert_allclose(runner.forward(X), reference.forward(X), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outputs", [5, 16, 70])
@pytest.mark.parametrize("depth", [1, 9, 70])
def test_relu_in_a_product_has_the_bits_of_relu_behind_it(depth, outputs, dtype, isa):
    rng = np.random.default_rng(depth)
    x, W, b = (rng.normal(size=shape) for shape in ((50, depth), (depth, outputs), (outputs,)))
    x[3, 0], x[4, 0], x[5, 0] = np.nan, np.inf, -np.inf

    def results(*ops, also=()):
        names = ("y", *also)
        case = Case(ops, {"x": x}, {name: ((outputs,), "batch") for name in names}, {"W": W, "b": b})
        return case.native(dtype, isa, threads=2)

    dense = Op("dense", ("x", "W", "b"), ("z",), {"activation": None})
    apart = results(dense, Op("activation", ("z",), ("y",), {"activation": ("relu",)}), also=("z",))
    fused = dense.with_(attributes={"activation": ("relu",)})
    for result in results(fused.with_(outputs=("y",))), results(fused.with_(outputs=("y", "z")), also=("z",)):
        for name, value in result.items():
            np.testing.assert_array_equal(value, apart[name], err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outputs", [5, 70])
def test_derivative_of_relu_in_a_product_has_the_bits_of_one_behind_it(outputs, dtype, isa):
    rng = np.random.default_rng(outputs)
    dz, s, WT = (rng.normal(size=shape) for shape in ((50, 9), (50, outputs), (9, outputs)))
    dz[3, 0], s[4, 0], s[5, :2] = np.inf, np.nan, 0.0

    def result(*ops):
        outputs_of = {op.outputs[0]: ((outputs,), "batch") for op in ops}
        return Case(ops, {"dz": dz, "s": s}, outputs_of, {"WT": WT}).native(dtype, isa, threads=2)["dx"]

    product = Op("dense_grad_input", ("dz", "WT"), ("dy",), {"activation": None})
    apart = result(product, Op("activation_grad", ("dy", "s"), ("dx",), {"activation": ("relu",)}))
    relu = {"activation": ("relu",)}
    np.testing.assert_array_equal(result(Op("dense_grad_input", ("dz", "WT", "s"), ("dx",), relu)), apart)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("l1", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", [SGD(0.9, True), Adam()], ids=str)
def test_penalty_in_an_update_has_the_bits_of_one_before_it(optimizer, l1, dtype, isa):
    net, found = network(70, (40,), 3, activation="relu"), []
    for whole_batch in (True, False):
        plan = lowered(net, one_hot=True, optimizer=optimizer, l1=l1, l2=0.3, whole_batch=whole_batch)
        rng = np.random.default_rng(0)
        X, y, _ = data(rng, net, 12, dtype, one_hot=True)
        runner = Runner(plan, dtype=dtype, rows=12, isa=isa)
        runner.bind(X, y)
        for name, value in draw(rng, plan).items():
            runner.set(name, value)
        _, loss = runner.train(12, 0, 1, 0, np.array([0.1]), 1e9)
        found.append((runner.get("dense0.W"), runner.get("dense1.W"), loss))
    *fused, fused_loss = found[0]
    *apart, loss = found[1]
    for name, weights, expected in zip(("dense0.W", "dense1.W"), fused, apart, strict=True):
        np.testing.assert_array_equal(weights, expected, err_msg=name)
    assert fused_loss == pytest.approx(loss, rel=8 * float(np.finfo(dtype).eps))
