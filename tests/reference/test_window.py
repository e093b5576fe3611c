"""Windows of images and their transpose."""

import numpy as np
import pytest

from fastnn.ops.window import Geometry
from fastnn.reference.window import fold, windows

GEOMETRIES = [
    Geometry((5, 4), (3, 2), (1, 1), (1, 1), ((0, 0), (0, 0))),
    Geometry((6, 7), (2, 3), (3, 2), (2, 2), ((1, 2), (0, 3))),
    Geometry((1, 9), (1, 4), (1, 3), (1, 2), ((0, 0), (2, 2))),
    Geometry((2, 2), (5, 5), (1, 1), (1, 1), ((2, 2), (2, 2))),
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_windows_have_the_shape_of_the_output_and_fold_is_their_transpose(geometry):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, *geometry.image, 2))
    values = windows(x, geometry)
    assert values.shape == (3, *geometry.output, 2, *geometry.kernel)
    given = rng.standard_normal(values.shape)
    folded = fold(given, geometry)
    assert folded.shape == x.shape
    assert (values * given).sum() == pytest.approx((x * folded).sum())


def test_what_lies_outside_has_the_value_of_fill():
    geometry = Geometry((1, 2), (1, 3), (1, 1), (1, 1), ((0, 0), (1, 1)))
    values = windows(np.array([[[[1.0], [2.0]]]]), geometry, fill=-7)
    assert values[0, 0, :, 0, 0].tolist() == [[-7, 1, 2], [1, 2, -7]]
