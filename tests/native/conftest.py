import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fastnn.native import _machine, conv_windows, threads
from tests.native import once


@pytest.fixture(params=_machine.isa_names())
def isa(request):
    return request.param


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


@pytest.fixture
def any_work_deserves_threads(monkeypatch):
    monkeypatch.setattr(threads, "OPERATIONS_PER_THREAD", 1)


@pytest.fixture
def always_windows(monkeypatch):
    """The weights' gradient behind a pool window by window wherever vectors hold a window."""

    def cycles(layout, op, rounded=False):
        return -np.inf if conv_windows.fits(layout, op) else np.inf

    monkeypatch.setattr(conv_windows, "cycles", cycles)


def case_of(item):
    """The name of a test without its instruction set."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return item.nodeid.replace(str(parameters.get("isa", "")), "", 1) if "isa" in parameters else item.nodeid


def pytest_collection_modifyitems(items):
    """The instruction sets of a case stand one after another, where the first of them stood."""
    places = {}
    items.sort(key=lambda item: places.setdefault(case_of(item), len(places)))


@pytest.fixture(autouse=True)
def results_of_this_case_only(request):
    once.keep_for(case_of(request.node))


@pytest.fixture(autouse=True, scope="package")
def products_of_the_reference_on_one_thread():
    """They are small: a second thread of BLAS mostly waits, and more so beside other processes."""
    with threadpool_limits(1, user_api="blas"):
        yield
