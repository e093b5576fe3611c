"""The three products of a convolution as loops over indexed register tiles; `conv_products` describes them.

Images are worked on one after another, or a few small ones together: whatever must be copied, put at the maxima of a
pool, or activated stays in the cache. Among the images worked on together the column panels run outside and the rows
inside; where channels are in groups, a panel is cut into blocks of columns that read the channels of one group.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from fastnn.native._conv_planes cimport conv_by_planes
from fastnn.native._conv_share cimport (
    Images, Part, bias_gradient, images_at, next_images, next_part, part_at,
)
from fastnn.native._conv_sparse cimport Finish, sparse_grad_input, sparse_grad_weights
from fastnn.native._conv_windows cimport windows_grad_weights
from fastnn.native._dense cimport ALL, HALVES
from fastnn.native.kernels cimport fnn_index, fnn_indexed, fnn_kernels, fnn_pick, fnn_run
from fastnn.native.op cimport Op, Step, at, panel_width, panels, share

from fastnn.native import conv_products
from fastnn.native._activation import activation_of


# conv_products.Product in C. Offsets and sizes are in elements, where no other unit is named.
cdef struct Product:
    int64_t elementwise      # a factor of each column's own
    int64_t pooled           # rows are windows of so many places, of which the maximum is kept, or 0
    int64_t together         # images worked on together
    int64_t columns          # of the result
    int64_t staged           # the image operand is copied to the scratch
    int64_t a_image          # from one image to the next, in rows of a panel if elementwise; 0 if staged
    const Block *blocks
    const int64_t *first_block  # of each panel; one more at the end
    const int32_t *a_row
    const int32_t *c_row
    const fnn_index *step
    const Class *classes
    const Piece *pieces
    int64_t n_pieces
    int64_t b_rows           # rows of the packed operand, or of the weights' gradient
    int64_t edge             # where in the scratch a tile is made of which some columns are another block's
    const Copy *copies
    int64_t n_copies
    int64_t copies_from      # where in the scratch they read; -1: in the buffer
    int64_t windows, taps    # of the pool, in an image
    const int32_t *window    # where a window starts and where its taps lie, in places
    const int32_t *tap
    int64_t put_to           # where in the scratch gradients are put
    int64_t put_panel, put_row, put_origin  # put_row 0 is the panel's width; put_origin counts rows
    int64_t zeroed           # so much of the scratch starts as zeros
    int64_t strip            # where in the scratch results wait for their pool, or gradients come out of it


# Columns of a panel that read the same channels, and where these start in the image operand: whole vectors, or where
# `columns` is not 0, so many columns after the first `skipped`.
cdef struct Block:
    int64_t column, vectors, start, skipped, columns


# Rows that share a list of steps: counts of one image, the tables go on with further images.
cdef struct Class:
    int64_t row, rows, step, depth


# Classes whose results are finished together, and their places (or pooling windows) in each image.
cdef struct Piece:
    int64_t first_class, last_class, first, count


cdef struct Copy:
    int64_t rows, n, start, from_row, from_step, from_image, to, to_row, to_step, to_image
    int64_t unit, inexact, runs  # of columns that have the same channel, or picks where the unit is 0; or none
    const void *run


cdef inline const Product *product_of(const Op *op) noexcept nogil:
    return <const Product *> op.number[0]


cdef void copy_images(
    const fnn_kernels *k, const Copy *copies, int64_t n, const char *source, int64_t first, int64_t count, char *to
) noexcept nogil:
    """`source` starts at image 0, `to` at image `first`."""
    cdef int64_t i, image
    cdef const char *images
    cdef char *place
    cdef const Copy *c
    for image in range(count):
        for i in range(n):
            c = &copies[i]
            images = at(k, source, c.start + (first + image) * c.from_image)
            place = at(k, to, c.to + image * c.to_image)
            if c.runs > 0 and c.unit == 0:
                k.expand_picked(
                    c.rows, c.n, images, c.from_row, c.from_step, place, c.to_row, c.to_step, c.runs,
                    <const fnn_pick *> c.run,
                )
            elif c.runs > 0:
                k.expand(
                    c.rows, c.n, images, c.from_row, c.from_step, place, c.to_row, c.to_step, c.unit, c.inexact, c.runs,
                    <const fnn_run *> c.run,
                )
            else:
                k.copy(c.rows, c.n, images, c.from_row, c.from_step, place, c.to_row, c.to_step)


cdef void stage(
    const Op *op, const Step *step, const Product *p, const char *a, int64_t a_columns, int64_t first, int64_t images
) noexcept nogil:
    """Brings the image operand of some images into the scratch, where it is not read in place."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t panel, width, offset, row
    if p.windows > 0:
        for panel in range(panels(k, a_columns)):
            width = panel_width(k, a_columns, panel)
            offset = images_at(step, a_columns, panel, first, p.windows)
            row = p.put_row if p.put_row > 0 else width
            k.put_in_windows(
                images * p.windows, p.taps, width, at(k, a, offset), at(k, op.buffer[4], offset), p.window, p.tap,
                at(k, step.scratch, p.put_to + panel * p.put_panel + p.put_origin * row), row,
            )
    if p.copies_from < 0:
        copy_images(k, p.copies, p.n_copies, a, first, images, step.scratch)
    else:
        copy_images(k, p.copies, p.n_copies, at(k, step.scratch, p.copies_from), 0, images, step.scratch)


