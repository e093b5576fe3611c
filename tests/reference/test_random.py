"""Random numbers of the reference: known answers, permutations, masks that depend on nothing but
their place.
"""

import numpy as np
import pytest
from scipy.stats import beta, chi2, kstest

from fastnn.reference import Step
from fastnn.reference.random import element_words, philox, shuffle


@pytest.mark.parametrize(
    "counter, key, expected",
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(counter, key, expected):
    words = philox(key[0] | key[1] << 32, *counter)
    assert " ".join(f"{word:08x}" for word in words.tolist()) == expected


def test_philox_broadcasts_counters():
    words = philox(7, np.arange(3)[:, np.newaxis], np.arange(2), 5, 9)
    assert words.shape == (3, 2, 4)
    assert np.array_equal(words[2, 1], philox(7, 2, 1, 5, 9))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 9, 1000])
def test_shuffle_is_a_permutation(n):
    order = shuffle(n, seed=3, epoch=0)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(n))


def test_shuffle_follows_its_definition_word_by_word():
    n, seed, epoch = 11, 2**40 + 5, 6
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        word = int(philox(seed, i // 4, 0, epoch, 0)[i % 4])
        j = word * (i + 1) >> 32
        order[i], order[j] = order[j], order[i]
    assert shuffle(n, seed, epoch).tolist() == order


def test_shuffle_differs_between_epochs_and_seeds_and_repeats():
    orders = [tuple(shuffle(50, seed, epoch)) for seed in (0, 1, 2**32) for epoch in (0, 1, 2)]
    assert len(set(orders)) == 9
    assert orders[0] == tuple(shuffle(50, 0, 0))


def test_shuffle_gives_all_permutations_alike():
    draws = [tuple(shuffle(3, 1, epoch)) for epoch in range(1200)]
    counts = np.unique(np.array(draws), axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 200) ** 2 / 200).sum() < chi2.ppf(0.9999, 5)


def test_element_words_depend_on_the_place_in_the_batch_alone():
    whole = element_words(5, 1, 3, 0, 10, 9)
    assert np.array_equal(whole[4:7], element_words(5, 1, 3, 4, 3, 9))
    assert np.array_equal(whole[:, :6], element_words(5, 1, 3, 0, 10, 6))
    assert whole[2, 7] == philox(5, 1, 2, 3, 1)[3]


@pytest.mark.parametrize("change", [{"seed": 6}, {"stream": 2}, {"t": 4}])
def test_element_words_differ_between_seeds_streams_and_steps(change):
    place = {"seed": 5, "stream": 1, "t": 3, "first_row": 0, "rows": 4, "columns": 9}
    assert not np.any(element_words(**place) == element_words(**place | change))


class TestDropout:
    attributes = {"rate": 0.3, "stream": 1}
    step = Step(n=400, t=1, seed=9)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_drops_its_share_and_scales_the_rest(self, execute, dtype):
        y = execute("dropout", {"x": np.ones((400, 33), dtype)}, ("y",), self.attributes, self.step)["y"]
        assert y.dtype == dtype
        assert np.all((y == 0) | (y == dtype(1 / 0.7)))
        assert np.mean(y == 0) == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / y.size))

    def test_keeps_where_the_word_reaches_the_threshold(self, execute):
        y = execute("dropout", {"x": np.ones((400, 33))}, ("y",), self.attributes, self.step)["y"]
        words = element_words(9, 1, 1, 0, 400, 33)
        assert np.array_equal(y > 0, words >= int(0.3 * 2**32))

    def test_gradient_has_the_same_mask(self, execute):
        x = np.random.RandomState(0).normal(size=(400, 5))
        y = execute("dropout", {"x": x}, ("y",), self.attributes, self.step)["y"]
        dx = execute("dropout_grad", {"dy": x}, ("dx",), self.attributes, self.step)["dx"]
        assert np.array_equal(y, dx)

    def test_rate_zero_changes_nothing(self, execute):
        x = np.random.RandomState(0).normal(size=(400, 5))
        y = execute("dropout", {"x": x}, ("y",), {"rate": 0.0, "stream": 1}, self.step)["y"]
        assert np.array_equal(x, y)

    def test_dropped_infinities_leave_no_trace(self, execute):
        y = execute("dropout", {"x": np.full((400, 5), np.inf)}, ("y",), self.attributes, self.step)["y"]
        assert not np.isnan(y).any()

    def test_every_position_of_a_row_has_a_mask_of_its_own(self, execute):
        images = execute("dropout", {"x": np.ones((400, 2, 3, 5))}, ("y",), self.attributes, self.step)["y"]
        rows = execute("dropout", {"x": np.ones((2400, 5))}, ("y",), self.attributes, Step(n=2400, t=1, seed=9))["y"]
        assert np.array_equal(images.reshape(2400, 5), rows)

    def test_a_chunk_of_images_continues_the_mask_of_the_batch(self, execute):
        whole = execute("dropout", {"x": np.ones((9, 4, 3))}, ("y",), self.attributes, Step(n=9, t=1, seed=9))["y"]
        chunk = execute("dropout", {"x": np.ones((4, 4, 3))}, ("y",), self.attributes, Step(n=4, t=1, seed=9, row=5))
        assert np.array_equal(chunk["y"], whole[5:])

    @pytest.mark.parametrize("kind", ["dropout", "dropout_grad"])
    def test_channels_are_dropped_as_a_whole_with_the_mask_of_features(self, execute, kind):
        attributes = self.attributes | {"channels": True}
        images = execute(kind, {"x": np.ones((400, 2, 3, 5))}, ("y",), attributes, self.step)["y"]
        features = execute("dropout", {"x": np.ones((400, 5))}, ("y",), self.attributes, self.step)["y"]
        assert np.array_equal(images, np.broadcast_to(features[:, None, None], images.shape))


