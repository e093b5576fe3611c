"""The gradient of the weights of a convolution of few channels behind a max pool, with filters along the vectors.

All that a tap of the kernel meets of one pooling window lies within a vector, of which each filter picks the number at
its own maximum. Images are worked on one by one in the scratch, window by window; `conv_windows` describes them.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from fastnn.native._conv_share cimport images_at, part_at
from fastnn.native.kernels cimport fnn_kernels, fnn_picked
from fastnn.native.op cimport Op, Step, at, panel_width, panels, share


# conv_windows.Windows in C. Offsets and sizes are in elements.
cdef struct Windows:
    int64_t height, width, channels, filters  # of the image, of the convolution
    int64_t panels           # whether the image's buffer lies in panels
    int64_t rounded          # whether the operands are rounded to bfloat16
    int64_t plane, line, origin  # in the scratch: from one channel of the image to the next, from line to line, start
    int64_t cleared          # so much of the scratch starts as zeros
    int64_t down, across     # windows of the pool
    int64_t step[2]          # from one to the next in the image
    int64_t lines, numbers   # of a window: what all taps of the kernel meet
    int64_t laid, channel    # where in the scratch windows lie, from one channel's to the next one's
    int64_t gradients        # where in the scratch rounded ones lie
    int64_t rows             # of the weights' gradient
    const int32_t *x_row     # where each starts in a window,
    const int32_t *c_row     # and which it is
    const int32_t *tap       # what a place of the maximum adds


cdef void bring_image(const Op *op, const Step *step, const Windows *q, int64_t image) noexcept nogil:
    """Its channels one after another, surrounded by zeros."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t places = q.height * q.width, c, p, stride, start
    for c in range(q.channels):
        stride, start = q.channels, image * places * q.channels + c
        if q.panels:
            p = c // k.panel
            stride = panel_width(k, q.channels, p)
            start = images_at(step, q.channels, p, image, places) + c % k.panel
        k.copy(
            q.height, q.width, at(k, op.buffer[0], start), q.width * stride, stride,
            at(k, step.scratch, c * q.plane + q.origin), q.line, 1,
        )
    if q.rounded:
        step.bfloat16.round(q.channels * q.plane, <const float *> step.scratch, <float *> step.scratch)


cdef void lay_windows(const Step *step, const Windows *q) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t c, i, line = q.across * q.lines * q.numbers
    for c in range(q.channels):
        for i in range(q.down):
            k.lay_windows(
                q.across, q.lines, q.numbers, at(k, step.scratch, c * q.plane + i * q.step[0]), q.step[1], q.line,
                at(k, step.scratch, q.laid + c * q.channel + i * line),
            )


cdef void add_panel(
    const Op *op, const Step *step, const Windows *q, int64_t image, int64_t panel, char *dW, int64_t first,
    int64_t last,
) noexcept nogil:
    """Rows first .. last of a panel of dW += those of an image, in tiles of nearly equal height."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t width = panel_width(k, q.filters, panel), windows = q.down * q.across, column = 0, vectors, tiles, tile
    cdef int64_t offset = images_at(step, q.filters, panel, image, windows), row, height
    cdef const char *dz = at(k, op.buffer[1], offset)
    cdef fnn_picked g
    if q.rounded:
        step.bfloat16.round(windows * width, <const float *> dz, <float *> at(k, step.scratch, q.gradients))
        dz = at(k, step.scratch, q.gradients)
    g.depth, g.width, g.x_window = windows, width, q.lines * q.numbers
    g.tap, g.x = q.tap, at(k, step.scratch, q.laid)
    while column < width:
        vectors = min(<int64_t> 2, (width - column) // k.lanes)
        tiles = (last - first + k.indexed_rows[vectors] - 1) // k.indexed_rows[vectors]
        g.factor, g.index = at(k, dz, column), at(k, op.buffer[2], offset + column)
        g.c = at(k, dW, column)
        row = first
        for tile in range(tiles):
            height = first + (last - first) * (tile + 1) // tiles - row
            g.x_row, g.c_row = q.x_row + row, q.c_row + row
            k.picked[vectors][height](&g)
            row += height
        column += vectors * k.lanes


cdef void windows_grad_weights(
    const Op *op, const Step *step, int64_t number, int64_t part, int64_t thread, int64_t threads
) noexcept nogil:
    """Buffers: x, dz, index, dW. The gradient of a part, or this thread's share of its rows."""
    cdef const fnn_kernels *k = step.kernels
    cdef const Windows *q = <const Windows *> number
    cdef int64_t parts = op.number[1], first = share(q.rows, thread, threads), last = share(q.rows, thread + 1, threads)
    cdef int64_t image, panel, width, row
    cdef char *dW
    memset(step.scratch, 0, q.cleared * k.itemsize)
    for panel in range(panels(k, q.filters) if step.chunk == 0 else 0):
        width = panel_width(k, q.filters, panel)
        dW = at(k, op.buffer[3], part_at(k, q.filters, panel, part, parts) * q.rows)
        for row in range(first, last):
            memset(at(k, dW, q.c_row[row] * width), 0, width * k.itemsize)
    for image in range(share(step.n, part, parts), share(step.n, part + 1, parts)):
        bring_image(op, step, q, image)
        lay_windows(step, q)
        for panel in range(panels(k, q.filters)):
            dW = at(k, op.buffer[3], part_at(k, q.filters, panel, part, parts) * q.rows)
            add_panel(op, step, q, image, panel, dW, first, last)
