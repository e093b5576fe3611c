"""The native backend's Runner: lays out a plan's buffers and runs it."""

from time import perf_counter

import numpy as np

from fastnn.locks import lasting_lock
from fastnn.native import _executor, _forward, _machine, _packed
from fastnn.native.layout import ALIGNMENT, FIXED, compiled
from fastnn.native.source import source_of
from fastnn.native.threads import Pace, threads_for
from fastnn.plan import NUMBERS, PAIRS, TILES

HUGE_PAGE, LARGE = 1 << 21, 1 << 19
WORTH_THREADS = 1 << 26  # bytes to read: some 3 milliseconds for one thread; another may wait 4 for its core
_preparing = lasting_lock()  # the copies of a Runner's parameters, which predictions share


def aligned(size):
    """A zeroed byte array of `size` that starts at a multiple of 64.

    A large one lies on huge pages where the system gives them to arrays of 4 MB and more, which NumPy asks for: small
    pages lie anywhere in the second cache and crowd some of its places (20 000 x 50: 1.2 times slower).
    """
    alignment = HUGE_PAGE if size >= LARGE else ALIGNMENT
    raw = np.zeros(max(size, alignment) + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + size]


class Runner:
    """Runs a plan over rows of data with the compiled kernels.

    Parameters
    ----------
    plan : Plan
    dtype : float32 or float64
    rows : int
        Capacity of a chunk: batches with more rows are run chunk by chunk.
    n_threads : int, or callable
        At most so many; small steps use fewer. A function is asked in each call that has work for more than one.
    seed : int
        64-bit key of shuffles and random masks.
    isa : str or None
        Instruction set; None is the best one, or the one FASTNN_ISA names.
    keep : bool
        Gives every batch buffer a place of its own, so that `get` can read it after a call.

    Attributes
    ----------
    times : (n_threads, ops + 1, 2) float64 array or None
        Where it is set, calls add to it the seconds that each thread waits before an op of the plan and works in it;
        behind the ops those at the ends of batches.
    """

    shares_buffers = True  # that are never alive together

    @staticmethod
    def products():
        """How the instruction set in use multiplies numbers of bfloat16."""
        return {"amx": TILES, "avx512_bf16": PAIRS}.get(_machine.best_isa(), NUMBERS)

    def __init__(self, plan, *, dtype, rows, n_threads=1, seed=0, isa=None, keep=False):
        self.plan, self.dtype, self.rows, self.keep = plan, np.dtype(dtype), int(rows), keep
        self.isa = isa or _machine.best_isa()
        if self.isa is None:
            names = _machine.isa_names(bfloat16=True)
            raise ValueError(f"FASTNN_ISA names an instruction set that is not here; choose one of {names}")
        self.seed, self.limit = seed, n_threads if callable(n_threads) else lambda: n_threads
        self.order, self.source, self._cursor, self._pace = None, None, (0, 0), None
        made = compiled(plan, self.isa, self.dtype, self.rows, keep)
        self.layout, self.program = made.layout, made.program
        self.fixed = aligned(self.layout.fixed_size)
        first, last = self.layout.penalties
        self._penalties = self.fixed[first:last].view(np.float64)
        self._ops = None
        self._prepared, self._forwards, self._vectors = False, {}, {}
        self.times, self._saved = None, {}
        for name, value in plan.initial.items():
            self.set(name, np.full(plan.buffers[name].shape, value))

    @staticmethod
    def all_finite(array, dtype, n_threads):
        """Whether a C-contiguous array of float32 or float64 is finite, also as numbers of `dtype`, one of them too."""
        return _executor.all_finite(array, dtype, n_threads if array.nbytes >= WORTH_THREADS else 1)

    @property
    def nbytes(self):
        """Bytes of what outlasts a call: packed parameters, copies derived from them, states and gradients."""
        return self.fixed.nbytes

    def _view(self, name):
        arena, offset = self.layout.offsets[name]
        size = self.layout.sizes[name]
        return (self.fixed if arena == FIXED else self._batch)[offset : offset + size].view(self.dtype)

    def set(self, name, array):
        """Copies an array of natural shape into a parameter, statistic, state or gradient."""
        array = np.asarray(array)
        turned = name in self.layout.turned
        if turned or array.dtype not in (np.float32, np.float64):  # which packing rounds as it goes
            array = array.astype(self.dtype, copy=False)
        matrix = np.ascontiguousarray(array.reshape(self._matrix(name)))
        _packed.pack(self.isa, matrix, self._view(name), turned)
        self._prepared, self._forwards = False, {}

    def get(self, name, out=None):
        """A copy of a buffer in natural shape; of a batch buffer, where kept, all rows that there is room for. That of
        a parameter or statistic is written to `out`, a C-contiguous array of its shape and type, if that is given."""
        buffer = self.plan.buffers[name]
        shape = (self.rows, *buffer.shape) if self.layout.has_rows(name) else buffer.shape
        if buffer.layout == "bits":
            words = self._view(name).view(np.uint64).reshape(-1, self.rows).T
            bits = words[..., np.newaxis] >> np.arange(self.layout.panel, dtype=np.uint64) & np.uint64(1)
            return bits.reshape(self.rows, -1)[:, : buffer.columns].astype(self.dtype)
        if buffer.layout == "operand":
            deep = self.layout.deep(buffer.columns)
            words = self._view(name).view(np.uint16)[: self.rows * deep].astype(np.uint32) << np.uint32(16)
            blocks = words.view(self.dtype).reshape(-1, self.rows, 2 * self.layout.lanes)
            return blocks.transpose(1, 0, 2).reshape(self.rows, deep)[:, : buffer.columns].copy()
        if buffer.layout == "rows" or buffer.role == "row":
            return self._view(name).reshape(shape).copy()
        packed = self._view(name)
        if buffer.layout == "rounded":
            packed = (packed.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(self.dtype)
        return self._unpack(name, packed, np.empty(shape, self.dtype) if out is None else out)

    def _unpack(self, name, packed, out):
        """Numbers in panels, laid out as a buffer's are, in natural order: in `out`, C-contiguous, which it returns."""
        _packed.unpack(self.isa, packed, out.reshape(self._matrix(name)), name in self.layout.turned)
        return out

    def _matrix(self, name):
        """Rows and columns of a buffer in natural shape."""
        return self.layout.shape(name)[:: -1 if name in self.layout.turned else 1]

    def set_vector(self, names, x):
        """Copies parameters of natural shape that lie one after another in x into their places."""
        x = np.ascontiguousarray(x, self.dtype)
        _packed.move_vector(self.isa, self._places(names), x, self.fixed, True)
        self._prepared, self._forwards = False, {}

    def get_vector(self, names):
        """The reverse, also for gradients."""
        x = np.empty(sum(self.plan.buffers[name].size for name in names), self.dtype)
        _packed.move_vector(self.isa, self._places(names), x, self.fixed, False)
        return x

    def _places(self, names):
        """Where panel matrices lie, see `move_vector`; found once for each tuple of names."""
        if names not in self._vectors:
            rows = []
            for name in names:
                rows.append((*self._matrix(name), self.layout.offsets[name][1], name in self.layout.turned))
            self._vectors[names] = np.array(rows, np.int64)
        return self._vectors[names]

    def bind(self, X, y=None, sample_weight=None):
        """Sets the rows to run over.

        Parameters
        ----------
        X : (n, features) or (n, *shape) uint8, float32 or float64 array, C-contiguous, or a CSR matrix
        y : (n,) or (n, time) int64 classes, or (n, outputs) float32 or float64 array, C-contiguous
        sample_weight : (n,) float64 array
        """
        self.source = source_of(self.plan, X, y, sample_weight)
        self.order, self._cursor = None, (0, 0)

    def unbind(self):
        """Drops the rows, which may be more than all else, until others are bound."""
        self.source = self.order = None

    def shuffle(self, epoch):
        """Sets the order of rows to the permutation of an epoch."""
        if self.order is None:
            self.order = np.empty(self.source.n, np.int64)
        _executor.shuffle(self.seed, epoch, self.order)

    def _run(self, batch_size, first_batch, n_batches, step, rates, seconds, loss_sum=0.0, epoch=None, sums=None):
        """Runs batches in calls of the executor, each on as many threads as have proved fastest."""
        if epoch is not None and self.order is None:
            self.order = np.empty(self.source.n, np.int64)
        rows = min(batch_size, self.source.n)
        if self._pace is None:
            operations = 2 * self.plan.multiply_adds * min(rows, self.rows)
            self._pace = Pace(threads_for(operations, self.limit()), operations)
        self._prepare_arenas(self._pace.threads, rows)
        end, done = perf_counter() + seconds, 0
        while done < n_batches:
            threads, n = self._pace.next(n_batches - done)
            start = perf_counter()
            batches, loss_sum, *cursor = self.program.run(
                self._ops, self.source, order=self.order, capacity=self.rows, batch_size=batch_size,
                first_batch=first_batch + done, n_batches=n, step=step + done,
                rates=None if rates is None else rates[done:], seconds=end - start, seed=self.seed,
                threads=threads, scratch=self._scratch_address, scratch_size=self._scratch.shape[1],
                row_loss=self._row_loss, penalties=self._penalties, offset=self._cursor[0], chunk=self._cursor[1],
                loss_sum=loss_sum, epoch=-1 if epoch is None else epoch & 0xFFFFFFFF, sums=sums,
                times=None if self.times is None else self.times[:threads], prepared=self._prepared,
            )  # fmt: skip
            self._prepared = True
            now = perf_counter()
            self._pace.record(threads, batches, now - start)
            self._cursor = tuple(cursor)
            done += batches
            if batches < n or now > end:
                break
        return done, loss_sum

    def _prepare_arenas(self, threads, rows):
        if self._ops is not None and len(self._scratch) >= threads and len(self._row_loss) >= rows:
            return
        self._batch = aligned(self.layout.batch_size)
        self._scratch = self._new_scratch(threads)
        self._scratch_address = self._scratch.ctypes.data
        self._row_loss = np.zeros(rows)
        bases = [array.ctypes.data for array in (self.fixed, self._batch, self._row_loss)]
        self._ops = self.program.resolve(bases)

    def _new_scratch(self, threads):
        size = -(-self.layout.scratch_size * self.dtype.itemsize // ALIGNMENT) * ALIGNMENT
        common = self.layout.common_size * self.dtype.itemsize if threads > 1 else 0
        return aligned(threads * size + common)[: threads * size].reshape(threads, size)

    def train(self, batch_size, first_batch, n_batches, step, rates, seconds, loss_sum=0.0, epoch=None, sums=None):
        """Runs batches first_batch, first_batch + 1, ...; comes back early after `seconds`.

        Parameters
        ----------
        batch_size, first_batch, n_batches : int
            With `sums` the batches may go on through the epochs that follow, counted from the start of the first one.
        step : int
            Optimiser steps done before.
        rates : (n_batches,) float64 array
            Learning rates, the first for `first_batch`.
        seconds : float
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
            May be 0 when time ran out inside a batch; the next call goes on from there.
        loss_sum : float
            With batch loss * batch rows added for each batch.
        """
        return self._run(batch_size, first_batch, n_batches, step, rates, seconds, loss_sum, epoch, sums)

    def loss_and_gradient(self):
        """Loss of all bound rows as one batch, penalty included; gradients are left in their buffers."""
        return self._whole()

    def evaluate(self):
        """Mean loss of all bound rows, weighted, without penalty."""
        return self._whole()

    def _whole(self):
        self._cursor = (0, 0)
        while True:
            done, loss_sum = self._run(self.source.n, 0, 1, 0, None, 0.1)
            if done:
                return loss_sum / self.source.n

    def forward(self, X=None):
        """Output of the plan for each row of X, (n, ...), by default of the bound rows. May be called from several
        threads at once."""
        source = self.source if X is None else source_of(self.plan, X)
        output = np.empty((source.n, *self.plan.buffers[self.plan.output].shape), self.dtype)
        self.forward_for(source.n)(source, output)
        return output

    def forward_for(self, n):
        """Forward for n rows. Its chunks have a power of two as rows, so that few layouts serve all n."""
        rows = min(self.rows, 1 << (n - 1).bit_length())
        return self._forwards.get(rows) or self._new_forward(rows)

    def _new_forward(self, rows):
        """The step for chunks of so many rows, on the packed parameters, which are the same for any number."""
        with _preparing:
            if not self._prepared:
                self.program.prepare(self.program.resolve((self.fixed.ctypes.data, 0, 0)))
                self._prepared = True
        made = compiled(self.plan, self.isa, self.dtype, rows, self.keep)
        forward = self._forwards[rows] = _forward.Forward(made.layout, made.program, self.fixed, self.seed, self.limit)
        return forward

    def quick(self, forms, types, same, lists):
        """The short way for predictions like the last one, see ``_forward.Quick``."""
        return _forward.Quick(self, forms, types, same, lists)

    def packed(self, lists):
        """Tells whether the packed weights are still those in lists of a user's, see ``_packed.Packed``."""
        return _packed.Packed(self, {}, lists)

    def save(self, names):
        """Copies buffers that outlast a call, the same ones each time, for `restore`."""
        views = {name: self._view(name) for name in names}
        self._saved = self._saved or {name: np.empty_like(view) for name, view in views.items()}
        for name, view in views.items():
            np.copyto(self._saved[name], view)

    def saved(self, name):
        """A copy, in natural shape, of what was last saved of a buffer."""
        return self._unpack(name, self._saved[name], np.empty(self.plan.buffers[name].shape, self.dtype))

    def restore(self):
        """Brings back what was last saved."""
        for name, saved in self._saved.items():
            np.copyto(self._view(name), saved)

    def address(self, name):
        """Where a packed parameter lies."""
        return self._view(name).ctypes.data
