"""How many threads a call gets: as its work deserves, within what the user, the environment and the machine allow."""

from functools import cache

import joblib

from fastnn.native import _executor

# A second thread pays once a step takes some 15 microseconds alone; a core does about 4e10 operations a second on
# small layers (measured on AVX-512 with batches of 32: 2 microseconds for 4-100-3 gain nothing, 200-256-128 does).
OPERATIONS_PER_THREAD = 600_000


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
    allowed = _executor.max_threads()
    if allowed == 1 or not _executor.has_openmp():
        return 1
    if n_jobs is None:
        return max(1, min(allowed, cpu_count()))
    if n_jobs == 0:
        raise ValueError("n_jobs must not be 0; use None for all CPUs or a positive number")
    return max(1, cpu_count() + 1 + n_jobs) if n_jobs < 0 else int(n_jobs)


def threads_for(operations, limit):
    """Threads for a step of so many floating-point operations, at most `limit`."""
    return int(max(1, min(limit, operations // OPERATIONS_PER_THREAD)))
