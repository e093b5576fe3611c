"""Runs a plan op by op with NumPy."""

import math
import time
from collections import namedtuple
from dataclasses import dataclass

import numpy as np

from fastnn.plan import NUMBERS
from fastnn.reference import (
    activation,
    augment,
    conv,
    dense,
    embedding,
    gather,
    gram,
    loss,
    nonzero,
    norm,
    pool,
    random,
    recurrent,
    reservoir,
    shape,
    steps,
    update,
)

OPS = {
    **gather.OPS,
    **dense.OPS,
    **activation.OPS,
    **loss.OPS,
    **nonzero.OPS,
    **random.OPS,
    **norm.OPS,
    **update.OPS,
    **conv.OPS,
    **pool.OPS,
    **shape.OPS,
    **augment.OPS,
    **reservoir.OPS,
    **gram.OPS,
    **recurrent.OPS,
    **steps.OPS,
    **embedding.OPS,
}

_KEPT = ("parameter", "statistic", "state", "gradient", "vector", "transposed", "partial")
_SETTABLE = ("parameter", "statistic", "state", "gradient")


@dataclass(frozen=True)
class Step:
    """What every op of a chunk of rows may see besides its buffers.

    Attributes
    ----------
    n : int
        Rows of the chunk.
    first : int
        Place of the chunk's first row in the order of all rows.
    order : ndarray of int64 or None
        Rows in the order they are visited; None for 0, 1, 2, ...
    t : int
        Number of the optimiser step, from 1, which is also that of a gradient on its own.
    rate : float
        Learning rate.
    weight_sum : float
        Sum of the sample weights of the whole batch (its rows without weights).
    seed : int
        Key of the random numbers, 64 bits.
    chunk : int
        Number of the chunk in its batch, from 0.
    row : int
        Place of the chunk's first row in its batch.
    partners : ndarray of int64, or None
        Rows that others may be mixed with: those of positive weight. None for all.
    total : int
        Number of these rows.
    """

    n: int
    first: int = 0
    order: np.ndarray | None = None
    t: int = 0
    rate: float = 0.0
    weight_sum: float = 1.0
    seed: int = 0
    chunk: int = 0
    row: int = 0
    total: int = 0
    partners: np.ndarray | None = None

    @property
    def inverse_weight(self):
        """1 / weight_sum, and 0 for a batch without weight."""
        return 1.0 / self.weight_sum if self.weight_sum else 0.0


