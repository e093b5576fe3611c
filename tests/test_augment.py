"""Specs of expanded data: what a plan carries, which rows they apply to, what they refuse."""

import numpy as np
import pytest

from fastnn.augment import (
    AUGMENTATIONS,
    Cutout,
    GaussianNoise,
    HorizontalFlip,
    Mixup,
    Rotate,
    Scale,
    Shift,
    TimeMask,
    VerticalFlip,
    Zoom,
    get_augmentations,
)

IMAGE, SIGNAL = (28, 28, 1), (150, 3)


def test_the_public_names_are_these():
    names = ["shift", "rotate", "zoom", "horizontal_flip", "vertical_flip", "cutout"]
    assert list(AUGMENTATIONS) == [*names, "gaussian_noise", "scale", "time_mask", "mixup"]


def test_kernels_hold_name_and_numbers():
    assert Shift(2).kernel == ("shift", 2.0)
    assert Rotate(15).kernel == ("rotate", 15.0)
    assert HorizontalFlip().kernel == ("horizontal_flip", 0.5)
    assert Mixup().kernel == ("mixup", 0.2)


def test_a_stretch_of_time_is_a_square_along_one_axis():
    assert TimeMask(5).kernel == Cutout(5).kernel


@pytest.mark.parametrize("spec", [spec() for spec in AUGMENTATIONS.values()], ids=str)
def test_a_spec_accepts_the_rows_it_applies_to(spec):
    for shape, kind in ((IMAGE, "images"), (SIGNAL, "signals")):
        if kind in spec.applies_to:
            spec.check(shape)
        else:
            with pytest.raises(ValueError, match=rf"{type(spec).__name__}\(.*expected .*got rows of .*for {kind}"):
                spec.check(shape)


@pytest.mark.parametrize(
    "spec, shape, way_out",
    [
        (Rotate(), SIGNAL, "for signals there is Shift, GaussianNoise, Scale, TimeMask, Mixup"),
        (Scale(), IMAGE, "for images there is Shift, Rotate, .*Mixup"),
        (Shift(), (784,), "check the input's shape"),
        (Mixup(), (2, 3, 4, 5), "check the input's shape"),
    ],
)
def test_rows_of_another_kind_are_refused_with_place_and_way_out(spec, shape, way_out):
    with pytest.raises(ValueError, match=rf"augment\[1\] {type(spec).__name__}.*{way_out}"):
        spec.check(shape, "augment[1]")


@pytest.mark.parametrize(
    "spec, shape", [(Shift(28), IMAGE), (Shift(0.99), (8, 8, 1)), (Cutout(9), (9, 30, 3)), (TimeMask(3), (2, 5))]
)
def test_sizes_that_leave_nothing_of_a_row_are_refused(spec, shape):
    with pytest.raises(ValueError, match=r"expected a size below the shortest side.*choose a smaller size"):
        spec.check(shape)


@pytest.mark.parametrize("spec", [Shift, Cutout, TimeMask])
def test_sizes_are_whole_numbers_or_fractions(spec):
    for size in (1, 4, np.int64(3), 0.25, np.float32(0.5)):
        assert spec(size).size == size
    for size in (0, -1, 1.5, 1.0, 0.0, -0.1, True, np.nan, "2", None):
        with pytest.raises(ValueError, match=rf"{spec.__name__}\(size=\): expected .*got .*usual value"):
            spec(size)


@pytest.mark.parametrize(
    "spec, field, wrong",
    [
        (Rotate, "degrees", 0),
        (Rotate, "degrees", 181),
        (Zoom, "fraction", 1.0),
        (Zoom, "fraction", 0.0),
        (HorizontalFlip, "probability", 0),
        (VerticalFlip, "probability", 1.1),
        (GaussianNoise, "std", 0.0),
        (GaussianNoise, "std", np.inf),
        (Scale, "std", -1),
        (Mixup, "alpha", 0),
        (Mixup, "alpha", 1.5),
    ],
)
def test_numbers_out_of_range_are_refused(spec, field, wrong):
    with pytest.raises(ValueError, match=rf"{spec.__name__}\({field}=\): expected .*got .*usual value"):
        spec(**{field: wrong})


def test_specs_and_names_become_a_tuple_of_specs():
    assert get_augmentations(None, IMAGE) == get_augmentations([], IMAGE) == ()
    assert get_augmentations(["rotate", Shift(2)], IMAGE) == (Rotate(), Shift(2))


@pytest.mark.parametrize("wrong", [["shift", "rotation"], [Shift(), Rotate], [None, 3]])
def test_an_unknown_augmentation_is_refused_with_its_place(wrong):
    with pytest.raises(ValueError, match=r"augment\[[01]\]: expected one of shift, rotate, .*augmentation spec, got"):
        get_augmentations(wrong, IMAGE)


@pytest.mark.parametrize("wrong", ["shift", Shift(), 3, np.array(["shift"])])
def test_what_is_no_list_is_refused(wrong):
    with pytest.raises(ValueError, match=r"augment: expected a list of names and specs, .* got "):
        get_augmentations(wrong, IMAGE)


def test_a_list_is_checked_against_the_rows():
    with pytest.raises(ValueError, match=r"^ConvNet: augment\[1\] Zoom\(fraction=0.1\): expected images"):
        get_augmentations([Shift(), Zoom()], SIGNAL, "ConvNet: augment")
