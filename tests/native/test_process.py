"""The compiled core as a guest in a process: forks, floating-point modes, other OpenMP regions, refusals."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fastnn.native import _machine, _packed, _peak, effective_threads
from fastnn.native import threads as native_threads

FIT = """
import os
import numpy as np
from fastnn.native import Runner, threads
from tests.native.networks import data, draw, lowered, network

threads.OPERATIONS_PER_THREAD = 1

def fit():
    rng = np.random.default_rng(0)
    net = network(30, (64, 32), 3)
    plan = lowered(net, one_hot=True, whole_batch=True)
    runner = Runner(plan, dtype=np.float32, rows=32, n_threads=3)
    for name, value in draw(rng, plan).items():
        runner.set(name, value)
    X, y, _ = data(rng, net, 320, np.float32, one_hot=True)
    runner.bind(X, y)
    runner.train(32, 0, 10, 0, np.full(10, 0.01), 1e9)
    return runner.get("dense0.W").tobytes()
"""


def run(script, **environment):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FIT + textwrap.dedent(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_trains_like_its_parent():
    result = run("""
        expected = fit()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                os._exit(0 if fit() == expected else 3)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert fit() == expected
    """)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_finds_every_lock_free():
    result = run("""
        import signal, threading, time
        from fastnn import blas
        from fastnn.native import layout, run, threads

        locks = [blas._lock, layout.compiled._lock, run._preparing, threads._lock]
        expected = fit()

        def hold():
            for lock in locks:
                with lock:
                    held.set()
                    time.sleep(0.05)

        for _ in range(3):
            held = threading.Event()
            holder = threading.Thread(target=hold)
            holder.start()
            held.wait()
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                for lock in locks:
                    with lock:  # as in a signal's handler, which may fork itself
                        grandchild = os.fork()
                        if grandchild == 0:
                            os._exit(0)
                        assert os.waitpid(grandchild, 0)[1] == 0
                os._exit(0 if fit() == expected else 3)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            holder.join()
    """)
    assert result.returncode == 0, result.stderr


def test_denormals_survive_outside():
    result = run("""
        fit()
        tiny = np.float32(np.finfo(np.float32).smallest_subnormal)
        assert tiny > 0 and tiny * np.float32(2) > tiny
    """)
    assert result.returncode == 0, result.stderr


def test_fits_in_many_threads_at_once():
    result = run("""
        from concurrent.futures import ThreadPoolExecutor
        expected = fit()
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: fit(), range(40))) == {expected}
    """)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("isa", _machine.isa_names(bfloat16=True))
def test_the_environment_chooses_the_instruction_set(isa):
    result = run(f"from fastnn.native import _machine; fit(); assert _machine.best_isa() == {isa!r}", FASTNN_ISA=isa)
    assert result.returncode == 0, result.stderr


def test_an_unknown_instruction_set_is_refused():
    result = run("fit()", FASTNN_ISA="avx1024")
    assert "FASTNN_ISA names an instruction set that is not here" in result.stderr
    with pytest.raises(ValueError, match="is not available here; choose one of"):
        _machine.geometry("avx1024", 4)


def test_threads_are_limited():
    assert effective_threads(3) in (1, 3)
    assert effective_threads(1) == 1
    assert effective_threads(-1) == effective_threads(None) or "OMP_NUM_THREADS" in os.environ
    with pytest.raises(ValueError, match="must not be 0"):
        effective_threads(0)
    assert native_threads.threads_for(100, 8) == 1, "a small step is not worth a second thread"
    assert native_threads.threads_for(5 * 10**6, 8) == 2
    assert native_threads.threads_for(10**9, 8) == 8


@pytest.mark.parametrize("limit", ["OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"])
def test_the_environment_limits_threads(limit):
    result = run("from fastnn.native import effective_threads; assert effective_threads() == 1", **{limit: "1"})
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot tie a process to a processor")
def test_the_processors_of_the_process_limit_threads():
    result = run("""
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from fastnn.native import effective_threads
        assert effective_threads() == 1
        fit()
    """)
    assert result.returncode == 0, result.stderr


def test_threads_without_processors_of_their_own_get_through():
    """Threads that wait for each other on one processor give way instead of spinning until their time is up."""
    result = run("""
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        expected = fit()
        for _ in range(20):
            assert fit() == expected
    """)
    assert result.returncode == 0, result.stderr


def test_the_peak_probe_counts_its_work():
    for isa in _machine.isa_names():
        lanes, *_ = _machine.geometry(isa, 4)
        done = _peak.peak(isa, 4, 1000)
        assert done > 0
        assert done % (2 * 1000 * lanes) == 0
        assert _peak.peak(isa, 4, 1000, threads=2) == done * (2 if _machine.has_openmp() else 1)


@pytest.mark.parametrize("threads", (1, 2))
def test_the_bandwidth_probe_counts_its_work(threads):
    for isa in _machine.isa_names():
        lanes, *_ = _machine.geometry(isa, 4)
        x, y = np.full(37 * lanes, 3, np.float32), np.zeros(37 * lanes, np.float32)
        assert _peak.stream(isa, x, y, 2, threads) == 2 * 3 * x.nbytes
        np.testing.assert_array_equal(y, np.float32(4.5))


def test_flat_arrays_come_back_from_panels():
    for isa in _machine.isa_names():
        lanes, *_ = _machine.geometry(isa, 8)
        for rows, columns in ((1, 1), (3, 70), (65, 129)):
            matrix = np.arange(rows * columns, dtype=np.float64).reshape(rows, columns)
            panels = np.full(rows * -(-columns // lanes) * lanes, np.nan)
            _packed.pack(isa, matrix, panels)
            back = np.empty_like(matrix)
            _packed.unpack(isa, panels, back)
            np.testing.assert_array_equal(back, matrix)
            assert np.isfinite(panels).all(), "pads hold zeros"
