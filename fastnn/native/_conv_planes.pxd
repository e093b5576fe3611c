"""The convolution by a few filters, for _conv.pyx."""

from libc.stdint cimport int64_t

from fastnn.native._conv_sparse cimport Finish
from fastnn.native.op cimport Op, Step

cdef void conv_by_planes(const Op *op, const Step *step, int64_t number, Finish derivative) noexcept nogil
