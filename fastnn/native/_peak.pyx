"""What the machine can do at best, for benchmarks: arithmetic in registers, and streams through caches and memory."""

from cython.parallel cimport parallel
from libc.stdint cimport int64_t, uintptr_t

import numpy as np

from fastnn.native.kernels cimport (
    fnn_bfloat16, fnn_bfloat16_for, fnn_kernels, fnn_kernels_for, fnn_team_size, fnn_thread_number,
)
from fastnn.native.op cimport share


cdef double multiply_and_add(const fnn_kernels *k, int64_t repeats) noexcept nogil:
    cdef double sink = 0.0
    return k.peak(repeats, &sink)


def peak(isa, int64_t itemsize, int64_t repeats, int threads=1):
    """Floating-point operations done by the arithmetic probe on so many threads; time it to get their peak."""
    cdef const fnn_kernels *k = fnn_kernels_for(isa.encode(), itemsize)
    cdef double[::1] done = np.zeros(threads)
    with nogil, parallel(num_threads=threads):
        done[fnn_thread_number()] = multiply_and_add(k, repeats)
    return sum(done)


cdef void read_and_write(
    const fnn_kernels *k, int64_t vectors, const char *x, char *y, int64_t repeats, int thread, int threads
) noexcept nogil:
    """This thread's share of the streams, again and again."""
    cdef int64_t first = share(vectors, thread, threads) * k.lanes, last = share(vectors, thread + 1, threads) * k.lanes
    cdef int64_t _
    for _ in range(repeats):
        k.stream(last - first, x + first * k.itemsize, y + first * k.itemsize)


def stream(isa, x, y, int64_t repeats, int threads=1):
    """Bytes moved by the probe of the memory on so many threads: y = y / 2 + x, `repeats` times. Time it to get the
    bandwidth of the cache or memory that holds two arrays of that size."""
    cdef const fnn_kernels *k = fnn_kernels_for(isa.encode(), x.itemsize)
    cdef const char *source = <const char *> <uintptr_t> x.ctypes.data
    cdef char *target = <char *> <uintptr_t> y.ctypes.data
    cdef int64_t vectors = min(x.size, y.size) // k.lanes
    with nogil, parallel(num_threads=threads):
        read_and_write(k, vectors, source, target, repeats, fnn_thread_number(), fnn_team_size())
    return 3.0 * repeats * vectors * k.lanes * k.itemsize


def bfloat16_peak(isa, int64_t repeats, int threads=1):
    """`peak` of products of bfloat16."""
    cdef const fnn_bfloat16 *f = fnn_bfloat16_for(isa.encode())
    cdef double[::1] done = np.zeros(threads)
    with nogil, parallel(num_threads=threads):
        done[fnn_thread_number()] = f.peak(repeats)
    return sum(done)
