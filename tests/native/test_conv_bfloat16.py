"""Convolution on operands rounded to bfloat16: native = reference for random geometries, and equal bits on any number
of threads."""

import numpy as np
import pytest

from fastnn.native import _machine
from fastnn.plan import Op
from tests.native import test_conv
from tests.native.test_conv import KINDS, NETWORKS, PARTS, Case, Geometry, compare, run_native, same_bits, windowed

ROUNDED = {"precision": "bfloat16"}


@pytest.fixture(params=_machine.isa_names(bfloat16=True))
def isa(request):
    return request.param


@pytest.fixture(autouse=True)
def any_number_of_threads(any_work_deserves_threads):
    pass


class Rounded(Case):
    """A convolution without groups, on rounded copies of its weights."""

    def __init__(self, rng, **fields):
        super().__init__(rng, **fields | {"groups": 1})

    def shapes(self):
        shapes = super().shapes()
        copies = {"copy": shapes["W"][0], "WT": shapes["WT"][0]}
        return shapes | {name: (shape, "transposed", "bfloat16") for name, shape in copies.items()}

    def op(self, kind):
        op = super().op(kind)
        inputs = tuple("copy" if name == "W" else name for name in op.inputs)
        return op.with_(inputs=inputs, attributes=op.attributes | ROUNDED)

    def before(self, kind):
        if kind == "conv":
            attributes = {"geometry": self.geometry, "in_rows": self.layout == "rows", **ROUNDED}
            return (Op("conv_pack", ("W",), ("copy",), attributes, "columns"),)
        if kind == "conv_grad_input":
            attributes = {"geometry": self.geometry, "groups": 1, **ROUNDED}
            return (Op("conv_transpose", ("W",), ("WT",), attributes, "columns"),)
        return ()

    def values(self, op, rows, dtype):
        """W in place of its copies."""
        inputs = tuple("W" if name in ("copy", "WT") else name for name in op.inputs)
        return super().values(op.with_(inputs=inputs), rows, dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(60))
def test_random_geometries(seed, kind, isa):
    rng = np.random.default_rng(seed)
    compare(Rounded(rng), kind, int(rng.integers(1, 34)), np.float32, isa)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_known_networks(name, pooled, kind, isa):
    geometry, channels, filters, layout = NETWORKS[name]
    kernel = tuple(min(2, size) for size in geometry.output)
    pool = Geometry(geometry.output, kernel, kernel) if pooled else None
    case = Rounded(
        np.random.default_rng(1), geometry=geometry, channels=channels, filters=filters, pool=pool, layout=layout
    )
    compare(case, kind, 9, np.float32, isa)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_images_that_are_summed_over_together_do_not_touch_each_other(name, pooled, isa):
    geometry, channels, filters, layout = NETWORKS[name]
    pool = Geometry(geometry.output, (1, 1), (1, 1)) if pooled else None
    case = Rounded(
        np.random.default_rng(1), geometry=geometry, channels=channels, filters=filters, pool=pool, layout=layout
    )
    compare(case, "conv_grad_weights", 8 * PARTS + 1, np.float32, isa)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("windows", [(2, 2), (1, 4)])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [18, 19])
def test_gradients_behind_windows_of_four_places(size, stride, windows, kind, isa):
    geometry = Geometry((size, size), (3, 3), (1, stride))
    pool = Geometry(geometry.output, windows, windows)
    case = Rounded(np.random.default_rng(3), geometry=geometry, channels=64, filters=32, pool=pool, layout="panels")
    compare(case, kind, 5, np.float32, isa)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["rows", "panels"])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
@pytest.mark.parametrize("stride", [(2, 2), (1, 3), (4, 1)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 2)])
def test_strides(kernel, stride, dilation, layout, kind, isa):
    geometry = Geometry((13, 12), kernel, stride, dilation, ((1, 2), (3, 0)))
    case = Rounded(np.random.default_rng(4), geometry=geometry, channels=40, filters=33, pool=None, layout=layout)
    compare(case, kind, 9, np.float32, isa)


@pytest.mark.parametrize("kind", KINDS)
def test_strides_beyond_the_image_and_taps_that_meet_nothing(kind, isa):
    geometry = Geometry((1, 1), (1, 1), (2, 2), padding=((1, 1), (1, 1)))
    case = Rounded(np.random.default_rng(5), geometry=geometry, channels=3, filters=5, pool=None, layout="panels")
    compare(case, kind, 4, np.float32, isa)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["rows", "panels"])
@pytest.mark.parametrize("channels", [2, 16])
@pytest.mark.parametrize("sides", [(0, 1), (1, 0), (0.5, 0.5)])
@pytest.mark.parametrize(("taps", "dilation", "stride"), [(3, 50, 1), (3, 64, 1), (5, 40, 3), (120, 1, 1)])
def test_taps_that_lie_beyond_the_line(taps, dilation, stride, sides, channels, layout, kind, isa):
    padding = tuple(int(side * (taps - 1) * dilation) for side in sides)
    geometry = Geometry((1, 24), (1, taps), (1, stride), (1, dilation), ((0, 0), padding))
    case = Rounded(np.random.default_rng(7), geometry=geometry, channels=channels, filters=5, pool=None, layout=layout)
    compare(case, kind, 9, np.float32, isa)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["rows", "panels"])
@pytest.mark.parametrize("height", [1, 3])
def test_lines_as_long_as_a_block_of_pairs(height, layout, kind, isa):
    geometry = Geometry((6, 32), (height, 1))
    case = Rounded(np.random.default_rng(6), geometry=geometry, channels=1, filters=40, pool=None, layout=layout)
    compare(case, kind, 9, np.float32, isa)


@pytest.mark.parametrize("seed", range(15))
def test_gradients_window_by_window(seed, isa, always_windows):
    rng = np.random.default_rng(600 + seed)
    case, rows = windowed(rng, Rounded), int(rng.integers(1, 34))
    compare(case, "conv_grad_weights", rows, np.float32, isa, capacity=int(rng.integers(1, rows + 1)))


@pytest.mark.parametrize("seed", range(4))
def test_bits_of_gradients_window_by_window_do_not_depend_on_threads(seed, isa, always_windows):
    rng = np.random.default_rng(700 + seed)
    same_bits(windowed(rng, Rounded), "conv_grad_weights", int(rng.integers(1, 34)), isa)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_chunks_of_a_batch_add_up(seed, kind, isa):
    compare(Rounded(np.random.default_rng(100 + seed)), kind, 21, np.float32, isa, capacity=8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_bits_do_not_depend_on_threads(seed, kind, isa):
    rng = np.random.default_rng(200 + seed)
    same_bits(Rounded(rng), kind, int(rng.integers(1, 34)), isa)


def test_an_image_beyond_32_bit_offsets_names_the_way_out():
    case = Rounded(np.random.default_rng(0), geometry=Geometry((70000, 1), (65000, 1)), channels=50000, filters=1)
    with pytest.raises(ValueError, match="take smaller images"):
        run_native(case, case.op("conv"), {}, 1, np.float32, test_conv.ISAS[-1], before=case.before("conv"))
