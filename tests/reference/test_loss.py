"""Losses of the reference: closed forms, finite differences, conventions at kinks, weights."""

import numpy as np
import pytest
from scipy.special import huber, logsumexp, xlogy

from fastnn.reference import Step
from fastnn.reference.loss import LOSSES

RECORDS = [(record, parameters) for record in LOSSES.values() for parameters in record.parameters]
each = pytest.mark.parametrize("record, parameters", RECORDS, ids=[f"{r.name}{p or ''}" for r, p in RECORDS])

CLOSED_FORMS = {
    "softmax_log_loss": lambda z, t: logsumexp(z, axis=1) - (t * z).sum(axis=1),
    "logistic_log_loss": lambda z, t: (np.logaddexp(0, z) - t * z).sum(axis=1),
    "squared_error": lambda z, t: ((z - t) ** 2).sum(axis=1) / 2,
    "absolute_error": lambda z, t: np.abs(z - t).sum(axis=1),
    "huber": lambda z, t, delta: huber(delta, z - t).sum(axis=1),
    "quantile": lambda z, t, q: np.where(t > z, q * (t - z), (1 - q) * (z - t)).sum(axis=1),
    "poisson": lambda z, t: (np.exp(z) - t * z + xlogy(t, t) - t).sum(axis=1),
    "hinge": lambda z, t: np.maximum(0, 1 - t * z).sum(axis=1),
    "perceptron": lambda z, t: np.maximum(0, -t * z).sum(axis=1),
}


def cases(record, outputs=3):
    return record.domain(70, outputs, np.random.RandomState(0))


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_equals_its_closed_form_in_float64(record, parameters, dtype):
    z, t = (array.astype(dtype) for array in cases(record))
    value = record.value(z, t, *parameters)
    assert value.dtype == np.float64
    expected = CLOSED_FORMS[record.name](z.astype(float), t.astype(float), *parameters)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-11)


@each
def test_gradient_equals_central_differences(record, parameters):
    z, t = cases(record)
    gradient = record.gradient(z, t, *parameters)
    h = 1e-6 * np.maximum(1, np.abs(z))
    smooth = record.kink(z, t, *parameters) > 2 * h
    assert smooth.mean() > 0.5
    for j in range(z.shape[1]):
        shift = np.where(np.arange(z.shape[1]) == j, h, 0)
        change = record.value(z + shift, t, *parameters) - record.value(z - shift, t, *parameters)
        expected = change / (2 * h[:, j])
        rounding = 8 * np.finfo(float).eps * record.value(z, t, *parameters) / h[:, j]
        error = np.abs(gradient[:, j] - expected) / (1 + np.abs(expected) + 1e6 * rounding)
        assert error[smooth[:, j]].max() < 1e-6


@each
def test_gradient_in_float32_stays_float32_and_close(record, parameters):
    z, t = (array.astype(np.float32) for array in cases(record))
    gradient = record.gradient(z, t, *parameters)
    assert gradient.dtype == np.float32
    expected = record.gradient(z.astype(float), t.astype(float), *parameters)
    scale = record.scale(z, t).astype(np.float64)
    assert record.gradient_tolerance.error((gradient / scale).astype(np.float32), expected / scale) <= 1


@pytest.mark.parametrize(
    "name, z, t, parameters, expected",
    [
        ("absolute_error", 2.0, 2.0, (), 0.0),
        ("quantile", 2.0, 2.0, (0.9,), 0.0),
        ("quantile", 1.0, 2.0, (0.9,), -0.9),
        ("hinge", 1.0, 1.0, (), 0.0),
        ("hinge", 0.5, 1.0, (), -1.0),
        ("perceptron", 0.0, 1.0, (), -1.0),
        ("perceptron", 0.0, -1.0, (), 1.0),
        ("perceptron", 1.0, 1.0, (), 0.0),
    ],
)
def test_gradient_at_a_kink_follows_the_convention(name, z, t, parameters, expected):
    gradient = LOSSES[name].gradient(np.array([[z]]), np.array([[t]]), *parameters)
    assert gradient.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["softmax_log_loss", "logistic_log_loss"])
