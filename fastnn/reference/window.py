"""Windows of images: what convolution and pooling read, and where they write back.

A `geometry` has image (h, w), kernel (kh, kw), stride (sh, sw), dilation (dh, dw), padding ((top, bottom), (left,
right)) and output (oh, ow). Signals (n, t, c) are images of height 1.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def as_images(x, size):
    """(n, ..., c) as (n, height, width, c)."""
    return x.reshape(len(x), *size, x.shape[-1])


def put(buffers, name, y):
    """Writes images (n, height, width, c) to a buffer in its own shape."""
    buffers[name] = y.reshape(len(y), *buffers[name].shape[1:])


def windows(x, geometry, fill=0):
    """values[n, i, j, c, u, v] = x[n, i sh - top + u dh, j sw - left + v dw, c], `fill` outside the image.

    x is (n, h, w, c), the values (n, oh, ow, c, kh, kw).
    """
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    padded = np.pad(x, ((0, 0), *geometry.padding, (0, 0)), constant_values=fill)
    span = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    return sliding_window_view(padded, span, axis=(1, 2))[:, ::sh, ::sw, :, ::dh, ::dw]


def fold(values, geometry):
    """The transpose of `windows`: adds (n, oh, ow, c, kh, kw) up at the places they came from, (n, h, w, c)."""
    n, oh, ow, c, kh, kw = values.shape
    (h, w), (sh, sw), (dh, dw) = geometry.image, geometry.stride, geometry.dilation
    (top, bottom), (left, right) = geometry.padding
    x = np.zeros((n, top + h + bottom, left + w + right, c), values.dtype)
    for u in range(kh):
        for v in range(kw):
            rows, columns = slice(u * dh, u * dh + sh * oh, sh), slice(v * dw, v * dw + sw * ow, sw)
            x[:, rows, columns] += values[..., u, v]
    return x[:, top : top + h, left : left + w]
