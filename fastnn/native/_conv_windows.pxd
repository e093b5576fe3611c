"""The gradient of the weights of a convolution behind a max pool, for _conv.pyx and _conv_bfloat16.pyx."""

from libc.stdint cimport int64_t

from fastnn.native.op cimport Op, Step

cdef void windows_grad_weights(
    const Op *op, const Step *step, int64_t number, int64_t part, int64_t thread, int64_t threads
) noexcept nogil
