"""Runs the ops of a program: many batches in one call, without the GIL, inside one OpenMP region."""

from cpython.buffer cimport PyBUF_ANY_CONTIGUOUS, PyBuffer_Release, PyObject_GetBuffer
from cython.parallel cimport parallel
from libc.math cimport pow, sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

import numpy as np

from fastnn.native.kernels cimport (
    FNN_WINDOW, fnn_barrier, fnn_barrier_wait, fnn_bfloat16_for, fnn_flush_denormals, fnn_isa_in_use, fnn_kernels_for,
    fnn_register_fork_handlers, fnn_restore_float_mode, fnn_shuffle, fnn_take, fnn_team_size, fnn_thread_number,
)
from fastnn.native.op cimport BUFFERS, NUMBERS, SCALARS, Op, Run as RunOp, Step, share

from fastnn.native._machine import isa_names

cdef extern from * nogil:
    """
    #if defined(_WIN32)
    #include <windows.h>
    static double fnn_seconds(void) {
        LARGE_INTEGER count, frequency;
        QueryPerformanceCounter(&count);
        QueryPerformanceFrequency(&frequency);
        return (double)count.QuadPart / (double)frequency.QuadPart;
    }
    #else
    #include <time.h>
    static double fnn_seconds(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }
    #endif
    """
    double fnn_seconds()

cdef extern from "simd/compiler.h" nogil:
    void FNN_PREFETCH_SECOND(const char *address)

fnn_register_fork_handlers()

WINDOW = <int> FNN_WINDOW  # places of a pooling window whose maximum a tile takes from its registers


cdef enum:
    COUNTERS = 2   # of an op for each thread
    APART = 16     # between those of two threads: two lines of the cache, which are fetched in pairs
    UNSEEN = 64    # batches at most from one look at the time of day to the next
    BLOCK = 2048   # bytes of numbers that are checked at a time


cdef char *data_of(array) except? NULL:
    """Where a contiguous array lies; `array.ctypes.data` takes six times as long to tell."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_ANY_CONTIGUOUS)
    PyBuffer_Release(&view)
    return <char *> view.buf


# Seconds between looks at the time of day: one takes 30 nanoseconds, a hundredth of a step of the smallest networks.
cdef double LOOK = 1e-4


cdef struct Run:
    const Op *prepare
    const Op *step
    const Op *update
    int64_t n_prepare, n_step, n_update
    bint prepared            # the copies that `prepare` makes are there
    Step base
    int64_t total            # rows in all
    int64_t batch_size
    int64_t first_batch      # counted from the start of epoch `epoch`
    int64_t n_batches
    int64_t epoch_batches    # batches in an epoch
    int64_t epoch            # negative: rows keep their order
    int64_t *order           # where it is not negative: made anew at the start of each epoch
    double *sums             # of the loss, one an epoch; NULL: all batches add to the same sum
    const double *rates      # one a batch
    double beta_1, beta_2    # Adam's, 0 for other optimisers
    double begun, deadline
    int64_t next_look        # batches that are done then
    int64_t scratch_size
    double *row_loss
    const double *penalties
    int64_t n_penalties
    fnn_barrier barrier
    int64_t *taken           # two sets of COUNTERS for each thread's ops of step and update, which rounds use by turns
    double *times            # where not NULL: of each thread, for each op and for the end of a batch, see Program.run
    int64_t offset           # in and out: rows of the current batch that are done
    int64_t chunk            # in and out
    int64_t stop_after       # count of the chunk after which all threads stop
    int64_t batches_done
    double loss_sum


cdef inline double lap(double *time, double since) noexcept nogil:
    """Adds the seconds since then; returns the time of day."""
    cdef double now = fnn_seconds()
    time[0] += now - since
    return now


cdef inline void run_ops(const Op *ops, int64_t n, Step *step, int64_t *taken, bint skip, double *times) noexcept nogil:
    """`skip` leaves out the barrier before the first op: the caller has just waited."""
    cdef int64_t i
    cdef double since = fnn_seconds() if times != NULL else 0.0
    for i in range(n):
        if ops[i].barrier and step.threads > 1 and not (skip and i == 0):
            fnn_barrier_wait(step.barrier, step.threads)
        if taken != NULL:
            step.taken = taken + i * COUNTERS
        if times != NULL:
            since = lap(times + 2 * i, since)
        ops[i].run(&ops[i], step)
        if times != NULL:
            since = lap(times + 2 * i + 1, since)


cdef inline double *times_of(const Run *run, const Step *step, int64_t op) noexcept nogil:
    cdef int64_t ops = run.n_prepare + run.n_step + run.n_update
    return run.times + 2 * (step.thread * (ops + 1) + op) if run.times != NULL else NULL


cdef inline int64_t counters_of(int64_t ops) noexcept nogil:
    """How many a thread needs for so many ops."""
    return ops * COUNTERS + APART


cdef inline int64_t *counters(Run *run, const Step *step, int64_t round_) noexcept nogil:
    """Those of a round, the time between two barriers at the ends of chunks or batches. Nobody uses the other set any
    more, which is the next round's: each thread clears its own."""
    cdef int64_t *other = run.taken + (round_ + 1) % 2 * step.threads * step.taken_stride
    memset(other + step.thread * step.taken_stride, 0, step.taken_stride * sizeof(int64_t))
    return run.taken + round_ % 2 * step.threads * step.taken_stride


