"""Augmentation of the reference: each transform against a plain computation, and how its numbers are spread."""

import numpy as np
import pytest
from scipy import ndimage, stats

from fastnn.reference import Step
from fastnn.reference.augment import CHANGES, MAPS, normal, warp
from fastnn.reference.random import philox

STREAM = 3
STEP = Step(n=400, t=2, seed=11)


@pytest.fixture
def augment(execute):
    """augment(x, *transforms) -> y, with the first transform drawing from STREAM."""

    def run(x, *transforms, step=STEP):
        return execute("augment", {"x": x}, ("y",), {"transforms": transforms, "stream": STREAM}, step)["y"]

    return run


def words(n=400, transform=0, quad=0):
    """The words that a transform of the first n rows draws, as Python's integers."""
    return philox(STEP.seed, quad, np.arange(n), STEP.t, STREAM + transform).astype(object)


def images(n=400, shape=(9, 12, 2)):
    return np.random.default_rng(0).uniform(0.5, 1.5, (n, *shape))


def moved(x, down, right):
    """x with zeros shifted in, by rolling a padded image."""
    wide = np.pad(x, ((x.shape[0],) * 2, (x.shape[1],) * 2, (0, 0)))
    return np.roll(wide, (down, right), (0, 1))[x.shape[0] : 2 * x.shape[0], x.shape[1] : 2 * x.shape[1]]


def mapped(x, matrix, offset):
    """scipy's bilinear interpolation of one image; the map is given about the centre."""
    centre = (np.array(x.shape[:2]) - 1) / 2
    offset = centre - matrix @ centre + offset
    options = {"order": 1, "mode": "grid-constant", "cval": 0.0}
    return np.stack([ndimage.affine_transform(c, matrix, offset, **options) for c in np.moveaxis(x, 2, 0)], axis=-1)


def turned(word, degrees):
    angle = np.deg2rad(degrees * (word / 2**31 - 1))
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("size, down, right", [(2, 2, 2), (0.3, 3, 4), (0.01, 1, 1)])
def test_a_shift_rolls_zeros_in_and_all_shifts_are_as_likely(augment, size, down, right):
    x, counts = images(), np.zeros((2 * down + 1, 2 * right + 1))
    for one, result, word in zip(x, augment(x, ("shift", float(size))), words(), strict=True):
        by = [(word[axis] * (2 * reach + 1) >> 32) - reach for axis, reach in enumerate((down, right))]
        assert np.array_equal(result, moved(one, *by))
        counts[by[0] + down, by[1] + right] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 1e-4


def test_signals_shift_along_time(augment):
    x, steps = np.random.default_rng(0).normal(size=(400, 20, 3)), set()
    for one, result, word in zip(x, augment(x, ("shift", 3.0)), words(), strict=True):
        by = (word[1] * 7 >> 32) - 3
        assert np.array_equal(result, moved(one[np.newaxis], 0, by)[0])
        steps.add(by)
    assert steps == set(range(-3, 4))


def test_a_rotation_is_scipys_and_its_angles_are_uniform(augment):
    x = images(50)
    y, drawn = augment(x, ("rotate", 40.0)), words(50)[:, 0]
    for one, result, word in zip(x, y, drawn, strict=True):
        np.testing.assert_allclose(result, mapped(one, turned(word, 40), 0), atol=1e-12)
    assert stats.kstest(words()[:, 0].astype(float) / 2**32, "uniform").pvalue > 1e-4


def test_a_quarter_turn_is_counter_clockwise(augment):
    x = images(1, (7, 7, 2))
    quarter = MAPS["rotate"](np.array([[3 << 30]], np.uint64), 180.0, (7, 7))
    np.testing.assert_allclose(warp(x, quarter), np.rot90(x, axes=(1, 2)), atol=1e-12)


def test_a_zoom_is_scipys_and_enlarges_where_the_factor_exceeds_one(augment):
    x = images(50)
    for one, result, word in zip(x, augment(x, ("zoom", 0.3)), words(50)[:, 0], strict=True):
        factor = 1 + 0.3 * (word / 2**31 - 1)
        np.testing.assert_allclose(result, mapped(one, np.eye(2) / factor, 0), atol=1e-12)
        dimmed = warp(np.ones((1, 9, 12, 1)), MAPS["zoom"](np.array([[word]]), 0.3, (9, 12)))[0, 0, 0, 0] < 1
        assert dimmed == (factor < 1)


@pytest.mark.parametrize("name, axis", [("vertical_flip", 0), ("horizontal_flip", 1)])
def test_flips_happen_as_often_as_they_should(augment, name, axis):
    x = images()
    y = augment(x, (name, 0.3))
    flipped = np.array([np.array_equal(result, np.flip(one, axis)) for one, result in zip(x, y, strict=True)])
    assert np.array_equal(y[~flipped], x[~flipped])
    assert stats.binomtest(int(flipped.sum()), 400, 0.3).pvalue > 1e-4
    assert np.array_equal(augment(x, (name, 1.0)), np.flip(x, axis + 1))


def test_neighbouring_maps_become_one_interpolation(augment):
    x = images(30)
    y = augment(x, ("shift", 2.0), ("rotate", 60.0), ("zoom", 0.2), ("horizontal_flip", 1.0))
    for one, result, move, turn, zoom in zip(x, y, words(30), words(30, 1), words(30, 2), strict=True):
        by = np.array([(word * 5 >> 32) - 2 for word in move[:2]])
        matrix = turned(turn[0], 60) @ (np.diag([1, -1]) / (1 + 0.2 * (zoom[0] / 2**31 - 1)))
        np.testing.assert_allclose(result, mapped(one, matrix, -by), atol=1e-12)


