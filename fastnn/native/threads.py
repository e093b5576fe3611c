"""How many threads a call gets: as its work deserves, within what the user, the environment and the machine allow."""

import math
from functools import cache
from threading import Lock
from time import perf_counter

import joblib

from fastnn.native import _executor

# A second thread pays once a step takes some 100 microseconds alone: digits, 64-32-10 in batches of 200 (70
# microseconds) gain nothing from it on an idle machine and lose on a busy one, 784-100-10 gains 1.7 times.
OPERATIONS_PER_THREAD = 6_000_000
# Calls of more operations (some 5 ms) take all threads without a trial: one on a single thread would cost more than it
# tells, and their threads wait for each other only at the end.
OPERATIONS_WITHOUT_TRIAL = 1_000_000_000


@cache
def cpu_count():
    """CPUs this process may use, cgroup limits included; asked for once, since the answer costs 30 microseconds."""
    return joblib.cpu_count()


def effective_threads(n_jobs=None):
    """The largest number of threads a call may use.

    Parameters
    ----------
    n_jobs : int or None
        None: as many as OMP_NUM_THREADS and the CPUs of this process allow. Positive: that many. Negative: the CPUs
        plus 1 plus n_jobs, as in joblib.

    Returns
    -------
    int
        1 inside another OpenMP region and in builds without OpenMP.
    """
    if n_jobs == 0:
        raise ValueError("n_jobs must not be 0; use None for all CPUs or a positive number")
    allowed = _executor.max_threads()
    if allowed == 1 or not _executor.has_openmp():
        return 1
    if n_jobs is None:
        return max(1, min(allowed, cpu_count()))
    return max(1, cpu_count() + 1 + n_jobs) if n_jobs < 0 else int(n_jobs)


def threads_for(operations, limit):
    """Threads for a step of so many floating-point operations, at most `limit`."""
    return int(max(1, min(limit, operations // OPERATIONS_PER_THREAD)))


class Pace:
    """Whether a step is faster on one thread or on several, found out by running it.

    Threads that wait for each other at every step lose by far more than they gain as soon as another process wants
    one of their cores (digits, 64-32-10, both cores busy: 24 ms a fit on one thread, 318 ms on two). As bits do not
    depend on the number of threads, a fit may change it at any time: both are tried on a few batches, and again
    every half second. Times are means over 2 ms at least, the better of the last two where they are of less than 20 ms,
    and the first call on several threads of a trial, which wakes them, does not count: so one call that something else
    has held up decides nothing.
    (On two threads a call may wait 4 milliseconds for the system to give the second one a core of its own. Predictions
    of 10 000 rows of 30-100-2 had then stayed on one thread, 870 microseconds instead of 447.)

    Parameters
    ----------
    threads : int
        The larger number of threads.
    clock : callable
        Seconds.

    Calls of `next` and `record` may come from several threads at once, as predictions do.
    """

    TRIAL = 2e-3
    SURE = 20e-3
    PERIOD = 0.5
    SHARE = 0.02

    def __init__(self, threads, operations=0, clock=perf_counter):
        self.threads, self.clock = threads, clock
        self.seconds = dict.fromkeys((threads, 1), math.inf)  # of a batch, by number of threads
        self.last = dict.fromkeys((threads, 1), math.inf)  # the latest mean
        self.recent = dict.fromkeys((threads, 1), (0, 0.0))  # batches and their seconds that are not in there yet
        self.trials = [threads, 1] if threads > 1 and operations <= OPERATIONS_WITHOUT_TRIAL else []
        self.waking = bool(self.trials)  # the next call on several threads only wakes them
        self.since, self._lock = clock(), Lock()

    def next(self, n_batches):
        """(threads, batches) of the next call, out of `n_batches` that are to be run."""
        if self.threads == 1:
            return 1, n_batches
        with self._lock:
            if not self.trials and self.clock() >= self.since + self._pause:
                self.trials = [1 if self.best > 1 else self.threads]
                self.waking = self.best == 1
            if not self.trials:
                return self.best, n_batches
            n = max(1, min(n_batches, int(self.TRIAL / min(self.seconds.values()))))
            return self.threads if self.waking else self.trials[0], n

    @property
    def _pause(self):
        """Seconds from one trial to the next."""
        return max(self.PERIOD, self.threads * min(self.seconds.values()) / self.SHARE)

    @property
    def best(self):
        return min(self.seconds, key=self.seconds.get)

    def record(self, threads, batches, seconds):
        """What a call took."""
        if self.threads == 1 or not batches:
            return
        with self._lock:
            if self.waking and threads > 1:
                self.waking = False
                self.seconds[threads] = min(self.seconds[threads], seconds / batches)
                return
            batches, seconds = batches + self.recent[threads][0], seconds + self.recent[threads][1]
            self.recent[threads] = batches, seconds
            if seconds < self.TRIAL:
                return
            mean, self.recent[threads] = seconds / batches, (0, 0.0)
            self.seconds[threads] = mean if seconds >= self.SURE else min(mean, self.last[threads])
            self.last[threads] = mean
            if self.trials:
                self.trials.pop(0)
                self.since = self.clock()
