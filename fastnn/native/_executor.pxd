"""What a program is, for the other modules of this backend."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from fastnn.native.kernels cimport fnn_bfloat16, fnn_kernels
from fastnn.native.op cimport Op, Step


cdef struct Place:             # of one thread
    const Op *ops
    char *scratch


cdef struct Job:
    Step base
    int64_t first, n         # the step's ops
    int64_t total
    int64_t rows             # of a chunk, at most its capacity
    int64_t taken            # chunks that a thread has begun
    bint check               # whether X must be finite, also in the type of the run
    bint refused             # out: whether it is not


cdef char *data_of(array) except? NULL


cdef void run_forward(Job *job, const Place *places, int threads) noexcept nogil


cdef class Source:
    cdef Step step
    cdef object arrays
    cdef readonly int64_t n


cdef class Program:
    cdef const fnn_kernels *kernels
    cdef const fnn_bfloat16 *bfloat16
    cdef bytearray memory
    cdef Op *ops
    cdef object arenas
    cdef int64_t n_prepare, n_step, n_update
    cdef double beta_1, beta_2
    cdef fill(self, int64_t i, description)
    cdef bint is_asked_for(self)
    cdef void describe(self, Step *step, int64_t capacity, uint64_t seed)
