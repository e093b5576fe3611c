"""Dense layers that read the entries of a sparse matrix: the same bits as from its dense rows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from fastnn.native import Runner, _machine
from fastnn.optimizers import Adam
from fastnn.plan import NUMBERS, PRODUCTS
from tests.native.networks import data, draw, lowered, network
from tests.native.test_bfloat16 import close_on_average
from tests.native.test_equals_reference import compare_one_batch
from tests.native.test_nonzero import some_zeros, train

FEATURES = (5, 16, 64, 65, 130, 300)
UNITS = (5, 17, 64, 70, 130, 200)
OPTIONS = (
    {"whole_batch": True},
    {"whole_batch": True, "rows": 4, "l2": 0.1},
    {"whole_batch": True, "rows": 4, "l1": 0.1},
    {},
    {"clip_norm": 1.0},
)

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


def task(rng, net, plan, rows, dtype, share=0.9):
    """(X with zeros, y, parameters)."""
    X, y, _ = data(rng, net, rows, dtype, one_hot=True)
    return some_zeros(rng, X, share), y, {name: W.astype(dtype) for name, W in draw(rng, plan).items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("features", FEATURES)
def test_no_bit_changes(features, share, dtype, isa):
    rng = np.random.default_rng(features)
    for i, (units, rows) in enumerate(zip(UNITS, (1, 2, 63, 64, 131, 40), strict=True)):
        options = OPTIONS[(i + features) % len(OPTIONS)]
        net = network(features, (units,), 5, activation=("relu", "gelu", "tanh")[i % 3])
        plans = [lowered(net, one_hot=True, entries=entries, **options) for entries in (False, True)]
        X, y, values = task(rng, net, plans[0], rows, dtype, share)
        chunk = None if options.get("whole_batch") else 24
        expected = train(plans[0], X, y, values, isa, chunk=chunk)
        for threads in (1, 2, 3):
            for name, value in train(plans[1], sparse.csr_array(X), y, values, isa, threads, chunk).items():
                np.testing.assert_array_equal(value, expected[name], err_msg=f"{name}, {units} units, {rows} rows")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", OPTIONS)
def test_equals_the_reference(options, dtype, isa):
    rng = np.random.default_rng(0)
    net = network(130, (100, 9), 5, activation="relu")
    plan = lowered(net, one_hot=True, weighted=True, entries=True, **options)
    X, y, w = data(rng, net, 70, dtype, one_hot=True, weighted=True)
    X = sparse.csr_array(some_zeros(rng, X, 0.8))
    compare_one_batch(plan, X, y, w, draw(rng, plan), dtype, isa, chunk=None if options.get("whole_batch") else 24)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_the_other_type(dtype, isa):
    rng, other = np.random.default_rng(1), np.float64 if dtype == np.float32 else np.float32
    net = network(100, (30,), 3)
    plans = [lowered(net, one_hot=True, whole_batch=True, entries=entries) for entries in (False, True)]
    X, y, values = task(rng, net, plans[0], 20, dtype)
    X = (X / 3).astype(other)
    expected = train(plans[0], X, y, values, isa)
    for name, value in train(plans[1], sparse.csr_array(X), y, values, isa).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize("threads", [1, 3])
def test_predictions(threads, isa):
    rng = np.random.default_rng(2)
    net = network(200, (70, 9), 4)
    runners = []
    for entries in (False, True):
        plan = lowered(net, "predict", entries=entries)
        runners.append(Runner(plan, dtype=np.float32, rows=16, n_threads=threads, isa=isa))
        for name, value in draw(np.random.default_rng(3), plan).items():
            runners[-1].set(name, value)
    X = some_zeros(rng, rng.standard_normal((77, 200)).astype(np.float32), 0.9)
    for rows in (X, X[:1], X[:0]):
        np.testing.assert_array_equal(runners[1].forward(sparse.csr_array(rows)), runners[0].forward(rows))
    for runner, rows in zip(runners, (X, sparse.csr_array(X)), strict=True):
        runner.bind(rows)
        np.testing.assert_array_equal(runner.forward(), runner.forward(rows))


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("units", [(100, 9), (2,)])
def test_bfloat16_equals_the_reference(units, options, products):
    for isa in _machine.isa_names(bfloat16=True):
        rng = np.random.default_rng(6)
        net = replace(network(300, units, 5, activation="relu"), precision="bfloat16")
        plan = lowered(net, one_hot=True, entries=True, products=products, **options)
        X, y, _ = data(rng, net, 70, np.float32, one_hot=True)
        X, chunk = sparse.csr_array(some_zeros(rng, X, 0.8)), None if options.get("whole_batch") else 24
        compare_one_batch(
            plan, X, y, None, draw(rng, plan), np.float32, isa, chunk=chunk, threads=3, close=close_on_average
        )


@pytest.mark.parametrize("threads", [1, 2])
def test_rounded_entries_give_the_bits_of_rounded_rows(threads, isa):
    rng = np.random.default_rng(7)
    net = replace(network(300, (100,), 5), precision="bfloat16")
    plans = [
        lowered(net, one_hot=True, whole_batch=True, rows=30, products=NUMBERS, entries=entries)
        for entries in (False, True)
    ]
    X, y, values = task(rng, net, plans[0], 60, np.float32)
    expected = train(plans[0], X, y, values, isa)
    for name, value in train(plans[1], sparse.csr_array(X), y, values, isa, threads).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_entries_in_any_order_that_add_up():
    rng = np.random.default_rng(4)
    plan = lowered(network(70, (8,), 3), "predict", entries=True)
    runner = Runner(plan, dtype=np.float64, rows=4)
    for name, value in draw(rng, plan).items():
        runner.set(name, value)
    X = some_zeros(rng, rng.standard_normal((9, 70)), 0.5)
    rows, columns = (np.concatenate([places, places[::-1]]) for places in np.nonzero(X))
    order = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[order], np.arange(10))
    shuffled = sparse.csr_array((X[rows, columns][order] / 2, columns[order], starts), shape=X.shape)
    np.testing.assert_allclose(runner.forward(shuffled), runner.forward(sparse.csr_array(X)), rtol=1e-12)
    assert not shuffled.has_canonical_format, "the caller's matrix stays as it is"


def test_a_dense_matrix_is_refused():
    runner = Runner(lowered(network(70, (8,), 3), "predict", entries=True), dtype=np.float64, rows=4)
    with pytest.raises(ValueError, match="entries of a sparse matrix, got a dense one"):
        runner.forward(np.ones((2, 70)))


def test_the_plan_keeps_no_dense_rows():
    options = {"one_hot": True, "optimizer": Adam(), "whole_batch": True, "sparse": True, "entries": True}
    plan = lowered(network(100, (64, 20), 3), **options)
    assert plan.buffers["x"].layout == "entries"
    assert [op.outputs[0] for op in plan.ops if op.attributes.get("entries")] == ["dense0.y", "dense0.W"]
    assert "nonzero" not in [op.kind for op in plan.step]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("units", [1, 2, 4])
def test_few_units(units, dtype, isa):
    """Dense rows meet such weights turned, and add up in another order."""
    rng = np.random.default_rng(5)
    net = network(130, (units, 9), 1, loss="logistic")
    for options in OPTIONS:
        plan = lowered(net, entries=True, **options)
        X, y, _ = data(rng, net, 70, dtype)
        chunk = None if options.get("whole_batch") else 24
        X = sparse.csr_array(some_zeros(rng, X, 0.8))
        compare_one_batch(plan, X, y, None, draw(rng, plan), dtype, isa, chunk=chunk)
