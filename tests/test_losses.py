"""Loss specs: who may use which, kernels, targets, outputs, errors that say what to do."""

import pytest

from fastnn.losses import (
    CLASSIFIER_LOSSES,
    REGRESSOR_LOSSES,
    Hinge,
    Huber,
    LogLoss,
    Quantile,
    SquaredError,
    get_loss,
)

ALL = [
    (kind, name)
    for kind, table in (("classifier", CLASSIFIER_LOSSES), ("regressor", REGRESSOR_LOSSES))
    for name in table
]


def test_the_public_names_are_these():
    assert list(CLASSIFIER_LOSSES) == ["log_loss", "squared_error", "hinge", "perceptron"]
    assert list(REGRESSOR_LOSSES) == [
        "squared_error",
        "absolute_error",
        "huber",
        "poisson",
        "quantile",
    ]


@pytest.mark.parametrize("kind, name", ALL)
def test_a_name_gives_the_spec_with_default_numbers(kind, name):
    spec = get_loss(name, kind)
    assert spec.name == name
    assert get_loss(spec, kind) is spec
    if name != "log_loss":
        assert spec.kernel() == spec.kernel(multiclass=True) == (name, *spec.parameters)


def test_log_loss_has_a_kernel_and_an_output_for_one_and_for_several_columns():
    spec = LogLoss()
    assert (spec.kernel(multiclass=True), spec.output_activation(multiclass=True)) == (
        ("softmax_log_loss",),
        "softmax",
    )
    assert (spec.kernel(), spec.output_activation()) == (("logistic_log_loss",), "logistic")


@pytest.mark.parametrize("kind, name", [case for case in ALL if case[1] != "log_loss"])
def test_outputs_are_plain_but_for_poisson(kind, name):
    assert get_loss(name, kind).output_activation() == ("exp" if name == "poisson" else "identity")


@pytest.mark.parametrize(
    "name, values",
    [("log_loss", (0, 1)), ("squared_error", (-1, 1)), ("hinge", (-1, 1)), ("perceptron", (-1, 1))],
)
def test_classes_become_these_targets(name, values):
    assert get_loss(name, "classifier").target_values == values


def test_numbers_reach_the_kernel():
    assert Huber(2).kernel() == ("huber", 2.0)
    assert Quantile(0.9).kernel() == ("quantile", 0.9)


@pytest.mark.parametrize("spec, field, wrong", [(Huber, "delta", 0), (Quantile, "q", 0), (Quantile, "q", 1.0)])
def test_numbers_out_of_range_are_refused(spec, field, wrong):
    with pytest.raises(ValueError, match=rf"{spec.__name__}\({field}=\): expected .*got .*usual value"):
        spec(**{field: wrong})


@pytest.mark.parametrize(
    "wrong, kind, cure",
    [
        ("hinge", "regressor", "belongs to a classifier"),
        (Hinge(), "regressor", "belongs to a classifier"),
        ("poisson", "classifier", "belongs to a regressor"),
        ("mse", "regressor", "pass a spec"),
        (SquaredError, "regressor", r"write SquaredError\(\)"),
    ],
)
def test_a_loss_of_the_wrong_kind_is_refused_with_the_cure(wrong, kind, cure):
    with pytest.raises(ValueError, match=f"loss of a {kind}: expected one of .*squared_error.*{cure}"):
        get_loss(wrong, kind)
