"""Rows of the caller's arrays: every type of source, layout and partner gives what the reference gives."""

import numpy as np
import pytest
from scipy import sparse

from fastnn.native import Runner as Native
from fastnn.native import _machine, _packed
from fastnn.passes import place_barriers
from fastnn.plan import Buffer, Op, Plan
from fastnn.reference.run import Runner as Reference
from fastnn.reference.run import trace
from tests.native.ops import TOLERANCE, assert_close

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")

SHAPES = ((1,), (17,), (130,), (28, 28, 1), (5, 6, 3), (3, 3, 67), (9, 2))


def gathered(plan, X, y, dtype, isa, rows=30, threads=3, weight=None):
    """Batch buffers on both backends after the second of the batches of a shuffled epoch, chunk by chunk."""
    native = Native(plan, dtype=dtype, rows=rows, n_threads=threads, seed=11, isa=isa, keep=True)
    reference = Reference(plan, dtype=dtype, rows=rows, seed=11)
    for runner in (native, reference):
        runner.bind(X, y, weight)
        runner.shuffle(1)
    native.train(rows, 1, 1, 5, np.zeros(1), 1e9)
    expected = {}
    for traced in trace(reference, batch_size=rows, batch=1, step=5):
        expected |= traced.outputs
    return {name: (native.get(name), value) for name, value in expected.items()}