cdef inline fnn_indexed block_of(
    const Step *step, const Product *p, const Block *block, const fnn_indexed *panel, const char *a, int64_t first
) noexcept nogil:
    """The operands of a block of a panel's columns; `a` holds the images, of which `first` is the first one wanted."""
    cdef const fnn_kernels *k = step.kernels
    cdef fnn_indexed g = panel[0]
    g.a_unit = g.c_width if p.elementwise else 1
    g.a = at(k, step.scratch if p.staged else a, block.start + first * p.a_image * g.a_unit)
    g.b = at(k, g.b, block.column)
    g.c = at(k, g.c, block.column)
    if g.init != NULL:
        g.init = at(k, g.init, block.column)
    if g.index != NULL:
        g.index = at(k, g.index, block.column)
    return g


cdef int32_t[16] LINES = list(range(16))  # of the tallest tile


cdef void multiply_some_columns(
    const Step *step, const Product *p, const Block *block, const fnn_indexed *g, int64_t height
) noexcept nogil:
    """A tile of which the block's own columns alone are stored."""
    cdef const fnn_kernels *k = step.kernels
    cdef char *edge = at(k, step.scratch, p.edge)
    cdef char *own = at(k, edge, block.skipped)
    cdef char *c = at(k, g.c, block.skipped)
    cdef fnn_indexed tile = g[0]
    tile.c = edge
    tile.c_row = LINES
    tile.c_width = block.vectors * k.lanes
    if g.init_row > 0 and g.init != NULL:
        k.copy_rows(
            height, block.columns, at(k, g.init, block.skipped), g.c_row, g.init_row, own, LINES, tile.c_width
        )
        tile.init = edge
        tile.init_row = tile.c_width
    k.indexed[block.vectors][height](&tile)
    k.copy_rows(height, block.columns, own, LINES, tile.c_width, c, g.c_row, g.c_width)


