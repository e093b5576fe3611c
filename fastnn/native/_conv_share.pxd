"""Which images are a thread's in the products of a convolution, and which parts of the gradient of its weights."""

from libc.stdint cimport int64_t

from fastnn.native._dense cimport COLUMNS, HALVES, Portion, next_portion
from fastnn.native.kernels cimport Step, fnn_wait_for_first, share


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
