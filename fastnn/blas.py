"""BLAS on one thread, for as long as its calls take turns with calls of a backend.

Its sums of long vectors have other bits on each number of threads. And a thread of OpenBLAS that has nothing more to do
stays on its core for some 20 ms, and so keeps it from the threads of the call that comes next.
"""

from contextlib import contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_lock = Lock()
_users = 0  # fits may run side by side: the first one in sets the limit, the last one out lifts it
_limit = None


@cache
def _controller():
    """Of the libraries that are loaded, which takes milliseconds to find out."""
    return ThreadpoolController()


@contextmanager
def one_thread():
    """Keeps BLAS to one thread meanwhile, in the whole process."""
    global _users, _limit
    with _lock:
        if _users == 0:
            _limit = _controller().limit(limits=1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limit.restore_original_limits()