cdef inline void multiply(
    const Step *step, const Product *p, const Block *block, fnn_indexed *g, int64_t row, int64_t rows
) noexcept nogil:
    """Rows row .. row + rows of the tables in tiles of nearly equal height, of whole windows where these are pooled."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t vectors = block.vectors, unit = max(1, p.pooled), tallest = k.indexed_rows[vectors] // unit * unit
    cdef int64_t tiles = (rows + tallest - 1) // tallest, tile, height, done = 0
    for tile in range(tiles):
        height = rows // unit * (tile + 1) // tiles * unit - done
        g.a_row = p.a_row + row + done
        g.c_row = p.c_row + row + done
        if p.elementwise:
            k.elementwise[vectors][height](g)
        elif block.columns > 0:
            multiply_some_columns(step, p, block, g, height)
        elif p.pooled:
            k.pooled[vectors][height // unit](g)
        else:
            k.indexed[vectors][height](g)
        done += height


cdef void correlate(
    const Op *op, const Step *step, const char *a, int64_t a_columns, const char *b, const char *bias, char *c,
    int64_t split, Finish finish,
) noexcept nogil:
    """c = a * b + bias for this thread's images; to the strip where c is NULL. Number 1: places of the op's output."""
    cdef const fnn_kernels *k = step.kernels
    cdef const Product *p = product_of(op)
    cdef const Piece *piece
    cdef const Class *rows
    cdef const Block *block
    cdef int64_t first, count, panel, width, offset, i, j, n
    cdef fnn_indexed whole, g
    cdef Images images
    memset(step.scratch, 0, p.zeroed * k.itemsize)
    memset(&whole, 0, sizeof(fnn_indexed))
    memset(&images, 0, sizeof(Images))
    while next_images(step, split, p.together, &images):
        first, count = images.first, images.count
        stage(op, step, p, a, a_columns, first, count)
        for panel in range(panels(k, p.columns)):
            width = panel_width(k, p.columns, panel)
            offset = images_at(step, p.columns, panel, first, op.number[1])
            whole.b = at(k, b, panel * p.b_rows * k.panel)
            whole.init = at(k, bias, panel * k.panel) if bias != NULL else NULL
            whole.c = at(k, c, offset) if c != NULL else at(k, step.scratch, p.strip)
            whole.index = at(k, op.buffer[5], offset) if p.pooled else NULL
            whole.b_row = whole.c_width = width
            for i in range(p.n_pieces):
                piece = &p.pieces[i]
                for n in range(p.first_block[panel], p.first_block[panel + 1]):
                    block = &p.blocks[n]
                    g = block_of(step, p, block, &whole, a, first)
                    for j in range(piece.first_class, piece.last_class):
                        rows = &p.classes[j]
                        g.step = p.step + rows.step
                        g.depth = rows.depth
                        multiply(step, p, block, &g, rows.row, count * rows.rows)
                if finish != NULL:
                    finish(op, step, offset + piece.first * width, count * piece.count, width)


cdef void activate(const Op *op, const Step *step, int64_t offset, int64_t rows, int64_t width) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef char *z = op.buffer[5] if op.buffer[5] != NULL else op.buffer[3]
    k.activation[op.number[2]](rows * width, at(k, z, offset), at(k, op.buffer[3], offset), op.scalar)


cdef void pool(const Op *op, const Step *step, int64_t offset, int64_t rows, int64_t width) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef char *y = at(k, op.buffer[3], offset)
    if not product_of(op).pooled:
        k.max_of_windows(
            rows, op.number[3], width, at(k, step.scratch, product_of(op).strip), y, at(k, op.buffer[5], offset)
        )
    if op.number[2] >= 0:
        k.activation[op.number[2]](rows * width, y, y, op.scalar)


cdef void multiply_by_derivative(
    const Op *op, const Step *step, int64_t offset, int64_t rows, int64_t width
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef char *dx = at(k, op.buffer[3], offset)
    k.activation_grad[op.number[2]](rows * width, dx, at(k, op.buffer[5], offset), dx, op.scalar)


cdef void conv(const Op *op, const Step *step) noexcept nogil:
    """Buffers: x, W, b, y, -, z or index. Numbers: product, places of y, activation, taps of the pool or 0, planes."""
    cdef char *z = op.buffer[5] if op.buffer[5] != NULL else op.buffer[3]
    cdef Finish finish = NULL
    if op.number[4]:
        conv_by_planes(op, step, op.number[4], NULL)
        return
    if op.number[3] > 0:
        z, finish = op.buffer[3] if product_of(op).pooled else NULL, pool
    elif op.number[2] >= 0:
        finish = activate
    correlate(op, step, op.buffer[0], 0, op.buffer[1], op.buffer[2], z, ALL, finish)


cdef void conv_grad_input(const Op *op, const Step *step) noexcept nogil:
    """Buffers: dz, WT, -, dx, index, s. Numbers: product, places of dx, activation, columns of dz, sparse
    product, split, planes."""
    cdef Finish finish = NULL
    if op.number[2] >= 0:
        finish = multiply_by_derivative
    if op.number[4]:
        sparse_grad_input(op, step, op.number[4], op.number[5], finish)
    elif op.number[6]:
        conv_by_planes(op, step, op.number[6], finish)
    else:
        correlate(op, step, op.buffer[0], op.number[3], op.buffer[1], NULL, op.buffer[3], op.number[5], finish)


cdef void add_images(
    const Op *op, const Step *step, int64_t part, int64_t first, int64_t images, bint accumulate, int64_t thread,
    int64_t threads,
) noexcept nogil:
    """dW of a part += that of some images, for this thread's share of the rows of each class."""
    cdef const fnn_kernels *k = step.kernels
    cdef const Product *p = product_of(op)
    cdef const Piece *piece
    cdef const Class *rows
    cdef const Block *block
    cdef int64_t parts = op.number[1], places = op.number[2], panel, width, offset, i, j, n, row
    cdef char *strip
    cdef fnn_indexed whole, g
    memset(&whole, 0, sizeof(fnn_indexed))
    for panel in range(panels(k, p.columns)):
        width = panel_width(k, p.columns, panel)
        offset = images_at(step, p.columns, panel, first, places)
        whole.b = at(k, op.buffer[1], offset)
        whole.c = at(k, op.buffer[3], part_at(k, p.columns, panel, part, parts) * p.b_rows)
        whole.b_row = whole.c_width = whole.init_row = width
        for i in range(p.n_pieces):
            piece = &p.pieces[i]
            if p.windows > 0:
                whole.b = strip = at(k, step.scratch, p.strip)
                k.put_in_windows(
                    images * piece.count, p.taps, width, at(k, op.buffer[1], offset + piece.first * width),
                    at(k, op.buffer[2], offset + piece.first * width), p.window, p.tap, strip, width,
                )
            whole.init = whole.c if accumulate or i > 0 else NULL
            for n in range(p.first_block[panel], p.first_block[panel + 1]):
                block = &p.blocks[n]
                g = block_of(step, p, block, &whole, op.buffer[0], first)
                for j in range(piece.first_class, piece.last_class):
                    rows = &p.classes[j]
                    g.step = p.step + rows.step
                    g.depth = images * rows.depth
                    row = share(rows.rows, thread, threads)
                    multiply(step, p, block, &g, rows.row + row, share(rows.rows, thread + 1, threads) - row)


