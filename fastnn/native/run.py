"""The native backend's Runner: binds a plan to kernels, lays out its buffers, runs it."""

from dataclasses import dataclass
from math import prod
from threading import Lock
from time import perf_counter

import numpy as np
from scipy import sparse

from fastnn import memory
from fastnn.native import (
    _activation,
    _augment,
    _conv,
    _conv_bfloat16,
    _dense,
    _dense_bfloat16,
    _embedding,
    _executor,
    _forward,
    _gather,
    _gram,
    _loss,
    _machine,
    _nonzero,
    _norm,
    _pool,
    _random,
    _recurrent,
    _recurrent_bfloat16,
    _reservoir,
    _shape,
    _steps,
    _update,
)
from fastnn.native.cache import Cache
from fastnn.native.threads import Pace, threads_for
from fastnn.plan import NUMBERS, PAIRS, TILES

OPS = {
    **_activation.OPS,
    **_augment.OPS,
    **_conv.OPS,
    **_dense.OPS,
    **_embedding.OPS,
    **_gather.OPS,
    **_gram.OPS,
    **_loss.OPS,
    **_nonzero.OPS,
    **_norm.OPS,
    **_pool.OPS,
    **_random.OPS,
    **_recurrent.OPS,
    **_reservoir.OPS,
    **_shape.OPS,
    **_steps.OPS,
    **_update.OPS,
}

# Those with precision="bfloat16".
BFLOAT16_OPS = {**_conv_bfloat16.OPS, **_dense_bfloat16.OPS, **_gather.BFLOAT16_OPS, **_recurrent_bfloat16.OPS}

FIXED, BATCH, LOSS = range(3)  # arenas
ALIGNMENT = 64
HUGE_PAGE, LARGE = 1 << 21, 1 << 19
WORTH_THREADS = 1 << 21  # bytes to read: some 200 microseconds for one thread


def aligned(size):
    """A zeroed byte array of `size` that starts at a multiple of 64.

    A large one lies on huge pages where the system gives them to arrays of 4 MB and more, which NumPy asks for: small
    pages lie anywhere in the second cache and crowd some of its places (20 000 x 50: 1.2 times slower).
    """
    alignment = HUGE_PAGE if size >= LARGE else ALIGNMENT
    raw = np.zeros(max(size, alignment) + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + size]


