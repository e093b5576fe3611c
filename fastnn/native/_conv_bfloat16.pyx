"""The three products of a convolution on operands rounded to bfloat16; `conv_bfloat16` describes them.

Images are worked on one after another: staged as bfloat16 in this thread's scratch, multiplied band by band into a
strip, and pooled, activated and stored from there.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t
from libc.string cimport memcpy, memset

from fastnn.native._conv_share cimport (
    Images, Part, bias_gradient, images_at, next_images, next_part, part_at,
)
from fastnn.native._conv_strip cimport Windows, finish_lines
from fastnn.native._conv_windows cimport windows_grad_weights
from fastnn.native._dense cimport ALL
from fastnn.native.kernels cimport fnn_bfloat16_product, fnn_kernels
from fastnn.native.op cimport Op, Step, at, panel_width, panels, share

from fastnn.native import _conv, conv_bfloat16
from fastnn.native._activation import activation_of


# conv_bfloat16.Grid in C.
cdef struct Grid:
    int64_t lines, across, start, to_line, from_start, from_line, from_place


# conv_bfloat16.Shifts in C.
cdef struct Shifts:
    int64_t count, size, step, stride, start, left


# conv_bfloat16.Patches in C.
cdef struct Patches:
    int64_t lines, run, from_line, from_row, from_output, across


# What conv_bfloat16._correlation writes. Offsets in the scratch are in elements.
cdef struct Correlation:
    int64_t in_rows          # the image operand lies row by row, without panels
    int64_t channels, places
    const Grid *grid
    int64_t grids
    int64_t pitch            # numbers from place to place
    int64_t spill            # numbers that are zeroed behind a line, which packing has written to
    Windows put              # where gradients of maxima are put
    int64_t zeroed           # so much of the scratch starts as zeros
    Patches patch            # made of the staged image for each band,
    int64_t patches          # in the scratch
    const int32_t *offset
    int64_t blocks
    int64_t first_block, all_blocks  # of the weights
    int64_t a_row, line, columns
    int64_t across           # rows of the last line that count
    int64_t shown            # outputs, or windows, in a line
    int64_t start, to_line, to_place  # where gradients go,
    int64_t cleared          # with zeros elsewhere
    int64_t step, high       # lines from output to output, or window to window, and lines of one
    const int64_t *edge      # of the bands
    int64_t bands, strip, outputs
    Windows pool


cdef struct WeightGradient:
    int64_t in_rows, channels, places
    const Grid *grid
    int64_t grids
    int64_t image, pitch
    Shifts shifts
    int64_t lines, line_pitch  # in the scratch: a line that is copied,
    int64_t apart            # and lines as far apart as staged ones, where these are packed at once; or 0
    int64_t together, zeroed
    const int32_t *tap
    int64_t taps, rows, a_row
    const int32_t *offset
    int64_t blocks           # of an image
    int64_t columns, outputs, height, across, to_line
    Windows put
    int64_t strip, row, pairs, line, b_rows


cdef inline int64_t square(const fnn_kernels *k) noexcept nogil:
    """Elements of one block of a packed B, `lanes` columns wide."""
    return 2 * k.lanes * k.lanes


cdef void stage_rows(const Op *op, const Step *step, const Correlation *q, const Grid *g, int64_t image) noexcept nogil:
    """Some lines of an image that lies row by row."""
    cdef uint16_t *to = (<uint16_t *> step.scratch) + g.start * q.pitch
    cdef const float *source = <const float *> op.buffer[0] + (image * q.places + g.from_start) * q.channels
    cdef int64_t i
    for i in range(g.lines):
        step.bfloat16.narrow(
            g.across * q.channels, source + i * g.from_line * q.channels, to + i * g.to_line * q.pitch
        )


cdef void stage_panel(
    const Op *op, const Step *step, const Correlation *q, const Grid *g, int64_t image, int64_t panel
) noexcept nogil:
    """Some lines of a panel of an image, or its gradients at maxima."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t width = panel_width(k, q.channels, panel), i
    cdef int64_t offset = images_at(step, q.channels, panel, image, q.places)
    cdef uint16_t *to = (<uint16_t *> step.scratch) + g.start * q.pitch + panel * k.panel
    if q.put.across > 0:
        step.bfloat16.put_rows(
            q.places, q.put.taps, width, <const float *> at(k, op.buffer[0], offset),
            <const float *> at(k, op.buffer[4], offset), q.put.window, q.put.tap, to, q.pitch,
        )
        return
    for i in range(g.lines):
        step.bfloat16.pack_rows(
            g.across, width, <const float *> at(k, op.buffer[0], offset + (g.from_start + i * g.from_line) * width),
            width, to + i * g.to_line * q.pitch, q.pitch, 2 * k.lanes,
        )
        if q.spill > 0:
            memset(to + (i * g.to_line + g.across) * q.pitch, 0, q.spill * sizeof(uint16_t))