cdef void gradient_of_part(
    const Op *op, const Step *step, int64_t part, int64_t thread, int64_t threads
) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef const Product *p = product_of(op)
    cdef int64_t parts = op.number[1], images
    cdef int64_t first = share(step.n, part, parts), last = share(step.n, part + 1, parts)
    cdef bint accumulate = step.chunk > 0
    if thread == 0:
        bias_gradient(op, step, part)
    if op.number[4]:
        sparse_grad_weights(op, step, op.number[4], part, thread, threads)
        return
    if op.number[5]:
        windows_grad_weights(op, step, op.number[5], part, thread, threads)
        return
    while first < last or not accumulate:
        images = min(p.together, last - first)
        copy_images(k, p.copies, p.n_copies, op.buffer[0], first, images, step.scratch)
        add_images(op, step, part, first, images, accumulate, thread, threads)
        accumulate = True
        first += images


cdef void conv_grad_weights(const Op *op, const Step *step) noexcept nogil:
    """Buffers: x, dz, index, dW, db. Numbers: product, parts, places and columns of dz, sparse product, windows."""
    cdef Part part
    memset(&part, 0, sizeof(Part))
    if product_of(op) != NULL:
        memset(step.scratch, 0, product_of(op).zeroed * step.kernels.itemsize)
    while next_part(step, op.number[1], &part):
        gradient_of_part(op, step, part.number, part.thread, part.threads)


