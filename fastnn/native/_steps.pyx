"""From a sequence to one vector: its last step, the mean or the maximum of its steps; rows are shared between
threads."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastnn.native.kernels cimport (
    Op, Step, at, clear_steps, first_row, fnn_kernels, length_of, panel_stride, panel_width, panels, rows_of,
)


cdef struct Place:
    # One row of one panel: where its sequence and its vector start, how many of its steps count.
    int64_t sequence, vector, width, steps


cdef inline Place place_of(const Op *op, const Step *step, const char *lengths, int64_t p, int64_t r) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[1]
    cdef Place place
    place.width = panel_width(k, op.number[0], p)
    place.sequence = p * panel_stride(step, time) + r * time * place.width
    place.vector = p * panel_stride(step, 1) + r * place.width
    place.steps = length_of(k, lengths, r, time)
    return place


cdef inline int64_t chosen(const Op *op, const Place *place) noexcept nogil:
    """Where the step that `last_step` takes starts."""
    return place.sequence + (0 if op.number[2] else place.steps - 1) * place.width


cdef void last_step(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef Place place
    cdef int64_t p, r
    for p in range(panels(k, op.number[0])):
        for r in range(first_row(step), first_row(step) + rows_of(step)):
            place = place_of(op, step, op.buffer[2], p, r)
            memcpy(
                at(k, op.buffer[1], place.vector), at(k, op.buffer[0], chosen(op, &place)), place.width * k.itemsize
            )


cdef void last_step_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef Place place
    cdef int64_t p, r
    for p in range(panels(k, op.number[0])):
        for r in range(first_row(step), first_row(step) + rows_of(step)):
            place = place_of(op, step, op.buffer[2], p, r)
            clear_steps(k, at(k, op.buffer[1], place.sequence), 0, 0, op.number[1], place.width)
            memcpy(
                at(k, op.buffer[1], chosen(op, &place)), at(k, op.buffer[0], place.vector), place.width * k.itemsize
            )


cdef void mean_over_steps(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef Place place
    cdef int64_t p, r
    for p in range(panels(k, op.number[0])):
        for r in range(first_row(step), first_row(step) + rows_of(step)):
            place = place_of(op, step, op.buffer[2], p, r)
            k.mean_over_steps(
                place.steps, place.width, at(k, op.buffer[0], place.sequence), at(k, op.buffer[1], place.vector)
            )


cdef void mean_over_steps_grad(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef Place place
    cdef int64_t p, r
    for p in range(panels(k, op.number[0])):
        for r in range(first_row(step), first_row(step) + rows_of(step)):
            place = place_of(op, step, op.buffer[2], p, r)
            k.mean_over_steps_grad(
                place.steps, place.width, at(k, op.buffer[0], place.vector), at(k, op.buffer[1], place.sequence)
            )
            clear_steps(k, at(k, op.buffer[1], place.sequence), 0, place.steps, op.number[1], place.width)


cdef void max_over_steps(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef Place place
    cdef int64_t p, r
    for p in range(panels(k, op.number[0])):
        for r in range(first_row(step), first_row(step) + rows_of(step)):
            place = place_of(op, step, op.buffer[3], p, r)
            k.max_over_steps(
                place.steps, place.width, at(k, op.buffer[0], place.sequence), at(k, op.buffer[1], place.vector),
                at(k, op.buffer[2], place.vector),
            )


cdef void max_over_steps_grad(const Op *op, const Step *step) noexcept nogil:
    """No step beyond the length has the number of the maximum."""
    cdef const fnn_kernels *k = step.kernels
    cdef Place place
    cdef int64_t p, r
    for p in range(panels(k, op.number[0])):
        for r in range(first_row(step), first_row(step) + rows_of(step)):
            place = place_of(op, step, NULL, p, r)
            k.max_over_steps_grad(
                place.steps, place.width, at(k, op.buffer[0], place.vector), at(k, op.buffer[1], place.vector),
                at(k, op.buffer[2], place.sequence),
            )


def _bind(op, layout, sequence):
    operands = list(op.inputs)
    lengths = [operands.pop()] if op.attributes["lengths"] else []
    numbers = [layout.columns(sequence), layout.positions(sequence), int(op.attributes.get("reverse", False))]
    return [*operands, *op.outputs, *lengths], numbers, []


def bind(op, layout):
    return _bind(op, layout, op.inputs[0])


def bind_grad(op, layout):
    return _bind(op, layout, op.outputs[0])


OPS = {
    "last_step": (<size_t> &last_step, bind),
    "last_step_grad": (<size_t> &last_step_grad, bind_grad),
    "mean_over_steps": (<size_t> &mean_over_steps, bind),
    "mean_over_steps_grad": (<size_t> &mean_over_steps_grad, bind_grad),
    "max_over_steps": (<size_t> &max_over_steps, bind),
    "max_over_steps_grad": (<size_t> &max_over_steps_grad, bind_grad),
}