class Layout:
    """Where the buffers of a plan lie for one instruction set, real type and number of rows."""

    def __init__(self, plan, isa, dtype, rows, reuse):
        self.plan, self.dtype, self.rows = plan, dtype, rows
        self.lanes, self.panel, self.narrow, self.picks = _machine.geometry(isa, dtype.itemsize)
        self.turned = self._turned()
        self.partial_sizes, self.packed_sizes, self.tables = {}, {}, []
        self.scratch_size, self.common_size = self.panel * self.panel, 0
        self.bound = [[self._bind(op) for op in section] for section in (plan.prepare, plan.step, plan.update)]
        self.offsets, self.fixed_size = {}, 0
        transposes = (op for op in plan.prepare if op.kind == "transpose" and op.inputs[0] in self.turned)
        copies = {op.outputs[0]: op.inputs[0] for op in transposes}
        batch = {}
        for buffer in plan.buffers.values():
            if buffer.role in ("batch", "row"):
                batch[buffer.name] = self.elements(buffer.name) * dtype.itemsize
            elif buffer.role == "row_loss":
                self.offsets[buffer.name] = (LOSS, 0)
            elif buffer.role != "source" and buffer.name not in copies:
                self._place(buffer)
        self.offsets |= {copy: self.offsets[W] for copy, W in copies.items()}
        self.penalties = self._span(plan.penalties)
        spans = memory.lifetimes(plan.step + plan.update, reuse) if reuse else dict.fromkeys(batch, (0, 0))
        offsets, self.batch_size = memory.allocate(batch, spans)
        self.offsets |= {name: (BATCH, offset) for name, offset in offsets.items()}

    def _turned(self):
        """Weights (in, out) of dense layers with few outputs, which are kept as (out, in), with their gradients and the
        optimiser's states, and the rounded copies that such layers may read.

        No lane of a vector is then a pad, and the copy that backward needs is the weights themselves. Entries of sparse
        rows take whole rows of weights.
        """
        plan, turned = self.plan, set()
        for op in plan.step:
            if op.kind != "dense" or op.attributes.get("precision") == "bfloat16" or op.attributes.get("entries"):
                continue
            read = op.inputs[1]
            W = read.removesuffix(".rounded")
            if W in (*plan.parameters, *plan.statistics) and self.columns(W) <= self.narrow:
                states = (name for name in plan.states if name.startswith(f"{W}."))
                turned |= {W, read, plan.gradients.get(W), *states}
        return turned

    def _bind(self, op):
        rounded = op.attributes.get("precision") == "bfloat16"
        if rounded and self.dtype != np.float32:
            raise ValueError(f"{op.kind}: products of bfloat16 need float32 for all else, got {self.dtype}")
        address, bind = (BFLOAT16_OPS if rounded else OPS)[op.kind]
        return address, op.barrier, *bind(op, self)

    def _place(self, buffer):
        count = self.partial_sizes.get(buffer.name)
        size = 8 * count if count else self.elements(buffer.name) * self.dtype.itemsize
        alignment = 8 if buffer.role == "partial" else ALIGNMENT
        offset = -(-self.fixed_size // alignment) * alignment
        self.offsets[buffer.name] = (FIXED, offset)
        self.fixed_size = offset + size

    def _span(self, names):
        """Bytes from the first to the last of partial buffers that were declared one after another."""
        if not names:
            return 0, 0
        last = self.offsets[names[-1]][1]
        return self.offsets[names[0]][1], last + 8 * self.partial_sizes[names[-1]]

    def scratch(self, elements):
        """Asks for scratch of so many elements for each thread."""
        self.scratch_size = max(self.scratch_size, elements)

    def common(self, elements):
        """Asks for scratch of so many elements that all threads share."""
        self.common_size = max(self.common_size, elements)

    def table(self, array):
        """Keeps an array as long as the layout, for an op to read; returns its address."""
        self.tables.append(np.ascontiguousarray(array))
        return self.tables[-1].ctypes.data

    def descriptor(self, description):
        """The same for a tuple of whole numbers and of sequences of them."""
        flat = []
        for value in description:
            flat += value if isinstance(value, (list, tuple)) else [value]
        return self.table(np.array(flat, np.int64))

    def padded(self, columns):
        return -(-columns // self.lanes) * self.lanes

    def deep(self, depth):
        """The depth of a product of bfloat16, filled up to whole blocks."""
        return -(-depth // (2 * self.lanes)) * 2 * self.lanes

    def packed(self, name, depth, columns):
        """Declares the size of a copy of weights that is packed for products of bfloat16."""
        self.packed_sizes[name] = self.deep(depth) * self.padded(columns) // 2

    def in_rows(self, name):
        """Whether a buffer lies row by row, without panels."""
        return self.plan.buffers[name].layout == "rows"

    def is_operand(self, name):
        """Whether a buffer lies as products of bfloat16 read their first operand."""
        return self.plan.buffers[name].layout == "operand"

    def shape(self, name):
        """(rows, columns) of the matrix that a buffer is: rows and positions of a batch, all axes but the last of a
        parameter; a vector is a single row. Of a turned matrix, those it is kept with."""
        buffer = self.plan.buffers[name]
        if name in self.turned:
            return buffer.shape[::-1]
        return (self.rows if self.has_rows(name) else 1) * buffer.positions, buffer.columns

    def has_rows(self, name):
        return self.plan.buffers[name].role in ("batch", "row")

    def columns(self, name):
        return self.plan.buffers[name].columns

    def positions(self, name):
        return self.plan.buffers[name].positions

    def elements(self, name):
        """How many numbers a buffer takes, pads included."""
        buffer = self.plan.buffers[name]
        if buffer.role == "row":
            return self.rows * buffer.size
        if buffer.layout == "bfloat16":
            return self.packed_sizes[name]
        if buffer.layout == "bits":
            return 8 * self.rows * -(-buffer.columns // self.panel) // self.dtype.itemsize
        rows, columns = self.shape(name)
        if buffer.layout == "entries":  # two places for each half
            return self.rows * 32 // self.dtype.itemsize
        if buffer.layout == "operand":  # and what tiles read behind the last row
            return (rows + self.lanes) * self.deep(columns) // 2
        if buffer.layout == "rounded":
            return rows * self.padded(columns) // 2
        return rows * (columns if buffer.layout == "rows" else self.padded(columns))

    def tasks(self, name):
        """Number of blocks that a parameter is cut into."""
        rows, columns = self.shape(name)
        return -(-rows // self.panel) * -(-columns // self.panel)

    def partials(self, name, count):
        """Declares how many partial sums a buffer holds."""
        self.partial_sizes[name] = count

    def sections(self):
        """The bound ops with buffers as (arena, offset)."""
        return [
            [
                (address, barrier, [None if name is None else self.offsets[name] for name in names], numbers, scalars)
                for address, barrier, names, numbers, scalars in section
            ]
            for section in self.bound
        ]


@dataclass(frozen=True)
class Compiled:
    """Layout and program of a plan; both immutable, so that predictions need not make them anew."""

    layout: Layout
    program: _executor.Program

    @property
    def nbytes(self):
        """Bytes of the tables and the ops."""
        return sum(table.nbytes for table in self.layout.tables) + self.program.nbytes


def _compile(plan, isa, dtype, rows, keep):
    reuse = None if keep else "op" if plan.purpose == "predict" else "phase"
    layout = Layout(plan, isa, dtype, rows, reuse)
    optimizer = next((op.attributes["optimizer"] for op in plan.update if "optimizer" in op.attributes), None)
    return Compiled(layout, _executor.Program(isa, dtype.itemsize, layout.sections(), optimizer))


compiled = Cache(_compile, entries=64, limit=256 << 20)


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
        self.seed, self.n_threads = seed, n_threads
        self.order, self.source, self._cursor, self._pace = None, None, (0, 0), None
        made = compiled(plan, self.isa, self.dtype, self.rows, keep)
        self.layout, self.program = made.layout, made.program
        self.fixed = aligned(self.layout.fixed_size)
        first, last = self.layout.penalties
        self._penalties = self.fixed[first:last].view(np.float64)
        self._ops = None
        self._prepared, self._lock, self._forwards = False, Lock(), {}
        self.times = None
        for name, value in plan.initial.items():
            self.set(name, np.full(plan.buffers[name].shape, value))

    @staticmethod
    def all_finite(array, dtype, n_threads):
        """Whether a C-contiguous array of float32 or float64 is finite, also as numbers of `dtype`, one of them too."""
        return _executor.all_finite(array, dtype, n_threads if array.nbytes >= WORTH_THREADS else 1)

    @property
    def limit(self):
        return self.n_threads() if callable(self.n_threads) else self.n_threads

    @property
    def nbytes(self):
        """Bytes of what outlasts a call: packed parameters, copies derived from them, states and gradients."""
        return self.fixed.nbytes

    def _view(self, name):
        arena, offset = self.layout.offsets[name]
        size = self.layout.elements(name) * self.dtype.itemsize
        return (self.fixed if arena == FIXED else self._batch)[offset : offset + size].view(self.dtype)

    def set(self, name, array):
        """Copies an array of natural shape into a parameter, statistic, state or gradient."""
        array = np.asarray(array)
        if array.dtype not in (np.float32, np.float64):  # which packing rounds as it goes
            array = array.astype(self.dtype)
        if name in self.layout.turned:
            array = array.T
        matrix = np.ascontiguousarray(array.reshape(self.layout.shape(name)))
        _executor.pack(self.isa, matrix, self._view(name))
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
        out = np.empty(shape, self.dtype) if out is None else out
        if name in self.layout.turned:
            matrix = np.empty(self.layout.shape(name), self.dtype)
            _executor.unpack(self.isa, self._view(name), matrix)
            out[:] = matrix.T
        elif buffer.layout == "rounded":
            words = self._view(name).view(np.uint16).astype(np.uint32) << np.uint32(16)
            _executor.unpack(self.isa, words.view(self.dtype), out.reshape(self.layout.shape(name)))
        else:
            _executor.unpack(self.isa, self._view(name), out.reshape(self.layout.shape(name)))
        return out

    def bind(self, X, y=None, sample_weight=None):
        """Sets the rows to run over.

        Parameters
        ----------
        X : (n, features) or (n, *shape) uint8, float32 or float64 array, C-contiguous, or a CSR matrix
        y : (n,) or (n, time) int64 classes, or (n, outputs) float32 or float64 array, C-contiguous
        sample_weight : (n,) float64 array
        """
        self.source = _source(self.plan, X, y, sample_weight)
        self.order, self._cursor = None, (0, 0)

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
            self._pace = Pace(threads_for(operations, self.limit), operations)
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

    def forward(self, X):
        """Output of the plan for each row of X, (n, ...). May be called from several threads at once."""
        source = _source(self.plan, X)
        output = np.empty((source.n, *self.plan.buffers[self.plan.output].shape), self.dtype)
        self.forward_for(source.n)(source, output)
        return output

    def forward_for(self, n):
        """Forward for n rows. Its chunks have a power of two as rows, so that few layouts serve all n."""
        rows = min(self.rows, 1 << (n - 1).bit_length())
        return self._forwards.get(rows) or self._new_forward(rows)

    def _new_forward(self, rows):
        """The step for chunks of so many rows, on the packed parameters, which are the same for any number."""
        with self._lock:
            if not self._prepared:
                self.program.prepare(self.program.resolve((self.fixed.ctypes.data, 0, 0)))
                self._prepared = True
        made = compiled(self.plan, self.isa, self.dtype, rows, self.keep)
        forward = self._forwards[rows] = _forward.Forward(self, made.layout, made.program)
        return forward

    def quick(self, forms, types, same, lists):
        """The short way for predictions like the last one, see ``_forward.Quick``."""
        return _forward.Quick(self, forms, types, same, lists)

    def address(self, name):
        """Where a packed parameter lies."""
        return self._view(name).ctypes.data


def _source(plan, X, y=None, sample_weight=None):
    """The caller's arrays for the executor, which reads them without looking: so this is where they are looked at."""
    n, expected = X.shape[0], plan.buffers["X"]
    features = prod(X.shape[1:])
    if features != expected.size:
        raise ValueError(f"X: expected {expected.size} features, got {features}")
    if sparse.issparse(X):
        if len(expected.shape) > 1:
            raise ValueError(f"X: images and signals of shape {expected.shape} must be dense, got a sparse matrix")
        X = _csr(X, X.data, X.indices, X.indptr)
    elif any(buffer.layout == "entries" for buffer in plan.buffers.values()):
        raise ValueError("X: this plan multiplies the entries of a sparse matrix, got a dense one")
    elif X.dtype == np.uint8:
        X = np.require(X, requirements=["C", "A"]).reshape(n, features)
    else:
        X = _real("X", X).reshape(n, features)
    if y is not None:
        target = plan.buffers["y"].shape
        if y.shape != (n, *target):
            raise ValueError(f"y: expected shape {(n, *target)}, got {y.shape}")
        classes = any(op.attributes.get("one_hot") for op in plan.step) or not target
        y = np.ascontiguousarray(y, np.int64) if classes else _real("y", y)
    if sample_weight is not None:
        sample_weight = np.ascontiguousarray(sample_weight, np.float64)
        if sample_weight.shape != (n,):
            raise ValueError(f"sample_weight: expected shape {(n,)}, got {sample_weight.shape}")
    return _executor.Source(X, y, sample_weight, _partners(sample_weight))


def _partners(sample_weight):
    """The rows of positive weight, which others may be mixed with; None for all, also where no row has weight."""
    if sample_weight is None or (sample_weight > 0).all() or not (sample_weight > 0).any():
        return None
    return np.flatnonzero(sample_weight > 0).astype(np.int64, copy=False)


def _real(name, array):
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name}: expected float32 or float64, got {array.dtype}")
    return np.require(array, requirements=["C", "A"])


def _csr(X, data, columns, starts):
    """(values, columns, starts of the rows) of a CSR matrix of X's shape, with the entries of each row in the order of
    their columns. The places are copies, so that nobody changes them once they have been looked at."""
    data, columns, starts = _real("X.data", data), np.array(columns, np.int64), np.array(starts, np.int64)
    rising = None
    if len(starts) == X.shape[0] + 1 and starts[-1] <= min(len(data), len(columns)):
        rising = _gather.columns_rise(starts, columns, X.shape[1])
    if rising is None:
        raise ValueError("X: the CSR matrix points outside itself; see its check_format(full_check=True)")
    if not rising:
        rows = sparse.csr_array((data.copy(), columns, starts), shape=X.shape)
        rows.sum_duplicates()
        return _csr(X, rows.data, rows.indices, rows.indptr)
    return data, columns, starts
