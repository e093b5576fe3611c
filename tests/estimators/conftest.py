"""Both backends, for tests that hold for either."""

import os

# scikit-learn skips its array API checks without it; read by scipy on import, hence before anything else.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import pytest

BACKENDS = ["numpy", "native"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param
