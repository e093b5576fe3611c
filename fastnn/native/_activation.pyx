"""Elementwise activations, their derivatives, and the row softmax; rows are shared between threads."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport Op, Step, at, first_row, fnn_kernels, panels, row_span, rows_of

cdef extern from *:
    """
    static const char *fnn_activation_names[] = {
    #define FNN_ACTIVATION(name, ...) #name,
    #include "activations.def"
    #undef FNN_ACTIVATION
        0
    };
    """
    const char *fnn_activation_names[]

ACTIVATIONS = {}
while fnn_activation_names[len(ACTIVATIONS)] != NULL:
    ACTIVATIONS[fnn_activation_names[len(ACTIVATIONS)].decode()] = len(ACTIVATIONS)


def activation_id(name):
    """Index of an activation in the kernel table."""
    return ACTIVATIONS[name]


cdef void activation(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], p, width, offset
    cdef int64_t rows = rows_of(step)
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, p, &width)
        k.activation[op.number[1]](
            rows * width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset), op.scalar
        )


cdef void activation_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], p, width, offset
    cdef int64_t rows = rows_of(step)
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, p, &width)
        k.activation_grad[op.number[1]](
            rows * width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset),
            at(k, op.buffer[2], offset), op.scalar,
        )


cdef void softmax(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t start = first_row(step), rows = rows_of(step)
    k.softmax(start, rows, op.number[0], step.capacity * k.panel, op.buffer[0], op.buffer[1])


def bind_activation(op, layout):
    name, *parameters = op.attributes["activation"]
    numbers = [layout.columns(op.outputs[0]), activation_id(name)]
    return [*op.inputs, *op.outputs], numbers, parameters


def bind_softmax(op, layout):
    return [*op.inputs, *op.outputs], [layout.columns(op.outputs[0])], []


OPS = {
    "activation": (<size_t> &activation, bind_activation),
    "activation_grad": (<size_t> &activation_grad, bind_activation),
    "softmax": (<size_t> &softmax, bind_softmax),
}