cdef inline void wait(Run *run, const Step *step) noexcept nogil:
    cdef double since = fnn_seconds() if run.times != NULL else 0.0
    if step.threads > 1:
        fnn_barrier_wait(&run.barrier, step.threads)
    if run.times != NULL:
        lap(times_of(run, step, run.n_prepare + run.n_step + run.n_update), since)


cdef inline double inverse_weight(const Step *step, int64_t start, int64_t rows) noexcept nogil:
    cdef double total = <double> rows
    cdef int64_t r
    if step.weight != NULL:
        total = 0.0
        for r in range(start, start + rows):
            total += step.weight[step.order[r] if step.order != NULL else r]
    return 1.0 / total if total != 0.0 else 0.0


cdef double batch_loss(const Run *run, int64_t rows, double inverse) noexcept nogil:
    cdef double total = 0.0
    cdef int64_t i
    for i in range(rows):
        total += run.row_loss[i]
    return total * inverse


cdef double penalty(const Run *run) noexcept nogil:
    cdef double total = 0.0
    cdef int64_t i
    for i in range(run.n_penalties):
        total += run.penalties[i]
    return total


cdef bint run_chunks(Run *run, Step *step, int64_t start, int64_t rows, int64_t *count) noexcept nogil:
    """The chunks of one batch from run.offset on; False when time is over before the last. Ends with a barrier."""
    cdef int64_t offset = run.offset, chunk = run.chunk
    while offset < rows:
        step.n = min(step.capacity, rows - offset)
        step.first = start + offset
        step.row = offset
        step.chunk = chunk
        run_ops(
            run.step, run.n_step, step, counters(run, step, count[0]), False, times_of(run, step, run.n_prepare)
        )
        offset += step.n
        chunk += 1
        if step.thread == 0 and offset < rows and fnn_seconds() > run.deadline:
            run.stop_after = count[0]
        wait(run, step)
        count[0] += 1
        if run.stop_after == count[0] - 1 and offset < rows:
            if step.thread == 0:
                run.offset = offset
                run.chunk = chunk
            return False
    return True


