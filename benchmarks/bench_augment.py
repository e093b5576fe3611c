"""Random changes of 128 images of MNIST's size: what they add to a training step."""

import pytest
from kernels import ISAS, Kernel

from fastnn.augment import Cutout, GaussianNoise, HorizontalFlip, Rotate, Shift, Zoom
from fastnn.plan import Op

ROWS, IMAGE = 128, (28, 28, 1)
LISTS = {
    "shift": (Shift(2),),
    "flip": (HorizontalFlip(),),
    "shift_rotate_zoom": (Shift(2), Rotate(15), Zoom(0.1)),
    "cutout": (Cutout(8),),
    "noise": (GaussianNoise(0.1),),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", LISTS)
def test_augment(bench, isa, name):
    attributes = {"transforms": tuple(spec.kernel for spec in LISTS[name]), "stream": 1}
    operands = {buffer: (IMAGE, "batch", "rows") for buffer in ("x", "y")}
    bench(Kernel(Op("augment", ("x",), ("y",), attributes), ROWS, operands, bytes=8 * ROWS * 28 * 28), isa)