cdef void stage(const Op *op, const Step *step, const Correlation *q, int64_t image) noexcept nogil:
    """Brings an image into the scratch."""
    cdef int64_t n, panel
    for n in range(q.grids):
        if q.in_rows:
            stage_rows(op, step, q, q.grid + n, image)
            continue
        for panel in range(panels(step.kernels, q.channels)):
            stage_panel(op, step, q, q.grid + n, image, panel)


cdef const uint16_t *bring_patches(
    const Step *step, const Correlation *q, int64_t first, int64_t lines
) noexcept nogil:
    """What the kernel sees of the staged image at every place of some lines of the output, a row each."""
    cdef const Patches *p = &q.patch
    cdef uint16_t *to = <uint16_t *> at(step.kernels, step.scratch, q.patches)
    cdef int64_t i
    for i in range(lines):
        step.bfloat16.patches(
            p.across, p.lines, p.run, (<const uint16_t *> step.scratch) + (first + i) * p.from_output, p.from_line,
            p.from_row, to + i * p.across * q.a_row, q.a_row,
        )
    return to


cdef void finish(
    const Op *op, const Step *step, const Correlation *q, int64_t offset, int64_t first, int64_t lines, int64_t width
) noexcept nogil:
    """From the strip to lines first ... of an image whose outputs, in a panel, start at `offset`."""
    finish_lines(
        op, step, op.number[1], &q.pool, at(step.kernels, step.scratch, q.strip), q.line, q.shown, lines,
        offset + first * q.shown * width, width,
    )


cdef void finish_gradient(
    const Op *op, const Step *step, const Correlation *q, int64_t offset, int64_t first, int64_t lines, int64_t width
) noexcept nogil:
    """From the strip to lines first ... of a product's gradients; place by place, where these lie apart."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t runs = q.shown if q.to_place > 1 else 1, n = q.shown // runs * width, to, i, j
    cdef const char *source
    for i in range(lines):
        for j in range(runs):
            source = at(k, step.scratch, q.strip + (i * q.line + j) * width)
            to = offset + (q.start + (first + i) * q.to_line + j * q.to_place) * width
            if op.number[1] < 0:
                memcpy(at(k, op.buffer[3], to), source, n * k.itemsize)
            else:
                k.activation_grad[op.number[1]](
                    n, source, at(k, op.buffer[5], to), at(k, op.buffer[3], to), op.scalar
                )


ctypedef void (*Finish)(
    const Op *op, const Step *step, const Correlation *q, int64_t offset, int64_t first, int64_t lines, int64_t width
) noexcept nogil


cdef inline void multiply_part(
    const Op *op, const Step *step, const Correlation *q, int64_t image, int64_t panel, Finish finish
) noexcept nogil:
    """One product of a staged image with a panel of weights."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t width = panel_width(k, q.columns, panel), band, lines
    cdef int64_t offset = images_at(step, q.columns, panel, image, q.outputs)
    cdef fnn_bfloat16_product g
    memset(&g, 0, sizeof(fnn_bfloat16_product))
    g.a_row = q.a_row
    g.offset = q.offset
    g.blocks = q.blocks
    g.b_tile = q.all_blocks * square(k)
    g.b = (<const uint16_t *> op.buffer[1]) + panel * k.panel // k.lanes * g.b_tile + q.first_block * square(k)
    g.init = <const float *> at(k, op.buffer[2], panel * k.panel) if op.buffer[2] != NULL else NULL
    g.c = <float *> at(k, step.scratch, q.strip)
    g.c_row = width
    g.tiles = width // k.lanes
    if q.cleared and q.first_block == 0:
        memset(at(k, op.buffer[3], offset), 0, q.outputs * width * k.itemsize)
    for band in range(q.bands):
        lines = q.edge[band + 1] - q.edge[band]
        g.a = (<const uint16_t *> step.scratch) + q.edge[band] * q.step * q.line * q.a_row
        g.rows = ((lines - 1) * q.step + q.high - 1) * q.line + q.across
        if q.patch.lines > 0:
            g.a = bring_patches(step, q, q.edge[band] * q.step, (lines - 1) * q.step + q.high)
        step.bfloat16.multiply(&g)
        finish(op, step, q, offset, q.edge[band], lines, width)


