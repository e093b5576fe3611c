"""The convolution by a few filters: a plane of places for each filter, turned into rows of filters.

Images are worked on one by one in the scratch, surrounded by zeros, a plane for each channel and remainder of places
divided by the stride, in bands of lines; `conv_planes` describes them.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from fastnn.native._conv_sparse cimport Finish
from fastnn.native._conv_strip cimport Windows, finish_lines
from fastnn.native.kernels cimport fnn_index, fnn_indexed, fnn_kernels
from fastnn.native.op cimport Op, Step, at, first_row, real_at, rows_of


# Lines and places side by side, or a stride apart, of some channels.
cdef struct Copy:
    int64_t lines, places, channels, start, from_line, from_place, from_image, to


# conv_planes.Planes in C. Offsets and sizes are in elements.
cdef struct Planes:
    int64_t filters, each, groups  # each: filters of a group
    int64_t channel, group   # in the scratch: from a channel to the next one, and from the first of a group,
    int64_t line             # and from one line of the image to the next
    const Copy *copies
    int64_t n_copies
    int64_t cleared          # so much of the scratch starts as zeros
    int64_t bias             # where in the scratch each filter's bias lies, a panel of it,
    int64_t planes, plane    # the planes, one so far from the other,
    int64_t strip            # and the rows of filters that they become
    const int32_t *filter    # 0, 1, ...
    const fnn_index *step
    int64_t depth
    const int64_t *edge      # of the bands, in lines of outputs or windows
    int64_t bands, stride, high  # lines from output to output, or window to window, and lines of one
    int64_t shown            # outputs, or windows, in a line
    int64_t outputs
    Windows pool


cdef void stage(const Step *step, const Planes *q, const char *x, int64_t image) noexcept nogil:
    """The channels of an image become planes."""
    cdef const fnn_kernels *k = step.kernels
    cdef const Copy *c
    cdef const char *place
    cdef char *to
    cdef int64_t i, line
    for i in range(q.n_copies):
        c = &q.copies[i]
        place, to = at(k, x, c.start + image * c.from_image), at(k, step.scratch, c.to)
        if c.channels == 1:
            k.copy(c.lines, c.places, place, c.from_line, c.from_place, to, q.line, 1)
            continue
        for line in range(c.lines):
            k.transpose(
                c.places, c.channels, at(k, place, line * c.from_line), c.from_place, at(k, to, line * q.line),
                q.channel,
            )


cdef void multiply(const fnn_kernels *k, const Planes *q, fnn_indexed *g, int64_t vectors) noexcept nogil:
    """So many vectors of places, a few at a time: all filters of a group are the rows of a tile."""
    cdef int64_t most = k.vectors, n
    while k.indexed_rows[most] < q.each:
        most -= 1
    while vectors > 0:
        n = min(most, vectors)
        k.indexed[n][q.each](g)
        g.b = at(k, g.b, n * k.lanes)
        g.c = at(k, g.c, n * k.lanes)
        vectors -= n


cdef void put_lines(
    const Step *step, const Planes *q, int64_t places, int64_t lines, char *to
) noexcept nogil:
    """Rows from planes of so many places; those shown follow each other at `to`."""
    cdef const fnn_kernels *k = step.kernels
    cdef char *strip = at(k, step.scratch, q.strip)
    cdef int64_t n = q.shown * k.lanes
    k.rows_of_planes(places, q.filters, q.plane, at(k, step.scratch, q.planes), strip)
    k.copy(lines, n, strip, q.line * k.lanes, 1, to, n, 1)


cdef void finish(
    const Op *op, const Step *step, const Planes *q, int64_t places, int64_t lines, int64_t offset, Finish derivative
) noexcept nogil:
    """What becomes of planes of so many places: an activation is taken of planes, which have no pads."""
    cdef const fnn_kernels *k = step.kernels
    cdef char *plane = at(k, step.scratch, q.planes)
    cdef char *strip = at(k, step.scratch, q.strip)
    cdef char *own
    cdef int64_t activation = op.number[2], f
    if q.pool.across > 0:
        k.rows_of_planes(places, q.filters, q.plane, plane, strip)
        finish_lines(op, step, activation, &q.pool, strip, q.line, q.shown, lines, offset, k.lanes)
        return
    if derivative != NULL:
        put_lines(step, q, places, lines, at(k, op.buffer[3], offset))
        derivative(op, step, offset, lines * q.shown, k.lanes)
        return
    if op.buffer[5] != NULL:
        put_lines(step, q, places, lines, at(k, op.buffer[5], offset))
    if activation >= 0:
        for f in range(q.filters):
            own = at(k, plane, f * q.plane)
            k.activation[activation](places, own, own, op.scalar)
    put_lines(step, q, places, lines, at(k, op.buffer[3], offset))


cdef void conv_by_planes(const Op *op, const Step *step, int64_t number, Finish derivative) noexcept nogil:
    """Buffers: x, W, b, y, -, z or index. Number 2: activation. With a derivative, y is a gradient that it finishes."""
    cdef const fnn_kernels *k = step.kernels
    cdef const Planes *q = <const Planes *> number
    cdef const char *bias = op.buffer[2]
    cdef int64_t image, band, lines, vectors, f, i
    cdef fnn_indexed g
    memset(step.scratch, 0, q.cleared * k.itemsize)
    memset(&g, 0, sizeof(fnn_indexed))
    for f in range(q.filters):
        k.fill(k.panel, real_at(k, bias, f) if bias != NULL else 0.0, at(k, step.scratch, q.bias + f * k.panel))
    g.a_unit = 1
    g.step, g.depth, g.b_row = q.step, q.depth, 1
    g.init_row, g.c_width = k.panel, q.plane
    for image in range(first_row(step), first_row(step) + rows_of(step)):
        stage(step, q, op.buffer[0], image)
        for band in range(q.bands):
            lines = q.edge[band + 1] - q.edge[band]
            vectors = (((lines - 1) * q.stride + q.high) * q.line + k.lanes - 1) >> k.lane_bits
            for i in range(q.groups):
                f = i * q.each
                g.a = at(k, op.buffer[1], f)
                g.b = at(k, step.scratch, i * q.group + q.edge[band] * q.stride * q.line)
                g.init = at(k, step.scratch, q.bias + f * k.panel)
                g.c = at(k, step.scratch, q.planes + f * q.plane)
                g.a_row = g.c_row = q.filter
                multiply(k, q, &g, vectors)
            finish(
                op, step, q, vectors << k.lane_bits, lines, (image * q.outputs + q.edge[band] * q.shown) * k.lanes,
                derivative,
            )
