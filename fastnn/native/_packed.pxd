"""What tells whether packed weights are still those of a user, for the short way of predictions."""

from libc.stdint cimport int64_t

from fastnn.native._executor cimport Program


cdef enum:
    AXES = 6                 # of a parameter, at most


cdef struct Array:
    const char *packed       # NULL: not read by the program
    int64_t rows, columns    # as the user has them
    bint turned
    bint by_rows             # read only in the rows of columns of X that have entries
    int64_t op               # the dense op that can read whole panels where the user has them, -1: none
    int ndim                 # -1: there must be none
    Py_ssize_t[AXES] shape


cdef bint is_plain(const Py_buffer *view, bytes formats) noexcept


cdef class Packed:
    cdef Program program
    cdef dict same
    cdef list names, lengths
    cdef bytearray memory
    cdef Array *arrays
    cdef bint agrees(self, dict known, list direct, int64_t n, const int64_t[::1] columns)
    cdef bint matches(self, const Array *array, entry, list direct, int64_t n, const int64_t[::1] columns)
