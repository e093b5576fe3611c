"""The number of threads follows what has proved fastest."""

import pytest

from fastnn.native.threads import Pace


class Machine:
    """A clock, and calls that take what the machine's state says."""

    def __init__(self, operations=0, **seconds):
        self.now, self.batch = 0.0, {1: seconds["one"], 2: seconds["two"]}
        self.pace = Pace(2, operations, clock=lambda: self.now)

    def run(self, batches):
        """Runs so many batches; returns the number run on each number of threads."""
        used = {1: 0, 2: 0}
        while batches:
            threads, n = self.pace.next(batches)
            assert 1 <= n <= batches
            used[threads] += n
            batches -= n
            self.now += n * self.batch[threads]
            self.pace.record(threads, n, n * self.batch[threads])
        return used


def test_several_threads_stay_where_they_are_faster():
    used = Machine(one=1e-3, two=0.6e-3).run(5000)
    assert used[2] > 0.98 * 5000


def test_one_thread_where_several_are_slower():
    used = Machine(one=1e-4, two=1e-3).run(20000)
    assert used[1] > 0.98 * 20000


def test_a_busy_machine_is_noticed_and_so_is_its_end():
    machine = Machine(one=1e-3, two=0.6e-3)
    machine.run(1000)
    machine.batch[2] = 5e-3
    machine.run(100)
    assert machine.run(400)[1] > 390
    machine.batch[2] = 0.6e-3
    machine.run(600)
    assert machine.run(400)[2] > 390


def test_cores_that_are_only_busy_at_first_come_into_use_soon():
    machine = Machine(one=1e-4, two=2e-4)
    machine.run(1000)
    machine.batch[2] = 0.6e-4
    while machine.pace.best == 1:
        machine.run(1000)
    assert machine.now < 0.25


def test_early_trials_take_little_of_the_time():
    machine = Machine(one=1e-4, two=1e-3)
    machine.run(20000)
    assert machine.now < 1.12 * 20000e-4


@pytest.mark.parametrize("seconds", [5e-4, 4e-3])
def test_one_slow_call_changes_nothing(seconds):
    machine = Machine(one=1e-4, two=0.6e-4)
    machine.run(1000)
    for _ in range(20):
        machine.batch[2] = seconds
        machine.run(1)
        machine.batch[2] = 0.6e-4
        assert machine.run(100)[2] == 100


def test_calls_that_often_wait_for_long_go_to_one_thread():
    machine = Machine(one=1e-3, two=0.5e-3)
    machine.run(1000)
    used = 0
    for call in range(300):
        machine.batch[2] = 5e-3 if call % 3 == 0 else 0.5e-3
        used += machine.run(1)[1]
    assert used > 250


@pytest.mark.parametrize("first", [2e-4, 4e-3])
def test_threads_that_a_trial_has_to_wake(first):
    machine = Machine(one=1e-4, two=5e-4)
    machine.run(1000)
    assert machine.pace.best == 1
    machine.batch[2] = 0.6e-4
    machine.now += Pace.PERIOD
    for seconds in [first] + 100 * [0.6e-4]:
        threads, _ = machine.pace.next(1)
        machine.now += seconds
        machine.pace.record(threads, 1, seconds)
    assert machine.pace.best == 2


def test_trials_of_long_batches_take_little_of_the_time():
    machine = Machine(operations=2 * 10**10, one=0.12, two=0.06)
    assert sum(machine.run(1)[1] for _ in range(32)) == 0
    assert 0 < sum(machine.run(1)[1] for _ in range(1000)) <= 10
    machine.batch[2] = 0.6
    assert sum(machine.run(1)[1] for _ in range(200)) > 190


def test_short_steps_run_long_before_they_are_tried_on_several_threads():
    machine = Machine(operations=6 * 10**6, one=1e-4, two=0.7e-4)
    assert machine.run(1000)[2] == 0
    assert machine.run(4000)[2] > 3000


@pytest.mark.parametrize("waking", [1e-4, 12e-3])
def test_short_steps_lose_little_on_a_busy_machine(waking):
    machine = Machine(operations=6 * 10**6, one=1e-4, two=waking)
    batches = 0
    while batches < 10000:
        threads, n = machine.pace.next(20000)
        seconds = 8e-3 if threads > 1 and n > 1 else n * machine.batch[threads]
        machine.now += seconds
        machine.pace.record(threads, n, seconds)
        batches += n
    assert machine.now < 1.1 * batches * 1e-4


def test_calls_that_overlap():
    pace = Pace(2)
    for _ in range(5):
        pace.next(1)
    for _ in range(5):
        pace.record(2, 1, 0.1)
    assert pace.next(1) == (2, 1)


def test_one_thread_is_never_tried_against_itself():
    pace = Pace(1)
    assert pace.next(1000) == (1, 1000)
    pace.record(1, 1000, 0.1)
    assert pace.next(7) == (1, 7)
