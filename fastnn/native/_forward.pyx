"""Predictions: the step of a program over the caller's rows, with as little around it as a single row deserves."""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memset

from time import perf_counter

import numpy as np
from numpy import ndarray

from fastnn.native.threads import OPERATIONS_PER_THREAD, OPERATIONS_WITHOUT_TRIAL, Pace, threads_for

from fastnn.native._executor cimport Job, Place, Program, Source, run_forward
from fastnn.native._packed cimport Packed, is_plain
from fastnn.native.op cimport Op, Step

cdef int64_t PER_THREAD = OPERATIONS_PER_THREAD
cdef int64_t WITHOUT_TRIAL = OPERATIONS_WITHOUT_TRIAL

cdef enum:
    RELEASE = 1_000_000      # operations (20 microseconds) from which on the GIL is released
    SPARE = 1 << 24          # bytes of workspaces that are kept for the next call


cdef class Workspace:
    """The memory of one thread in a prediction, and the ops with their places in it."""

    cdef Place place
    cdef object arena
    cdef bytearray ops

    def __init__(self, Program program, fixed, int64_t batch_size, int64_t scratch_size):
        self.arena = np.zeros(batch_size + scratch_size + 2 * 64, np.uint8)
        cdef uintptr_t batch = (<uintptr_t> self.arena.ctypes.data + 63) & ~<uintptr_t> 63
        self.ops = program.resolve((fixed.ctypes.data, batch, 0))
        self.place.ops = <const Op *> <char *> self.ops
        self.place.scratch = <char *> ((batch + batch_size + 63) & ~<uintptr_t> 63)


cdef void complement(char *output, int64_t n, int64_t itemsize) noexcept nogil:
    """p of each row to (1 - p, p), in place and from the last row on: a row's new place ends behind all old ones."""
    cdef float *single = <float *> output
    cdef double *double_ = <double *> output
    cdef int64_t r
    for r in range(n - 1, -1, -1):
        if itemsize == 4:
            single[2 * r + 1] = single[r]
            single[2 * r] = 1 - single[2 * r + 1]
        else:
            double_[2 * r + 1] = double_[r]
            double_[2 * r] = 1 - double_[2 * r + 1]


