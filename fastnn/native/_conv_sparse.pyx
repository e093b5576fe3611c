"""The gradients of a convolution behind a max pool, whose operand is zero but for one place in each window.

Each gradient that the pool gives back meets one patch of the image, kernel lines of side-by-side columns and channels:
grad_weights adds up patches of x for each filter, grad_input patches of the filters for each window. Images are worked
on one by one in the scratch, surrounded by zeros, with nothing between their channels; `conv_sparse` describes them.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from fastnn.native._conv_share cimport Images, images_at, next_images, part_at
from fastnn.native.kernels cimport fnn_kernels, fnn_sparse
from fastnn.native.op cimport Op, Step, at, padded, panel_width, panels, share


# conv_sparse.Sparse in C. Offsets and sizes are in elements.
cdef struct Sparse:
    int64_t height, width, channels, filters  # of the image, of the convolution
    int64_t panels           # whether the image's buffer lies in panels
    int64_t origin, line     # in the scratch: where the image starts, and from one of its lines to the next
    int64_t cleared          # so much of the scratch starts as zeros, for each image or once for all
    int64_t kernel[2]        # lines and columns of a filter
    int64_t patch_lines, patch_vectors  # of what a factor multiplies
    int64_t patches          # where in the scratch the filters (or the sums of their gradients) lie,
    int64_t patch, patch_line, patch_start  # from one to the next, from one of its lines to the next, its first element
    int64_t windows          # of the pool, in an image
    const int32_t *window    # where its patch starts in the image
    const int32_t *filter    # where each filter's patch starts
    const int32_t *tap       # what the place of the maximum adds to the start of what is multiplied


cdef void multiply(const fnn_kernels *k, const Sparse *s, const fnn_sparse *whole) noexcept nogil:
    """A patch in tiles of nearly equal height."""
    cdef fnn_sparse g = whole[0]
    cdef int64_t first = 0, vectors, tiles, tile, done, height
    while first < s.patch_vectors:
        vectors = min(k.vectors, s.patch_vectors - first)
        tiles = (s.patch_lines + k.indexed_rows[vectors] - 1) // k.indexed_rows[vectors]
        done = 0
        for tile in range(tiles):
            height = s.patch_lines * (tile + 1) // tiles - done
            g.b = at(k, whole.b, done * g.b_row + first * k.lanes)
            g.c = at(k, whole.c, done * g.c_row + first * k.lanes)
            k.sparse[vectors][height](&g)
            done += height
        first += vectors


cdef void bring_image(const Step *step, const Sparse *s, const char *x, int64_t image) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t n = s.width * s.channels, places = s.height * s.width, i, p, columns
    cdef char *to
    if not s.panels:
        k.copy(s.height, n, at(k, x, image * s.height * n), n, 1, at(k, step.scratch, s.origin), s.line, 1)
        return
    for i in range(s.height):
        to = at(k, step.scratch, s.origin + i * s.line)
        for p in range(panels(k, s.channels) - 1, -1, -1):  # only the last one puts zeros behind its columns
            columns = panel_width(k, s.channels, p)
            k.pad_lines(
                s.width, min(k.panel, s.channels - p * k.panel),
                at(k, x, images_at(step, s.channels, p, image, places) + i * s.width * columns), columns,
                at(k, to, p * k.panel), s.channels,
            )


cdef void take_image(
    const Op *op, const Step *step, const Sparse *s, char *dx, int64_t image, Finish finish
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t places = s.height * s.width, i, p, columns, offset
    for p in range(panels(k, s.channels)):
        columns = panel_width(k, s.channels, p)
        offset = images_at(step, s.channels, p, image, places)
        for i in range(s.height):
            k.pad_lines(
                s.width, min(k.panel, s.channels - p * k.panel),
                at(k, step.scratch, s.origin + i * s.line + p * k.panel), s.channels,
                at(k, dx, offset + i * s.width * columns), columns,
            )
        if finish != NULL:
            finish(op, step, offset, places, columns)


cdef void bring_filters(const Step *step, const Sparse *s, const char *WT) noexcept nogil:
    """WT (kernel lines, kernel columns, filters, channels) filter by filter, each among zeros."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t f, u, p, columns, rows = s.kernel[0] * s.kernel[1] * s.filters
    memset(at(k, step.scratch, s.patches), 0, s.filters * s.patch * k.itemsize)
    for p in range(panels(k, s.channels)):
        columns = panel_width(k, s.channels, p)
        for f in range(s.filters):
            for u in range(s.kernel[0]):
                k.copy(
                    s.kernel[1], min(k.panel, s.channels - p * k.panel),
                    at(k, WT, p * rows * k.panel + (u * s.kernel[1] * s.filters + f) * columns), s.filters * columns, 1,
                    at(k, step.scratch, s.patches + f * s.patch + s.patch_start + u * s.patch_line + p * k.panel),
                    s.channels, 1,
                )


