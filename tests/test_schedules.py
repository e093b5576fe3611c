"""Schedule specs: endpoints, shapes, resumption, scikit-learn's rates."""

import numpy as np
import pytest
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

from fastnn.schedules import (
    SCHEDULES,
    Adaptive,
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    Step,
    WarmUp,
    get_schedule,
)

PER_EPOCH, EPOCHS, ROWS = 10, 6, 95
TOTAL = PER_EPOCH * EPOCHS


def rates(spec, first=0, n=TOTAL, base=2.0):
    return spec.rates(base, first, n, PER_EPOCH, TOTAL, ROWS)


def test_the_public_names_are_these():
    names = [
        "constant",
        "invscaling",
        "adaptive",
        "step",
        "exponential",
        "cosine",
        "one_cycle",
        "warm_up",
    ]
    assert list(SCHEDULES) == names


@pytest.mark.parametrize("name", SCHEDULES)
def test_any_stretch_of_a_fit_is_a_stretch_of_the_whole(name):
    spec = get_schedule(name)
    whole = rates(spec)
    assert whole.shape == (TOTAL,) and whole.dtype == np.float64
    assert np.array_equal(rates(spec, first=13, n=25), whole[13:38])
    assert rates(spec, n=0).shape == (0,)


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_positive_at_most_the_base_rate_and_scale_with_it(name):
    whole = rates(get_schedule(name))
    assert np.all(whole > 0) and whole.max() <= 2
    np.testing.assert_allclose(rates(get_schedule(name), base=1.0), whole / 2)


@pytest.mark.parametrize("spec", [Constant(), Adaptive()])
def test_constant_and_adaptive_keep_the_base_rate(spec):
    assert np.all(rates(spec) == 2)


def test_only_adaptive_schedules_are_marked():
    marked = {name for name in SCHEDULES if get_schedule(name).adaptive}
    assert marked == {"adaptive"}
    assert WarmUp(then="adaptive").adaptive
    assert (Adaptive.divisor, Adaptive.minimum) == (5.0, 1e-6)


def test_inverse_scaling_is_scikit_learns():
    theirs = SGDOptimizer([], learning_rate_init=2.0, lr_schedule="invscaling", power_t=0.3)
    expected = []
    for epoch in range(EPOCHS):
        expected += [theirs.learning_rate] * PER_EPOCH
        theirs.iteration_ends((epoch + 1) * ROWS)
    np.testing.assert_allclose(rates(InverseScaling(0.3)), expected, rtol=1e-15)


def test_step_drops_after_every_so_many_epochs():
    by_epoch = rates(Step(every=2, factor=0.1)).reshape(EPOCHS, PER_EPOCH)
    np.testing.assert_allclose(by_epoch, np.repeat([[2], [2], [0.2], [0.2], [0.02], [0.02]], PER_EPOCH, axis=1))


def test_exponential_shrinks_each_epoch():
    by_epoch = rates(Exponential(0.5)).reshape(EPOCHS, PER_EPOCH)
    np.testing.assert_allclose(by_epoch, np.repeat(2 * 0.5 ** np.arange(EPOCHS)[:, np.newaxis], PER_EPOCH, axis=1))


def test_cosine_goes_from_base_through_the_middle_towards_the_final_rate():
    whole = rates(Cosine(final=0.1), n=TOTAL + 5)
    assert whole[0] == 2
    assert whole[TOTAL // 2] == pytest.approx(2 * 0.55)
    np.testing.assert_allclose(whole[TOTAL:], 0.2)
    assert np.all(np.diff(whole[: TOTAL + 1]) < 0)


def test_one_cycle_rises_to_the_base_rate_and_ends_far_below_its_start():
    whole = OneCycle(warmup_fraction=0.25).rates(2.0, 0, 101, PER_EPOCH, 101)
    assert whole[0] == pytest.approx(2 / 25)
    assert whole.argmax() == 25 and whole[25] == 2
    assert whole[-1] == pytest.approx(2 / 25 / 1e4)
    assert np.all(np.diff(whole[:26]) > 0) and np.all(np.diff(whole[25:]) < 0)


def test_one_cycle_without_warm_up_starts_at_the_peak():
    assert rates(OneCycle(warmup_fraction=0.0))[0] == 2


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_a_fit_of_a_single_step_has_a_rate(name):
    assert np.isfinite(get_schedule(name).rates(2.0, 0, 1, 1, 1)).all()


def test_warm_up_rises_linearly_and_hands_over():
    spec = WarmUp(epochs=1.5, then=Cosine())
    whole = rates(spec)
    np.testing.assert_allclose(whole[:15], 2 * np.arange(1, 16) / 15)
    assert np.array_equal(whole[15:], Cosine().rates(2.0, 0, TOTAL - 15, PER_EPOCH, TOTAL - 15))
    assert spec.needs_total and not WarmUp().needs_total


@pytest.mark.parametrize(
    "spec, missing",
    [
        (Cosine(), "total_steps"),
        (WarmUp(then="one_cycle"), "total_steps"),
        (InverseScaling(), "samples"),
    ],
)
def test_a_schedule_says_what_it_needs_to_know(spec, missing):
    with pytest.raises(ValueError, match=f"{missing}.* got None"):
        spec.rates(1.0, 0, 5, 5)


@pytest.mark.parametrize(
    "spec, field, wrong",
    [
        (InverseScaling, "power", -1),
        (Step, "every", 0),
        (Step, "every", 1.5),
        (Step, "factor", 0.0),
        (Exponential, "factor", 1.5),
        (Cosine, "final", 2),
        (OneCycle, "warmup_fraction", 1.0),
        (OneCycle, "start_divisor", 0.5),
        (WarmUp, "epochs", 0),
    ],
)
def test_numbers_out_of_range_are_refused(spec, field, wrong):
    with pytest.raises(ValueError, match=rf"{spec.__name__}\({field}=\): expected .*got .*usual value"):
        spec(**{field: wrong})


@pytest.mark.parametrize(
    "wrong, cure", [("linear", "pass a spec"), (Cosine, r"write Cosine\(\)"), (None, "pass a spec")]
)
def test_an_unknown_schedule_is_refused_with_place_names_and_cure(wrong, cure):
    with pytest.raises(ValueError, match=f"learning_rate: expected one of constant, .*warm_up.*{cure}"):
        get_schedule(wrong)


def test_warm_up_refuses_an_unknown_follower():
    with pytest.raises(ValueError, match=r"WarmUp\(then=\): expected one of constant"):
        WarmUp(then="linear")
