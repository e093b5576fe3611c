import numpy as np
import pytest

from fastnn.native import _executor
from fastnn.native import run as native_run


@pytest.fixture(params=_executor.isa_names())
def isa(request):
    return request.param


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


@pytest.fixture
def any_work_deserves_threads(monkeypatch):
    monkeypatch.setattr(native_run, "threads_for", lambda operations, limit: limit)
