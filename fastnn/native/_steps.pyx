"""From a sequence to one vector: its last step, the mean or the maximum of its steps; rows are shared between
threads."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastnn.native.kernels cimport fnn_kernels
from fastnn.native.op cimport (
    Op, Step, at, clear_steps, first_row, length_of, panel_stride, panel_width, panels, rows_of,
)


cdef struct Place:
    # One row of one panel: where its sequence and its vector start, how many of its steps count.
    int64_t sequence, vector, width, steps


ctypedef void (*Visit)(const Op *op, const Step *step, const Place *place) noexcept nogil


cdef inline void visit_rows(const Op *op, const Step *step, Visit visit) noexcept nogil:
    """Numbers: columns, time, whether the last step is the first. The fourth buffer holds the lengths, or is NULL."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t time = op.number[1], p, r
    cdef Place place
    for p in range(panels(k, op.number[0])):
        place.width = panel_width(k, op.number[0], p)
        for r in range(first_row(step), first_row(step) + rows_of(step)):
            place.sequence = p * panel_stride(step, time) + r * time * place.width
            place.vector = p * panel_stride(step, 1) + r * place.width
            place.steps = length_of(k, op.buffer[3], r, time)
            visit(op, step, &place)


cdef inline int64_t chosen(const Op *op, const Place *place) noexcept nogil:
    """Where the step that `last_step` takes starts."""
    return place.sequence + (0 if op.number[2] else place.steps - 1) * place.width


cdef void take_last(const Op *op, const Step *step, const Place *place) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    memcpy(at(k, op.buffer[1], place.vector), at(k, op.buffer[0], chosen(op, place)), place.width * k.itemsize)


cdef void last_step(const Op *op, const Step *step) noexcept nogil:
    visit_rows(op, step, take_last)


cdef void put_last(const Op *op, const Step *step, const Place *place) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    clear_steps(k, at(k, op.buffer[1], place.sequence), 0, 0, op.number[1], place.width)
    memcpy(at(k, op.buffer[1], chosen(op, place)), at(k, op.buffer[0], place.vector), place.width * k.itemsize)


cdef void last_step_grad(const Op *op, const Step *step) noexcept nogil:
    visit_rows(op, step, put_last)


cdef void take_mean(const Op *op, const Step *step, const Place *place) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    k.mean_over_steps(
        place.steps, place.width, at(k, op.buffer[0], place.sequence), at(k, op.buffer[1], place.vector)
    )


cdef void mean_over_steps(const Op *op, const Step *step) noexcept nogil:
    visit_rows(op, step, take_mean)


cdef void spread_mean(const Op *op, const Step *step, const Place *place) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    k.mean_over_steps_grad(
        place.steps, place.width, at(k, op.buffer[0], place.vector), at(k, op.buffer[1], place.sequence)
    )
    clear_steps(k, at(k, op.buffer[1], place.sequence), 0, place.steps, op.number[1], place.width)


cdef void mean_over_steps_grad(const Op *op, const Step *step) noexcept nogil:
    visit_rows(op, step, spread_mean)


cdef void take_max(const Op *op, const Step *step, const Place *place) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    k.max_over_steps(
        place.steps, place.width, at(k, op.buffer[0], place.sequence), at(k, op.buffer[1], place.vector),
        at(k, op.buffer[2], place.vector),
    )


cdef void max_over_steps(const Op *op, const Step *step) noexcept nogil:
    visit_rows(op, step, take_max)


cdef void put_max(const Op *op, const Step *step, const Place *place) noexcept nogil:
    """In all steps: none beyond the length has the number of the maximum."""
    cdef const fnn_kernels *k = step.kernels
    k.max_over_steps_grad(
        op.number[1], place.width, at(k, op.buffer[0], place.vector), at(k, op.buffer[1], place.vector),
        at(k, op.buffer[2], place.sequence),
    )


cdef void max_over_steps_grad(const Op *op, const Step *step) noexcept nogil:
    visit_rows(op, step, put_max)


def _bind(op, layout, sequence):
    operands = list(op.inputs)
    lengths = operands.pop() if op.attributes["lengths"] else None
    operands += op.outputs
    numbers = [layout.columns(sequence), layout.positions(sequence), int(op.attributes.get("reverse", False))]
    return [*operands, *[None] * (3 - len(operands)), lengths], numbers, []


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
