"""Which images are a thread's in the products of a convolution, and which parts of the gradient of its weights; and
what all ways to this gradient have in common."""

from libc.stdint cimport int64_t

from fastnn.native._dense cimport COLUMNS, HALVES, Portion, next_portion
from fastnn.native.kernels cimport fnn_kernels, fnn_wait_for_first
from fastnn.native.op cimport Op, Step, at, panel_stride, panel_width, panels, share


cdef inline int64_t images_at(
    const Step *step, int64_t columns, int64_t panel, int64_t image, int64_t places
) noexcept nogil:
    """Where a panel's rows of an image start in a batch buffer."""
    return panel * panel_stride(step, places) + image * places * panel_width(step.kernels, columns, panel)


cdef inline int64_t part_at(
    const fnn_kernels *k, int64_t columns, int64_t panel, int64_t part, int64_t parts
) noexcept nogil:
    """Elements before a part's share of a panel in the parts of a gradient, for each row that it has."""
    return parts * panel * k.panel + part * panel_width(k, columns, panel)


# Some images that are worked on together; all zeros before the first ones.
cdef struct Images:
    int64_t first, count
    Portion portion          # of a thread's images, of which they are the first ones left


cdef inline bint wait_for_other(const Step *step) noexcept nogil:
    """Until a thread has begun its images that had not; False if all have."""
    cdef int i, owner
    cdef int64_t *taken
    for i in range(1, step.threads):
        owner = (step.thread + i) % step.threads
        taken = step.taken + owner * step.taken_stride
        if taken[0] == 0 and share(step.n, owner, step.threads) < share(step.n, owner + 1, step.threads):
            fnn_wait_for_first(taken, step.threads)
            return True
    return False


cdef inline bint next_images(const Step *step, int64_t split, int64_t most, Images *images) noexcept nogil:
    """The next images of this thread, at most so many; False if there are none. HALVES where a barrier follows: then
    also the last ones of threads that are late, as soon as these come to them, which all would wait for anyway."""
    images.first += images.count
    if images.first >= images.portion.last:
        while not next_portion(step, step.n, 1, split, most, 1, &images.portion):
            if split != HALVES or not wait_for_other(step):
                return False
            images.portion.begun = 1
        images.first = images.portion.first
    images.count = min(most, images.portion.last - images.first)
    return images.count > 0


# Of the gradient of weights, a part or the share of one; all zeros before the first one.
cdef struct Part:
    int64_t number, thread, threads
    Portion portion


cdef inline bint next_part(const Step *step, int64_t parts, Part *part) noexcept nogil:
    """The next part of this thread; False if there is none. Each thread has some parts, and then takes the last ones
    of threads that are late; or where there are more threads than parts, it has a share of one."""
    cdef int64_t first
    if step.threads <= parts:
        part.thread, part.threads = 0, 1
        part.number += 1
        if part.number >= part.portion.last_panel:
            if not next_portion(step, 1, parts, COLUMNS, 1, 1, &part.portion):
                return False
            part.number = part.portion.first_panel
        return True
    part.number = step.thread * parts // step.threads
    first = (part.number * step.threads + parts - 1) // parts
    part.thread = step.thread - first
    part.threads = ((part.number + 1) * step.threads + parts - 1) // parts - first
    part.portion.begun += 1
    return part.portion.begun == 1


cdef inline void bias_gradient(const Op *op, const Step *step, int64_t part) noexcept nogil:
    """Of a part's images, if the layer has a bias. Buffers 1 and 4: dz, db. Numbers 1 to 3: parts, places and columns
    of dz."""
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t parts = op.number[1], places = op.number[2], columns = op.number[3], panel, width
    cdef int64_t first = share(step.n, part, parts), last = share(step.n, part + 1, parts)
    for panel in range(panels(k, columns) if op.buffer[4] != NULL else 0):
        width = panel_width(k, columns, panel)
        k.column_sum(
            (last - first) * places, width, at(k, op.buffer[1], images_at(step, columns, panel, first, places)), width,
            step.chunk > 0, at(k, op.buffer[4], part_at(k, columns, panel, part, parts)),
        )
