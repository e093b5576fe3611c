"""The cache of compiled plans: bounded in entries and bytes, the least recently used first, shared by threads."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace

import numpy as np
import pytest

from fastnn import ConvNet
from fastnn.layers import Conv2D, MaxPool2D
from fastnn.native import layout as native_layout
from fastnn.native.cache import Cache

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def sized(name, nbytes):
    return SimpleNamespace(name=name, nbytes=nbytes)


def test_results_are_kept():
    cache = Cache(sized, entries=2, limit=100)
    assert cache("a", 10) is cache("a", 10)
    assert (len(cache), cache.nbytes) == (1, 10)
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


@pytest.mark.parametrize(("entries", "limit"), [(3, 10**6), (64, 30)])
def test_the_least_recently_used_goes_first(entries, limit):
    cache = Cache(sized, entries, limit)
    a, b, _ = (cache(name, 10) for name in "abc")
    assert cache("a", 10) is a
    cache("d", 10)
    assert (len(cache), cache.nbytes) == (3, 30)
    assert cache("a", 10) is a
    assert cache("b", 10) is not b
    assert (len(cache), cache.nbytes) == (3, 30)


def test_what_is_too_large_drives_nothing_out():
    cache = Cache(sized, entries=3, limit=30)
    a = cache("a", 10)
    assert cache("huge", 31) is not cache("huge", 31)
    assert cache("a", 10) is a
    assert (len(cache), cache.nbytes) == (1, 10)


def test_threads_share_the_first_result():
    together = Barrier(4)

    def make(name, nbytes):
        together.wait(60)
        return sized(name, nbytes)

    cache = Cache(make, entries=3, limit=100)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: cache("a", 10), range(4)))
    assert all(result is results[0] for result in results)
    assert (len(cache), cache.nbytes) == (1, 10)


def test_fits_and_predictions_of_many_shapes_stay_below_the_bound(monkeypatch):
    compiled, bound, made = native_layout.compiled, 1 << 17, []

    def noted(*arguments, make=compiled.function):
        made.append(make(*arguments))
        return made[-1]

    compiled.clear()
    monkeypatch.setattr(compiled, "function", noted)
    monkeypatch.setattr(compiled, "limit", bound)
    rng = np.random.default_rng(0)
    for side in range(8, 28):
        X, y = rng.random((20, side, side + 1, 1), np.float32), np.arange(20) % 2
        model = ConvNet([Conv2D(4, 3), MaxPool2D(2)], max_iter=1, random_state=0).fit(X, y)
        outputs = model.predict_proba(X)
        for rows in (1, 3, 9):
            np.testing.assert_allclose(model.predict_proba(X[:rows]), outputs[:rows], rtol=1e-5)
            assert 0 < compiled.nbytes <= bound
    assert sum(one.nbytes for one in made) > 2 * bound, "the bound was never reached"
    assert compiled.nbytes == sum(kept.nbytes for kept in compiled._kept.values())


def test_a_layout_that_is_gone_still_serves_its_runner(monkeypatch):
    X, y = np.random.default_rng(1).random((40, 9, 9, 1), np.float32), np.arange(40) % 2
    model = ConvNet([Conv2D(4, 3), MaxPool2D(2)], max_iter=3, random_state=0)
    kept = model.set_params(n_iter_no_change=99).fit(X, y).predict_proba(X)
    gone = model.set_params(epoch_callback=lambda epoch: native_layout.compiled.clear()).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(gone, kept)
