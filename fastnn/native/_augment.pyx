"""Random changes of the rows of a batch; rows are shared between threads."""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint32_t

from fastnn.native.kernels cimport fnn_augment, fnn_kernels
from fastnn.native.op cimport Op, Step, at, first_row, rows_of

cdef extern from *:
    """
    static const char *fnn_transform_names[] = {
    #define FNN_TRANSFORM(name) #name,
    #include "transforms.def"
    #undef FNN_TRANSFORM
        0
    };
    """
    const char *fnn_transform_names[]

TRANSFORMS = {}
while fnn_transform_names[len(TRANSFORMS)] != NULL:
    TRANSFORMS[fnn_transform_names[len(TRANSFORMS)].decode()] = len(TRANSFORMS)


cdef void augment(const Op *op, const Step *step) noexcept nogil:
    cdef const fnn_kernels *k = step.kernels
    cdef int64_t start = first_row(step), size = op.number[0] * op.number[1] * op.number[2]
    cdef fnn_augment a
    a.rows, a.height, a.width, a.channels = rows_of(step), op.number[0], op.number[1], op.number[2]
    a.x = at(k, op.buffer[0], start * size)
    a.y = at(k, op.buffer[1], start * size)
    a.transforms = op.number[3]
    a.table = <const double *> op.number[4]
    a.places = <const int32_t *> op.number[5]
    a.seed, a.row = step.seed, step.row + start
    a.step, a.stream = <uint32_t> step.t, <uint32_t> op.number[6]
    a.scratch = step.scratch
    k.augment(&a)


def pixels(size, side):
    """A spec's size, a number of pixels or a fraction of the side, as pixels."""
    return size if size >= 1 else max(1, round(size * side))


def table_row(transform, sides):
    """A transform as the kernel has it: its id and two numbers, sizes in pixels."""
    name, number = transform
    numbers = [number, 0]
    if name == "shift":
        numbers = [0] * (2 - len(sides)) + [pixels(number, side) for side in sides]
    elif name == "cutout":
        numbers[0] = pixels(number, min(sides))
    elif name == "rotate":
        numbers[0] = number / 360
    elif name.endswith("flip"):
        numbers[0] = number * 2**32
    return (TRANSFORMS[name], *numbers)


def bind_augment(op, layout):
    *sides, channels = layout.plan.buffers[op.outputs[0]].shape
    height, width = sides if len(sides) == 2 else (1, *sides)
    numbers = (height + 3) * (width + 3) * channels
    if numbers >= 1 << 31:
        raise ValueError(
            f"augment: {height} x {width} x {channels} with a border are {numbers:,} numbers, of which at most "
            f"{2**31 - 1:,} can be moved about; crop or shrink the images, or leave augment out"
        )
    table = np.array([table_row(transform, sides) for transform in op.attributes["transforms"]], np.float64)
    places = np.indices((height, width), np.int32)
    layout.scratch(numbers)
    values = [height, width, channels, len(table), layout.table(table), layout.table(places), op.attributes["stream"]]
    return [*op.inputs, *op.outputs], values, []


OPS = {"augment": (<size_t> &augment, bind_augment)}
