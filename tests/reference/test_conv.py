"""Convolution: direct sums, finite differences, fused forms, parts that add up."""

import numpy as np
import pytest

from fastnn.ops.window import Geometry
from fastnn.reference import Step
from tests.reference.differences import central_differences

NO_PADDING = ((0, 0), (0, 0))
# geometry, groups, channels of a group in and out
CASES = {
    "3x3": (Geometry((5, 4), (3, 3), (1, 1), (1, 1), NO_PADDING), 1, 2, 3),
    "1x1": (Geometry((3, 2), (1, 1), (1, 1), (1, 1), NO_PADDING), 1, 3, 2),
    "whole image": (Geometry((3, 4), (3, 4), (1, 1), (1, 1), NO_PADDING), 1, 1, 2),
    "strides and uneven padding": (Geometry((6, 5), (2, 3), (2, 1), (1, 1), ((1, 0), (0, 2))), 1, 2, 2),
    "stride beyond kernel": (Geometry((7, 8), (2, 1), (3, 3), (1, 1), NO_PADDING), 1, 1, 1),
    "dilation in groups": (Geometry((6, 5), (3, 2), (1, 2), (2, 3), ((2, 1), (1, 1))), 2, 2, 1),
    "depthwise": (Geometry((4, 4), (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))), 3, 1, 2),
    "signal": (Geometry((1, 9), (1, 3), (1, 2), (1, 2), ((0, 0), (2, 1))), 1, 2, 3),
}


class Case:
    """Operands of one convolution, in float64, and the ops on them."""

    def __init__(self, execute, geometry, groups, inputs, outputs, rows=3, parts=2):
        rng = np.random.default_rng(0)
        self.execute, self.geometry, self.groups = execute, geometry, groups
        one = slice(1, None) if geometry.image[0] == geometry.kernel[0] == 1 else slice(None)
        self.x = rng.standard_normal((rows, *geometry.image[one], groups * inputs))
        self.W = rng.standard_normal((*geometry.kernel[one], inputs, groups * outputs))
        self.b = rng.standard_normal(groups * outputs)
        self.dz = rng.standard_normal((rows, *geometry.output[one], groups * outputs))
        self.attributes = {"geometry": geometry, "groups": groups, "activation": None, "pool": None, "parts": parts}

    def conv(self, x=None, W=None, b=None):
        operands = {"x": self.x if x is None else x, "W": self.W if W is None else W, "b": self.b if b is None else b}
        return self.execute("conv", operands, {"z": self.dz[:0]}, self.attributes)["z"]

    def transposed(self):
        return self.execute("conv_transpose", {"W": self.W}, ("WT",), {"groups": self.groups})["WT"]

    def grad_input(self, dz=None, **attributes):
        operands = {"dz": self.dz if dz is None else dz, "WT": self.transposed()}
        return self.execute("conv_grad_input", operands, {"dx": self.x[:0]}, self.attributes | attributes)["dx"]

    def partials(self, operands=None, before=None, chunk=0):
        """Gradients of each part; `before` is what an earlier chunk has left."""
        operands = operands or {"x": self.x, "dz": self.dz}
        parts = self.attributes["parts"]
        before = before or {name: np.full((parts, *a.shape), np.nan) for name, a in (("dW", self.W), ("db", self.b))}
        before = {name: before[name] for name in ("dW", "db")}
        step = Step(n=len(operands["x"]), chunk=chunk)
        return self.execute("conv_grad_weights", operands, before, self.attributes, step)

    def gradients(self):
        buffers = self.partials()
        return tuple(
            self.execute("sum_parts", {"partial": buffers[name]}, ("sum",), self.attributes)["sum"]
            for name in ("dW", "db")
        )


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request, execute):
    return Case(execute, *request.param)


@pytest.fixture
def image(execute):
    """A case whose output of (4, 6) may be pooled."""
    geometry = Geometry((6, 8), (3, 3), (1, 1), (1, 1), NO_PADDING)
    return Case(execute, geometry, 1, 2, 3)


