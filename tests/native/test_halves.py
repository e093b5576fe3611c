"""Dense layers whose long rows are gathered and multiplied in two halves: the same bits for any number of threads."""

import numpy as np
import pytest
from scipy import sparse

from fastnn.native import Runner, _machine
from fastnn.plan import PRODUCTS
from tests.native.networks import data, draw, lowered, network
from tests.native.test_bfloat16 import close_on_average
from tests.native.test_equals_reference import compare_one_batch
from tests.native.test_nonzero import some_zeros, train

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")
FORMS = {
    "rows": {"whole_batch": True},
    "zeros left out": {"whole_batch": True, "sparse": True},
    "gradients apart": {"clip_norm": 1.0, "sparse": True},
}


def plan_of(features, units, activation="relu", precision="full", **options):
    net = network(features, (units, 9), 5, activation=activation)
    plan = lowered(net.__class__(**{**vars(net), "precision": precision}), one_hot=True, **options)
    assert "halves" in [op.split for op in plan.step]
    return net, plan


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("features", "units", "rows"), [(256, 64, 1), (300, 100, 7), (385, 129, 64), (448, 70, 65), (256, 64, 220)]
)
def test_bits_do_not_depend_on_threads(features, units, rows, form, dtype, isa):
    rng = np.random.default_rng(features)
    net, plan = plan_of(features, units, **FORMS[form])
    X, y, _ = data(rng, net, 2 * rows, dtype, one_hot=True)
    X, values = some_zeros(rng, X, 0.6), {name: W.astype(dtype) for name, W in draw(rng, plan).items()}
    chunk = None if form != "gradients apart" else 24
    expected = train(plan, X, y, values, isa, chunk=chunk)
    for threads in (2, 3, 4):
        for name, value in train(plan, X, y, values, isa, threads, chunk).items():
            np.testing.assert_array_equal(value, expected[name], err_msg=f"{name}, {threads} threads")


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("threads", [2, 3])
def test_bits_of_bfloat16_do_not_depend_on_threads(threads, products):
    for isa in _machine.isa_names(bfloat16=True):
        rng = np.random.default_rng(0)
        net, plan = plan_of(330, 100, precision="bfloat16", whole_batch=True, products=products)
        X, y, _ = data(rng, net, 70, np.float32, one_hot=True)
        values = {name: W.astype(np.float32) for name, W in draw(rng, plan).items()}
        expected = train(plan, X, y, values, isa)
        for name, value in train(plan, X, y, values, isa, threads).items():
            np.testing.assert_array_equal(value, expected[name], err_msg=f"{name}, {isa}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("activation", ["relu", "gelu", "identity"])
def test_equals_the_reference(activation, form, dtype, isa):
    rng = np.random.default_rng(1)
    net, plan = plan_of(300, 100, activation, weighted=True, l2=0.01, **FORMS[form])
    X, y, w = data(rng, net, 33, dtype, one_hot=True, weighted=True)
    compare_one_batch(plan, some_zeros(rng, X, 0.6), y, w, draw(rng, plan), dtype, isa)


@pytest.mark.parametrize("products", PRODUCTS)
def test_bfloat16_equals_the_reference(products):
    for isa in _machine.isa_names(bfloat16=True):
        rng = np.random.default_rng(2)
        net, plan = plan_of(300, 100, precision="bfloat16", whole_batch=True, products=products)
        batch = data(rng, net, 33, np.float32, one_hot=True)
        compare_one_batch(plan, *batch, draw(rng, plan), np.float32, isa, close=close_on_average)


def test_a_sparse_matrix_equals_its_dense_rows(isa):
    rng = np.random.default_rng(3)
    net, plan = plan_of(300, 100, whole_batch=True, sparse=True)
    X, y, _ = data(rng, net, 40, np.float32, one_hot=True)
    X, values = some_zeros(rng, X, 0.8), {name: W.astype(np.float32) for name, W in draw(rng, plan).items()}
    expected = train(plan, X, y, values, isa)
    for name, value in train(plan, sparse.csr_array(X), y, values, isa, threads=2).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_bytes_are_converted_half_by_half(isa):
    rng = np.random.default_rng(4)
    _, plan = plan_of(330, 64, whole_batch=True)
    X, y = rng.integers(0, 256, (9, 330)).astype(np.uint8), rng.integers(0, 5, 9)
    runner = Runner(plan, dtype=np.float32, rows=9, n_threads=2, isa=isa, keep=True)
    runner.bind(X, y)
    runner.train(9, 0, 1, 0, np.array([0.01]), 1e9)
    np.testing.assert_array_equal(runner.get("x"), X)
