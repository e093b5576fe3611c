"""Activations of the reference: closed forms, finite differences, types, conventions at kinks."""

import numpy as np
import pytest
from scipy.special import expit, ndtr

from fastnn import activations as specs
from fastnn.reference.activation import ACTIVATIONS, apply, derivative, softmax_rows

RECORDS = [(record, parameters) for record in ACTIVATIONS.values() for parameters in record.parameters]
IDS = [f"{record.name}{parameters or ''}" for record, parameters in RECORDS]
each = pytest.mark.parametrize("record, parameters", RECORDS, ids=IDS)
both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def elu(z, alpha=1.0):
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


CLOSED_FORMS = {
    "identity": lambda z: z,
    "unit_step": lambda z: (np.sign(z) + 1) / 2,
    "sign": np.sign,
    "piecewise_linear": lambda z: np.where(z > 0.5, 1, np.where(z < -0.5, 0, z + 0.5)),
    "logistic": expit,
    "tanh": lambda z: np.sign(z) * -np.expm1(-2 * abs(z)) / (1 + np.exp(-2 * abs(z))),
    "relu": lambda z: (z + abs(z)) / 2,
    "scaled_relu": lambda z, scale: scale * (z + abs(z)) / 2,
    "leaky_relu": lambda z, slope: np.where(z > 0, z, slope * z),
    "softplus": lambda z: np.logaddexp(0, z),
    "elu": elu,
    "selu": lambda z: 1.0507009873554805 * elu(z, 1.6732632423543772),
    "gelu": lambda z: z * ndtr(z),
    "silu": lambda z: z * expit(z),
    "mish": lambda z: z * np.tanh(np.logaddexp(0, z)),
    "hard_tanh": lambda z: np.where(z > 1, 1, np.where(z < -1, -1, z)),
    "exp": np.exp,
}


@both_types
@each
def test_equals_its_closed_form(record, parameters, dtype):
    z = record.domain.astype(dtype)
    y = record.function(z, *parameters)
    assert y.dtype == dtype
    expected = CLOSED_FORMS[record.name](z.astype(np.float64), *parameters)
    assert record.tolerance.error(y, expected) <= 1


@each
def test_derivative_equals_central_differences(record, parameters):
    z = record.domain
    h = 1e-6 * np.maximum(1, np.abs(z))
    for kink in record.kinks:
        z = z[np.abs(z - kink) > 2 * h]
        h = 1e-6 * np.maximum(1, np.abs(z))
    function = record.differentiated or record.function
    parameters_of = () if record.differentiated else parameters
    expected = (function(z + h, *parameters_of) - function(z - h, *parameters_of)) / (2 * h)
    s = record.function(z, *parameters) if record.derivative_from == "output" else z
    result = record.derivative(s, *parameters)
    np.testing.assert_allclose(result, expected, rtol=2e-7, atol=2e-8)


@each
def test_derivative_in_float32_stays_float32_and_close(record, parameters):
    z = record.domain.astype(np.float32)
    s = record.function(z, *parameters) if record.derivative_from == "output" else z
    result = record.derivative(s, *parameters)
    assert result.dtype == np.float32
    expected = record.derivative(s.astype(np.float64), *parameters)
    assert record.derivative_tolerance.error(result, expected) <= 1


@both_types
@each
def test_values_and_derivatives_are_finite_in_the_tails(record, parameters, dtype):
    z = record.domain.astype(dtype)
    y = record.function(z, *parameters)
    s = y if record.derivative_from == "output" else z
    assert np.isfinite(y).all()
    assert np.isfinite(record.derivative(s, *parameters)).all()


@pytest.mark.parametrize(
    "name, z, expected",
    [
        ("unit_step", [-2.0, -1.0, 0.0, 1.0, 2.0], [0, 1, 1, 1, 0]),
        ("sign", [-2.0, -1.0, 0.0, 1.0, 2.0], [0, 1, 1, 1, 0]),
        ("relu", [-1.0, 0.0, 1.0], [0, 0, 1]),
        ("piecewise_linear", [-0.5, 0.0, 0.5], [0, 1, 0]),
        ("hard_tanh", [-1.0, 0.0, 1.0], [0, 1, 0]),
        ("elu", [0.0, 1.0], [1, 1]),
    ],
)
def test_derivative_at_a_kink_follows_the_convention(name, z, expected):
    record = ACTIVATIONS[name]
    z = np.array(z)
    kernel = (name, *record.parameters[0])
    s = apply(kernel, z) if record.derivative_from == "output" else z
    assert derivative(kernel, s).tolist() == expected


def test_leaky_derivative_at_zero_is_the_slope():
    assert derivative(("leaky_relu", 0.25), np.zeros(1)) == [0.25]


def test_every_spec_has_a_record_that_agrees_with_it():
    for name, spec in specs.ACTIVATIONS.items():
        if name != "rrelu":
            record = ACTIVATIONS[name]
            assert record.derivative_from == spec.derivative_from
            assert record.parameters[0] == spec().parameters


def test_every_activation_has_a_closed_form_to_be_held_against():
    assert set(CLOSED_FORMS) == set(ACTIVATIONS)


@both_types
def test_softmax_survives_huge_logits_and_sums_to_one(dtype):
    z = np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4], [1.0, 2.0, 3.0]], dtype)
    y = softmax_rows(z)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert y[0].tolist() == [1, 0, 0]
    np.testing.assert_allclose(y[2], np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum(), rtol=1e-6)


def test_softmax_goes_over_the_last_axis():
    z = np.random.RandomState(0).normal(size=(4, 5, 3))
    assert np.array_equal(softmax_rows(z)[2], softmax_rows(z[2]))


def test_ops_apply_and_differentiate(execute):
    z = np.linspace(-2, 2, 10).reshape(5, 2)
    dy = np.full((5, 2), 3.0)
    kernel = {"activation": ("leaky_relu", 0.5)}
    y = execute("activation", {"z": z}, ("y",), kernel)["y"]
    assert np.array_equal(y, np.where(z > 0, z, 0.5 * z))
    dz = execute("activation_grad", {"dy": dy, "y": y}, ("dz",), kernel)["dz"]
    assert np.array_equal(dz, np.where(z > 0, 3.0, 1.5))
    assert np.array_equal(execute("softmax", {"z": z}, ("y",))["y"], softmax_rows(z))
