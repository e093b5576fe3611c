"""Backends that can run here: NumPy always, the compiled core where it is built."""

import os

# scikit-learn skips its array API checks without it; read by scipy on import, hence before anything else.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import pytest

try:
    import fastnn.native  # noqa: F401

    BACKENDS = ["numpy", "native"]
except ImportError:
    BACKENDS = ["numpy"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param