# A block of a transposition, for tap 0: it lies in one group of channels and one panel on either side.
cdef struct Transposed:
    int64_t rows, columns, start, row, to, to_row


cdef void conv_transpose(const Op *op, const Step *step) noexcept nogil:
    """WT[tap, o, g * inputs + c] = W[tap, c, g * outputs + o]. Numbers: taps, inputs and outputs of a group, blocks."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t inputs = op.number[1], outputs = op.number[2], blocks = op.number[4], tasks = op.number[0] * blocks
    cdef int64_t task, tap
    cdef const Transposed *b
    for task in range(share(tasks, step.thread, step.threads), share(tasks, step.thread + 1, step.threads)):
        tap = task // blocks
        b = <const Transposed *> op.number[3] + task % blocks
        k.transpose(
            b.rows, b.columns, at(k, op.buffer[0], b.start + tap * inputs * b.row), b.row,
            at(k, op.buffer[1], b.to + tap * outputs * b.to_row), b.to_row,
        )


cdef void sum_parts(const Op *op, const Step *step) noexcept nogil:
    """Numbers: parts, rows and columns of the gradient. Threads share the vectors of each panel."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t parts = op.number[0], rows = op.number[1], columns = op.number[2], p, width, first, last, vectors
    for p in range(panels(k, columns)):
        width = panel_width(k, columns, p)
        vectors = rows * width // k.lanes
        first = share(vectors, step.thread, step.threads) * k.lanes
        last = share(vectors, step.thread + 1, step.threads) * k.lanes
        k.sum_parts(
            parts, last - first, at(k, op.buffer[0], p * parts * rows * k.panel + first), rows * width,
            at(k, op.buffer[1], p * rows * k.panel + first),
        )


def _split(op):
    return HALVES if op.attributes.get("helped") else ALL


def bind_conv(op, layout):
    x, W, *b = op.inputs
    y, *extra = op.outputs
    activation, parameters = activation_of(op)
    pool = op.attributes["pool"]
    taps = 0 if pool is None else pool.kernel[0] * pool.kernel[1]
    buffers = [x, W, b[0] if b else None, y, None, extra[0] if extra else None]
    product, planes = conv_products.forward(layout, op)
    return buffers, [product, layout.positions(y), activation, taps, planes], parameters


def bind_conv_grad_input(op, layout):
    dz, W, *rest = op.inputs
    activation, parameters = activation_of(op)
    index = None if op.attributes["pool"] is None else rest.pop(0)
    buffers = [dz, W, None, op.outputs[0], index, rest[0] if rest else None]
    product, sparse, planes = conv_products.grad_input(layout, op)
    numbers = [product, layout.positions(op.outputs[0]), activation, layout.columns(dz), sparse, _split(op), planes]
    return buffers, numbers, parameters


def bind_conv_grad_weights(op, layout):
    x, dz, *index = op.inputs
    dW, *db = op.outputs
    buffers = [x, dz, index[0] if index else None, dW, db[0] if db else None]
    product, *others = conv_products.grad_weights(layout, op)
    return buffers, [product, op.attributes["parts"], layout.positions(dz), layout.columns(dz), *others], []


def bind_conv_transpose(op, layout):
    return list(op.inputs + op.outputs), conv_products.transpose(layout, op), []


def bind_sum_parts(op, layout):
    return [op.inputs[0], op.outputs[0]], [op.attributes["parts"], *layout.shape(op.outputs[0])], []


OPS = {
    "conv": (<size_t> &conv, bind_conv),
    "conv_transpose": (<size_t> &conv_transpose, bind_conv_transpose),
    "conv_grad_input": (<size_t> &conv_grad_input, bind_conv_grad_input),
    "conv_grad_weights": (<size_t> &conv_grad_weights, bind_conv_grad_weights),
    "sum_parts": (<size_t> &sum_parts, bind_sum_parts),
}