cdef inline void correlate(
    const Op *op, const Step *step, int64_t split, const Correlation *q, int64_t parts, Finish finish
) noexcept nogil:
    """For this thread's images, product by product: (buffer 0) * (buffer 1) + (buffer 2, or nothing)."""
    cdef int64_t panel, part
    cdef Images images
    memset(step.scratch, 0, q.zeroed * step.kernels.itemsize)
    memset(&images, 0, sizeof(Images))
    step.bfloat16.enter()
    while next_images(step, split, 1, &images):
        stage(op, step, q, images.first)
        for panel in range(panels(step.kernels, q.columns)):
            for part in range(parts):
                multiply_part(op, step, q + part, images.first, panel, finish)
    step.bfloat16.leave()


cdef void conv(const Op *op, const Step *step) noexcept nogil:
    """Buffers: x, W, b, y, -, z or index. Numbers: correlation, activation."""
    correlate(op, step, ALL, <const Correlation *> op.number[0], 1, finish)


cdef void conv_grad_input(const Op *op, const Step *step) noexcept nogil:
    """Buffers: dz, WT, -, dx, index, s. Numbers: correlations, activation, split, how many."""
    correlate(op, step, op.number[2], <const Correlation *> op.number[0], op.number[3], finish_gradient)


cdef void bring_line(
    const Op *op, const Step *step, const WeightGradient *q, const Grid *g, int64_t image, int64_t n, uint16_t *to,
    int64_t pitch,
) noexcept nogil:
    """A line of an image, channel by channel."""
    cdef const fnn_kernels *k = step.kernels
    cdef float *line = <float *> at(k, step.scratch, q.line)
    cdef int64_t place = g.from_start + n * g.from_line, c, panel, width
    cdef const float *source = <const float *> op.buffer[0] + (image * q.places + place) * q.channels
    if not q.in_rows:
        for panel in range(panels(k, q.channels)):
            width = panel_width(k, q.channels, panel)
            source = <const float *> at(k, op.buffer[0], images_at(step, q.channels, panel, image, q.places))
            step.bfloat16.pack_columns(
                g.across, width, source + place * width, g.from_place * width, to + panel * k.panel * pitch, pitch,
                2 * k.lanes,
            )
    elif q.channels * g.from_place == 1:
        step.bfloat16.narrow(g.across, source, to)
    else:
        for c in range(q.channels):
            k.copy(1, g.across, source + c, 0, q.channels * g.from_place, line, 0, 1)
            step.bfloat16.narrow(g.across, line, to + c * pitch)


cdef void bring_lines(
    const Op *op, const Step *step, const WeightGradient *q, int64_t image, uint16_t *to
) noexcept nogil:
    """All lines of an image in a single panel, channel by channel; what is between them stays zero."""
    cdef const fnn_kernels *k = step.kernels
    cdef const Grid *g = q.grid
    cdef int64_t width = panel_width(k, q.channels, 0)
    cdef char *lines = at(k, step.scratch, q.apart)
    k.copy(
        g.lines, g.across * width, at(k, op.buffer[0], images_at(step, q.channels, 0, image, q.places)),
        g.from_line * width, 1, lines, g.to_line * width, 1,
    )
    step.bfloat16.pack_columns(
        (g.lines - 1) * g.to_line + g.across, width, <const float *> lines, width, to + g.start, q.pitch, 2 * k.lanes
    )


cdef void stage_lines(
    const Op *op, const Step *step, const WeightGradient *q, const Grid *g, int64_t image, uint16_t *staged
) noexcept nogil:
    """The places of a grid, channel by channel: lines one after another, or each copied for every shift."""
    cdef const Shifts *s = &q.shifts
    cdef uint16_t *line = <uint16_t *> at(step.kernels, step.scratch, q.lines)
    cdef uint16_t *to
    cdef int64_t n, c
    for n in range(g.lines):
        to = staged + g.start + n * g.to_line
        if s.count == 0:
            bring_line(op, step, q, g, image, n, to, q.pitch)
            continue
        bring_line(op, step, q, g, image, n, line + s.left, q.line_pitch)
        for c in range(q.channels):
            step.bfloat16.copy(
                s.count, s.size, line + c * q.line_pitch + s.start, s.step, s.stride, to + c * s.size,
                q.channels * s.size,
            )