class Runner:
    """Executes a plan with NumPy.

    Parameters
    ----------
    plan : fastnn.plan.Plan
    dtype : numpy dtype
        float32 or float64: the real type of all buffers but float64 sums.
    rows : int
        Capacity of a chunk: batches with more rows run in several chunks.
    n_threads : int, default=1
        Accepted for the sake of the common interface; NumPy decides for itself.
    seed : int, default=0
        Key of the random numbers, 64 bits.
    """

    shares_buffers = False  # each stays until the next chunk overwrites it

    @staticmethod
    def products():
        """How numbers of bfloat16 are multiplied: as any others."""
        return NUMBERS

    @staticmethod
    def all_finite(array, dtype, n_threads):
        """Whether an array of real numbers is finite, also as numbers of `dtype`."""
        with np.errstate(over="ignore"):
            return bool(np.isfinite(array.astype(dtype, copy=False)).all())

    def __init__(self, plan, *, dtype, rows, n_threads=1, seed=0):
        self.plan = plan
        self.dtype = np.dtype(dtype)
        self.rows = int(rows)
        self.n_threads = n_threads
        self.seed = int(seed) & 0xFFFFFFFFFFFFFFFF
        self._order = None
        self._sources = {}
        self._partners = None
        self._n = 0
        self._arrays = {}
        for buffer in plan.buffers.values():
            if buffer.role in _KEPT:
                dtype = np.float64 if buffer.role == "partial" else self.dtype
                initial = plan.initial.get(buffer.name, 0.0)
                self._arrays[buffer.name] = np.full(buffer.shape, initial, dtype)
            elif buffer.role in ("batch", "row"):
                # No rows yet: tells an op the type and the width of what it must write.
                self._arrays[buffer.name] = np.empty((0, *buffer.shape), self.dtype)

    def set(self, name, array):
        """Sets a parameter, statistic, state or gradient to a copy of an array of its natural
        shape.
        """
        buffer = self.plan.buffers[name]
        array = np.array(array, dtype=self.dtype, order="C")
        if buffer.role not in _SETTABLE:
            raise ValueError(f"Runner.set: {name!r} has the role {buffer.role!r}; expected one of {_SETTABLE}")
        if array.shape != buffer.shape:
            raise ValueError(f"Runner.set: {name!r} has shape {buffer.shape}, got {array.shape}")
        self._arrays[name] = array

    def get(self, name, out=None):
        """A copy of a buffer in its natural shape; written to `out`, an array of its shape and type, where given."""
        if out is None:
            return np.array(self._arrays[name])
        out[...] = self._arrays[name]
        return out

    def set_vector(self, names, x):
        """Sets parameters of natural shape that lie one after another in x."""
        start = 0
        for name in names:
            shape, size = self.plan.buffers[name].shape, self.plan.buffers[name].size
            self.set(name, x[start : start + size].reshape(shape))
            start += size

    def get_vector(self, names):
        """The reverse, also for gradients."""
        return np.concatenate([self._arrays[name].ravel() for name in names])

    def bind(self, X, y=None, sample_weight=None):
        """Makes the caller's arrays the source of rows and resets the order.

        Parameters
        ----------
        X : ndarray of shape (n, *shape) or (n, size of a row), or scipy CSR of shape (n, features)
        y : ndarray, optional
            Class indices (n,), or (n, time) of sequences, for one-hot plans, else (n, outputs) or (n, time, outputs).
        sample_weight : ndarray of shape (n,), optional
        """
        given = {"X": X, "y": y, "sample_weight": sample_weight}
        needed = [b.name for b in self.plan.buffers.values() if b.role == "source" and b.name != "output"]
        for name, array in given.items():
            if (array is not None) != (name in needed):
                raise ValueError(
                    f"Runner.bind: plan {self.plan.purpose!r} reads {needed}; "
                    f"{name} is {'missing' if array is None else 'not read'}"
                )
            if array is not None:
                self._check_shape(name, array, X.shape[0])
        self._sources = {name: given[name] for name in needed}
        self._n = X.shape[0]
        self._order = None
        positive = np.arange(self._n) if sample_weight is None else np.flatnonzero(np.asarray(sample_weight) > 0)
        self._partners = positive if 0 < len(positive) < self._n else None

    def _check_shape(self, name, array, n):
        """Raises ValueError unless an array has n rows of the buffer's shape; images may be flat."""
        buffer = self.plan.buffers[name]
        fits = math.prod(array.shape[1:]) == buffer.size if name == "X" else array.shape[1:] == buffer.shape
        if array.shape[0] != n or not fits:
            raise ValueError(f"Runner: {name} has shape {array.shape}, expected {(n, *buffer.shape)}")

    @property
    def order(self):
        """The rows in the order they are visited, (n,) int64, or None for 0, 1, 2, ..."""
        return self._order

    @order.setter
    def order(self, order):
        if order is not None:
            order = np.array(order, dtype=np.int64)
            if order.shape != (self._n,):
                raise ValueError(f"Runner.order: expected shape {(self._n,)}, got {order.shape}")
        self._order = order

    def shuffle(self, epoch):
        """Orders the bound rows for an epoch."""
        self._order = random.shuffle(self._n, self.seed, epoch)

    def train(
        self, batch_size, first_batch, n_batches, step, rates, seconds=math.inf, loss_sum=0.0, epoch=None, sums=None
    ):
        """Runs consecutive batches of the bound rows, one optimiser step each.

        Parameters
        ----------
        batch_size : int
        first_batch, n_batches : int
            The batches first_batch, ..., first_batch + n_batches - 1; the last one of the data may
            be smaller. With `sums` they may go on through the epochs that follow, counted from the start of the first.
        step : int
            Optimiser steps done so far.
        rates : ndarray of shape (n_batches,)
            Learning rate of each batch.
        seconds : float, default=inf
            Comes back after the batch during which this time has passed.
        loss_sum : float, default=0.0
            What earlier calls of the same epoch returned: added to in the order of batches, it has the same bits
            however an epoch is cut into calls.
        epoch : int, optional
            Number of the first of these epochs; each one's rows are shuffled by its number. None: their order stays.
        sums : float64 array, optional
            Gets each finished epoch's loss_sum, which starts again at 0.

        Returns
        -------
        batches_done : int
        loss_sum : float
            With the batch's loss times its rows added for each batch.
        """
        end = time.perf_counter() + seconds
        buffers = self._call_buffers()
        self._prepare(buffers)
        done, epoch_batches = 0, -(-self._n // batch_size)
        while done < n_batches:
            past, batch = divmod(first_batch + done, epoch_batches)
            if epoch is not None and batch == 0:
                self.shuffle(epoch + past)
            first = batch * batch_size
            rows = min(batch_size, self._n - first)
            for _ in self._batch(buffers, first, rows, step + done + 1, float(rates[done])):
                pass
            loss_sum += self._batch_loss(buffers, first, rows) * rows
            done += 1
            self._keep(buffers)  # whatever may interrupt the next one
            if sums is not None and batch == epoch_batches - 1:
                sums[past], loss_sum = loss_sum, 0.0
            if time.perf_counter() >= end:
                break
        return done, loss_sum

    def loss_and_gradient(self):
        """Loss, penalty included, of one batch of all bound rows; leaves the gradients in their
        buffers.
        """
        buffers = self._call_buffers()
        self._prepare(buffers)
        for _ in self._batch(buffers, 0, self._n):
            pass
        self._keep(buffers)
        return self._batch_loss(buffers, 0, self._n)

    def evaluate(self):
        """Mean loss of the bound rows, weighted where there are weights, without penalty."""
        buffers = self._call_buffers()
        self._prepare(buffers)
        for _ in self._batch(buffers, 0, self._n):
            pass
        return self._row_loss(buffers, 0, self._n)

    def forward(self, X=None):
        """Predictions of the rows of X, by default of the bound rows, (n, *output) of the plan's real type. Changes
        nothing in the runner."""
        X = self._sources["X"] if X is None else X
        n = X.shape[0]
        self._check_shape("X", X, n)
        output = np.empty((n, *self.plan.buffers["output"].shape), self.dtype)
        buffers = {**self._arrays, "X": X, "output": output}
        self._prepare(buffers)
        for first in range(0, n, self.rows):
            step = Step(n=min(self.rows, n - first), first=first, seed=self.seed)
            for op in self.plan.step:
                _execute(op, buffers, step)
        return output

    def quick(self, forms, types, same, lists):
        """None: only the native backend has a short way for predictions that follow each other."""

    def packed(self, lists):
        """None: it cannot tell whether its weights are still those in lists of a user's."""

    def _call_buffers(self):
        return {**self._arrays, **self._sources}

    def _keep(self, buffers):
        self._arrays.update((name, buffers[name]) for name in self._arrays)

    def _prepare(self, buffers):
        for op in self.plan.prepare:
            _execute(op, buffers, Step(n=0, seed=self.seed))

    def _weight_sum(self, first, rows):
        if "sample_weight" not in self._sources:
            return float(rows)
        chosen = slice(first, first + rows) if self._order is None else self._order[first : first + rows]
        return float(self._sources["sample_weight"][chosen].sum(dtype=np.float64))

    def _batch(self, buffers, first, rows, t=1, rate=0.0):
        """Runs one batch in chunks and yields (section, step, op) after each op."""
        if rows > self.rows and self.plan.needs_whole_batch:
            raise ValueError(
                f"Runner: the plan mixes the rows of a batch, so a batch of {rows} must fit in one "
                f"chunk, got rows={self.rows}; build the Runner with rows={rows}"
            )
        if self.plan.row_loss is not None:
            buffers[self.plan.row_loss] = np.zeros(rows)
        weight_sum = self._weight_sum(first, rows)
        total = self._n if self._partners is None else len(self._partners)
        for chunk, row in enumerate(range(0, rows, self.rows)):
            n = min(self.rows, rows - row)
            step = Step(n, first + row, self._order, t, rate, weight_sum, self.seed, chunk, row, total, self._partners)
            for op in self.plan.step:
                _execute(op, buffers, step)
                yield "step", step, op
        for op in self.plan.update:
            _execute(op, buffers, step)
            yield "update", step, op

    def _row_loss(self, buffers, first, rows):
        if self.plan.row_loss is None:
            return 0.0
        weight_sum = self._weight_sum(first, rows)
        with np.errstate(all="ignore"):  # of a diverging fit, see _execute
            return float(buffers[self.plan.row_loss].sum()) / weight_sum if weight_sum else 0.0

    def _batch_loss(self, buffers, first, rows):
        return self._row_loss(buffers, first, rows) + sum(float(buffers[p]) for p in self.plan.penalties)


Traced = namedtuple("Traced", "section step op outputs")


def trace(runner, batch_size=None, batch=0, step=0, rate=0.0):
    """Runs one batch of the bound rows and yields, after each op, (section, step, op, outputs).

    The runner itself is not changed. Comparing the outputs in order with another backend's names
    the first buffer in which the two differ.

    Parameters
    ----------
    runner : Runner
        Bound to data.
    batch_size : int, optional
        All bound rows by default.
    batch : int, default=0
        Which batch.
    step : int, default=0
        Optimiser steps done before; the batch is step + 1.
    rate : float, default=0.0
        Learning rate.

    Yields
    ------
    Traced
        section ("prepare", "step" or "update"), step (Step), op (fastnn.plan.Op) and outputs, a
        dict from the names of the op's outputs to copies of their arrays.
    """
    buffers = runner._call_buffers()

    def traced(section, at, op):
        return Traced(section, at, op, {name: np.array(buffers[name]) for name in op.outputs})

    at = Step(n=0, seed=runner.seed)
    for op in runner.plan.prepare:
        _execute(op, buffers, at)
        yield traced("prepare", at, op)
    size = runner._n if batch_size is None else batch_size
    first = batch * size
    rows = min(size, runner._n - first)
    for section, at, op in runner._batch(buffers, first, rows, step + 1, rate):
        yield traced(section, at, op)


def _execute(op, buffers, step):
    # A diverging fit overflows; the caller looks at the loss, warnings op by op would say less.
    with np.errstate(all="ignore"):
        OPS[op.kind](op, buffers, step)
