"""BLAS stays on one thread while somebody needs that."""

import os

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from fastnn import MLPRegressor, blas


def threads():
    np.ones((2, 2)) @ np.ones((2, 2))
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_the_last_one_out_lifts_the_limit():
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        first, second = blas.one_thread(), blas.one_thread()
        with first:
            assert threads() <= {1}
            second.__enter__()
        assert threads() <= {1}
        second.__exit__(None, None, None)
        assert threads() == before


def test_an_error_lifts_it_too():
    before = threads()
    try:
        with blas.one_thread():
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert threads() == before


def limited_in_a_child():
    """Whether BLAS is kept to one thread in a forked child."""
    child = os.fork()
    if child == 0:
        os._exit(threads() <= {1})
    return bool(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_keeps_the_limit_of_its_own_thread_only(monkeypatch):
    with threadpool_limits(2, user_api="blas"):
        if threads() <= {1}:
            pytest.skip("BLAS has a single thread here")
        with blas.one_thread():
            assert limited_in_a_child()
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(blas, "get_ident", lambda: -1)  # of no thread that forks
            other = blas.one_thread()
            other.__enter__()
        try:
            assert not limited_in_a_child()
            with blas.one_thread():
                assert limited_in_a_child()
        finally:
            other.__exit__(None, None, None)
        assert not threads() <= {1}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bits_of_a_fit_do_not_depend_on_its_threads():
    X = np.random.default_rng(0).normal(size=(60, 300))
    fitted = []
    for threads in (1, 2, 5):
        with threadpool_limits(threads, user_api="blas"):
            model = MLPRegressor(hidden_layer_sizes=(90,), solver="lbfgs", max_iter=8, random_state=0)
            fitted.append(model.fit(X, X[:, 0]))
    for other in fitted[1:]:
        np.testing.assert_array_equal(other.coefs_[0], fitted[0].coefs_[0])