@pytest.mark.parametrize("source", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("layout", ["panels", "rows"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sources(shape, layout, source, dtype, isa):
    rng = np.random.default_rng(3)
    X = rng.integers(0, 256, (100, *shape)).astype(source)
    y = rng.integers(0, 3, 100)
    buffers = [Buffer("X", shape, "source"), Buffer("y", (), "source"), Buffer("t", (3,), "batch")]
    buffers += [Buffer(name, shape, "batch", layout) for name in ("x", "other")] + [Buffer("u", (3,), "batch")]
    target = {"one_hot": True, "on": 1.0, "off": -1.0}
    ops = (
        Op("gather", ("X",), ("x",), {"scale": 1 / 255, "partner": None}),
        Op("gather", ("X",), ("other",), {"scale": 1.0, "partner": 6}),
        Op("gather_target", ("y",), ("t",), target),
        Op("gather_target", ("y",), ("u",), target | {"partner": 6}),
    )
    plan = Plan("gradient", {buffer.name: buffer for buffer in buffers}, step=ops)
    for name, (actual, expected) in gathered(plan, X, y, dtype, isa).items():
        assert_close(actual, expected, TOLERANCE[dtype] if name == "x" else 0.0, name)


@pytest.mark.parametrize("positions", [(), (4,), (2, 3)], ids=str)
def test_real_targets_of_partners(positions, dtype, isa):
    rng = np.random.default_rng(4)
    shape = (*positions, 19)
    X, y = rng.standard_normal((100, 2)), rng.integers(0, 2, (100, *shape)).astype(np.float32)
    attributes = {"one_hot": False, "on": 0.9, "off": 0.1, "partner": 2}
    buffers = [Buffer("X", (2,), "source"), Buffer("y", shape, "source"), Buffer("t", shape, "batch")]
    step = (Op("gather_target", ("y",), ("t",), attributes),)
    plan = Plan("gradient", {buffer.name: buffer for buffer in buffers}, step=step)
    actual, expected = gathered(plan, X, y, dtype, isa)["t"]
    assert_close(actual, expected, TOLERANCE[dtype], "t")


def test_partners_of_sparse_rows(dtype, isa):
    rng = np.random.default_rng(5)
    X = sparse.random(100, 70, 0.2, "csr", np.float64, rng)
    buffers = [Buffer("X", (70,), "source"), Buffer("x", (70,), "batch")]
    step = (Op("gather", ("X",), ("x",), {"scale": 0.5, "partner": 2}),)
    plan = Plan("gradient", {buffer.name: buffer for buffer in buffers}, step=step)
    actual, expected = gathered(plan, X, None, dtype, isa)["x"]
    assert_close(actual, expected, TOLERANCE[dtype], "x")


@pytest.mark.parametrize("isa", _machine.isa_names(bfloat16=True))
@pytest.mark.parametrize("source", [np.uint8, np.float32, np.float64, "csr"])
@pytest.mark.parametrize("columns", [1, 8, 15, 16, 17, 31, 32, 33, 64, 130, 300])
@pytest.mark.parametrize("layout", ["operand", "panels"])
def test_rows_are_rounded(layout, columns, source, isa):
    rng = np.random.default_rng(8)
    X = rng.integers(0, 256, (100, columns)).astype(np.uint8) if source == np.uint8 else rng.normal(size=(100, columns))
    X = sparse.csr_array(X * (rng.random(X.shape) < 0.3)) if source == "csr" else X.astype(source)
    buffers = [Buffer("X", (columns,), "source")]
    buffers += [Buffer(name, (columns,), "batch", layout) for name in ("x", "halved", "partner")]
    attributes = {"scale": 1 / 255, "precision": "bfloat16"}
    step = (
        Op("gather", ("X",), ("x",), attributes),
        Op("gather", ("X",), ("halved",), attributes | {"cut": columns // 128 * 64}, "halves"),
        Op("gather", ("X",), ("partner",), {"scale": 1.0, "precision": "bfloat16", "partner": 2}),
    )
    plan = Plan("gradient", {buffer.name: buffer for buffer in buffers}, step=step)
    for name, (actual, expected) in gathered(plan, X, None, np.float32, isa).items():
        np.testing.assert_array_equal(actual, expected, err_msg=name)


@pytest.mark.parametrize("layout", ["panels", "rows"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_are_rounded(shape, layout):
    X = np.random.default_rng(9).normal(size=(100, *shape)).astype(np.float32)
    buffers = {"X": Buffer("X", shape, "source"), "x": Buffer("x", shape, "batch", layout)}
    step = (Op("gather", ("X",), ("x",), {"scale": 0.3, "precision": "bfloat16"}),)
    for isa in _machine.isa_names(bfloat16=True):
        actual, expected = gathered(Plan("gradient", buffers, step=step), X, None, np.float32, isa)["x"]
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("n_positive", [0, 1, 5, 99, 100])
@pytest.mark.parametrize("others", [0.0, -1.0])
def test_partners_have_positive_weight(n_positive, others, dtype, isa):
    rng = np.random.default_rng(7)
    positive = np.sort(rng.permutation(100)[:n_positive])
    weight = np.full(100, others)
    weight[positive] = rng.random(n_positive) + 0.1
    X = np.arange(100.0)[:, np.newaxis]
    buffers = [Buffer("X", (1,), "source"), Buffer("sample_weight", (), "source")]
    buffers += [Buffer("x", (1,), "batch"), Buffer("w", (), "row")]
    step = (Op("gather", ("X",), ("x",), {"partner": 2}), Op("gather_weight", ("sample_weight",), ("w",)))
    plan = Plan("gradient", {buffer.name: buffer for buffer in buffers}, step=step)
    actual, expected = gathered(plan, X, None, dtype, isa, weight=weight)["x"]
    np.testing.assert_array_equal(actual, expected)
    assert set(actual.ravel()) <= set(positive if n_positive else range(100))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_stored_is_what_was_gathered(shape, dtype, isa):
    X = np.random.default_rng(6).standard_normal((101, *shape)).astype(dtype)
    buffers = [Buffer("X", shape, "source"), Buffer("x", shape, "batch"), Buffer("output", shape, "source")]
    step = (Op("gather", ("X",), ("x",), {"scale": 1.0}), Op("store", ("x",), ("output",)))
    plan = place_barriers(Plan("predict", {buffer.name: buffer for buffer in buffers}, step=step, output="x"))
    native = Native(plan, dtype=dtype, rows=8, n_threads=4, isa=isa)
    np.testing.assert_array_equal(native.forward(X), X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 15, 64, 65, 200])
def test_packing_rounds_either_type(columns, dtype, isa):
    matrix, panels = np.random.default_rng(0).normal(size=(70, columns)), np.zeros(70 * 256, dtype)
    for given in (matrix, matrix.astype(np.float32)):
        back = np.empty((70, columns), dtype)
        _packed.pack(isa, given, panels)
        _packed.unpack(isa, panels, back)
        assert np.array_equal(back, given.astype(dtype))