def direct(x, W, b, geometry, groups):
    """z[n, i, j, o] = b[o] + sum x[n, i sh - top + u dh, j sw - left + v dw, c] W[u, v, c, o], element by element."""
    x, W = x.reshape(len(x), *geometry.image, -1), W.reshape(*geometry.kernel, *W.shape[-2:])
    inputs, outputs = W.shape[2], W.shape[3]
    z = np.empty((len(x), *geometry.output, outputs))
    for n, i, j, o in np.ndindex(z.shape):
        z[n, i, j, o] = b[o]
        for u, v in np.ndindex(geometry.kernel):
            row = i * geometry.stride[0] - geometry.padding[0][0] + u * geometry.dilation[0]
            column = j * geometry.stride[1] - geometry.padding[1][0] + v * geometry.dilation[1]
            if 0 <= row < geometry.image[0] and 0 <= column < geometry.image[1]:
                first = o // (outputs // groups) * inputs
                z[n, i, j, o] += x[n, row, column, first : first + inputs] @ W[u, v, :, o]
    return z


def test_forward_is_the_direct_sum(case):
    expected = direct(case.x, case.W, case.b, case.geometry, case.groups)
    np.testing.assert_allclose(case.conv(), expected.reshape(case.dz.shape), atol=1e-13)


def test_a_convolution_without_bias_adds_nothing(case):
    z = case.execute("conv", {"x": case.x, "W": case.W}, {"z": case.dz[:0]}, case.attributes)["z"]
    np.testing.assert_allclose(z, case.conv(b=np.zeros_like(case.b)))


def test_gradients_equal_central_differences(case):
    # The convolution is linear in each operand: a wide step costs no accuracy.
    dW, db = case.gradients()
    expected = {
        "dx": (case.grad_input(), central_differences(lambda x: case.conv(x=x), case.x, case.dz, h=1.0)),
        "dW": (dW, central_differences(lambda W: case.conv(W=W), case.W, case.dz, h=1.0)),
        "db": (db, central_differences(lambda b: case.conv(b=b), case.b, case.dz, h=1.0)),
    }
    for name, (gradient, numeric) in expected.items():
        np.testing.assert_allclose(gradient, numeric, atol=1e-12, err_msg=name)


def test_results_have_the_real_type(case):
    for name in ("x", "W", "b", "dz"):
        setattr(case, name, getattr(case, name).astype(np.float32))
    dW, db = case.gradients()
    assert case.conv().dtype == case.grad_input().dtype == dW.dtype == db.dtype == np.float32


def test_the_transposed_kernel_swaps_channels_in_and_out(image):
    WT = image.transposed()
    assert WT.flags.c_contiguous
    assert np.array_equal(WT[1, 2], image.W[1, 2].T)


def test_the_transposed_kernel_of_groups_swaps_channels_in_each(execute):
    case = Case(execute, *CASES["dilation in groups"])
    assert np.array_equal(case.transposed()[2, 1, :, :2], case.W[2, 1, :, :1].T)
    assert np.array_equal(case.transposed()[2, 1, :, 2:], case.W[2, 1, :, 1:].T)


def test_the_fused_activation_is_that_of_z_and_keeps_z_when_asked(image):
    operands = {"x": image.x, "W": image.W, "b": image.b}
    attributes = image.attributes | {"activation": ("gelu",)}
    fused = image.execute("conv", operands, {"y": image.dz[:0], "z": image.dz[:0]}, attributes)
    assert np.array_equal(fused["z"], image.conv())
    separate = image.execute("activation", {"z": image.conv()}, ("y",), {"activation": ("gelu",)})
    assert np.array_equal(fused["y"], separate["y"])