def test_confident_and_right_costs_nothing_confident_and_wrong_its_logit(name):
    z = np.array([[1e4, 0.0], [0.0, 1e4]])
    t = np.array([[1.0, 0.0], [1.0, 0.0]])
    if name == "logistic_log_loss":
        z = np.array([[1e4, -1e4], [0.0, 1e4]])
    value = LOSSES[name].value(z, t)
    assert value[0] == 0
    assert value[1] == pytest.approx(1e4, rel=1e-3)


def test_every_loss_has_a_closed_form_to_be_held_against():
    assert set(CLOSED_FORMS) == set(LOSSES)


class TestOp:
    z, t, w = np.array([[1.0], [2.0], [4.0]]), np.zeros((3, 1)), np.array([1.0, 0.0, 3.0])

    def run(self, execute, inputs, step, before):
        outputs = {"dz": np.empty((0, 1)), "row_loss": before}
        attributes = {"loss": ("squared_error",)} | {"weighted": "w" in inputs, "lengths": "lengths" in inputs}
        return execute("loss", inputs, outputs, attributes, step)

    def test_gradient_is_divided_by_the_weight_of_the_whole_batch(self, execute):
        inputs = {"z": self.z, "t": self.t, "w": self.w}
        buffers = self.run(execute, inputs, Step(n=3, weight_sum=8.0), np.zeros(3))
        assert buffers["dz"].ravel().tolist() == [1 / 8, 0, 12 / 8]
        assert buffers["row_loss"].tolist() == [0.5, 0, 24]

    def test_a_later_chunk_writes_its_own_rows_of_the_batch(self, execute):
        inputs = {"z": self.z, "t": self.t}
        buffers = self.run(execute, inputs, Step(n=3, weight_sum=5.0, chunk=1, row=2), np.full(5, -1.0))
        assert buffers["row_loss"].tolist() == [-1, -1, 0.5, 2, 8]

    def test_a_batch_without_weight_has_no_gradient(self, execute):
        inputs = {"z": self.z, "t": self.t, "w": 0 * self.w}
        buffers = self.run(execute, inputs, Step(n=3, weight_sum=0.0), np.zeros(3))
        assert not buffers["dz"].any() and not buffers["row_loss"].any()


class TestOpOfSequences:
    rng = np.random.default_rng(0)
    z, lengths, w = rng.standard_normal((3, 5, 4)), np.array([[2.0], [5.0], [1.0]]), np.array([0.5, 2.0, 3.0])
    t = np.eye(4)[rng.integers(0, 4, (3, 5))]

    def run(self, execute, dtype=np.float64, **inputs):
        given = {name: value.astype(dtype) for name, value in ({"z": self.z, "t": self.t} | inputs).items()}
        attributes = {"loss": ("softmax_log_loss",), "weighted": "w" in inputs, "lengths": "lengths" in inputs}
        before = {"dz": np.empty((0, 5, 4), dtype), "row_loss": np.zeros(3)}
        return execute("loss", given, before, attributes, Step(n=3, weight_sum=5.5))

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("unequal", [False, True])
    def test_a_row_costs_the_mean_of_its_own_steps(self, execute, weighted, unequal):
        inputs = ({"w": self.w} if weighted else {}) | ({"lengths": self.lengths} if unequal else {})
        buffers = self.run(execute, **inputs)
        record, steps = LOSSES["softmax_log_loss"], self.lengths[:, 0].astype(int) if unequal else [5] * 3
        for row, n in enumerate(steps):
            z, t, w = self.z[row, :n], self.t[row, :n], self.w[row] if weighted else 1.0
            assert buffers["row_loss"][row] == pytest.approx(w * record.value(z, t).mean(), rel=1e-12)
            np.testing.assert_allclose(buffers["dz"][row, :n], w / 5.5 / n * record.gradient(z, t), rtol=1e-12)
            assert not buffers["dz"][row, n:].any()

    def test_what_lies_beyond_the_end_does_not_count(self, execute):
        z = np.where(np.arange(5)[:, np.newaxis] < self.lengths[:, np.newaxis], self.z, np.nan)
        expected = self.run(execute, lengths=self.lengths)
        buffers = self.run(execute, z=z, lengths=self.lengths)
        assert np.array_equal(buffers["dz"], expected["dz"])
        assert np.array_equal(buffers["row_loss"], expected["row_loss"])

    def test_gradient_keeps_the_real_type(self, execute):
        assert self.run(execute, np.float32, w=self.w, lengths=self.lengths)["dz"].dtype == np.float32