class TestStateMask:
    def test_is_the_dropout_of_ones(self, execute):
        attributes, step = {"rate": 0.3, "stream": 1}, Step(n=50, t=2, seed=9, row=7)
        for dtype in (np.float32, np.float64):
            mask = execute("state_mask", {}, {"mask": np.empty((0, 33), dtype)}, attributes, step)["mask"]
            ones = execute("dropout", {"x": np.ones((50, 33), dtype)}, ("y",), attributes, step)["y"]
            assert mask.dtype == dtype and np.array_equal(mask, ones)


class TestMix:
    def mix(self, execute, a, b, alpha, **step):
        step = Step(**{"n": len(a), "t": 2, "seed": 3} | step)
        return execute("mix", {"a": a, "b": b}, ("y",), {"stream": 4, "alpha": alpha}, step)["y"]

    def shares(self, execute, alpha, rows=4000, dtype=np.float64, **step):
        return self.mix(execute, np.ones((rows, 1), dtype), np.zeros((rows, 1), dtype), alpha, **step)[:, 0]

    @pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0])
    def test_shares_follow_the_beta_distribution(self, execute, alpha):
        assert kstest(self.shares(execute, alpha), beta(alpha, alpha).cdf).pvalue > 0.01

    def test_shares_follow_their_definition_word_by_word(self, execute):
        for row, share in enumerate(self.shares(execute, 0.3, rows=20, row=7)):
            for trial in range(1000):
                words = philox(3, trial, row + 7, 2, 4)
                a, b = (((int(words[i]) + 0.5) / 2**32) ** (1 / 0.3) for i in range(2))
                if 0 < a + b <= 1:
                    break
            assert share == pytest.approx(a / (a + b), rel=1e-14)

    def test_a_tiny_alpha_picks_one_of_the_two(self, execute):
        shares = self.shares(execute, 1e-3)
        assert (np.minimum(shares, 1 - shares) < 1e-12).mean() > 0.9 and 0.4 < shares.mean() < 0.6

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_rows_of_any_shape_are_mixed_by_one_share_each(self, execute, dtype):
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((2, 6, 2, 3, 4)).astype(dtype)
        y = self.mix(execute, a, b, 0.5)
        share = self.shares(execute, 0.5, rows=6, dtype=dtype).reshape(6, 1, 1, 1)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, share * a + (1 - share) * b, rtol=1e-6)


class TestRReLU:
    attributes = {"lower": 0.125, "upper": 1 / 3, "stream": 2}
    step = Step(n=300, t=4, seed=1)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_slopes_fill_the_interval_and_positive_values_pass(self, execute, dtype):
        z = np.random.RandomState(0).normal(size=(300, 30)).astype(dtype)
        y = execute("rrelu", {"z": z}, ("y",), self.attributes, self.step)["y"]
        assert y.dtype == dtype
        assert np.array_equal(y[z >= 0], z[z >= 0])
        slopes = (y / z)[z < 0]
        assert slopes.min() >= 0.125 - 1e-6 and slopes.max() <= 1 / 3 + 1e-6
        width = 1 / 3 - 0.125
        assert slopes.mean() == pytest.approx((0.125 + 1 / 3) / 2, abs=5 * width / np.sqrt(12 * slopes.size))
        assert slopes.std() == pytest.approx(width / np.sqrt(12), rel=0.05)

    def test_gradient_has_the_same_slopes(self, execute):
        z = np.random.RandomState(0).normal(size=(300, 30))
        y = execute("rrelu", {"z": z}, ("y",), self.attributes, self.step)["y"]
        dz = execute("rrelu_grad", {"dy": np.ones_like(z), "z": z}, ("dz",), self.attributes, self.step)["dz"]
        np.testing.assert_allclose(dz, y / z, rtol=1e-14)
