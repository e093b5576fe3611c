"""The gradients of a convolution behind a max pool, for _conv.pyx."""

from libc.stdint cimport int64_t

from fastnn.native.op cimport Op, Step


# What follows the products of an op: `rows` results of `width` columns, at `offset` of the op's buffers.
ctypedef void (*Finish)(const Op *op, const Step *step, int64_t offset, int64_t rows, int64_t width) noexcept nogil

cdef void sparse_grad_input(
    const Op *op, const Step *step, int64_t number, int64_t split, Finish finish
) noexcept nogil
cdef void sparse_grad_weights(
    const Op *op, const Step *step, int64_t number, int64_t part, int64_t thread, int64_t threads
) noexcept nogil
