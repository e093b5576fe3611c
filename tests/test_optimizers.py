"""Optimiser specs: kernels, states, decay, errors that say what to do. The rules are tested where
they run.
"""

import pytest

from fastnn.optimizers import (
    OPTIMIZERS,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    GradientDescent,
    RMSProp,
)


def test_the_public_names_are_these():
    assert list(OPTIMIZERS) == ["sgd", "gd", "adagrad", "rmsprop", "adam", "adamw"]


@pytest.mark.parametrize(
    "spec, kernel, n_states, decay",
    [
        (SGD(), ("sgd", 0.9, 1.0), 1, 0.0),
        (SGD(0, nesterov=False), ("sgd", 0.0, 0.0), 1, 0.0),
        (GradientDescent(), ("sgd", 0.0, 0.0), 1, 0.0),
        (AdaGrad(), ("adagrad", 1e-10), 1, 0.0),
        (RMSProp(), ("rmsprop", 0.9, 1e-8), 1, 0.0),
        (Adam(), ("adam", 0.9, 0.999, 1e-8), 2, 0.0),
        (AdamW(), ("adam", 0.9, 0.999, 1e-8), 2, 0.01),
    ],
)
def test_a_spec_says_rule_constants_states_and_decay(spec, kernel, n_states, decay):
    assert (spec.kernel, spec.n_states, spec.decay) == (kernel, n_states, decay)
    assert all(type(number) is float for number in spec.kernel[1:])


def test_only_gradient_descent_takes_all_rows():
    assert [name for name, spec in OPTIMIZERS.items() if spec.full_batch] == ["gd"]


@pytest.mark.parametrize(
    "spec, field, wrong",
    [
        (SGD, "momentum", 1.1),
        (AdaGrad, "epsilon", 0.0),
        (RMSProp, "rho", 1.0),
        (Adam, "beta_1", 1.0),
        (Adam, "beta_2", -0.1),
        (Adam, "epsilon", float("nan")),
        (AdamW, "beta_1", 1.0),
        (AdamW, "weight_decay", -1),
    ],
)
def test_constants_out_of_range_are_refused(spec, field, wrong):
    with pytest.raises(ValueError, match=rf"{spec.__name__}\({field}=\): expected .*got .*usual value"):
        spec(**{field: wrong})