cdef void stage_channels(
    const Op *op, const Step *step, const WeightGradient *q, int64_t first, int64_t n
) noexcept nogil:
    """x of some images, channel by channel."""
    cdef int64_t i, j
    for i in range(n):
        if q.apart > 0:
            bring_lines(op, step, q, first + i, (<uint16_t *> step.scratch) + i * q.image)
            continue
        for j in range(q.grids):
            stage_lines(op, step, q, q.grid + j, first + i, (<uint16_t *> step.scratch) + i * q.image)


cdef void stage_gradient(
    const Op *op, const Step *step, const WeightGradient *q, int64_t panel, int64_t first, int64_t n
) noexcept nogil:
    """dz of some images in one panel, in pairs of places."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t i, j, offset, width = panel_width(k, q.columns, panel), depth = q.blocks * 2 * k.lanes
    cdef int64_t tile = q.together * depth * k.lanes
    cdef char *strip = at(k, step.scratch, q.strip)
    cdef uint16_t *pairs = <uint16_t *> at(k, step.scratch, q.pairs)
    for i in range(n):
        offset = images_at(step, q.columns, panel, first + i, q.outputs)
        if q.put.across > 0:
            step.bfloat16.put_pairs(
                q.outputs, q.put.taps, width, <const float *> at(k, op.buffer[1], offset),
                <const float *> at(k, op.buffer[2], offset), q.put.window, q.put.tap, pairs + i * depth * k.lanes, tile,
            )
            continue
        for j in range(q.height):
            k.copy(
                q.across, width, at(k, op.buffer[1], offset + j * q.across * width), width, 1,
                at(k, strip, j * q.to_line * q.row), q.row, 1,
            )
        step.bfloat16.pack_pairs(
            depth, width, <const float *> strip, q.row, pairs + i * depth * k.lanes, tile
        )


cdef void gradient_of_part(
    const Op *op, const Step *step, int64_t part, int64_t thread, int64_t threads
) noexcept nogil:
    """dW of a part's images, or this thread's share of its taps."""
    cdef const fnn_kernels *k = step.kernels
    cdef const WeightGradient *q = <const WeightGradient *> op.number[0]
    cdef int64_t parts = op.number[1], first = share(step.n, part, parts), last = share(step.n, part + 1, parts)
    cdef int64_t panel, width, n, first_tap
    cdef bint accumulate = step.chunk > 0
    cdef fnn_bfloat16_product g
    cdef float *dW
    if thread == 0:
        bias_gradient(op, step, part)
    if q == NULL:
        windows_grad_weights(op, step, op.number[4], part, thread, threads)
        return
    first_tap = share(q.taps, thread, threads)
    memset(&g, 0, sizeof(fnn_bfloat16_product))
    g.a_row = q.a_row
    g.offset = q.offset
    g.rows = q.rows
    g.b = <const uint16_t *> at(k, step.scratch, q.pairs)
    g.a = <const uint16_t *> step.scratch
    g.a_part = q.tap + first_tap
    g.parts = share(q.taps, thread + 1, threads) - first_tap
    g.b_tile = q.together * q.blocks * square(k)
    while first < last or not accumulate:
        n = min(q.together, last - first)
        stage_channels(op, step, q, first, n)
        g.blocks = n * q.blocks
        for panel in range(panels(k, q.columns)):
            width = panel_width(k, q.columns, panel)
            stage_gradient(op, step, q, panel, first, n)
            dW = <float *> at(k, op.buffer[3], part_at(k, q.columns, panel, part, parts) * q.b_rows)
            g.c_row = g.init_row = width
            g.tiles = width // k.lanes
            g.c_part = q.rows * width
            g.c = dW + first_tap * g.c_part
            g.init = g.c if accumulate else NULL
            step.bfloat16.multiply(&g)
        accumulate = True
        first += n


cdef void conv_grad_weights(const Op *op, const Step *step) noexcept nogil:
    """Buffers: x, dz, index, dW, db. Numbers: weight gradient, parts, places and columns of dz, windows; one of the
    first and the last is 0."""
    cdef const WeightGradient *q = <const WeightGradient *> op.number[0]
    cdef Part part
    memset(&part, 0, sizeof(Part))
    if q != NULL:
        memset(step.scratch, 0, q.zeroed * step.kernels.itemsize)
    step.bfloat16.enter()
    while next_part(step, op.number[1], &part):
        gradient_of_part(op, step, part.number, part.thread, part.threads)
    step.bfloat16.leave()


cdef void conv_pack(const Op *op, const Step *step) noexcept nogil:
    """Numbers: rows and columns of W, segments, rows and blocks of each. Threads share panels and segments."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t rows = op.number[0], columns = op.number[1], segments = op.number[2], height = op.number[3]
    cdef int64_t blocks = op.number[4], total = segments * blocks, task, tasks = panels(k, columns) * segments
    cdef int64_t panel, width, segment, start
    for task in range(share(tasks, step.thread, step.threads), share(tasks, step.thread + 1, step.threads)):
        panel, segment = task // segments, task % segments
        width = panel_width(k, columns, panel)
        start = panel * rows * k.panel + segment * height * width
        step.bfloat16.pack_pairs(
            height, width, <const float *> at(k, op.buffer[0], start), width,
            (<uint16_t *> op.buffer[1]) + (panel * k.panel // k.lanes * total + segment * blocks) * square(k),
            total * square(k),
        )


cdef void conv_transpose(const Op *op, const Step *step) noexcept nogil:
    """Numbers: taps of a segment, segments, blocks of each, channels, filters, order of the taps. Filters come out as
    depth. Threads share segments and panels."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t taps = op.number[0], segments = op.number[1], blocks = op.number[2] * square(k)
    cdef int64_t total = segments * blocks
    cdef int64_t channels = op.number[3], filters = op.number[4], n = panels(k, channels)
    cdef int64_t task, tasks = segments * n, panel, width, columns, segment, tap, filter_panel, filter_width, start
    cdef const int32_t *order = <const int32_t *> op.number[5]
    cdef char *rows = step.scratch
    for task in range(share(tasks, step.thread, step.threads), share(tasks, step.thread + 1, step.threads)):
        segment, panel = task // n, task % n
        width, columns = panel_width(k, channels, panel), min(k.panel, channels - panel * k.panel)
        memset(rows, 0, taps * filters * width * k.itemsize)
        for tap in range(taps):
            for filter_panel in range(panels(k, filters)):
                filter_width = panel_width(k, filters, filter_panel)
                start = filter_panel * taps * segments * channels * k.panel
                start += (order[segment * taps + tap] * channels + panel * k.panel) * filter_width
                k.transpose(
                    columns, min(k.panel, filters - filter_panel * k.panel), at(k, op.buffer[0], start), filter_width,
                    at(k, rows, (tap * filters + filter_panel * k.panel) * width), width,
                )
        step.bfloat16.pack_pairs(
            taps * filters, width, <const float *> rows, width,
            (<uint16_t *> op.buffer[1]) + panel * k.panel // k.lanes * total + segment * blocks, total,
        )


def bind_conv(op, layout):
    x, W, *b = op.inputs
    y, *extra = op.outputs
    activation, parameters = activation_of(op)
    buffers = [x, W, b[0] if b else None, y, None, extra[0] if extra else None]
    return buffers, [conv_bfloat16.forward(layout, op), activation], parameters


def bind_conv_grad_input(op, layout):
    dz, WT, *rest = op.inputs
    activation, parameters = activation_of(op)
    index = None if op.attributes["pool"] is None else rest.pop(0)
    buffers = [dz, WT, None, op.outputs[0], index, rest[0] if rest else None]
    products, n = conv_bfloat16.grad_input(layout, op)
    return buffers, [products, activation, _conv._split(op), n], parameters


def bind_conv_grad_weights(op, layout):
    x, dz, *index = op.inputs
    dW, *db = op.outputs
    buffers = [x, dz, index[0] if index else None, dW, db[0] if db else None]
    products, windows = conv_bfloat16.grad_weights(layout, op)
    return buffers, [products, op.attributes["parts"], layout.positions(dz), layout.columns(dz), windows], []


def bind_conv_pack(op, layout):
    return [op.inputs[0], op.outputs[0]], conv_bfloat16.pack(layout, op), []


def bind_conv_transpose(op, layout):
    return [op.inputs[0], op.outputs[0]], conv_bfloat16.transpose(layout, op), []


# Ops with precision="bfloat16".
OPS = {
    "conv": (<size_t> &conv, bind_conv),
    "conv_grad_input": (<size_t> &conv_grad_input, bind_conv_grad_input),
    "conv_grad_weights": (<size_t> &conv_grad_weights, bind_conv_grad_weights),
    "conv_pack": (<size_t> &conv_pack, bind_conv_pack),
    "conv_transpose": (<size_t> &conv_transpose, bind_conv_transpose),
}
