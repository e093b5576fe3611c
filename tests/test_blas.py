"""BLAS stays on one thread while somebody needs that."""

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from fastnn import blas


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
