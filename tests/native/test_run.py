"""Where a Runner's numbers lie, and the times of its ops."""

from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest

from fastnn.native import Runner, _machine
from fastnn.native.run import HUGE_PAGE, LARGE, WORTH_THREADS, aligned
from tests.backends import RUNNERS
from tests.native.networks import data, draw, lowered, random_image_network, random_network, random_sequence_network


@pytest.mark.parametrize("size", [1, 64, LARGE - 1])
def test_small_arenas_start_at_a_line_of_the_cache(size):
    arena = aligned(size)
    assert arena.ctypes.data % 64 == 0
    assert arena.shape == (size,)
    assert not arena.any()


@pytest.mark.parametrize("size", [LARGE, HUGE_PAGE + 1, 3 * HUGE_PAGE])
def test_large_arenas_start_at_a_huge_page_of_an_array_that_gets_some(size):
    arena = aligned(size)
    assert arena.ctypes.data % HUGE_PAGE == 0
    assert arena.base.nbytes >= 4 << 20
    assert arena.shape == (size,)
    assert not arena.any()


@pytest.mark.parametrize("backend", RUNNERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [random_network, random_image_network, random_sequence_network])
@pytest.mark.parametrize("seed", range(5))
def test_parameters_as_one_vector(seed, make, dtype, backend):
    rng = np.random.default_rng(seed)
    plan = lowered(make(rng))
    names, values = tuple(plan.parameters), draw(rng, plan)
    one_by_one, at_once = (RUNNERS[backend](plan, dtype=dtype, rows=8) for _ in range(2))
    for name in names:
        one_by_one.set(name, values[name])
    vector = one_by_one.get_vector(names)
    np.testing.assert_array_equal(vector, np.concatenate([values[name].ravel() for name in names]).astype(dtype))
    at_once.set_vector(names, vector)
    for name in names:
        np.testing.assert_array_equal(at_once.get(name), one_by_one.get(name))
    assert backend != "native" or (at_once.fixed == one_by_one.fixed).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_times_of_the_ops_of_every_thread_fill_a_call_and_change_nothing(threads, any_work_deserves_threads):
    rng = np.random.default_rng(0)
    net = random_network(rng)
    plan = lowered(net)
    X, y, _ = data(rng, net, 100, np.float32)
    values, losses, times = draw(rng, plan), [], np.zeros((threads, len(plan.ops) + 1, 2))
    for asked in (None, times):
        runner = Runner(plan, dtype=np.float32, rows=24, n_threads=threads)
        runner.bind(X, y)
        for name, value in values.items():
            runner.set(name, value)
        runner.times, start = asked, perf_counter()
        losses.append(runner.train(24, 0, 5, 0, np.full(5, 0.01), np.inf))
        seconds = perf_counter() - start
    assert losses[0] == losses[1]
    assert (times >= 0).all()
    team = threads if _machine.has_openmp() else 1
    assert (times[:team].sum((1, 2)) > 0).all() and (times.sum((1, 2)) <= seconds).all()


def test_times_of_another_plan_are_refused():
    rng = np.random.default_rng(0)
    net = random_network(rng)
    plan = lowered(net)
    runner = Runner(plan, dtype=np.float32, rows=24)
    runner.bind(*data(rng, net, 100, np.float32)[:2])
    runner.times = np.zeros((1, 2, 2))
    with pytest.raises(ValueError, match="expected times of shape"):
        runner.train(24, 0, 1, 0, np.full(1, 0.01), np.inf)


@pytest.mark.parametrize("precision", ["full", "bfloat16"])
@pytest.mark.parametrize("network", [random_network, random_image_network, random_sequence_network])
@pytest.mark.parametrize("seed", range(4))
def test_training_goes_on_with_weights_that_were_set_between_calls(seed, network, precision):
    """Copies derived from weights are made once, renewed by updates, and made again for other weights."""
    rng = np.random.default_rng(seed)
    net = replace(network(rng), precision=precision)
    plan = lowered(net)
    X, y, _ = data(rng, net, 60, np.float32)
    runners = [Runner(plan, dtype=np.float32, rows=24) for _ in range(2)]
    for runner in runners:
        runner.bind(X, y)
    for name, value in draw(rng, plan).items():
        runners[0].set(name, value)
    for batch in range(2):  # each in a call of its own
        runners[0].train(24, batch, 1, batch, np.full(1, 0.01), np.inf)
    values = {name: runners[0].get(name) for name in (*plan.parameters, *plan.statistics, *plan.states)}
    values |= {name: 0.5 * values[name] for name in plan.parameters}
    for runner in runners:
        for name, value in values.items():
            runner.set(name, value)
        runner.train(24, 2, 1, 2, np.full(1, 0.01), np.inf)
    for name in values:
        assert np.array_equal(runners[0].get(name), runners[1].get(name)), name


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [3, WORTH_THREADS // 28 + 1])
@pytest.mark.parametrize("Runner", RUNNERS.values(), ids=RUNNERS)
def test_a_number_that_is_not_finite_is_found_wherever_it_lies(Runner, rows, dtype, value):
    X = np.full((rows, 7), np.finfo(dtype).max, dtype)
    X[0] = -np.finfo(dtype).smallest_subnormal
    for threads in (1, 2, 3):
        assert Runner.all_finite(X, X.dtype, threads)
    for place in (0, X.size // 2, X.size // 2 - 1, X.size - 1):
        changed = X.copy()
        changed.flat[place] = value
        assert not any(Runner.all_finite(changed, X.dtype, threads) for threads in (1, 2, 3))


@pytest.mark.parametrize("Runner", RUNNERS.values(), ids=RUNNERS)
def test_a_number_that_is_infinite_in_float32_is_found(Runner):
    least = 2.0**128 - 2.0**103
    for value in (least, np.nextafter(least, 0), 1e39, np.finfo(np.float32).max, np.inf, np.nan):
        for X in (np.array([value, 1.0]), np.array([0.0, -value])):
            with np.errstate(over="ignore"):
                expected = np.isfinite(X.astype(np.float32)).all()
            assert Runner.all_finite(X, np.dtype(np.float32), 1) == expected, X
