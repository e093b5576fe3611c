"""What a program is, for the other modules of this backend."""

from libc.stdint cimport int64_t, uint64_t

from fastnn.native.kernels cimport fnn_bfloat16, fnn_kernels
from fastnn.native.op cimport Op, Step


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