cdef void sparse_grad_input(
    const Op *op, const Step *step, int64_t number, int64_t split, Finish finish
) noexcept nogil:
    """Buffers: dz, WT, -, dx, index, s."""
    cdef const fnn_kernels *k = step.kernels
    cdef const Sparse *s = <const Sparse *> number
    cdef int64_t window, p, offset, columns
    cdef fnn_sparse g
    cdef Images images
    memset(&images, 0, sizeof(Images))
    g.step, g.tap, g.b_row, g.c_row = 1, s.tap, s.patch_line, s.line
    bring_filters(step, s, op.buffer[1])
    while next_images(step, split, 1, &images):
        memset(step.scratch, 0, s.cleared * k.itemsize)
        for p in range(panels(k, s.filters)):
            columns = panel_width(k, s.filters, p)
            offset = images_at(step, s.filters, p, images.first, s.windows)
            g.depth = min(k.panel, s.filters - p * k.panel)
            g.at = s.filter + p * k.panel
            g.b = at(k, step.scratch, s.patches)
            for window in range(s.windows):
                g.factor = at(k, op.buffer[0], offset + window * columns)
                g.index = at(k, op.buffer[4], offset + window * columns)
                g.c = at(k, step.scratch, s.window[window])
                multiply(k, s, &g)
        take_image(op, step, s, op.buffer[3], images.first, finish)


cdef void move_gradient(
    const Op *op, const Step *step, const Sparse *s, int64_t part, int64_t first, int64_t last, bint back
) noexcept nogil:
    """The sums of filters first .. last to their columns of the part's gradient, or back."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t line = s.kernel[1] * s.channels, rows = s.kernel[0] * line, f = first, u, p, n, columns
    cdef char *column
    cdef char *sums
    while f < last:
        p = f // k.panel
        columns, n = panel_width(k, s.filters, p), min(last, (p + 1) * k.panel) - f
        for u in range(s.kernel[0]):
            column = at(k, op.buffer[3], part_at(k, s.filters, p, part, op.number[1]) * rows)
            column = at(k, column, u * line * columns + f - p * k.panel)
            sums = at(k, step.scratch, s.patches + f * s.patch + u * s.patch_line)
            if back:
                k.transpose(line, n, column, columns, sums, s.patch)
            else:
                k.transpose(n, line, sums, s.patch, column, columns)
        f += n


cdef void sparse_grad_weights(
    const Op *op, const Step *step, int64_t number, int64_t part, int64_t thread, int64_t threads
) noexcept nogil:
    """Buffers: x, dz, index, dW. The gradient of a part, or this thread's share of its filters."""
    cdef const fnn_kernels *k = step.kernels
    cdef const Sparse *s = <const Sparse *> number
    cdef int64_t parts = op.number[1], filters = padded(k, s.filters), f, image, p, offset, columns
    cdef int64_t first = share(filters, thread, threads), last = share(filters, thread + 1, threads)
    cdef fnn_sparse g
    g.depth, g.at, g.tap, g.b_row, g.c_row = s.windows, s.window, s.tap, s.line, s.patch_line
    memset(step.scratch, 0, s.cleared * k.itemsize)
    if step.chunk > 0:
        move_gradient(op, step, s, part, first, last, True)
    for image in range(share(step.n, part, parts), share(step.n, part + 1, parts)):
        bring_image(step, s, op.buffer[0], image)
        for f in range(first, min(last, s.filters)):
            p = f // k.panel
            columns = panel_width(k, s.filters, p)
            offset = images_at(step, s.filters, p, image, s.windows) + f % k.panel
            g.step = columns
            g.factor, g.index = at(k, op.buffer[1], offset), at(k, op.buffer[2], offset)
            g.b, g.c = step.scratch, at(k, step.scratch, s.patches + f * s.patch)
            multiply(k, s, &g)
    move_gradient(op, step, s, part, first, last, False)
