"""Whether numbers are finite."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline bint is_finite(const char *x, int64_t n, int64_t itemsize, int64_t real) noexcept nogil:
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
