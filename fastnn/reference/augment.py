"""Random changes of the rows of a batch: maps of the plane, zeroed squares, noise, factors.

A signal (t, c) is an image of height 1. Transform i of row r draws the words of the counters (q, row + r, t, stream +
i): q = 0, but element e's noise has q = e // 4. All is computed in float64 and rounded once.
"""

import numpy as np

from fastnn.reference.random import philox


def pixels(size, side):
    """A spec's size, a number of pixels or a fraction of the side, as pixels."""
    return int(size) if size >= 1 else max(1, round(size * side))


def normal(words):
    """Pairs of words as pairs of independent normal numbers, after Box and Muller (1958): 24 bits of each word."""
    words = (words >> np.uint64(8)).astype(np.float64)
    radius = np.sqrt(-2 * np.log((words[..., 0::2] + 1) * 2.0**-24))
    angle = 2 * np.pi * (words[..., 1::2] * 2.0**-24 - 0.5)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(words.shape)


def below(words, count):
    """Words as whole numbers in [0, count)."""
    return (words * np.uint64(count) >> np.uint64(32)).astype(np.int64)


def either_way(words, limit):
    """Words as numbers in [-limit, limit)."""
    return limit * (words * 2.0**-31 - 1)


# Maps of the plane: for each row the inverse of the transform, a (3, 3) matrix that takes the place (row, column, 1),
# counted from the centre, of a pixel of the result to where it comes from.


def _shift(words, size, sides):
    reach = [0, *(pixels(size, side) for side in sides)][-2:]
    inverse = np.tile(np.eye(3), (len(words), 1, 1))
    for axis in range(2):
        inverse[:, axis, 2] = reach[axis] - below(words[:, axis], 2 * reach[axis] + 1)
    return inverse


def _rotate(words, degrees, sides):
    angle = np.deg2rad(either_way(words[:, 0], degrees))
    inverse = np.tile(np.eye(3), (len(words), 1, 1))
    inverse[:, 0, 0] = inverse[:, 1, 1] = np.cos(angle)
    inverse[:, 0, 1], inverse[:, 1, 0] = np.sin(angle), -np.sin(angle)
    return inverse


def _zoom(words, fraction, sides):
    inverse = np.tile(np.eye(3), (len(words), 1, 1))
    inverse[:, 0, 0] = inverse[:, 1, 1] = 1 / (1 + either_way(words[:, 0], fraction))
    return inverse


def _flip(axis):
    def flip(words, probability, sides):
        inverse = np.tile(np.eye(3), (len(words), 1, 1))
        inverse[words[:, 0] < probability * 2.0**32, axis, axis] = -1
        return inverse

    return flip


MAPS = {"shift": _shift, "rotate": _rotate, "zoom": _zoom, "vertical_flip": _flip(0), "horizontal_flip": _flip(1)}


def warp(images, inverse):
    """Images (n, h, w, c) under maps given by their inverses (n, 3, 3): bilinear, 0 outside."""
    n, height, width, _ = images.shape
    centre = np.array([(height - 1) / 2, (width - 1) / 2, 0])[:, np.newaxis]
    places = np.indices((height, width)).reshape(2, -1)
    places = np.concatenate([places, np.ones((1, height * width))]) - centre
    row, column = np.moveaxis((inverse @ places + centre)[:, :2], 1, 0).reshape(2, n, height, width)
    result = np.zeros_like(images)
    for i in (np.floor(row), np.floor(row) + 1):
        for j in (np.floor(column), np.floor(column) + 1):
            weight = (1 - np.abs(row - i)) * (1 - np.abs(column - j))
            weight[(i < 0) | (i >= height) | (j < 0) | (j >= width)] = 0
            at = np.clip(i, 0, height - 1).astype(int), np.clip(j, 0, width - 1).astype(int)
            result += weight[..., np.newaxis] * images[np.arange(n)[:, np.newaxis, np.newaxis], *at]
    return result


# Other changes. draw(q) gives each row the words of its counters q, one after another.


def _cutout(images, size, sides, draw):
    side, words, inside = pixels(size, min(sides)), draw(0), True
    for axis, length in enumerate(images.shape[1:3]):
        start = below(words[:, axis], length) - side // 2
        from_start = np.arange(length) - start[:, np.newaxis]
        within = (from_start >= 0) & (from_start < side)
        inside = inside & np.expand_dims(within, (2 - axis, 3))
    return np.where(inside, 0, images)


def _gaussian_noise(images, std, sides, draw):
    size = images[0].size
    noise = normal(draw(np.arange(-(-size // 4)))).reshape(len(images), -1)[:, :size]
    return images + std * noise.reshape(images.shape)


def _scale(images, std, sides, draw):
    return images * (1 + std * normal(draw(0))[:, 0].reshape(-1, 1, 1, 1))


CHANGES = {"cutout": _cutout, "gaussian_noise": _gaussian_noise, "scale": _scale}


def _augment(op, buffers, step):
    x = buffers[op.inputs[0]]
    *sides, channels = x.shape[1:]
    rows = np.arange(step.row, step.row + len(x))[:, np.newaxis]
    images = x.reshape(len(x), *(1, *sides)[-2:], channels).astype(np.float64)
    inverse = None
    for stream, (name, number) in enumerate(op.attributes["transforms"], op.attributes["stream"]):

        def draw(quads, stream=stream):
            return philox(step.seed, quads, rows, step.t & 0xFFFFFFFF, stream).reshape(len(x), -1)

        if name in MAPS:
            last = MAPS[name](draw(0), number, sides)
            inverse = last if inverse is None else inverse @ last
        else:
            images = CHANGES[name](_moved(images, inverse), number, sides, draw)
            inverse = None
    buffers[op.outputs[0]] = _moved(images, inverse).astype(x.dtype).reshape(x.shape)


def _moved(images, inverse):
    return images if inverse is None else warp(images, inverse)


OPS = {"augment": _augment}
