"""Elementwise activations, their derivatives, and the row softmax; rows are shared between threads."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport (
    Op, Step, at, first_row, fnn_kernels, panel_stride, panels, row_span, rows_of,
)

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
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, offset
    cdef int64_t rows = rows_of(step) * positions
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, positions, p, &width)
        k.activation[op.number[2]](
            rows * width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset), op.scalar
        )


cdef void activation_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], positions = op.number[1], p, width, offset
    cdef int64_t rows = rows_of(step) * positions
    for p in range(panels(k, columns)):
        offset = row_span(step, columns, positions, p, &width)
        k.activation_grad[op.number[2]](
            rows * width, at(k, op.buffer[0], offset), at(k, op.buffer[1], offset),
            at(k, op.buffer[2], offset), op.scalar,
        )


cdef void softmax(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t positions = op.number[1], start = first_row(step) * positions, rows = rows_of(step) * positions
    k.softmax(start, rows, op.number[0], panel_stride(step, positions), op.buffer[0], op.buffer[1])


def bind_activation(op, layout):
    name, *parameters = op.attributes["activation"]
    y = op.outputs[0]
    return [*op.inputs, y], [layout.columns(y), layout.positions(y), activation_id(name)], parameters


def bind_softmax(op, layout):
    y = op.outputs[0]
    return [*op.inputs, y], [layout.columns(y), layout.positions(y)], []


OPS = {
    "activation": (<size_t> &activation, bind_activation),
    "activation_grad": (<size_t> &activation_grad, bind_activation),
    "softmax": (<size_t> &softmax, bind_softmax),
}
