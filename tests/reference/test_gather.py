"""Rows in and out: order, chunks, conversion, targets."""

import numpy as np
import pytest
from scipy import sparse

from fastnn.reference import Step
from fastnn.reference.random import philox

X = np.arange(12.0).reshape(6, 2)
ORDER = np.array([5, 3, 1, 0, 2, 4])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("source", [X, X.astype(np.float32), sparse.csr_array(X), sparse.csr_matrix(X)])
def test_gather_takes_the_chunk_of_the_order_and_converts(execute, source, dtype):
    step = Step(n=2, first=1, order=ORDER)
    x = execute("gather", {"X": source}, {"x": np.empty((0, 2), dtype)}, step=step)["x"]
    assert x.dtype == dtype
    assert np.array_equal(x, X[[3, 1]])


def test_gather_without_an_order_takes_consecutive_rows(execute):
    x = execute("gather", {"X": X}, {"x": np.empty((0, 2))}, step=Step(n=3, first=2))["x"]
    assert np.array_equal(x, X[2:5])
    assert not np.shares_memory(x, X)


def test_small_integers_are_scaled(execute):
    bytes_of_rows = np.array([[0, 255], [51, 102]], np.uint8)
    x = execute("gather", {"X": bytes_of_rows}, {"x": np.empty((0, 2), np.float32)}, {"scale": 1 / 255})["x"]
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, [[0, 1], [0.2, 0.4]], rtol=1e-6)


@pytest.mark.parametrize("source", [X, X.reshape(6, 1, 2), sparse.csr_array(X)])
@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 2, 1)])
def test_rows_take_the_shape_of_the_plan(execute, source, shape):
    x = execute("gather", {"X": source}, {"x": np.empty((0, *shape))}, step=Step(n=2, first=3, order=ORDER))["x"]
    assert np.array_equal(x, X[[0, 2]].reshape(2, *shape))


def test_partners_are_drawn_from_all_rows_alike_for_data_and_targets(execute):
    rows = np.arange(50.0)[:, np.newaxis]
    step = Step(n=1000, first=3000, order=None, t=5, seed=8, row=4, total=50)
    x = execute("gather", {"X": rows}, {"x": np.empty((0, 1))}, {"partner": 6}, step)["x"]
    for r in (0, 1, 999):
        word = int(philox(8, 0, r + 4, 5, 6)[0])
        assert x[r, 0] == word * 50 >> 32
    assert set(x.ravel()) == set(range(50))
    attributes = {"one_hot": False, "on": 1.0, "off": 0.0, "partner": 6}
    assert np.array_equal(execute("gather_target", {"y": rows}, {"t": x[:0]}, attributes, step)["t"], x)


def test_partners_are_drawn_from_some_rows(execute):
    rows, partners = np.arange(50.0)[:, np.newaxis], np.array([3, 8, 49])
    step = Step(n=1000, t=5, seed=8, row=4, total=3, partners=partners)
    x = execute("gather", {"X": rows}, {"x": np.empty((0, 1))}, {"partner": 6}, step)["x"]
    for r in (0, 1, 999):
        assert x[r, 0] == partners[int(philox(8, 0, r + 4, 5, 6)[0]) * 3 >> 32]
    assert set(x.ravel()) == {3, 8, 49}


def target(execute, y, outputs, attributes):
    return execute("gather_target", {"y": y}, {"t": np.empty((0, outputs))}, attributes, Step(n=len(y)))["t"]


def test_class_indices_become_one_hot_rows(execute):
    t = target(execute, np.array([2, 0, 1]), 3, {"one_hot": True, "on": 1.0, "off": -1.0})
    assert t.tolist() == [[-1, -1, 1], [1, -1, -1], [-1, 1, -1]]


def test_every_step_has_a_class_of_its_own(execute):
    y, coding = np.array([[2, 0], [1, 1], [0, 2]]), {"one_hot": True, "on": 1.0, "off": -1.0}
    step = Step(n=2, first=1, order=np.array([1, 2, 0]))
    t = execute("gather_target", {"y": y}, {"t": np.empty((0, 2, 3))}, coding, step)["t"]
    assert t.shape == (2, 2, 3) and (t.sum(axis=-1) == -1).all()
    assert np.array_equal(t.argmax(axis=-1), y[[2, 0]])
    t = execute("gather_target", {"y": y % 2}, {"t": np.empty((0, 2, 1))}, coding, Step(n=3))["t"]
    assert np.array_equal(t[..., 0], 2 * (y % 2) - 1)


def test_the_last_numbers_of_a_row_may_be_a_buffer_of_their_own(execute):
    lengths = execute("gather", {"X": X}, {"lengths": np.empty((0, 1), np.float32)}, {"first": 1}, Step(n=6))["lengths"]
    assert lengths.dtype == np.float32 and np.array_equal(lengths, X[:, 1:])


def test_two_classes_share_one_output(execute):
    t = target(execute, np.array([0, 1, 1]), 1, {"one_hot": True, "on": 1.0, "off": 0.0})
    assert t.tolist() == [[0], [1], [1]]


def test_matrices_are_mapped_from_off_and_on(execute):
    y = np.array([[0.0, 1.0], [1.0, 0.0]])
    t = target(execute, y, 2, {"one_hot": False, "on": 1.0, "off": -1.0})
    assert t.tolist() == [[-1, 1], [1, -1]]


def test_values_pass_unchanged(execute):
    y = np.array([[0.3], [-7.0]])
    assert np.array_equal(target(execute, y, 1, {"one_hot": False, "on": 1.0, "off": 0.0}), y)


def test_weights_are_converted(execute):
    weights = np.arange(6.0)
    outputs = {"w": np.empty(0, np.float32)}
    w = execute("gather_weight", {"sample_weight": weights}, outputs, step=Step(n=2, first=4, order=ORDER))["w"]
    assert w.dtype == np.float32 and w.tolist() == [2, 4]


def test_store_writes_images(execute):
    images = np.arange(24.0).reshape(2, 2, 3, 2)
    output = np.zeros((3, 2, 3, 2))
    execute("store", {"y": images}, {"output": output}, step=Step(n=2, first=1))
    assert not output[0].any() and np.array_equal(output[1:], images)


def test_store_writes_the_chunk_of_the_output(execute):
    output = np.zeros((4, 2))
    execute("store", {"y": X[:2]}, {"output": output}, step=Step(n=2, first=1))
    assert np.array_equal(output, [[0, 0], [0, 1], [2, 3], [0, 0]])
