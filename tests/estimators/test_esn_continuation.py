"""What happens between calls: fits that go on, parameters changed meanwhile, copies, threads, failures."""

import pickle
from threading import Thread

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone

from fastnn import ESNClassifier, ESNRegressor

random = np.random.default_rng(0)
X = [random.standard_normal((length, 2)) for length in random.integers(3, 30, 40)]
CLASSES = np.array([int(x.mean() > 0) for x in X])
STEPS = [np.cumsum(x[:, 0]) for x in X]


def test_partial_fit_goes_on_after_fit():
    whole = ESNClassifier(20, random_state=0).fit(X, CLASSES)
    esn = ESNClassifier(20, random_state=0).fit(X[:20], CLASSES[:20])
    again = pickle.loads(pickle.dumps(esn))
    for model in (esn, again):
        model.partial_fit(X[20:], CLASSES[20:])
        np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "changed",
    [
        {"units": 30},
        {"leak": 0.5},
        {"features": ("state",)},
        {"washout": 1},
        {"solver": "rls"},
        {"precision": "float32"},
    ],
    ids=str,
)
def test_changed_parameters_wait_for_the_next_fit(changed):
    esn = ESNRegressor(20, random_state=0).fit(X, STEPS)
    before = np.concatenate(esn.predict(X))
    esn.set_params(**changed)
    assert np.array_equal(np.concatenate(esn.predict(X)), before)
    (name,) = changed
    with pytest.raises(ValueError, match=f"{name} was .* in the first call and cannot become"):
        esn.partial_fit(X, STEPS)
    expected = np.concatenate(clone(esn).fit(X, STEPS).predict(X))
    assert np.array_equal(np.concatenate(esn.fit(X, STEPS).predict(X)), expected)


@pytest.mark.parametrize("parameter", [{"backend": "cuda"}, {"n_jobs": 0}, {"precision": "float16"}, {"units": 0}])
@pytest.mark.parametrize(("Estimator", "y"), [(ESNClassifier, CLASSES), (ESNRegressor, STEPS)])
def test_parameters_set_between_calls_of_partial_fit_are_checked(Estimator, y, parameter):
    esn = Estimator(20, random_state=0).fit(X, y).set_params(**parameter)
    with pytest.raises(ValueError, match=f"The '{next(iter(parameter))}' parameter of {Estimator.__name__}"):
        esn.partial_fit(X, y)


def test_another_penalty_may_come_with_the_next_chunk():
    esn = ESNRegressor(20, alpha=1.0, random_state=0).partial_fit(X[:20], STEPS[:20])
    esn.set_params(alpha=0.1).partial_fit(X[20:], STEPS[20:])
    whole = ESNRegressor(20, alpha=0.1, random_state=0).fit(X, STEPS)
    np.testing.assert_allclose(esn.coef_, whole.coef_, rtol=1e-6, atol=1e-9)


def test_a_chunk_of_one_sequence_with_as_many_outputs_as_steps():
    series, y = np.random.default_rng(0).normal(size=(2, 6, 4))
    esn = ESNRegressor(20, random_state=0)
    parts = clone(esn).partial_fit(series[:5], y[:5]).partial_fit(series[5:], y[5:])
    np.testing.assert_allclose(parts.coef_, esn.fit(series, y).coef_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("y", "message"), [(np.ones(len(X)), "1 for each sequence"), ([[[1, 2]] * len(x) for x in X], "2 for each step")]
)
def test_outputs_stay_those_of_the_first_call(y, message):
    esn = ESNRegressor(20, random_state=0).partial_fit(X, STEPS)
    with pytest.raises(ValueError, match=f"outputs other than in the first call: {message}, not 1 for each step"):
        esn.partial_fit(X, y)


def test_a_chunk_that_fails_leaves_the_sums_alone():
    esn = ESNRegressor(20, activation="identity", spectral_radius=3.0, leak=1.0, random_state=0)
    esn.partial_fit(X, STEPS)
    before = esn.coef_
    with pytest.raises(ValueError, match="grown beyond all numbers; scale X and y, lower spectral_radius"):
        esn.partial_fit([np.ones((3000, 2))], [np.ones(3000)])
    assert esn.coef_ is before
    whole = clone(esn).fit([*X, *X], [*STEPS, *STEPS])
    np.testing.assert_allclose(esn.partial_fit(X, STEPS).coef_, whole.coef_, rtol=1e-4, atol=1e-9)