cdef inline void begin_epoch(Run *run, const Step *step, int64_t batch) noexcept nogil:
    """The order of rows for the epoch that starts with this batch. All threads have finished the one before."""
    if run.epoch < 0 or batch % run.epoch_batches != 0:
        return
    if step.thread == 0:
        fnn_shuffle(run.total, step.seed, <uint32_t> (run.epoch + batch // run.epoch_batches), run.order)
    wait(run, step)


cdef inline bint is_late(Run *run, int64_t batches) noexcept nogil:
    """Whether time is over after so many batches, as far as it has been looked at."""
    cdef double now
    if batches < run.next_look:
        return False
    now = fnn_seconds()
    run.next_look = batches + 1 + min(<int64_t> UNSEEN, <int64_t> (batches * LOOK / (now - run.begun + 1e-9)))
    return now > run.deadline


cdef inline void end_batch(Run *run, int64_t batch, double loss) noexcept nogil:
    run.loss_sum += loss
    run.batches_done += 1
    if run.sums != NULL and (batch + 1) % run.epoch_batches == 0:
        run.sums[batch // run.epoch_batches] = run.loss_sum
        run.loss_sum = 0.0


cdef void run_thread(Run *run, int thread, int threads) noexcept nogil:
    cdef Step step = run.base
    cdef int64_t b, start, rows, count = 0
    cdef double loss = 0.0
    cdef uint64_t mode = fnn_flush_denormals()
    step.thread = thread
    step.threads = threads
    step.scratch = run.base.scratch + thread * run.scratch_size
    step.common = run.base.scratch + threads * run.scratch_size
    step.barrier = &run.barrier
    step.taken_stride = counters_of(run.n_step + run.n_update)
    run_ops(run.prepare, 0 if run.prepared else run.n_prepare, &step, NULL, False, times_of(run, &step, 0))
    wait(run, &step)
    for b in range(run.n_batches):
        begin_epoch(run, &step, run.first_batch + b)
        start = (run.first_batch + b) % run.epoch_batches * run.batch_size
        rows = min(run.batch_size, run.total - start)
        step.t = run.base.t + b + 1
        step.rate = run.rates[b] if run.rates != NULL else 0.0
        step.corrected_rate = step.rate * sqrt(1.0 - pow(run.beta_2, step.t)) / (1.0 - pow(run.beta_1, step.t))
        step.inverse_weight = inverse_weight(&step, start, rows)
        if not run_chunks(run, &step, start, rows, &count):
            break
        run_ops(
            run.update, run.n_update, &step, counters(run, &step, count) + run.n_step * COUNTERS, True,
            times_of(run, &step, run.n_prepare + run.n_step),
        )
        if thread == 0:
            loss = batch_loss(run, rows, step.inverse_weight)
            if b + 1 < run.n_batches and is_late(run, b + 1):
                run.stop_after = count
            run.offset = 0
            run.chunk = 0
        wait(run, &step)
        count += 1
        if thread == 0:
            end_batch(run, run.first_batch + b, (loss + penalty(run)) * <double> rows)
        if run.stop_after == count - 1:
            break
    fnn_restore_float_mode(mode)


cdef void run_all(Run *run, int threads) noexcept nogil:
    run.stop_after = -1
    memset(&run.barrier, 0, sizeof(fnn_barrier))
    if threads == 1:
        run_thread(run, 0, 1)
        return
    with parallel(num_threads=threads):
        run_thread(run, fnn_thread_number(), fnn_team_size())


cdef bint is_finite(const char *x, int64_t n, int64_t itemsize, int64_t real) noexcept nogil:
    """Whether n real numbers are finite, also as numbers of `real` bytes. To the bits of each without its sign is added
    what the bits of the least number that is infinite lack to the sign bit, into which only infinite ones then carry.
    """
    cdef int64_t i
    cdef uint32_t carry = 0, bits
    cdef uint64_t long_carry = 0, long_bits
    # From 2^128 - 2^103 on, halfway to the power of two behind the largest float32, float64 is rounded to infinity.
    cdef uint64_t lacking = <uint64_t> 0x0010000000000000 if real == 8 else <uint64_t> 0x3810000010000000
    if itemsize == 4:
        for i in range(n):
            memcpy(&bits, x + 4 * i, 4)
            carry |= (bits & 0x7FFFFFFFu) + 0x00800000u
        return carry >> 31 == 0
    for i in range(n if itemsize == 8 else 0):
        memcpy(&long_bits, x + 8 * i, 8)
        long_carry |= (long_bits & <uint64_t> 0x7FFFFFFFFFFFFFFF) + lacking
    return long_carry >> 63 == 0


cdef bint is_share_finite(
    const char *x, int64_t n, int64_t itemsize, int64_t real, int thread, int threads
) noexcept nogil:
    """The same for a thread's share of the numbers. They come from memory, which is asked for them two blocks before
    (60 000 x 784 of float32 on one thread: 10 milliseconds; 12 unasked, 16 with blocks twice as large)."""
    cdef const char *block = x + share(n, thread, threads) * itemsize
    cdef const char *end = x + share(n, thread + 1, threads) * itemsize
    cdef int64_t line
    while block < end:
        for line in range(0, BLOCK if end - block >= 3 * BLOCK else 0, 64):
            FNN_PREFETCH_SECOND(block + 2 * BLOCK + line)
        if not is_finite(block, min(<int64_t> BLOCK, end - block) // itemsize, itemsize, real):
            return False
        block += BLOCK
    return True


cdef void check_share(
    const char *x, int64_t n, int64_t itemsize, int64_t real, int32_t *finite, int thread, int threads
) noexcept nogil:
    finite[thread] = is_share_finite(x, n, itemsize, real, thread, threads)


def all_finite(array, dtype, int threads):
    """Whether a contiguous array of float32 or float64 has neither NaN nor infinity, nor what is infinite as `dtype`,
    which is one of them, too."""
    cdef const char *x = data_of(array)
    cdef int64_t n = array.size, itemsize = array.itemsize, real = dtype.itemsize
    cdef int32_t[::1] finite
    if threads == 1:
        return is_share_finite(x, n, itemsize, real, 0, 1)
    finite = np.ones(threads, np.int32)
    with nogil, parallel(num_threads=threads):
        check_share(x, n, itemsize, real, &finite[0], fnn_thread_number(), fnn_team_size())
    return all(finite)


cdef void run_chunks_left(Job *job, const Place *place) noexcept nogil:
    """Chunks that no other thread has begun, one after another, up to one that is refused: a thread whose core is busy
    with something else then holds up the others by one chunk at most."""
    cdef Step step = job.base
    cdef int64_t chunks = (job.total + job.rows - 1) // job.rows, c = fnn_take(&job.taken), i
    cdef int64_t line = step.X_row * step.X_itemsize
    cdef const char *x
    cdef uint64_t mode = fnn_flush_denormals()
    step.scratch = place.scratch
    while c < chunks:
        step.first = c * job.rows
        step.n = min(job.rows, job.total - step.first)
        if job.check:
            x = step.X + step.first * line
            if not is_finite(x, step.n * step.X_row, step.X_itemsize, step.kernels.itemsize):
                job.refused = True
                break
        for i in range(job.first, job.first + job.n):
            place.ops[i].run(&place.ops[i], &step)
        c = fnn_take(&job.taken)
    fnn_restore_float_mode(mode)


cdef void run_forward(Job *job, const Place *places, int threads) noexcept nogil:
    job.taken = 0
    if threads == 1:
        run_chunks_left(job, places)
        return
    with parallel(num_threads=threads):
        run_chunks_left(job, places + fnn_thread_number())


cdef class Source:
    """The caller's arrays as pointers; keeps them alive.

    X: dense (n, features) uint8/float32/float64 C-contiguous, or the (data, indices, indptr) of CSR rows with int64
    indices. y: int64 classes (n,) or (n, time), or real targets. partners: int64 indices of the rows that others may be
    mixed with, None for all.
    """

    def __init__(self, X, y=None, sample_weight=None, partners=None):
        cdef const int64_t[::1] integers
        cdef const double[::1] weights
        memset(&self.step, 0, sizeof(Step))
        self.arrays = (X, y, sample_weight, partners)
        if isinstance(X, tuple):
            data, indices, indptr = X
            self.n = len(indptr) - 1
            self.step.X_start = <const int64_t *> data_of(indptr)
            self.step.X_column = <const int64_t *> data_of(indices)
        else:
            data = X
            self.n = X.shape[0]
            self.step.X_row = X.shape[1]
        self.step.total = self.n
        self.step.X = data_of(data)
        self.step.X_itemsize = data.itemsize
        if y is not None and y.dtype == np.int64:
            self.step.classes = <const int64_t *> data_of(y)
        elif y is not None:
            self.step.y = data_of(y)
            self.step.y_itemsize = y.itemsize
        if sample_weight is not None:
            weights = sample_weight
            self.step.weight = &weights[0] if len(sample_weight) else NULL
        if partners is not None:
            integers = partners
            self.step.partners = &integers[0]
            self.step.total = len(partners)


cdef class Program:
    """Ops bound to kernels, with buffers as (arena, offset): immutable, shared by any number of runs."""

    def __init__(self, isa, int64_t itemsize, sections, optimizer=None):
        """`sections`: three lists (prepare, step, update) of (address, barrier, buffers, numbers, scalars), where
        buffers are (arena, offset) pairs or None."""
        self.kernels = fnn_kernels_for(isa.encode(), itemsize)
        if self.kernels == NULL:
            raise ValueError(f"isa {isa!r} is not available here; choose one of {isa_names(bfloat16=True)}")
        self.bfloat16 = fnn_bfloat16_for(isa.encode())
        ops = [op for section in sections for op in section]
        self.n_prepare, self.n_step, self.n_update = map(len, sections)
        self.memory = bytearray(sizeof(Op) * max(1, len(ops)))
        self.ops = <Op *> <char *> self.memory
        self.arenas = np.full((len(ops), BUFFERS), -1, dtype=np.int64)
        self.beta_1, self.beta_2 = optimizer[1:3] if optimizer and optimizer[0] == "adam" else (0.0, 0.0)
        for i, op in enumerate(ops):
            self.fill(i, op)

    @property
    def nbytes(self):
        """Bytes of the ops and of the table of their arenas."""
        return len(self.memory) + self.arenas.nbytes

    cdef fill(self, int64_t i, description):
        address, barrier, buffers, numbers, scalars = description
        if len(buffers) > BUFFERS or len(numbers) > NUMBERS or len(scalars) > SCALARS:
            raise ValueError(f"op {i} has more operands than the executor's Op holds")
        self.ops[i].run = <RunOp> <uintptr_t> address
        self.ops[i].barrier = barrier
        for j, buffer in enumerate(buffers):
            if buffer is not None:
                self.arenas[i, j] = buffer[0]
                self.ops[i].buffer[j] = <char *> <uintptr_t> buffer[1]
        for j, number in enumerate(numbers):
            self.ops[i].number[j] = number
        for j, scalar in enumerate(scalars):
            self.ops[i].scalar[j] = scalar

    def resolve(self, bases):
        """A copy of the ops with pointers into the arenas that start at the addresses `bases`."""
        cdef bytearray copy = bytearray(self.memory)
        cdef Op *ops = <Op *> <char *> copy
        cdef const int64_t[:, ::1] arenas = self.arenas
        cdef uintptr_t[8] base
        cdef int64_t i, j
        for i, address in enumerate(bases):
            base[i] = address
        for i in range(arenas.shape[0]):
            for j in range(BUFFERS):
                if arenas[i, j] >= 0:
                    ops[i].buffer[j] = <char *> (<uintptr_t> ops[i].buffer[j] + base[arenas[i, j]])
        return copy

    def run(
        self, bytearray ops, Source source, *, order, int64_t capacity, int64_t batch_size, int64_t first_batch,
        int64_t n_batches, int64_t step, rates, double seconds, uint64_t seed, int threads, uintptr_t scratch,
        int64_t scratch_size, row_loss, penalties, int64_t offset, int64_t chunk, double loss_sum, int64_t epoch, sums,
        times=None, bint prepared=False,
    ):
        """Runs batches first_batch ... of the source, also over the ends of epochs where there are `sums` for them.

        `prepared`: the copies that are derived from parameters are there; whatever changes parameters renews them.
        `times`, a float64 array (threads, ops + 1, 2), gets added the seconds of each thread before an op (in its
        barrier) and in it; behind the ops those at the end of a chunk or batch.
        Returns (batches done, loss_sum + sum of batch loss * rows, offset, chunk).
        """
        cdef Run run
        cdef int64_t[::1] order_view
        cdef double[::1] sums_view
        cdef const double[::1] rates_view
        cdef double[:, :, ::1] times_view
        cdef double[::1] loss_view = row_loss
        cdef const double[::1] penalties_view = penalties
        cdef int64_t[::1] taken = np.zeros(2 * threads * counters_of(self.n_step + self.n_update), np.int64)
        memset(&run, 0, sizeof(Run))
        run.base = source.step
        self.describe(&run.base, capacity, seed)
        run.prepare = <Op *> <char *> ops
        run.step = run.prepare + self.n_prepare
        run.update = run.step + self.n_step
        run.n_prepare, run.n_step, run.n_update = self.n_prepare, self.n_step, self.n_update
        run.prepared = prepared
        run.base.t = step
        run.base.scratch = <char *> scratch
        run.scratch_size = scratch_size
        run.total, run.batch_size = source.n, batch_size
        run.first_batch, run.n_batches = first_batch, n_batches
        run.beta_1, run.beta_2 = self.beta_1, self.beta_2
        run.offset, run.chunk, run.loss_sum = offset, chunk, loss_sum
        run.taken = &taken[0]
        run.row_loss = &loss_view[0]
        run.n_penalties = len(penalties)
        if run.n_penalties:
            run.penalties = &penalties_view[0]
        run.epoch_batches = max(<int64_t> 1, (source.n + batch_size - 1) // max(<int64_t> 1, batch_size))
        run.epoch = epoch
        if order is not None:
            order_view = order
            run.base.order = run.order = &order_view[0]
        if sums is not None:
            sums_view = sums
            run.sums = &sums_view[0]
        if rates is not None:
            rates_view = rates
            run.rates = &rates_view[0]
        if times is not None:
            expected = (threads, self.n_prepare + self.n_step + self.n_update + 1, 2)
            if times.shape != expected:
                raise ValueError(f"expected times of shape {expected}, got {times.shape}")
            times_view = times
            run.times = &times_view[0, 0, 0]
        if first_batch < 0 or n_batches < 0 or (
            first_batch + n_batches > run.epoch_batches * (1 if sums is None else len(sums))
        ):
            raise ValueError(f"batches {first_batch}..{first_batch + n_batches} of {batch_size} exceed {source.n} rows")
        if rates is not None and len(rates) < n_batches:
            raise ValueError(f"expected a learning rate for each of {n_batches} batches, got {len(rates)}")
        with nogil:
            run.begun = fnn_seconds()
            run.deadline = run.begun + seconds
            run_all(&run, threads)
        return run.batches_done, run.loss_sum, run.offset, run.chunk

    def prepare(self, bytearray ops):
        """Makes the copies that are derived from parameters."""
        cdef Step step
        memset(&step, 0, sizeof(Step))
        self.describe(&step, 0, 0)
        run_ops(<Op *> <char *> ops, self.n_prepare, &step, NULL, False, NULL)

    cdef bint is_asked_for(self):
        """Whether FASTNN_ISA, which may change at any time, still stands for this program's instruction set."""
        cdef const char *isa = fnn_isa_in_use()
        return isa != NULL and fnn_bfloat16_for(isa) == self.bfloat16

    cdef void describe(self, Step *step, int64_t capacity, uint64_t seed):
        step.kernels = self.kernels
        step.bfloat16 = self.bfloat16
        step.capacity = capacity
        step.seed = seed
        step.thread = 0
        step.threads = 1


def shuffle(uint64_t seed, epoch, int64_t[::1] order):
    """Fills `order` with the permutation of an epoch."""
    if order.shape[0]:
        fnn_shuffle(order.shape[0], seed, epoch & 0xFFFFFFFF, &order[0])
