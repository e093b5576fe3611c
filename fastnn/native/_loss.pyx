"""The loss of each row, or of each step of its sequence, and its gradient; rows are shared between threads."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport fnn_kernels, fnn_loss
from fastnn.native.op cimport (
    Op, Step, at, clear_steps, first_row, length_of, panel_stride, panel_width, panels, real_at, rows_of,
)

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


cdef void loss_of_steps(const Op *op, const Step *step, fnn_loss *l) noexcept nogil:
    """The mean over each row's own steps: to the kernel these are rows, of equal weight."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[2], r, t, steps, p, width
    cdef double weight
    # The kernel counts rows from the first of the batch, and there is room for the steps of one row.
    l.row_loss = (<double *> step.scratch) - l.first * time
    for r in range(first_row(step), first_row(step) + rows_of(step)):
        steps = length_of(k, op.buffer[5], r, time)
        weight = (1.0 if op.buffer[2] == NULL else real_at(k, op.buffer[2], r)) / <double> steps
        l.first, l.rows = r * time, steps
        l.w = NULL
        l.inverse_weight = weight * step.inverse_weight
        k.loss[op.number[1]](l)
        (<double *> op.buffer[4])[step.row + r] = 0.0
        for t in range(steps):
            (<double *> op.buffer[4])[step.row + r] += weight * l.row_loss[r * time + t]
        l.row_loss -= time
        for p in range(panels(k, l.outputs)):
            width = panel_width(k, l.outputs, p)
            clear_steps(k, at(k, op.buffer[3], p * l.panel_stride), r, steps, time, width)


cdef void loss(const Op *op, const Step *step) noexcept nogil:
    cdef fnn_loss l
    l.first, l.rows = first_row(step), rows_of(step)
    l.outputs = op.number[0]
    l.panel_stride = panel_stride(step, op.number[2])
    l.z = op.buffer[0]
    l.t = op.buffer[1]
    l.w = op.buffer[2]
    l.inverse_weight = step.inverse_weight
    l.dz = op.buffer[3]
    l.row_loss = (<double *> op.buffer[4]) + step.row
    l.p = op.scalar
    if op.number[3]:
        loss_of_steps(op, step, &l)
    else:
        step.kernels.loss[op.number[1]](&l)


def bind_loss(op, layout):
    name, *parameters = op.attributes["loss"]
    z, t, *rest = op.inputs
    lengths = rest.pop() if op.attributes["lengths"] else None
    time, steps = layout.positions(z), len(layout.plan.buffers[z].shape) > 1
    if steps:
        layout.scratch(8 * time // layout.dtype.itemsize)
    return [z, t, *(rest or [None]), *op.outputs, lengths], [layout.columns(z), LOSSES[name], time, steps], parameters


OPS = {"loss": (<size_t> &loss, bind_loss)}