def test_the_fused_derivative_multiplies_the_input_gradient(image):
    operands = {"dz": image.dz, "WT": image.transposed(), "y": np.maximum(image.x, 0)}
    attributes = image.attributes | {"activation": ("relu",)}
    dx = image.execute("conv_grad_input", operands, {"dx": image.x[:0]}, attributes)["dx"]
    assert np.array_equal(dx, image.grad_input() * (image.x > 0))


class TestFusedPool:
    pool = Geometry((4, 6), (2, 3), (2, 3), (1, 1), NO_PADDING)
    empty = np.empty((0, 2, 2, 3))

    def separate(self, image):
        pooled = image.execute("max_pool", {"z": image.conv()}, {"y": self.empty, "index": self.empty},
                               {"geometry": self.pool})  # fmt: skip
        return pooled["y"], pooled["index"]

    def unpooled(self, image, dy, index):
        return image.execute("max_pool_grad", {"dy": dy, "index": index}, {"dz": image.dz[:0]},
                             {"geometry": self.pool})["dz"]  # fmt: skip

    @pytest.mark.parametrize("activation", [None, ("relu",)])
    def test_forward_is_convolution_pool_activation(self, image, activation):
        operands = {"x": image.x, "W": image.W, "b": image.b}
        attributes = image.attributes | {"pool": self.pool, "activation": activation}
        fused = image.execute("conv", operands, {"y": self.empty, "index": self.empty}, attributes)
        y, index = self.separate(image)
        assert np.array_equal(fused["y"], np.maximum(y, 0) if activation else y)
        assert np.array_equal(fused["index"], index)

    def test_gradients_are_those_at_the_places_of_the_maxima(self, image):
        y, index = self.separate(image)
        dy = np.random.default_rng(1).standard_normal(y.shape)
        dz = self.unpooled(image, dy, index)
        image.attributes = image.attributes | {"pool": self.pool}
        fused = image.partials({"x": image.x, "dz": dy, "index": index})
        operands = {"dz": dy, "WT": image.transposed(), "index": index, "y": image.x}
        attributes = image.attributes | {"activation": ("tanh",)}
        dx = image.execute("conv_grad_input", operands, {"dx": image.x[:0]}, attributes)["dx"]
        image.attributes = image.attributes | {"pool": None}
        plain = image.partials({"x": image.x, "dz": dz})
        assert np.array_equal(fused["dW"], plain["dW"]) and np.array_equal(fused["db"], plain["db"])
        np.testing.assert_allclose(dx, image.grad_input(dz) * (1 - image.x) * (1 + image.x), rtol=1e-14)


class TestParts:
    def test_each_part_holds_the_gradient_of_its_rows(self, image):
        whole = image.partials()
        first = image.partials({"x": image.x[:1], "dz": image.dz[:1]})
        np.testing.assert_allclose(whole["dW"][0], first["dW"].sum(axis=0), atol=1e-13)
        np.testing.assert_allclose(whole["db"][0], first["db"].sum(axis=0), atol=1e-13)

    def test_parts_without_rows_are_zero(self, image):
        dW, db = image.gradients()
        image.attributes["parts"] = 5
        buffers = image.partials()
        assert not buffers["dW"][0].any() and not buffers["db"][0].any()
        for actual, expected in zip(image.gradients(), (dW, db), strict=True):
            np.testing.assert_allclose(actual, expected, atol=1e-13)

    def test_chunks_of_a_batch_add_up(self, image):
        first = image.partials({"x": image.x[:2], "dz": image.dz[:2]})
        both = image.partials({"x": image.x[2:], "dz": image.dz[2:]}, first, chunk=1)
        for name, expected in zip(("dW", "db"), image.gradients(), strict=True):
            np.testing.assert_allclose(both[name].sum(axis=0), expected, atol=1e-13)

    def test_a_convolution_without_bias_has_one_partial(self, image):
        operands = {"x": image.x, "dz": image.dz}
        outputs = {"dW": np.empty((2, *image.W.shape))}
        buffers = image.execute("conv_grad_weights", operands, outputs, image.attributes)
        assert np.array_equal(buffers["dW"], image.partials()["dW"])
