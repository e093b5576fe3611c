"""Locks that a forked child finds free."""

import os
from threading import RLock


def lasting_lock():
    """A lock for as long as the process lives, of which there may be only a few: each fork waits for all of them.

    The child of a fork has none but the thread that forked, and what another one held then would be held for ever. That
    thread itself may fork while it has the lock, in a handler of a signal.
    """
    lock = RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock
