"""Windows of a series: what is in them, and that a pipeline can forecast with them."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import SlidingWindow
from fastnn.datasets import mackey_glass

X = np.arange(14.0).reshape(7, 2)


def test_windows_end_at_their_row_and_start_with_repeats():
    windows = SlidingWindow(3, stride=2).fit_transform(X)
    assert windows.shape == (7, 6)
    assert windows[6].tolist() == [*X[2], *X[4], *X[6]]
    assert windows[1].tolist() == [*X[0], *X[0], *X[1]]


@pytest.mark.parametrize("stride", [1, 2])
def test_supervised_pairs_whole_windows_with_what_follows(stride):
    windows, targets = SlidingWindow(2, stride=stride).supervised(X, horizon=3)
    assert len(windows) == len(targets) == 7 - stride - 3
    assert windows[0].tolist() == [*X[0], *X[stride]]
    assert targets[0].tolist() == X[stride + 3].tolist()


def test_a_pipeline_forecasts():
    x = mackey_glass(1500, random_state=0)[:, np.newaxis]
    model = make_pipeline(SlidingWindow(20), Ridge(1e-6)).fit(x[:1000], x[1:1001])
    assert model.score(x[1000:-1], x[1001:]) > 0.999


def test_names_and_errors():
    names = SlidingWindow(2).fit(X).get_feature_names_out()
    assert names.tolist() == ["x0[t-1]", "x1[t-1]", "x0[t]", "x1[t]"]
    with pytest.raises(ValueError, match="hold no window of 6"):
        SlidingWindow(6).supervised(X, horizon=2)
    with pytest.raises(ValueError, match="horizon must be an int >= 1"):
        SlidingWindow(2).supervised(X, horizon=0)


# The order of rows is what a series is made of.
BY_NATURE = {
    "check_methods_sample_order_invariance": "the rows are steps in time",
    "check_methods_subset_invariance": "the rows are steps in time",
}


@parametrize_with_checks([SlidingWindow()])
@pytest.mark.filterwarnings("ignore")
def test_check(estimator, check):
    if check.func.__name__ in BY_NATURE:
        with pytest.raises(AssertionError, match="invariant"):
            check(estimator)
    else:
        check(estimator)


def test_numbers_in_numpys_small_types_do_not_overflow():
    series = np.arange(600.0)[:, np.newaxis]
    given = SlidingWindow(np.uint8(200), stride=np.uint8(2)).supervised(series, np.uint8(200))
    for came, expected in zip(given, SlidingWindow(200, stride=2).supervised(series, 200), strict=True):
        np.testing.assert_array_equal(came, expected)


@pytest.mark.parametrize("name", ["window", "stride"])
def test_numbers_without_room_are_refused(name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of SlidingWindow must be an int in the range"):
        SlidingWindow(**{name: 2**63}).fit(X)
    with pytest.raises(ValueError, match="horizon must be an int <= 2147483647, got 9223372036854775808"):
        SlidingWindow().supervised(X, horizon=2**63)
