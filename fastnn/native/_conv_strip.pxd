"""What becomes of the lines of a convolution's sums, which wait in a strip in the scratch, for _conv_planes.pyx and
_conv_bfloat16.pyx."""

from libc.stdint cimport int32_t, int64_t

from fastnn.native.kernels cimport fnn_kernels
from fastnn.native.op cimport Op, Step, at


cdef struct Windows:
    int64_t across           # 0: no pool
    const int32_t *window    # where windows start,
    int64_t taps
    const int32_t *tap       # and where their taps lie


cdef inline void finish_lines(
    const Op *op, const Step *step, int64_t activation, const Windows *pool, const char *strip, int64_t line,
    int64_t shown, int64_t lines, int64_t offset, int64_t width
) noexcept nogil:
    """From the strip, a line of it `line` places long, to so many lines of `shown` outputs, or windows of the pool, at
    `offset`. Buffers 3 and 5: y, and z or index."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t n = lines * shown
    cdef char *y = at(k, op.buffer[3], offset)
    cdef char *z = at(k, op.buffer[5], offset) if op.buffer[5] != NULL else y
    if pool.across > 0:
        k.max_at_windows(n, pool.taps, width, strip, pool.window, pool.tap, y, z)
        z = y
    else:
        k.copy(lines, shown * width, strip, line * width, 1, z, shown * width, 1)
    if activation >= 0:
        k.activation[activation](n * width, z, y, op.scalar)
