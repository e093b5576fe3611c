"""Rows of the caller's arrays into panels, and predictions back out; rows are shared between threads."""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.native.kernels cimport Op, Step, at, first_row, fnn_kernels, panel_width, panels, rows_of


cdef inline int64_t source_row(const Step *step, int64_t r) noexcept nogil:
    return step.order[step.first + r] if step.order != NULL else step.first + r


cdef inline void set_real(const fnn_kernels *k, char *to, double value) noexcept nogil:
    if k.itemsize == 4:
        (<float *> to)[0] = <float> value
    else:
        (<double *> to)[0] = value


cdef inline double get_real(int64_t itemsize, const char *source) noexcept nogil:
    return (<const float *> source)[0] if itemsize == 4 else (<const double *> source)[0]


cdef void gather_rows(
    const Step *step, const char *source, int64_t columns, int64_t row, int64_t itemsize, char *to
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t start = first_row(step), stop = start + rows_of(step)
    cdef const int64_t *index = NULL
    if step.order != NULL:
        index = step.order + step.first + start
    else:
        source = source + (step.first + start) * row * itemsize
    k.gather(stop - start, columns, index, source, row, itemsize, to, step.capacity * k.panel, start)


cdef void gather_csr(const Op *op, const Step *step) noexcept nogil:
    """Writes the rows of a CSR matrix as dense rows of the batch: only a batch is ever dense.

    Repeated entries add up.
    """
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0], r, p, i, j, width, source
    cdef char *element
    cdef double value
    for r in range(first_row(step), first_row(step) + rows_of(step)):
        for p in range(panels(k, columns)):
            width = panel_width(k, columns, p)
            memset(at(k, op.buffer[0], p * step.capacity * k.panel + r * width), 0, width * k.itemsize)
        source = source_row(step, r)
        for i in range(step.X_start[source], step.X_start[source + 1]):
            j = step.X_column[i]
            p = j // k.panel
            width = panel_width(k, columns, p)
            element = at(k, op.buffer[0], p * step.capacity * k.panel + r * width + j - p * k.panel)
            value = get_real(step.X_itemsize, step.X + i * step.X_itemsize)
            set_real(k, element, get_real(k.itemsize, element) + value)


cdef void gather(const Op *op, const Step *step) noexcept nogil:
    if step.X_start != NULL:
        gather_csr(op, step)
    else:
        gather_rows(step, step.X, op.number[0], step.X_row, step.X_itemsize, op.buffer[0])


cdef void gather_classes(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t start = first_row(step), rows = rows_of(step)
    cdef const int64_t *classes = step.classes
    cdef const int64_t *index = NULL
    if step.order != NULL:
        index = step.order + step.first + start
    else:
        classes = classes + step.first + start
    k.one_hot(
        rows, op.number[0], classes, index, op.scalar[0], op.scalar[1], op.buffer[0],
        step.capacity * k.panel, start,
    )


cdef void gather_target(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t outputs = op.number[0], r, p, j, width
    cdef double on = op.scalar[0], off = op.scalar[1]
    cdef char *element
    if op.number[1]:
        gather_classes(op, step)
        return
    gather_rows(step, step.y, outputs, outputs, step.y_itemsize, op.buffer[0])
    if on == 1.0 and off == 0.0:
        return
    for r in range(first_row(step), first_row(step) + rows_of(step)):
        for p in range(panels(k, outputs)):
            width = panel_width(k, outputs, p)
            for j in range(min(k.panel, outputs - p * k.panel)):
                element = at(k, op.buffer[0], p * step.capacity * k.panel + r * width + j)
                set_real(k, element, off + (on - off) * get_real(k.itemsize, element))


cdef void gather_weight(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t r
    for r in range(first_row(step), first_row(step) + rows_of(step)):
        set_real(k, at(k, op.buffer[0], r), step.weight[source_row(step, r)])


cdef void store(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t columns = op.number[0]
    cdef int64_t start = first_row(step), stop = start + rows_of(step)
    k.store(
        stop - start, columns, op.buffer[0], step.capacity * k.panel, start,
        at(k, step.output, (step.first + start) * columns), columns,
    )


def bind_gather(op, layout):
    return [op.outputs[0]], [layout.columns(op.outputs[0])], []


def bind_gather_target(op, layout):
    attributes = op.attributes
    numbers = [layout.columns(op.outputs[0]), int(attributes["one_hot"])]
    return [op.outputs[0]], numbers, [attributes["on"], attributes["off"]]


def bind_gather_weight(op, layout):
    return [op.outputs[0]], [], []


def bind_store(op, layout):
    return [op.inputs[0]], [layout.columns(op.inputs[0])], []


OPS = {
    "gather": (<size_t> &gather, bind_gather),
    "gather_target": (<size_t> &gather_target, bind_gather_target),
    "gather_weight": (<size_t> &gather_weight, bind_gather_weight),
    "store": (<size_t> &store, bind_store),
}