def test_fits_and_predictions_in_many_threads_and_jobs():
    esn = ESNRegressor(100, random_state=0).fit(X, STEPS)
    expected, results = np.concatenate(esn.predict(X)), [None] * 8

    def run(i):
        results[i] = np.concatenate((clone(esn).fit(X, STEPS) if i % 2 else esn).predict(X))

    threads = [Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(result, expected) for result in results)
    jobs = joblib.Parallel(n_jobs=2)(joblib.delayed(clone(esn).fit)(X, STEPS) for _ in range(2))
    assert all(np.array_equal(np.concatenate(job.predict(X)), expected) for job in jobs)


def test_tables_keep_the_names_of_their_columns():
    table = pd.DataFrame(np.random.default_rng(1).standard_normal((20, 5)), columns=list("abcde"))
    y = (table.mean(axis=1) > 0).to_numpy()
    esn = ESNClassifier(20, random_state=0).fit(table, y)
    assert list(esn.feature_names_in_) == list("abcde")
    with pytest.raises(ValueError, match="feature names"):
        esn.predict(table[list("edcba")])
    assert not hasattr(esn.fit([row.to_numpy()[:, np.newaxis] for _, row in table.iterrows()], y), "feature_names_in_")


def test_single_precision_stays():
    esn = ESNRegressor(20, random_state=0).fit([x.astype(np.float32) for x in X], STEPS)
    assert {values.dtype for values in esn.predict(X)} == {np.dtype(np.float32)}
    double = ESNRegressor(20, random_state=0).fit(X, STEPS)
    assert np.abs(np.concatenate(esn.predict(X)) - np.concatenate(double.predict(X))).max() < 0.05


@pytest.mark.parametrize("topology", ["random", "ring", "orthogonal"])
def test_weights_may_be_exchanged(topology):
    """Predictions use what is in the arrays, whatever the pattern of a sparse matrix."""
    esn = ESNRegressor(20, topology=topology, random_state=0).fit(X, STEPS)
    dense = np.random.default_rng(2).standard_normal((20, 20)) * (np.random.default_rng(3).random((20, 20)) < 0.1) / 3
    before = np.concatenate(esn.predict(X))
    esn.recurrent_weights_ = dense
    expected = np.concatenate(esn.predict(X))
    assert not np.array_equal(expected, before)
    for form in (sparse.csc_array, sparse.csr_array, sparse.coo_array):
        esn.recurrent_weights_ = form(dense)
        np.testing.assert_allclose(np.concatenate(esn.predict(X)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("coef_", lambda coef: None, "coef_: expected an array of real numbers, got None"),
        ("coef_", lambda coef: coef[:, :0], r"coef_: expected shape \(\d+, \d\), got \(\d+, 0\)"),
        ("intercept_", lambda intercept: 0.0, r"intercept_: expected shape \(\d,\), got \(\)"),
        ("input_weights_", np.transpose, r"input_weights_: expected shape \(\d, 20\), got \(20, \d\)"),
        ("recurrent_weights_", lambda W: W[:5], r"recurrent_weights_: expected shape \(20, 20\), got \(5, 20\)"),
        ("bias_", lambda bias: ["a"] * 20, "bias_: expected an array of real numbers"),
        ("coef_", sparse.csr_array, "coef_: expected an array of real numbers, got <"),
        ("input_weights_", sparse.csr_array, "input_weights_: expected an array of real numbers, got <"),
    ],
)
def test_weights_that_do_not_fit_are_named(attribute, value, message, backend):
    esn = ESNRegressor(20, random_state=0, backend=backend).fit(X, STEPS)
    setattr(esn, attribute, value(getattr(esn, attribute)))
    with pytest.raises(ValueError, match=f"ESNRegressor: {message}"):
        esn.predict(X)


def test_lists_of_numbers_may_stand_for_weights(backend):
    esn = ESNRegressor(20, random_state=0, backend=backend).fit(X, STEPS)
    expected = esn.predict(X)
    for name in ("coef_", "intercept_", "input_weights_", "bias_"):
        setattr(esn, name, getattr(esn, name).tolist())
    for actual, wanted in zip(esn.predict(X), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_the_penalty_that_recursive_least_squares_begin_with_stays():
    esn = ESNRegressor(20, alpha=1e-3, solver="rls", random_state=0).partial_fit(X, STEPS)
    with pytest.raises(ValueError, match=r"alpha was 0\.001 in the first call and cannot become 10"):
        esn.set_params(alpha=10.0).partial_fit(X, STEPS)
