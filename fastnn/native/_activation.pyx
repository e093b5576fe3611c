"""Elementwise activations, their derivatives, and the row softmax; rows are shared between threads."""

from libc.stdint cimport int64_t, uintptr_t

import numpy as np

from fastnn.native.kernels cimport fnn_kernels, fnn_kernels_for
from fastnn.native.op cimport Op, Step, at, first_row, panel_stride, panels, row_span, rows_of

cdef extern from *:
    """
    static const char *fnn_activation_names[] = {
    #define FNN_ACTIVATION(name, ...) #name,
    #include "activations.def"
    #undef FNN_ACTIVATION
        0
    };
    #define FNN_FUNCTION(name, error, least, greatest) {#name, error, least, greatest},
    static const struct { const char *name; double error, least, greatest; } fnn_functions[] = {
    #include "functions.def"
    };
    #undef FNN_FUNCTION
    """
    const char *fnn_activation_names[]
    struct FunctionRow:
        const char *name
        double error, least, greatest
    const FunctionRow fnn_functions[]
    const int FNN_FUNCTIONS

ACTIVATIONS = {}
while fnn_activation_names[len(ACTIVATIONS)] != NULL:
    ACTIVATIONS[fnn_activation_names[len(ACTIVATIONS)].decode()] = len(ACTIVATIONS)


# Elementary function -> (largest error in units in the last place, least and greatest argument it holds for).
FUNCTIONS = {
    fnn_functions[i].name.decode(): (fnn_functions[i].error, fnn_functions[i].least, fnn_functions[i].greatest)
    for i in range(FNN_FUNCTIONS)
}


def evaluate(isa, name, x):
    """An elementary function of a float32 or float64 array, as the kernels of an instruction set compute it."""
    cdef const fnn_kernels *k = fnn_kernels_for(isa.encode(), x.itemsize)
    cdef int64_t n = -(-x.size // k.lanes) * k.lanes
    padded = np.zeros(n, x.dtype)
    padded[: x.size] = x.ravel()
    cdef char *values = <char *> <uintptr_t> padded.ctypes.data
    cdef int64_t function = list(FUNCTIONS).index(name)
    with nogil:
        k.function[function](n, values, values)
    return padded[: x.size].reshape(x.shape)


def activation_id(name):
    """Index of an activation in the kernel table."""
    return ACTIVATIONS[name]


def activation_of(op):
    """Index and parameters of the activation that goes with an op; -1 and none where none does."""
    name, *parameters = op.attributes.get("activation") or (None,)
    return -1 if name is None else activation_id(name), parameters


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
