"""Training that goes on from one call of `partial_fit` to the next in the same runner."""

from collections.abc import Mapping
from threading import Lock

from fastnn import training
from fastnn.estimators import network as networks

HELD_BYTES = 64 << 20  # of weights, an optimiser's memory and activations that wait for the next call


class Resumable(Mapping):
    """An optimiser's memory by name, in the runner that has trained: read when somebody asks, and a dict in a pickle.
    While a call trains in it, it is what it was before, as the estimator's weights are until the call ends.

    Packing and unpacking it takes longer than a step of training (784-256-128, 128 rows: two thirds of a call).

    Parameters
    ----------
    runner : Runner
    network : Network
    """

    def __init__(self, runner, network):
        self.runner, self.packed = runner, runner.packed(networks.attribute_names(network))
        self._in_use, self._trains = Lock(), False

    @classmethod
    def of(cls, runner, network):
        """The memory in this runner; its arrays by name where the runner is too large to wait, or cannot tell whether
        its weights are still those of the estimator."""
        memory = cls(runner, network)
        if memory.packed is None or memory._size() > HELD_BYTES:
            return dict(memory)
        runner.unbind()
        return memory

    def _size(self):
        """Bytes that wait, with the copy for a call that fails."""
        runner = self.runner
        return 2 * runner.nbytes + networks.batch_bytes(runner.plan, runner.rows, runner.dtype)

    def take(self, *asked):
        """Whether the runner suits, see `suits`, and nobody trains in it: then it is the caller's until `give_back`.

        Threads and callbacks may call partial_fit of the same estimator at the same time. Two calls in one runner would
        read each other's rows, beyond their ends, too.
        """
        if not self._in_use.acquire(blocking=False):
            return False
        if self.suits(*asked):
            self.runner.save(self)
            self._trains = True
            return True
        self._in_use.release()
        return False

    def give_back(self):
        """Lets the runner wait for the next call, without the rows of this one."""
        self.runner.unbind()
        self._trains = False
        self._in_use.release()

    def suits(self, estimator, lowered, rows, dtype, n_threads):
        """Whether the runner is as a fit of the estimator would make it now, with the weights that it has now."""
        runner = self.runner
        return (
            type(runner) is training.runner_class(estimator.backend)
            and runner.plan is lowered
            and (runner.rows, runner.dtype, runner.limit()) == (rows, dtype, n_threads)
            and self.packed.holds(vars(estimator))
        )

    def __getitem__(self, name):
        if name not in self.runner.plan.states:
            raise KeyError(name)
        return self.runner.saved(name) if self._trains else self.runner.get(name)

    def __iter__(self):
        return iter(self.runner.plan.states)

    def __len__(self):
        return len(self.runner.plan.states)

    def __reduce__(self):
        return dict, (dict(self),)
