"""What X may be, and what is said about what it may not be."""

import numpy as np
import pandas as pd
import pytest

from fastnn import ESNClassifier, ESNRegressor, RecurrentClassifier, RecurrentRegressor
from fastnn.layers import GRU, Embedding

random = np.random.default_rng(0)
SERIES = [random.standard_normal((length, 2)) for length in (3, 5, 4, 6)]
y = np.array([0, 1, 0, 1])


def fit(X, Estimator=ESNClassifier, **options):
    return Estimator(10, random_state=0).fit(X, y, **options)


def padded(series, fill=np.nan):
    X = np.full((len(series), max(map(len, series)), series[0].shape[1]), fill)
    for row, x in zip(X, series, strict=True):
        row[: len(x)] = x
    return X, [len(x) for x in series]


def test_every_form_means_the_same():
    expected = fit(SERIES).decision_function(SERIES)
    X, lengths = padded(SERIES)
    objects = np.empty(4, object)
    objects[:] = SERIES
    frames = pd.Series(SERIES, index=list("dcba"))
    for same in (tuple(SERIES), objects, frames, [x.tolist() for x in SERIES], [np.asfortranarray(x) for x in SERIES]):
        assert np.array_equal(fit(same).decision_function(same), expected)
    assert np.array_equal(fit(X, lengths=lengths).decision_function(X, lengths=np.array(lengths)), expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_sequences_and_targets_of_each_step_in_a_series_of_pandas():
    steps, tokens = [x[:, 0] for x in SERIES], [np.arange(len(x)) for x in SERIES]
    regressor = RecurrentRegressor([GRU(3, return_sequences=True)], max_iter=2, random_state=0)
    classifier = RecurrentClassifier([Embedding(6, 2), GRU(3)], max_iter=2, random_state=0)
    for model, X, target in ((regressor, SERIES, steps), (classifier, tokens, y)):
        fits = [model.fit(*data).loss_curve_ for data in ((X, target), (pd.Series(X), pd.Series(target)))]
        assert fits[0] == fits[1]


def test_a_table_is_a_series_of_one_channel_a_row():
    table = random.standard_normal((4, 7))
    expected = fit(table).decision_function(table)
    for same in (table[:, :, np.newaxis], list(table[:, :, np.newaxis]), list(table), table.tolist()):
        assert np.array_equal(fit(same).decision_function(same), expected)
    assert fit(table).n_features_in_ == 7
    assert fit(table[:, :, np.newaxis]).n_features_in_ == 1
    assert np.array_equal(fit(table[:, :, np.newaxis]).decision_function(table), expected)


def test_numbers_whose_sum_is_beyond_all_are_read():
    huge = [np.full((3, 2), value, np.float32) for value in (3e38, -3e38, 1.0, 2.0)]
    huge[2][0] = 3e38, -3e38
    assert np.isfinite(fit(huge).decision_function(huge)).all()


def test_whole_numbers_and_single_precision():
    assert fit([np.arange(6).reshape(3, 2)] * 4)._dtype == np.float64
    assert fit([x.astype(np.float32) for x in SERIES])._dtype == np.float32
    assert fit([SERIES[0].astype(np.float32), *SERIES[1:]])._dtype == np.float64


@pytest.mark.parametrize(
    "X, lengths, message",
    [
        ([], None, "X is an empty list"),
        ([SERIES[0], np.zeros((0, 2)), *SERIES[2:]], None, r"X\[1\] is an empty sequence"),
        ([SERIES[0], SERIES[1][:, :1], *SERIES[2:]], None, r"X\[1\] has 1 channels, X\[0\] has 2"),
        ([SERIES[0], [[1, 2], [3]], *SERIES[2:]], None, r"X\[1\] has steps of different numbers of channels"),
        ([SERIES[0], SERIES[1][:, 0], *SERIES[2:]], None, r"X\[1\] has shape \(5,\), expected \(time, channels\)"),
        ([SERIES[0], SERIES[1] * np.nan, *SERIES[2:]], None, r"X\[1\] contains NaN"),
        (padded(SERIES)[0], None, "X contains NaN"),
        (padded(SERIES)[0], [3, 5, 5, 6], "X contains NaN"),
        (padded(SERIES, 0.0)[0], [3, 0, 4, 6], r"lengths\[1\] is 0; a sequence has at least 1"),
        (padded(SERIES, 0.0)[0], [3, 5, 4, 7], r"lengths\[3\] is 7; a sequence has at most 6"),
        (padded(SERIES, 0.0)[0], [3, 5, 4], "lengths must be 4 whole numbers"),
        (padded(SERIES, 0.0)[0], [3.0, 5.0, 4.0, 6.0], "lengths must be 4 whole numbers"),
        (SERIES, [3, 5, 4, 6], "lengths belong to padded arrays"),
        (np.zeros((4, 0, 2)), None, "holds no numbers"),
        (np.zeros((4, 3, 2, 1)), None, r"expected X of shape \(n, time, channels\)"),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("Estimator", [ESNClassifier, ESNRegressor])
def test_bad_input(X, lengths, message, Estimator):
    with pytest.raises(ValueError, match=message):
        fit(X, Estimator, lengths=lengths)


STEPS = [x[:, 0] for x in SERIES]


@pytest.mark.parametrize(
    "values, message",
    [
        (STEPS[:3], "y has 3 sequences, X has 4"),
        ([STEPS[0], STEPS[1][:-1], *STEPS[2:]], r"y\[1\] has shape \(4,\), expected values for each of the 5 steps"),
        ([STEPS[0], STEPS[1][:, np.newaxis], *STEPS[2:]], r"y\[1\] has shape \(5, 1\)"),
        ([STEPS[0], STEPS[1] * np.nan, *STEPS[2:]], r"y\[1\] contains NaN"),
        ([0.0, 1.0, np.nan, 0.0], "contains NaN"),
        ([0.0, 1.0, 0.0], "inconsistent numbers of samples"),
        (None, "the target y is None"),
    ],
    ids=range(7),
)
def test_bad_targets(values, message):
    with pytest.raises(ValueError, match=message):
        ESNRegressor(10, random_state=0).fit(SERIES, values)


@pytest.mark.parametrize(
    "labels, message",
    [
        (STEPS, "Unknown label type"),
        (
            [np.zeros(len(x), int)[:-1] for x in SERIES],
            r"y\[0\] has shape \(2,\), expected values for each of the 3 steps",
        ),
        ([0, 1, 0], "inconsistent numbers of samples"),
        (None, "the target y is None"),
    ],
    ids=range(4),
)
def test_bad_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        ESNClassifier(10, random_state=0).fit(SERIES, labels)


def test_prediction_wants_the_channels_of_the_fit():
    model = fit(SERIES)
    with pytest.raises(ValueError, match="X has 3 channels, but the fit had 2"):
        model.predict([np.zeros((4, 3))])
    with pytest.raises(ValueError, match="X has 1 channels, but the fit had 2"):
        model.predict(np.zeros((4, 5)))


@pytest.mark.parametrize("Estimator", [ESNClassifier, ESNRegressor])
def test_lengths_count_in_a_list_of_series_that_are_equally_long(Estimator):
    X, lengths = np.random.default_rng(2).standard_normal((4, 6)), [6, 2, 4, 3]
    expected = fit(X, Estimator, lengths=lengths).predict(X, lengths=lengths)
    for form in (list(X), X.tolist()):
        assert np.array_equal(fit(form, Estimator, lengths=lengths).predict(form, lengths=lengths), expected)


@pytest.mark.parametrize("Estimator", [ESNClassifier, ESNRegressor])
@pytest.mark.parametrize("kind", [list, tuple])
def test_values_of_each_step_may_be_lists(Estimator, kind):
    steps = [np.arange(len(x)) % 2 for x in SERIES]
    expected = Estimator(10, random_state=0).fit(SERIES, steps)
    model = Estimator(10, random_state=0).fit(SERIES, [kind(values.tolist()) for values in steps])
    assert model.each_step_
    assert np.array_equal(model.coef_, expected.coef_)


def test_lists_as_long_as_equally_long_sequences_are_labels_of_steps_but_outputs_of_a_regressor():
    X, y = np.random.default_rng(2).standard_normal((4, 3, 2)), [[0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]]
    assert ESNClassifier(10, random_state=0).fit(list(X), y).each_step_
    model = ESNRegressor(10, random_state=0).fit(list(X), y)
    assert (model.each_step_, model.n_outputs_) == (False, 3)
