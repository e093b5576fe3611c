"""How many threads a call gets: as its work deserves, within what the user, the environment and the machine allow."""

import math
from collections import deque
from functools import cache
from time import perf_counter

import joblib

from fastnn.locks import lasting_lock
from fastnn.native import _machine

# A second thread pays once a step takes some 100 microseconds alone: 784-100-10 in batches of 200 gains 1.9 times.
OPERATIONS_PER_THREAD = 6_000_000
# Steps of more operations (some 40 microseconds) gain from two threads on an idle machine (digits, 64-100-10 in batches
# of 200: 1.3 times), and lose so much on a busy one that a fit has to be long for a trial.
OPERATIONS_FOR_TWO = 4_000_000
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
    allowed = _machine.max_threads()
    if allowed == 1 or not _machine.has_openmp():
        return 1
    if n_jobs is None:
        return max(1, min(allowed, cpu_count()))
    return max(1, cpu_count() + 1 + n_jobs) if n_jobs < 0 else int(n_jobs)


def threads_for(operations, limit):
    """Threads for a step of so many floating-point operations, at most `limit`."""
    least = 2 if operations >= OPERATIONS_FOR_TWO else 1
    return int(max(1, min(limit, max(least, operations // OPERATIONS_PER_THREAD))))


_lock = lasting_lock()  # of every Pace, for a few microseconds


class Recent:
    """Batches and seconds of the last calls."""

    def __init__(self):
        self.calls, self.batches, self.seconds = deque(), 0, 0.0

    def add(self, batches, seconds, window):
        """Adds a call, and forgets those before the last `window` seconds of calls."""
        self.calls.append((batches, seconds))
        self.batches, self.seconds = self.batches + batches, self.seconds + seconds
        while self.seconds - self.calls[0][1] >= window:
            batches, seconds = self.calls.popleft()
            self.batches, self.seconds = self.batches - batches, self.seconds - seconds

    @property
    def mean(self):
        return self.seconds / self.batches


class Pace:
    """Whether a step is faster on one thread or on several, found out by running it.

    Threads that wait for each other at every step lose by far more than they gain as soon as another process wants
    one of their cores (digits, 64-32-10, both cores busy: 24 ms a fit on one thread, 318 ms on two). As bits do not
    depend on the number of threads, a fit may change it at any time: both are tried on a few batches, and again
    every half second. Times are means over the last 20 ms, in trials over 2 ms, so that one call that something else
    has held up does not decide for the next half second: on two threads a call may wait 4 ms for the system to give the
    second one a core of its own. (Predictions of 10 000 rows of 30-100-2 had then stayed on one thread, for 870 instead
    of 447 microseconds.) The first call of a trial on several threads, which wakes them, does not count; what speaks
    against them has to be seen twice.

    A pause before a trial of several threads is shorter at first, as long as all that has gone before it, but at least
    so long that trials take a tenth of the time: threads of BLAS, which what came before the fit has used, keep the
    cores busy for 100 ms. (A fit of 0.25 s right behind a product of matrices: 0.36 s instead of 0.46.)

    Short steps gain least: they begin with such a pause, and the first sign of a busy core ends a trial. (Digits,
    64-100-10 for 0.4 s: 0.83 of the time on an idle machine, 1.03 to 1.06 beside another process that takes a core.)

    Parameters
    ----------
    threads : int
        The larger number of threads.
    operations : int
        Floating-point operations of a batch; 0 for calls that are no steps of training.
    clock : callable
        Seconds.

    Calls of `next` and `record` may come from several threads at once, as predictions do.
    """

    TRIAL = 2e-3
    WINDOW = 20e-3
    PERIOD = 0.5
    SHARE = 0.02
    EARLY_SHARE = 0.1

    def __init__(self, threads, operations=0, clock=perf_counter):
        self.threads, self.clock = threads, clock
        self.seconds = dict.fromkeys((threads, 1), math.inf)  # of a batch, by number of threads
        self.recent = {threads: Recent(), 1: Recent()}
        self.trials = [1, threads] if threads > 1 and operations <= OPERATIONS_WITHOUT_TRIAL else []
        self.born = self.begun = self.since = clock()
        self.short = 0 < operations < 2 * OPERATIONS_PER_THREAD
        if self.short:
            self.trials = self.trials[:1]
            self.begun -= 5 * self.TRIAL  # what a trial on several may take on a busy machine
        self.waking = len(self.trials) > 1  # the next call, on several threads, only wakes them
        self.doubt = math.inf  # what a trial has said against several threads

    def next(self, n_batches):
        """(threads, batches) of the next call, out of `n_batches` that are to be run."""
        if self.threads == 1:
            return 1, n_batches
        with _lock:
            left = self.since + self._pause - self.clock()
            if not self.trials and left <= 0:
                self.trials = [1 if self.best > 1 else self.threads]
                self.waking, self.begun = self.best == 1, self.clock()
                self.recent[self.trials[0]] = Recent()
            if not self.trials:
                before_trial = left / self.seconds[self.best] if self.best == 1 else n_batches
                return self.best, max(1, int(min(n_batches, before_trial)))
            if self.waking:
                return self.threads, 1
            return self.trials[0], max(1, min(n_batches, int(self.TRIAL / min(self.seconds.values()))))

    @property
    def _pause(self):
        """Seconds from one trial to the next."""
        early = max(self.since - self.born, (self.since - self.begun) / self.EARLY_SHARE)
        period = min(early, self.PERIOD) if self.best == 1 else self.PERIOD
        return max(period, self.threads * min(self.seconds.values()) / self.SHARE)

    @property
    def best(self):
        return min(self.seconds, key=self.seconds.get)

    def record(self, threads, batches, seconds):
        """What a call took."""
        if self.threads == 1 or not batches:
            return
        with _lock:
            if self.waking and threads > 1:
                self.waking = False
                self.seconds[threads] = min(self.seconds[threads], seconds / batches)
                if self.short and seconds >= self.TRIAL:
                    self._end_trial()
                return
            recent = self.recent[threads]
            recent.add(batches, seconds, self.WINDOW)
            if self.trials:
                if recent.seconds >= self.TRIAL:
                    self._judge(threads, recent.mean)
            elif recent.seconds >= self.WINDOW:
                self.seconds[threads] = recent.mean

    def _judge(self, threads, mean):
        """Ends a trial with what it has seen, or begins it anew."""
        self.recent[threads] = Recent()
        if threads > 1 and self.doubt == math.inf and mean > self.seconds[1] and not self.short:
            self.doubt = mean
            return
        self.seconds[threads] = min(mean, self.doubt) if threads > 1 else mean
        self._end_trial()

    def _end_trial(self):
        self.trials.pop(0)
        self.waking, self.doubt = bool(self.trials) and self.trials[0] > 1, math.inf
        self.since = self.clock()