def test_whole_maps_in_a_row_are_exact(augment):
    x = images(20)
    y = augment(x, ("horizontal_flip", 1.0), ("vertical_flip", 1.0), ("horizontal_flip", 1.0))
    assert np.array_equal(y, np.flip(x, 1))


def test_cutout_zeroes_a_square_around_a_uniform_centre(augment):
    x, rows, columns = images(), [], []
    for one, result, word in zip(x, augment(x, ("cutout", 4.0)), words(), strict=True):
        row, column = (word[0] * 9 >> 32), (word[1] * 12 >> 32)
        expected = one.copy()
        expected[max(row - 2, 0) : row + 2, max(column - 2, 0) : column + 2] = 0
        assert np.array_equal(result, expected)
        rows.append(row)
        columns.append(column)
    assert stats.chisquare(np.bincount(rows, minlength=9)).pvalue > 1e-4
    assert stats.chisquare(np.bincount(columns, minlength=12)).pvalue > 1e-4


@pytest.mark.parametrize("size, side", [(0.5, 4), (0.01, 1), (3.0, 3)])
def test_a_cutouts_fraction_is_of_the_shorter_side(augment, size, side):
    zeros = [np.count_nonzero(one == 0) for one in augment(images(), ("cutout", size))]
    assert max(zeros) == side * side * 2


def test_time_is_masked_in_all_channels(augment):
    x = np.ones((400, 30, 2))
    for result, word in zip(augment(x, ("cutout", 0.2)), words(), strict=True):
        centre = word[1] * 30 >> 32
        masked = np.zeros(30, bool)
        masked[max(centre - 3, 0) : centre + 3] = True
        assert np.array_equal(result, np.where(masked[:, np.newaxis], 0, x[0]))


def test_noise_is_normal_and_each_elements_own(augment):
    x = images(200, (11, 9, 1))
    noise = (augment(x, ("gaussian_noise", 0.2)) - x) / 0.2
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(noise.reshape(200, -1)[:, :20].T) - np.eye(20)).max() < 0.4
    assert len(np.unique(noise)) > 0.999 * noise.size


def test_noise_follows_box_and_muller_word_by_word(augment):
    y = augment(np.zeros((3, 3, 3, 1)), ("gaussian_noise", 1.0)).reshape(3, 9)
    for row in range(3):
        for e in range(9):
            pair = [int(word) >> 8 for word in words(3, quad=e // 4)[row, e % 4 // 2 * 2 :][:2]]
            radius = np.sqrt(-2 * np.log((pair[0] + 1) / 2**24))
            angle = 2 * np.pi * (pair[1] / 2**24 - 0.5)
            assert y[row, e] == pytest.approx(radius * (np.sin(angle) if e % 2 else np.cos(angle)), abs=1e-12)


def test_the_farthest_normal_number_is_finite():
    extreme = np.array([[0, 2**31, 2**32 - 1, 0]], np.uint64)
    np.testing.assert_allclose(normal(extreme)[0], [np.sqrt(48 * np.log(2)), 0, 0, 0], atol=1e-12)


def test_a_signal_is_scaled_by_one_number(augment):
    x = np.random.default_rng(0).uniform(0.5, 1.5, (2000, 10, 2))
    factors = augment(x, ("scale", 0.2)) / x
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1], x.shape))
    assert stats.kstest((factors[:, 0, 0] - 1) / 0.2, "norm").pvalue > 1e-4


EVERYTHING = (("gaussian_noise", 0.1), ("shift", 2.0), ("rotate", 30.0), ("cutout", 3.0), ("horizontal_flip", 0.5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rows_changes_depend_on_its_place_in_the_batch_alone(augment, dtype):
    x = images(40).astype(dtype)
    whole = augment(x, *EVERYTHING)
    assert whole.dtype == dtype
    assert np.array_equal(whole[13:20], augment(x[13:20], *EVERYTHING, step=Step(n=7, row=13, t=2, seed=11)))


@pytest.mark.parametrize("change", [{"seed": 12}, {"t": 3}, {"row": 40}])
@pytest.mark.parametrize("transform", EVERYTHING[:4], ids=str)
def test_changes_differ_between_seeds_steps_and_rows(augment, transform, change):
    x = images(40)
    other = Step(**{"n": 40, "t": 2, "seed": 11} | change)
    same = augment(x, transform) == augment(x, transform, step=other)
    assert np.mean(same.all((1, 2, 3))) < 0.25


def test_the_same_transform_twice_draws_twice(augment):
    x = images(40)
    once, twice = (augment(x, *[("gaussian_noise", 1.0)] * count) - x for count in (1, 2))
    assert not np.any(np.isclose(twice, 2 * once))


def test_no_transform_changes_nothing(augment):
    x = images(4)
    assert np.array_equal(augment(x), x)


def test_every_transform_is_tested_here_by_name():
    assert set(MAPS) | set(CHANGES) == {
        "shift", "rotate", "zoom", "horizontal_flip", "vertical_flip", "cutout", "gaussian_noise", "scale",
    }  # fmt: skip
