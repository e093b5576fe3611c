"""Dense layers that leave out the zeros of their rows: no bit of the result changes, whatever is zero."""

import numpy as np
import pytest
from scipy import sparse

from fastnn.native import Runner
from fastnn.optimizers import Adam
from fastnn.plan import Op
from tests.native.networks import data, draw, lowered, network
from tests.native.ops import Case, check
from tests.native.test_equals_reference import compare_one_batch

SIZES = (1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 130)
UNITS = (64, 65, 74, 81, 97, 128, 130, 200)
ROWS = (1, 2, 3, 5, 63, 64, 65, 128, 131)

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


def some_zeros(rng, X, share):
    """X with this share of its numbers set to zero, of either sign, in runs of up to 16."""
    zero = np.repeat(rng.random((len(X), -(-X.shape[1] // 16))) < share, 16, axis=1)[:, : X.shape[1]]
    zero |= rng.random(X.shape) < share / 2
    return np.where(zero, rng.choice((0.0, -0.0), X.shape), X).astype(X.dtype)


def train(plan, X, y, values, isa, threads=1, chunk=None):
    """Parameters, states and gradients after two batches, and the loss."""
    size = -(-X.shape[0] // 2)
    runner = Runner(plan, dtype=values["dense0.W"].dtype, rows=chunk or size, n_threads=threads, isa=isa)
    runner.bind(X, y)
    for name, value in values.items():
        runner.set(name, value)
    _, loss = runner.train(size, 0, -(-X.shape[0] // size), 0, np.full(2, 0.01), 1e9)
    names = (*plan.parameters, *plan.states, *plan.gradients.values())
    return {name: runner.get(name) for name in names} | {"loss": loss}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("features", SIZES)
def test_bits_tell_what_is_not_zero(features, dtype, isa):
    rng = np.random.default_rng(features)
    X = some_zeros(rng, rng.standard_normal((11, features)).astype(dtype), 0.5)
    X.flat[0] = np.finfo(dtype).tiny
    case = Case([Op("nonzero", ("x",), ("bits",))], {"x": X}, {"bits": ((features,), "batch")}, bits_layout=("bits",))
    check(case, dtype, isa, exact=("bits",))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("features", SIZES)
def test_no_bit_changes(features, share, dtype, isa):
    rng = np.random.default_rng(features)
    for i, units in enumerate(UNITS):
        rows = ROWS[(features + i) % len(ROWS)]
        net = network(features, (units,), 5, activation=("relu", "gelu", "tanh")[i % 3])
        options = [{"whole_batch": True}, {"whole_batch": True, "rows": 4, "l2": 0.1}, {}, {"clip_norm": 1.0}][i % 4]
        plans = [lowered(net, one_hot=True, sparse=skip, **options) for skip in (False, True)]
        X, y, _ = data(rng, net, rows, dtype, one_hot=True)
        X, values = some_zeros(rng, X, share), {name: W.astype(dtype) for name, W in draw(rng, plans[0]).items()}
        chunk = None if options.get("whole_batch") else 24
        expected = train(plans[0], X, y, values, isa, chunk=chunk)
        for threads in (1, 2, 3):
            for name, value in train(plans[1], X, y, values, isa, threads, chunk).items():
                np.testing.assert_array_equal(value, expected[name], err_msg=f"{name}, {units} units, {rows} rows")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{"whole_batch": True}, {"whole_batch": True, "rows": 8}, {"clip_norm": 0.1}])
def test_equals_the_reference(options, dtype, isa):
    rng = np.random.default_rng(0)
    net = network(130, (100, 9), 5, activation="relu")
    plan = lowered(net, one_hot=True, weighted=True, l1=0.01, l2=0.01, sparse=True, **options)
    X, y, w = data(rng, net, 70, dtype, one_hot=True, weighted=True)
    compare_one_batch(plan, some_zeros(rng, X, 0.7), y, w, draw(rng, plan), dtype, isa)


def test_a_sparse_matrix_equals_its_dense_rows(isa):
    rng = np.random.default_rng(0)
    net = network(100, (90,), 3)
    plan = lowered(net, one_hot=True, whole_batch=True, sparse=True)
    X, y, _ = data(rng, net, 50, np.float32, one_hot=True)
    X, values = some_zeros(rng, X, 0.8), {name: W.astype(np.float32) for name, W in draw(rng, plan).items()}
    expected = train(plan, X, y, values, isa)
    for name, value in train(plan, sparse.csr_array(X), y, values, isa).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_the_plan_names_who_leaves_out_zeros():
    plan = lowered(network(100, (64, 20), 3), one_hot=True, optimizer=Adam(), whole_batch=True, sparse=True)
    assert [op.kind for op in plan.step][:3] == ["gather", "nonzero", "dense"]
    assert plan.buffers["x.nonzero"].layout == "bits"
    assert [op.outputs[0] for op in plan.ops if "x.nonzero" in op.inputs] == ["dense0.y", "dense0.W"]


def test_narrow_layers_multiply_by_zeros():
    plan = lowered(network(100, (63, 100), 3), one_hot=True, optimizer=Adam(), sparse=True)
    assert "nonzero" not in [op.kind for op in plan.step]
