"""BLAS on one thread, for as long as its calls take turns with calls of a backend.

Its sums of long vectors have other bits on each number of threads. And a thread of OpenBLAS that has nothing more to do
stays on its core for some 20 ms, and so keeps it from the threads of the call that comes next.
"""

import os
from contextlib import contextmanager
from functools import cache
from threading import get_ident

from threadpoolctl import ThreadpoolController

from fastnn.locks import lasting_lock

_lock = lasting_lock()
_users = []  # threads; fits may run side by side: the first one in sets the limit, the last one out lifts it
_limit = None


@cache
def _controller():
    """Of the libraries that are loaded, which takes milliseconds to find out."""
    return ThreadpoolController()


@contextmanager
def one_thread():
    """Keeps BLAS to one thread meanwhile, in the whole process."""
    global _limit
    user = get_ident()
    with _lock:
        if not _users:
            _limit = _controller().limit(limits=1, user_api="blas")
        _users.append(user)
    try:
        yield
    finally:
        with _lock:
            _users.remove(user)
            if not _users:
                _limit.restore_original_limits()


def _leave_others():
    """Lifts the limit in a forked child unless the thread that forked needs it: the others are not there."""
    own = [user for user in _users if user == get_ident()]
    if _users and not own:
        _limit.restore_original_limits()
    _users[:] = own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_others)