cdef class Forward:
    """The step of a program for chunks of so many rows; calls may overlap, each has a workspace of its own.

    Of its runner it has the packed parameters, the seed and a function that gives the number of threads, but not the
    runner itself, which has it: both would stay until Python looks for cycles.
    """

    cdef Program program
    cdef object fixed, limit, layout, dtype
    cdef Step step
    cdef int64_t operations   # for a row
    cdef int64_t batch_size, scratch_size
    cdef list spare
    cdef dict paces           # by number of threads

    def __init__(self, layout, Program program, fixed, seed, limit):
        self.layout, self.program, self.fixed, self.limit = layout, program, fixed, limit
        self.spare, self.paces = [], {}
        self.dtype, self.operations = layout.dtype, 2 * layout.plan.multiply_adds
        self.batch_size, self.scratch_size = layout.batch_size, layout.scratch_size * layout.dtype.itemsize
        memset(&self.step, 0, sizeof(Step))
        program.describe(&self.step, layout.rows, seed)

    cdef Workspace take(self):
        try:
            return self.spare.pop()
        except IndexError:
            return Workspace(self.program, self.fixed, self.batch_size, self.scratch_size)

    cdef void give_back(self, Workspace workspace):
        if (len(self.spare) + 1) * (self.batch_size + self.scratch_size) <= SPARE:
            self.spare.append(workspace)

    cdef bint go(self, Job *job, int64_t bytes_read, list direct):
        """Runs a job whose arrays are described; False where X is not finite and should be.

        `direct`: (op, address of the weights that it reads, their array) of each op that reads them there.
        """
        cdef int64_t operations = self.operations * job.total
        cdef int threads = 1
        if operations >= 2 * PER_THREAD:
            threads = min(job.total, threads_for(operations, self.limit()))
        if threads == 1 or operations > WITHOUT_TRIAL:
            return self.run(job, threads, operations + bytes_read, direct)
        pace = self.paces.get(threads) or self.paces.setdefault(threads, Pace(threads))
        threads, _ = pace.next(1)
        start = perf_counter()
        finite = self.run(job, threads, operations, direct)
        pace.record(threads, job.total, perf_counter() - start)
        return finite

    cdef bint run(self, Job *job, int threads, int64_t work, list direct):
        """`go` on so many threads; `work` decides about the GIL."""
        cdef Workspace workspace = self.take()
        cdef list team
        cdef bytearray memory
        cdef Place *places = &workspace.place
        cdef int64_t chunks = max(1, (job.total + self.step.capacity - 1) // self.step.capacity)
        cdef int i
        # As many chunks for each thread, all with as many rows.
        chunks = (chunks + threads - 1) // threads * threads
        job.rows = max(1, (job.total + chunks - 1) // chunks)
        job.first, job.n = self.program.n_prepare, self.program.n_step
        job.refused = False
        if threads > 1:
            team = [workspace] + [self.take() for _ in range(threads - 1)]
            memory = bytearray(threads * sizeof(Place))
            places = <Place *> <char *> memory
            for i in range(threads):
                places[i] = (<Workspace> team[i]).place
        for number, address, _ in direct:
            for i in range(threads):
                (<Op *> places[i].ops)[<int64_t> number].buffer[5] = <char *> <uintptr_t> address
        if work < RELEASE:
            run_forward(job, places, threads)
        else:
            with nogil:
                run_forward(job, places, threads)
        for number, _, _ in direct:
            for i in range(threads):
                (<Op *> places[i].ops)[<int64_t> number].buffer[5] = NULL
        for workspace in team if threads > 1 else (workspace,):
            self.give_back(workspace)
        return not job.refused

    def __call__(self, Source source, output):
        """Fills `output` with the outputs of all rows of the source."""
        cdef Job job
        job.base = self.step
        job.base.X, job.base.X_row, job.base.X_itemsize = source.step.X, source.step.X_row, source.step.X_itemsize
        job.base.X_start, job.base.X_column = source.step.X_start, source.step.X_column
        job.base.total = job.total = source.n
        job.base.output = <char *> <uintptr_t> output.ctypes.data
        job.check = False
        self.go(&job, RELEASE, [])


cdef class Quick(Packed):
    """Predictions like the ones before, for as long as nothing has changed and arrays need no validation.

    Parameters
    ----------
    runner : Runner
        With its parameters set.
    forms : tuple of tuples of int
        Shapes of a row that are right.
    types : bytes
        Types of X that are right: b"f", b"d" and b"B" for float32, float64 and uint8.
    same, lists : dict
        What must be the same, see ``Packed``.
    """

    cdef object runner, forms
    cdef bytes types
    cdef dict forwards
    cdef tuple shape
    cdef int64_t rows

    def __init__(self, runner, forms, types, same, lists):
        super().__init__(runner, same, lists)
        self.runner, self.forms, self.types, self.forwards = runner, forms, types, {}
        self.rows, self.shape = runner.rows, runner.plan.buffers[runner.plan.output].shape

    def __call__(self, dict known, X, bint both):
        """Outputs for all rows of X, or None: where X or `known` is not as it should be.

        X must be an aligned C-contiguous array of rows of the right form and type in the machine's byte order, without
        infinity or NaN, also in the type of the weights. With `both`, a single output p comes as two columns, 1 - p
        and p.
        """
        cdef Py_buffer x
        cdef list direct = []
        if type(X) is not ndarray:
            return None
        try:
            PyObject_GetBuffer(X, &x, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except (BufferError, TypeError, ValueError):
            return None
        try:
            if is_plain(&x, self.types) and self.has_rows(&x):
                if self.agrees(known, direct, x.shape[0], None):
                    return self.outputs(&x, both and self.shape == (1,), direct)
        finally:
            PyBuffer_Release(&x)

    cdef bint has_rows(self, const Py_buffer *x):
        """Whether an array has at least one row, and rows of one of the forms."""
        cdef Py_ssize_t axis
        cdef bint equal
        if x.len == 0:
            return False
        for form in self.forms:
            equal = x.ndim - 1 == len(<tuple> form)
            for axis in range(x.ndim - 1):
                equal = equal and x.shape[axis + 1] == (<tuple> form)[axis]
            if equal:
                return True
        return False

    cdef outputs(self, const Py_buffer *x, bint both, list direct):
        cdef int64_t n = x.shape[0], rows = 1
        cdef Forward forward
        cdef Job job
        cdef Py_buffer y
        while rows < n and rows < self.rows:
            rows *= 2
        forward = self.forwards.get(rows)
        if forward is None:
            forward = self.forwards[rows] = self.runner.forward_for(n)
        output = np.empty((n, 2) if both else (n, *self.shape), forward.dtype)
        PyObject_GetBuffer(output, &y, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        job.base = forward.step
        job.base.X, job.base.X_itemsize, job.base.X_row = <const char *> x.buf, x.itemsize, x.len // (n * x.itemsize)
        job.base.total = job.total = n
        job.base.output = <char *> y.buf
        job.check = True
        finite = forward.go(&job, x.len, direct)
        if finite and both:
            complement(<char *> y.buf, n, y.itemsize)
        PyBuffer_Release(&y)
        return output if finite else None
