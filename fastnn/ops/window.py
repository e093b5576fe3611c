"""The window that convolution and pooling slide over an image: its geometry, and what does not fit."""

from typing import NamedTuple


class Geometry(NamedTuple):
    """A window over an image, all pairs being (vertical, horizontal); a signal is an image of height 1.

    Output (i, j) reads the places (i * stride - top + u * dilation, j * stride - left + v * dilation), u, v < kernel.
    """

    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))  # (top, bottom), (left, right)

    @property
    def extent(self):
        """Height and width that the dilated window covers."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def output(self):
        """Height and width of what comes out: floor((size + padding - extent) / stride) + 1."""
        return tuple(
            (size + sum(pad) - extent) // stride + 1
            for size, pad, extent, stride in zip(self.image, self.padding, self.extent, self.stride, strict=True)
        )

    @property
    def separate(self):
        """Whether windows neither overlap nor reach over the border."""
        apart = all(s >= e for s, e in zip(self.stride, self.extent, strict=True))
        return apart and self.dilation == (1, 1) and self.padding == ((0, 0), (0, 0))


def same_padding(size, extent, stride):
    """Zeros (before, after) such that the output has ceil(size / stride) places; the odd one comes after."""
    total = max(0, (-(-size // stride) - 1) * stride + extent - size)
    return total // 2, total - total // 2
