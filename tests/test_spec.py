"""Which numbers specs take, and how messages show what a user passed: whole, cut, or by its type."""

import numpy as np
import pytest

from fastnn.activations import LeakyReLU
from fastnn.augment import Rotate, Shift
from fastnn.initializers import Normal, Uniform
from fastnn.layers import Conv2D, Dropout, Reshape, Residual, TimeDistributed
from fastnn.losses import Huber, get_loss
from fastnn.optimizers import Adam
from fastnn.schedules import Step
from fastnn.spec import LONGEST, shown


class Unshowable:
    def __repr__(self):
        raise RuntimeError("has no text")


def test_short_values_are_shown_whole():
    assert shown([1, "a"]) == "[1, 'a']"
    assert shown("x" * (LONGEST - 2)) == repr("x" * (LONGEST - 2))


@pytest.mark.parametrize("value", [[0.5] * 10**6, "x" * 10**6, np.zeros((1000, 1000, 2)), {i: i for i in range(10**5)}])
def test_long_values_are_cut(value):
    assert len(shown(value)) <= LONGEST + 3


def test_what_cannot_be_shown_is_told_by_its_type():
    assert shown(Unshowable()) == "a Unshowable"


@pytest.mark.parametrize("make", [LeakyReLU, Normal, Uniform, Step, Huber, Adam, lambda value: Rotate(degrees=value)])
@pytest.mark.parametrize("value", [10**400, -(10**400), np.inf, np.nan], ids=lambda value: str(value)[:5])
def test_numbers_beyond_all_floats_are_refused(make, value):
    with pytest.raises(ValueError, match=r"\w+\(\w+=\): expected a (finite|whole) number in .* got "):
        make(value)


@pytest.mark.parametrize(
    "make",
    [
        LeakyReLU,
        Shift,
        lambda value: Conv2D(value, 3),
        lambda value: Conv2D(3, 3, padding=value),
        Dropout,
        Reshape,
        lambda value: Residual([value]),
        TimeDistributed,
        lambda value: get_loss(value, "classifier"),
    ],
)
@pytest.mark.parametrize("value", [[0.5] * 10**6, Unshowable(), "x" * 10**6], ids=["long", "unshowable", "text"])
def test_messages_stay_short(make, value):
    with pytest.raises(ValueError, match=r"got |expected ") as caught:
        make(value)
    assert len(str(caught.value)) < 3 * LONGEST
