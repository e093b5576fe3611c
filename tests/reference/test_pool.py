"""Pools: direct maxima and means, ties, padding, finite differences."""

import numpy as np
import pytest

from fastnn.ops.window import Geometry
from tests.reference.differences import central_differences

NO_PADDING = ((0, 0), (0, 0))
GEOMETRIES = {
    "tiles": Geometry((4, 6), (2, 3), (2, 3), (1, 1), NO_PADDING),
    "rest left over": Geometry((5, 5), (2, 2), (2, 2), (1, 1), NO_PADDING),
    "overlap": Geometry((5, 4), (3, 2), (1, 1), (1, 1), NO_PADDING),
    "gaps": Geometry((7, 5), (1, 2), (3, 3), (1, 1), NO_PADDING),
    "uneven padding": Geometry((5, 6), (3, 3), (2, 2), (1, 1), ((1, 0), (1, 1))),
    "dilation": Geometry((6, 5), (2, 2), (1, 2), (3, 2), ((1, 1), (1, 0))),
    "signal": Geometry((1, 7), (1, 3), (1, 2), (1, 1), ((0, 0), (1, 1))),
    "whole image": Geometry((3, 4), (3, 4), (3, 4), (1, 1), NO_PADDING),
}
ROWS, CHANNELS = 2, 3


def operands(geometry):
    """x and dy; a signal has no height, and what is left of a whole image no places at all."""
    rng = np.random.default_rng(0)
    image, output = geometry.image, geometry.output
    if image[0] == 1:
        image, output = image[1:], output[1:]
    elif output == (1, 1):
        output = ()
    shape = (ROWS, *image, CHANNELS)
    x = rng.permutation(np.prod(shape)).reshape(shape) / 8.0  # no ties, no two values near each other
    return x, rng.standard_normal((ROWS, *output, CHANNELS))


@pytest.fixture
def pool(execute):
    """pool(kind, x, dy, geometry) -> the op's outputs; `dy` tells their shape."""

    def run(kind, x, dy, geometry):
        names = ("y", "index") if kind == "max_pool" else ("y",)
        buffers = execute(kind, {"x": x}, dict.fromkeys(names, dy[:0]), {"geometry": geometry})
        return tuple(buffers[name] for name in names)

    return run


def direct(x, geometry, reduce):
    """reduce([(x, u kw + v), ...]) of the places inside the image, window by window."""
    x = x.reshape(len(x), *geometry.image, -1)
    y = np.empty((len(x), *geometry.output, x.shape[-1]))
    for n, i, j, c in np.ndindex(y.shape):
        found = []
        for place, (u, v) in enumerate(np.ndindex(geometry.kernel)):
            row = i * geometry.stride[0] - geometry.padding[0][0] + u * geometry.dilation[0]
            column = j * geometry.stride[1] - geometry.padding[1][0] + v * geometry.dilation[1]
            if 0 <= row < geometry.image[0] and 0 <= column < geometry.image[1]:
                found.append((x[n, row, column, c], place))
        y[n, i, j, c] = reduce(found)
    return y


@pytest.fixture(params=GEOMETRIES.values(), ids=GEOMETRIES.keys())
def geometry(request):
    return request.param


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_max_pool_takes_maxima_and_their_places(pool, geometry, dtype):
    x, dy = operands(geometry)
    y, index = pool("max_pool", x.astype(dtype), dy, geometry)
    assert y.dtype == index.dtype == dtype
    assert np.array_equal(y.ravel(), direct(x, geometry, lambda found: max(found)[0]).ravel())
    assert np.array_equal(index.ravel(), direct(x, geometry, lambda found: max(found)[1]).ravel())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_avg_pool_is_the_mean_of_the_places_inside_the_image(pool, geometry, dtype):
    x, dy = operands(geometry)
    (y,) = pool("avg_pool", x.astype(dtype), dy, geometry)
    expected = direct(x, geometry, lambda found: np.mean([value for value, _ in found]))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected.reshape(dy.shape), rtol=1e-6)


def test_max_pool_gradient_equals_central_differences(pool, execute, geometry):
    x, dy = operands(geometry)
    index = pool("max_pool", x, dy, geometry)[1]
    dx = execute("max_pool_grad", {"dy": dy, "index": index}, {"dx": x[:0]}, {"geometry": geometry})["dx"]
    expected = central_differences(lambda v: pool("max_pool", v, dy, geometry)[0], x, dy, h=0.05)
    np.testing.assert_allclose(dx, expected, atol=1e-12)


def test_avg_pool_gradient_equals_central_differences(pool, execute, geometry):
    x, dy = operands(geometry)
    dx = execute("avg_pool_grad", {"dy": dy}, {"dx": x[:0]}, {"geometry": geometry})["dx"]
    expected = central_differences(lambda v: pool("avg_pool", v, dy, geometry)[0], x, dy, h=1.0)
    np.testing.assert_allclose(dx, expected, atol=1e-12)


def maxima_of_a_row(pool, values, padding=((0, 0), (0, 0)), kernel=3):
    """Maxima and places over windows of a signal of one channel."""
    geometry = Geometry((1, len(values)), (1, kernel), (1, kernel), (1, 1), padding)
    x = np.array(values, dtype=float).reshape(1, -1, 1)
    y, index = pool("max_pool", x, np.empty((1, geometry.output[1], 1)), geometry)
    return y.ravel().tolist(), index.ravel().tolist()


def test_the_first_of_equal_maxima_wins(pool):
    assert maxima_of_a_row(pool, [1, 2, 2, 0, 0, 0]) == ([2, 0], [1, 0])


def test_a_nan_wins_and_the_first_of_them_is_named(pool):
    y, index = maxima_of_a_row(pool, [np.inf, np.nan, np.nan, -np.nan, 5, 6])
    assert np.isnan(y).all() and index == [1, 0]


def test_padding_never_wins(pool):
    padding = ((0, 0), (1, 1))
    assert maxima_of_a_row(pool, [-3, -2, -1, -4], padding) == ([-2, -1], [2, 0])
    infinite = [-np.inf] * 4
    assert maxima_of_a_row(pool, infinite, padding) == ([-np.inf, -np.inf], [1, 0])
    assert np.isnan(maxima_of_a_row(pool, [np.nan] * 4, padding)[0]).all()
