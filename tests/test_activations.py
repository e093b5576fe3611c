"""Activation specs: names, numbers, errors that say what to do."""

import dataclasses

import pytest

from fastnn import activations
from fastnn.activations import ACTIVATIONS, Exp, LeakyReLU, ReLU, RReLU, Softmax, get_activation

NAMES = [
    "identity", "unit_step", "sign", "piecewise_linear", "logistic", "tanh", "relu", "leaky_relu",
    "rrelu", "softplus", "elu", "selu", "gelu", "silu", "mish", "hard_tanh",
]  # fmt: skip


def test_the_public_names_are_these():
    assert list(ACTIVATIONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_name_gives_the_spec_with_default_numbers(name):
    spec = get_activation(name)
    assert spec == ACTIVATIONS[name]() and spec.name == name
    assert spec.kernel == (name, *spec.parameters)
    assert all(isinstance(number, float) for number in spec.parameters)
    assert spec.derivative_from in ("output", "input")
    assert get_activation(spec) is spec


def test_default_numbers_are_those_of_the_papers():
    assert get_activation("leaky_relu").parameters == (0.01,)
    assert get_activation("elu").parameters == (1.0,)
    assert get_activation("rrelu").parameters == (1 / 8, 1 / 3)


def test_specs_are_frozen_hashable_values():
    assert LeakyReLU(0.1) == LeakyReLU(0.1) != LeakyReLU(0.2)
    assert len({LeakyReLU(0.1), LeakyReLU(0.1), ReLU()}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        LeakyReLU().slope = 1


def test_randomised_slopes_become_their_mean_at_prediction():
    assert RReLU(0.1, 0.3).at_prediction == LeakyReLU(0.2)


@pytest.mark.parametrize("number", [-0.1, float("nan"), float("inf"), "0.1", None, True])
@pytest.mark.parametrize(
    "spec, field",
    [("LeakyReLU", "slope"), ("ELU", "alpha"), ("RReLU", "lower"), ("RReLU", "upper")],
)
def test_numbers_out_of_range_are_refused_with_place_range_and_usual_value(spec, field, number):
    with pytest.raises(ValueError, match=rf"{spec}\({field}=\): expected .* in \[0, inf\), got .*usual value"):
        getattr(activations, spec)(**{field: number})


def test_crossed_slopes_are_refused():
    with pytest.raises(ValueError, match="lower <= upper"):
        RReLU(0.5, 0.25)


@pytest.mark.parametrize("wrong", ["rleu", 3, None, [1.0, 2.0]])
def test_an_unknown_activation_is_refused_with_place_and_names(wrong):
    with pytest.raises(ValueError, match=r"layers\[0\]: expected one of identity, .*hard_tanh.*got"):
        get_activation(wrong, where="layers[0]")


def test_a_class_in_place_of_a_spec_is_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"write LeakyReLU\(\)"):
        get_activation(LeakyReLU)


@pytest.mark.parametrize("wrong", ["softmax", Softmax()])
def test_softmax_is_left_to_the_loss(wrong):
    with pytest.raises(ValueError, match="the log loss chooses"):
        get_activation(wrong)


def test_the_poisson_output_is_understood_but_not_listed():
    assert get_activation("exp") == Exp()
    assert "exp" not in ACTIVATIONS
