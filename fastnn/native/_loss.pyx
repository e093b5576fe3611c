"""The loss of each row and its gradient; rows are shared between threads."""

from fastnn.native.kernels cimport Op, Step, first_row, fnn_kernels, fnn_loss, rows_of

cdef extern from *:
    """
    static const char *fnn_loss_names[] = {
    #define FNN_LOSS(name, ...) #name,
    #include "losses.def"
    #undef FNN_LOSS
        0
    };
    """
    const char *fnn_loss_names[]

LOSSES = {}
while fnn_loss_names[len(LOSSES)] != NULL:
    LOSSES[fnn_loss_names[len(LOSSES)].decode()] = len(LOSSES)


cdef void loss(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef fnn_loss l
    l.first, l.rows = first_row(step), rows_of(step)
    l.outputs = op.number[0]
    l.panel_stride = step.capacity * k.panel
    l.z = op.buffer[0]
    l.t = op.buffer[1]
    l.w = op.buffer[2]
    l.inverse_weight = step.inverse_weight
    l.dz = op.buffer[3]
    l.row_loss = (<double *> op.buffer[4]) + step.row
    l.p = op.scalar
    k.loss[op.number[1]](&l)


def bind_loss(op, layout):
    name, *parameters = op.attributes["loss"]
    z, t, *w = op.inputs
    return [z, t, *(w or [None]), *op.outputs], [layout.columns(z), LOSSES[name]], parameters


OPS = {"loss": (<size_t> &loss, bind_loss)}
