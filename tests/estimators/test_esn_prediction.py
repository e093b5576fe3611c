"""Predictions of echo state networks in a row: the reservoir that is kept between them is never seen."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastnn import ESNRegressor, reservoir
from fastnn.native import _machine


def unknown(esn):
    """The same network without anything kept."""
    return pickle.loads(pickle.dumps(esn))


CHANGES = {
    "inputs in place": lambda esn: np.negative(esn.input_weights_, esn.input_weights_),
    "biases in place": lambda esn: np.add(esn.bias_, 1, esn.bias_),
    "values of a matrix in place": lambda esn: np.negative(esn.recurrent_weights_.data, esn.recurrent_weights_.data),
    "places in a matrix": lambda esn: setattr(esn, "recurrent_weights_", esn.recurrent_weights_.T.tocsc()),
    "a dense matrix": lambda esn: setattr(esn, "recurrent_weights_", esn.recurrent_weights_.toarray() * 0.9),
    "the readout": lambda esn: np.multiply(esn.coef_, 2, esn.coef_),
    "threads": lambda esn: esn.set_params(n_jobs=1),
    "backend": lambda esn: esn.set_params(backend="numpy"),
    "a fit": lambda esn: esn.set_params(leak=0.9).fit(*series(1)),
    "a chunk": lambda esn: esn.partial_fit(*series(1)),
}


def series(seed, dtype=np.float64):
    X = np.random.default_rng(seed).uniform(-1, 1, (3, 40, 2))
    return X.astype(dtype), np.cumsum(X[..., 0], axis=1)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_reservoir_that_is_kept_is_never_seen(change, dtype):
    X, y = series(0, dtype)
    esn = ESNRegressor(30, random_state=0).fit(X, y)
    twin = copy.copy(esn)
    before = esn.predict(X)
    np.testing.assert_array_equal(before, unknown(esn).predict(X))
    change(esn)
    for model in (esn, twin, copy.deepcopy(esn)):
        np.testing.assert_array_equal(model.predict(X), unknown(model).predict(X))
    assert np.array_equal(before, esn.predict(X)) == (change is CHANGES["threads"])


def test_an_array_that_was_replaced_may_change(backend):
    """A reservoir that is kept has weights of its own: new lengths need them later."""
    X, y = series(0)
    esn = ESNRegressor(30, random_state=0, backend=backend).fit(X, y)
    expected = esn.predict(X[:, :9])
    esn = unknown(esn)
    old, esn.bias_ = esn.bias_, esn.bias_.copy()
    esn.predict(X)
    old.fill(9.0)
    np.testing.assert_array_equal(esn.predict(X[:, :9]), expected)


def test_the_instruction_set_may_change(monkeypatch):
    X, y = series(0)
    esn = ESNRegressor(30, random_state=0).fit(X, y)
    for isa in _machine.isa_names():
        monkeypatch.setenv("FASTNN_ISA", isa)
        np.testing.assert_array_equal(esn.predict(X), unknown(esn).predict(X))
    monkeypatch.setenv("FASTNN_ISA", "none")
    with pytest.raises(ValueError, match="FASTNN_ISA names an instruction set that is not here"):
        esn.predict(X)


def test_many_lengths_do_not_pile_up():
    X, y = series(0)
    esn = ESNRegressor(30, random_state=0).fit(X, y)
    long = np.random.default_rng(1).uniform(-1, 1, (1, 1000, 2))
    alone = [esn.predict(long[:, :n]) for n in range(1, 1000, 8)]
    assert len(esn._echo().runners) <= reservoir.RUNNERS
    for n, values in zip(range(1, 1000, 8), alone, strict=True):
        np.testing.assert_array_equal(values, esn.predict(long[:, :n]))


def test_many_states_do_not_pile_up(monkeypatch, backend):
    monkeypatch.setattr(reservoir, "RUNNERS_STATES", 210 * 30)
    X, y = series(0)
    esn = ESNRegressor(30, random_state=0, backend=backend).fit(X, y)
    esn._kept.clear()
    for n, runners in ((96, 1), (104, 2), (8, 3), (88, 3), (1000, 1), (40, 1)):
        esn.predict(np.ones((1, n, 2)))
        assert len(esn._echo().runners) == runners


def test_large_reservoirs_are_not_kept():
    X, y = series(0)
    esn = ESNRegressor(400, topology="orthogonal", random_state=0).fit(X, y)
    assert esn._echo() is not esn._echo()
    np.testing.assert_array_equal(esn.predict(X), unknown(esn).predict(X))


def test_predictions_in_several_threads_at_once():
    X, y = series(0)
    esn = ESNRegressor(30, random_state=0).fit(X, y)
    lengths = [1 + 3 * i % 40 for i in range(64)]
    expected = [unknown(esn).predict(X[:, :n]) for n in lengths]
    with ThreadPoolExecutor(8) as pool:
        for values, same in zip(pool.map(lambda n: esn.predict(X[:, :n]), lengths), expected, strict=True):
            np.testing.assert_array_equal(values, same)
