"""The convolution of one channel by a few filters: a plane of places for each filter, turned into rows of filters.

Images are worked on one by one in the scratch, surrounded by zeros, in bands of lines; `conv_planes` describes them.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from fastnn.native._conv_strip cimport Windows, finish_lines
from fastnn.native.kernels cimport fnn_index, fnn_indexed, fnn_kernels
from fastnn.native.op cimport Op, Step, at, first_row, real_at, rows_of


# conv_planes.Planes in C. Offsets and sizes are in elements.
cdef struct Planes:
    int64_t height, width, filters
    int64_t line, origin     # in the scratch: from one line of the image to the next, and where the image starts
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


cdef void multiply(const fnn_kernels *k, const Planes *q, fnn_indexed *g, int64_t vectors) noexcept nogil:
    """So many vectors of places, a few at a time: all filters are the rows of a tile."""
    cdef int64_t most = k.vectors, n
    while k.indexed_rows[most] < q.filters:
        most -= 1
    while vectors > 0:
        n = min(most, vectors)
        k.indexed[n][q.filters](g)
        g.b = at(k, g.b, n * k.lanes)
        g.c = at(k, g.c, n * k.lanes)
        vectors -= n


cdef void conv_by_planes(const Op *op, const Step *step, int64_t number) noexcept nogil:
    """Buffers: x, W, b, y, -, z or index. Number 2: activation."""
    cdef const fnn_kernels *k = step.kernels
    cdef const Planes *q = <const Planes *> number
    cdef const char *bias = op.buffer[2]
    cdef int64_t image, band, lines, places, f
    cdef fnn_indexed g
    memset(step.scratch, 0, q.cleared * k.itemsize)
    memset(&g, 0, sizeof(fnn_indexed))
    for f in range(q.filters):
        k.fill(k.panel, real_at(k, bias, f) if bias != NULL else 0.0, at(k, step.scratch, q.bias + f * k.panel))
    g.a, g.a_row, g.a_unit = op.buffer[1], q.filter, 1
    g.step, g.depth, g.b_row = q.step, q.depth, 1
    g.init, g.init_row = at(k, step.scratch, q.bias), k.panel
    g.c_row, g.c_width = q.filter, q.plane
    for image in range(first_row(step), first_row(step) + rows_of(step)):
        k.copy(
            q.height, q.width, at(k, op.buffer[0], image * q.height * q.width), q.width, 1,
            at(k, step.scratch, q.origin), q.line, 1,
        )
        for band in range(q.bands):
            lines = q.edge[band + 1] - q.edge[band]
            places = ((lines - 1) * q.stride + q.high) * q.line
            g.b = at(k, step.scratch, q.edge[band] * q.stride * q.line)
            g.c = at(k, step.scratch, q.planes)
            multiply(k, q, &g, (places + k.lanes - 1) >> k.lane_bits)
            k.rows_of_planes(
                places, q.filters, q.plane, at(k, step.scratch, q.planes), at(k, step.scratch, q.strip)
            )
            finish_lines(
                op, step, op.number[2], &q.pool, at(k, step.scratch, q.strip), q.line, q.shown, lines,
                (image * q.outputs + q.edge[band] * q.shown) * k.lanes, k.lanes,
            )
