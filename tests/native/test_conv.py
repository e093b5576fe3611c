"""Convolution and its products: native = reference for random geometries, with equal bits on any number of threads."""

import ctypes
from math import prod

import numpy as np
import pytest

from fastnn import bfloat16
from fastnn.native import Runner, _executor, _machine, _packed, conv_planes, conv_sparse
from fastnn.native import run as native_run
from fastnn.native.conv_staging import Grouping
from fastnn.native.layout import Layout
from fastnn.ops.window import Geometry
from fastnn.passes import place_barriers
from fastnn.plan import Buffer, Op, Plan
from fastnn.reference.conv import OPS as REFERENCE
from fastnn.reference.run import Step
from tests.native.once import once

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-11}
ISAS = _machine.isa_names()
PARTS = 4
GAP, CANARY = 256, 0xA5


pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


class Case:
    """A convolution of random geometry, and values for all of its buffers."""

    def __init__(self, rng, *, geometry=None, channels=None, filters=None, groups=None, pool="any", layout=None):
        self.rng = rng
        self.geometry = geometry or _geometry(rng)
        self.groups = groups or int(rng.choice([1, 1, 1, 2, 3, 5]))
        c = channels or int(rng.choice([1, 2, 3, 6, 8, 16, 17, 32, 33, 64, 67])) * self.groups
        o = filters or int(rng.choice([1, 2, 6, 15, 16, 17, 32, 48, 64, 65])) * self.groups
        if groups is None and rng.integers(8) == 0:
            self.groups = o = c  # depthwise
        self.channels, self.filters = c, o
        self.layout = layout or str(rng.choice(["panels", "rows"]))
        self.pool = _pool(rng, self.geometry.output) if pool == "any" else pool
        self.activation = (None, ("tanh",), ("relu",))[rng.integers(3)]
        self.bias = bool(rng.integers(2))
        self.pooled = (self.pool or self.geometry).output

    @property
    def attributes(self):
        return {"geometry": self.geometry, "groups": self.groups, "activation": self.activation, "pool": self.pool}

    def shapes(self):
        """Shape, role and layout of every buffer."""
        kernel, inner, o = self.geometry.kernel, self.channels // self.groups, self.filters
        y, x, W = (*self.pooled, o), (*self.geometry.image, self.channels), (*kernel, inner, o)
        return {
            "x": (x, "batch", self.layout),
            "W": (W, "parameter"),
            "WT": ((*kernel, o // self.groups, self.channels), "transposed"),
            "b": ((o,), "parameter"),
            "y": (y, "batch"),
            "z": (y, "batch"),
            "index": (y, "batch"),
            "dz": (y, "batch"),
            "s": (x, "batch"),
            "dx": (x, "batch"),
            "dW.partial": ((PARTS, *W), "vector"),
            "db.partial": ((PARTS, o), "vector"),
            "dW": (W, "gradient"),
            "db": ((o,), "gradient"),
        }

    def op(self, kind):
        attributes, index = self.attributes, ("index",) if self.pool else ()
        if kind == "conv":
            outputs = ("y", "index") if self.pool else ("y", "z") if self.activation else ("y",)
            return Op("conv", ("x", "W", "b") if self.bias else ("x", "W"), outputs, attributes)
        if kind == "conv_grad_input":
            inputs = ("dz", "WT", *index, *(("s",) if self.activation else ()))
            return Op(kind, inputs, ("dx",), attributes)
        if kind == "conv_grad_weights":
            outputs = ("dW.partial", "db.partial") if self.bias else ("dW.partial",)
            return Op(kind, ("x", "dz", *index), outputs, attributes | {"parts": PARTS}, "parts")
        if kind == "conv_transpose":
            return Op(kind, ("W",), ("WT",), {"groups": self.groups}, "columns")
        return Op("sum_parts", ("dW.partial",), ("dW",), {"parts": PARTS}, "columns")

    def before(self, kind):
        """Ops that make what an op of this kind reads from W."""
        return ()

    def values(self, op, rows, dtype):
        """Numbers such that sums are about 1; small integers before a pool, where exact sums have true ties."""
        values = {}
        for name in op.inputs:
            shape, role, *_ = self.shapes()[name]
            size = (rows, *shape) if role == "batch" else shape
            value = self.rng.standard_normal(size)
            if name == "index":
                value = self.rng.integers(0, prod(self.pool.kernel), size)
            elif name == "s":
                value = np.tanh(value)
            elif op.kind == "conv" and self.pool:
                value = value.round()
            elif role in ("parameter", "transposed"):
                value /= np.sqrt(prod(shape[:-1]))
            values[name] = value.astype(dtype)
        return values

    def __repr__(self):
        return (
            f"{self.geometry}, {self.channels} {self.layout} -> {self.filters}, groups {self.groups}, "
            f"pool {self.pool}, {self.activation}"
        )


def _geometry(rng):
    while True:
        one = lambda low, high: tuple(int(i) for i in rng.integers(low, high + 1, 2))  # noqa: E731
        padding = tuple(tuple(int(i) for i in rng.integers(0, 4, 2)) for _ in range(2))
        geometry = Geometry(one(1, 15), one(1, 7), one(1, 3), one(1, 2), padding)
        if rng.integers(3) == 0:
            geometry = geometry._replace(padding=((0, 0), (0, 0)))
        if min(geometry.output) > 0:
            return geometry


def _pool(rng, image):
    kernel = tuple(int(rng.integers(1, min(3, size) + 1)) for size in image)
    stride = tuple(int(k + rng.integers(2)) for k in kernel)
    return Geometry(image, kernel, stride) if rng.integers(2) else None


def run_native(case, op, values, rows, dtype, isa, *, threads=1, capacity=None, before=()):
    """Outputs of an op, all rows of which (or chunks of `capacity`) lie in its buffers; `before`: ops on weights."""
    capacity = capacity or rows
    ops = (*before, op)
    buffers = {name: Buffer(name, *case.shapes()[name]) for other in ops for name in other.inputs + other.outputs}
    plan = place_barriers(Plan("kernel", {**buffers, "X": Buffer("X", (1,), "source")}, step=ops))
    runner = Runner(plan, dtype=dtype, rows=capacity, n_threads=threads, isa=isa, keep=True)
    runner.bind(np.zeros((rows, 1), dtype))
    runner._pace = native_run.Pace(threads)
    runner._prepare_arenas(threads, rows)
    runner._batch.view(dtype)[:] = 7.0  # whatever an op does not write must not matter
    for name, value in values.items():
        if buffers[name].role == "batch":
            value = value[:capacity]
        view = runner._view(name)
        if buffers[name].layout == "rows":
            view[: value.size] = value.ravel()
        else:
            matrix = np.ascontiguousarray(value.reshape(-1, value.shape[-1]))
            _packed.pack(isa, matrix, view)
    scratch = native_run.aligned(threads * (runner._scratch.shape[1] + GAP)).reshape(threads, -1)
    scratch[:] = CANARY
    runner.program.run(
        runner._ops, runner.source, order=None, capacity=capacity, batch_size=rows, first_batch=0, n_batches=1, step=0,
        rates=None, seconds=1e9, seed=0, threads=threads, scratch=scratch.ctypes.data,
        scratch_size=scratch.shape[1], row_loss=runner._row_loss, penalties=runner._penalties, offset=0,
        chunk=0, loss_sum=0.0, epoch=-1, sums=None,
    )  # fmt: skip
    assert (scratch[:, -GAP:] == CANARY).all(), f"{op.kind} wrote beyond its scratch, {case}"
    last = rows - (rows - 1) // capacity * capacity
    return {name: runner.get(name)[: last if buffers[name].role == "batch" else None] for name in op.outputs}


@once
def run_reference(case, op, values, rows, dtype, capacity=None, before=()):
    capacity, values = capacity or rows, dict(values)
    for other in before:
        REFERENCE[other.kind](other, values, Step(n=1))
    shapes = case.shapes()
    buffers = dict(values)
    for name in op.outputs:
        shape, role, *_ = shapes[name]
        buffers[name] = np.zeros((0, *shape) if role == "batch" else shape, dtype)
    for chunk, row in enumerate(range(0, rows, capacity)):
        n = min(capacity, rows - row)
        for name, value in values.items():
            buffers[name] = value[:n] if shapes[name][1] == "batch" else value
        REFERENCE[op.kind](op, buffers, Step(n=n, chunk=chunk, row=row))
    return {name: buffers[name] for name in op.outputs}


def assert_close(actual, expected, dtype, where):
    assert actual.shape == expected.shape, where
    if where.startswith("index"):
        assert np.array_equal(actual, expected), where
        return
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    error = np.abs(actual - expected).max(initial=0.0) / scale
    assert error <= TOLERANCE[dtype], f"{where}: differs by {error:.2g} of its largest element"


def compare(case, kind, rows, dtype, isa, capacity=None):
    op, before = case.op(kind), case.before(kind)
    values = case.values(op, rows, dtype)
    actual = run_native(case, op, values, rows, dtype, isa, capacity=capacity, before=before)
    expected = run_reference(case, op, values, rows, dtype, capacity, before)
    for name in op.outputs:
        assert_close(actual[name], expected[name], dtype, f"{name} of {kind}, {rows} rows of {case}")


def same_bits(case, kind, rows, isa, dtype=np.float32, capacity=None):
    """On any number of threads."""
    op, before = case.op(kind), case.before(kind)
    values = case.values(op, rows, dtype)
    expected = run_native(case, op, values, rows, dtype, isa, capacity=capacity, before=before)
    for threads in (2, 3, 4, PARTS + 2):
        actual = run_native(case, op, values, rows, dtype, isa, threads=threads, capacity=capacity, before=before)
        for name in op.outputs:
            assert np.array_equal(actual[name], expected[name]), f"{name} of {case} on {threads} threads"


KINDS = ("conv", "conv_grad_input", "conv_grad_weights")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(40))
def test_random_geometries(seed, kind, dtype, isa):
    rng = np.random.default_rng(seed)
    compare(Case(rng), kind, int(rng.integers(1, 34)), dtype, isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(30))
def test_groups_of_whole_vectors(seed, kind, dtype, isa):
    compare(large_groups(np.random.default_rng(300 + seed)), kind, 5, dtype, isa)


def large_groups(rng):
    groups = int(rng.integers(2, 5))
    channels, filters = (groups * int(n) for n in rng.choice([16, 32, 48, 64], 2))
    return Case(rng, channels=channels, filters=filters, groups=groups)


def uneven_groups(rng):
    """Groups that end inside a vector, some of which cross from panel to panel."""
    while True:
        sizes = [2, 2, 3, 5, 16, 33], [1, 2, 4, 9, 20, 64], [1, 2, 3, 4, 6, 12, 20, 24, 40, 68]
        if rng.integers(2):
            sizes = [4, 8, 16, 32], [1, 2, 4, 8], [2, 4, 6, 8, 12]  # mostly of columns that fill the vectors
        groups, inputs, outputs = (int(rng.choice(numbers)) for numbers in sizes)
        if groups * max(inputs, outputs) <= 210:
            return Case(rng, channels=groups * inputs, filters=groups * outputs, groups=groups)


@pytest.fixture
def always(monkeypatch):
    """Makes groups that end inside a vector elementwise or not, whatever the model says takes longer."""
    return lambda elementwise: monkeypatch.setattr(
        Grouping, "ways", lambda self, lanes: (elementwise and self.groups > 1 and self.columns_each % lanes > 0,)
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_groups_that_end_inside_a_vector(seed, elementwise, kind, dtype, isa, always):
    always(elementwise)
    rng = np.random.default_rng(800 + seed)
    rows = int(rng.integers(1, 12))
    compare(uneven_groups(rng), kind, rows, dtype, isa, capacity=int(rng.integers(1, rows + 1)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_bits_of_uneven_groups_do_not_depend_on_threads(seed, elementwise, kind, isa, always):
    always(elementwise)
    rng = np.random.default_rng(850 + seed)
    same_bits(uneven_groups(rng), kind, int(rng.integers(1, 34)), isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
def test_images_are_expanded_for_many_small_groups_only(kind, isa):
    for channels, filters, groups, expanded in [(64, 64, 1, False), (64, 64, 32, True), (50, 50, 2, False)]:
        geometry = Geometry((14, 14), (3, 3), padding=((1, 1), (1, 1)))
        case = Case(
            np.random.default_rng(0), geometry=geometry, channels=channels, filters=filters, groups=groups, pool=None,
            layout="panels",
        )  # fmt: skip
        numbers, layout = bound(case, kind, isa)
        elementwise = ctypes.c_int64.from_address(numbers[0]).value
        assert elementwise == (expanded and layout.lanes > 2)


def narrow(rng):
    """A few filters of a few channels behind a pool, whose gradients are multiplied at the maxima only."""
    while True:
        padding = tuple(tuple(int(i) for i in rng.integers(0, 3, 2)) for _ in range(2))
        image, kernel, stride = (tuple(int(i) for i in rng.integers(*ends, 2)) for ends in [(4, 16), (2, 6), (1, 3)])
        geometry = Geometry(image, kernel, stride, padding=padding)
        pool = _pool(rng, geometry.output) if min(geometry.output) > 1 else None
        if pool is not None:
            break
    channels, filters = int(rng.integers(1, 9)), int(rng.choice([1, 6, 16, 17, 67]))
    return Case(rng, geometry=geometry, channels=channels, filters=filters, groups=1, pool=pool)


def few(rng, kind="conv"):
    """A few filters, or for its gradient channels, where places may lie along the vectors."""
    while True:
        padding = tuple(tuple(int(i) for i in rng.integers(0, rng.choice([3, 3, 9]), 2)) for _ in range(2))
        ends = [(1, 40), (1, 6), (1, rng.choice([2, 4]) if kind == "conv" else 2), (1, 3)]
        geometry = Geometry(*(tuple(int(i) for i in rng.integers(*of, 2)) for of in ends), padding)
        if min(geometry.output) > 0:
            break
    groups = int(rng.choice([1, 1, 2, 4]))
    channels, filters = groups * int(rng.choice([1, 1, 3, 8, 17, 70])), groups * int(rng.integers(1, 8 // groups + 1))
    if kind == "conv":
        return Case(rng, geometry=geometry, channels=channels, filters=filters, groups=groups)
    pool = None if rng.integers(4) else "any"
    return Case(rng, geometry=geometry, channels=filters, filters=channels, groups=groups, pool=pool)


@pytest.fixture
def always_planes(monkeypatch):
    """Places along the vectors for all few filters, however long the model says that this takes."""
    monkeypatch.setattr(conv_planes, "_cycles", lambda *_: -np.inf)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("seed", range(40))
def test_few_filters(seed, kind, dtype, isa, always_planes):
    rng = np.random.default_rng(500 + seed)
    rows = int(rng.integers(1, 12))
    compare(few(rng, kind), kind, rows, dtype, isa, capacity=int(rng.integers(1, rows + 1)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("seed", range(8))
def test_bits_of_few_filters_do_not_depend_on_threads(seed, kind, isa, always_planes):
    rng = np.random.default_rng(550 + seed)
    same_bits(few(rng, kind), kind, int(rng.integers(1, 34)), isa)


@pytest.mark.parametrize("isa", ISAS)
def test_places_lie_along_the_vectors_for_few_filters_only(isa):
    for channels, filters, groups in [(3, 6, 1), (64, 4, 1), (8, 8, 2), (3, 16, 1)]:
        shape = {"geometry": Geometry((32, 32), (5, 5)), "channels": channels, "filters": filters, "groups": groups}
        numbers, layout = bound(Case(np.random.default_rng(0), **shape, pool=None), "conv", isa)
        assert (numbers[4] != 0) == (2 * filters <= layout.lanes)
        shape["channels"], shape["filters"] = filters, channels
        numbers, layout = bound(Case(np.random.default_rng(0), **shape, pool=None), KINDS[1], isa)
        assert (numbers[6] != 0) == (2 * filters <= layout.lanes)


def small_windows(rng):
    """A few products behind which windows of four places have their maximum taken from the registers of their sums."""
    kernel, channels = [((3, 3), 1), ((2, 2), 3), ((1, 5), 2), ((5, 5), 1), ((1, 1), 64), ((1, 1), 65)][rng.integers(6)]
    window = ((2, 2), (1, 4), (4, 1))[rng.integers(3)]
    padding = tuple(tuple(int(i) for i in rng.integers(0, size, 2)) for size in kernel)
    stride = tuple(int(i) for i in rng.integers(1, 3, 2))
    image = tuple(int(i) for i in rng.integers(12, 31, 2))
    geometry = Geometry(image, kernel, stride, padding=padding)
    pool = Geometry(geometry.output, window, tuple(int(size + rng.integers(2)) for size in window))
    filters = int(rng.choice([1, 16, 32, 48, 64, 100]))
    return Case(rng, geometry=geometry, channels=channels, filters=filters, groups=1, pool=pool)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(20))
def test_small_windows_of_few_products(seed, dtype, isa):
    rng = np.random.default_rng(600 + seed)
    compare(small_windows(rng), "conv", int(rng.integers(1, 12)), dtype, isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (9, 9)])
def test_a_nan_wins_in_a_window_behind_a_convolution(kernel, isa):
    geometry, rng = Geometry((20, 20), kernel), np.random.default_rng(0)
    pool = Geometry(geometry.output, (2, 2), (2, 2))
    case = Case(rng, geometry=geometry, channels=1, filters=20, groups=1, pool=pool, layout="rows")
    op = case.op("conv").with_(attributes=case.attributes | {"activation": None})
    values = case.values(op, 3, np.float32)
    values["x"][rng.random(values["x"].shape) < 0.1 / prod(kernel)] = np.nan
    actual = run_native(case, op, values, 3, np.float32, isa)
    expected = run_reference(case, op, values, 3, np.float32)
    for name in op.outputs:
        assert np.array_equal(actual[name], expected[name], equal_nan=True), name
    assert np.isnan(actual["y"]).any() and not np.isnan(actual["y"]).all()


@pytest.mark.parametrize("isa", ISAS)
def test_places_of_the_first_layer_of_lenet_lie_along_long_vectors(isa):
    numbers, lanes = bound_numbers("lenet 1", "conv", isa)
    assert (numbers[0] == 0) == (numbers[4] != 0) == (lanes >= 2 * 6)


def test_plans_and_kernels_mean_the_same_small_windows():
    assert bfloat16.SMALL_WINDOW == _executor.WINDOW


@pytest.fixture
def always_sparse(monkeypatch):
    """The gradients behind a pool at the maxima only, however long the model says that this takes."""
    monkeypatch.setattr(conv_sparse, "_cycles", lambda *_: -np.inf)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("draw", [narrow, Case])
@pytest.mark.parametrize("seed", range(20))
def test_gradients_at_maxima_only(seed, draw, kind, dtype, isa, always_sparse):
    rng = np.random.default_rng(400 + seed)
    rows = int(rng.integers(1, 34))
    compare(draw(rng), kind, rows, dtype, isa, capacity=int(rng.integers(1, rows + 1)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_narrow_layers_of_lenet_are_multiplied_at_maxima_only(kind, isa):
    for name in ("lenet 1", "lenet 2"):
        numbers, _ = bound_numbers(name, kind, isa)
        assert numbers[0] == 0 and numbers[4] != 0, name


def windowed(rng, make=Case):
    """A convolution behind a pool whose windows mostly fit a vector."""
    image, kernel, padding = (tuple(int(i) for i in rng.integers(*ends, 2)) for ends in [(6, 20), (1, 5), (0, 3)])
    stride = (int(rng.integers(1, 3)), 1)
    geometry = Geometry(image, kernel, stride, padding=tuple((n, int(rng.integers(0, 3))) for n in padding))
    pool = Geometry(geometry.output, tuple(min(2, n) for n in geometry.output), (2, int(rng.integers(2, 4))))
    channels, filters = int(rng.choice([1, 1, 2, 3, 17, 66])), int(rng.choice([1, 6, 16, 32, 40, 67]))
    return make(rng, geometry=geometry, channels=channels, filters=filters, groups=1, pool=pool)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("draw", [windowed, Case])
@pytest.mark.parametrize("seed", range(20))
def test_gradients_window_by_window(seed, draw, dtype, isa, always_windows):
    rng = np.random.default_rng(600 + seed)
    rows = int(rng.integers(1, 34))
    compare(draw(rng), "conv_grad_weights", rows, dtype, isa, capacity=int(rng.integers(1, rows + 1)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(4))
def test_bits_of_gradients_window_by_window_do_not_depend_on_threads(seed, isa, always_windows):
    rng = np.random.default_rng(700 + seed)
    same_bits(windowed(rng), "conv_grad_weights", int(rng.integers(1, 34)), isa)


@pytest.mark.parametrize("isa", ISAS)
def test_the_first_layer_of_keras_takes_its_gradient_window_by_window_where_instructions_pick(isa):
    numbers, _ = bound_numbers("keras 1", "conv_grad_weights", isa)
    assert (numbers[5] != 0) == (isa in ("avx2", "avx512"))


def bound_numbers(name, kind, isa):
    """The numbers of a known network's op, and the lanes of a vector."""
    geometry, channels, filters, layout = NETWORKS[name]
    pool = Geometry(geometry.output, (2, 2), (2, 2))
    rng = np.random.default_rng(0)
    case = Case(rng, geometry=geometry, channels=channels, filters=filters, groups=1, pool=pool, layout=layout)
    numbers, layout = bound(case, kind, isa)
    return numbers, layout.lanes


def bound(case, kind, isa):
    """The numbers of an op, and the layout that keeps what they point to."""
    op = case.op(kind)
    buffers = {buffer: Buffer(buffer, *case.shapes()[buffer]) for buffer in op.inputs + op.outputs}
    layout = Layout(Plan("kernel", buffers, step=(op,)), isa, np.dtype(np.float32), 9, None)
    _, _, _, numbers, _ = layout.bound[1][0]
    return numbers, layout


NETWORKS = {
    "keras 1": (Geometry((28, 28), (3, 3)), 1, 32, "rows"),
    "keras 2": (Geometry((13, 13), (3, 3)), 32, 64, "panels"),
    "lenet 1": (Geometry((28, 28), (5, 5), padding=((2, 2), (2, 2))), 1, 6, "rows"),
    "lenet 2": (Geometry((14, 14), (5, 5)), 6, 16, "panels"),
    "strided": (Geometry((32, 32), (3, 3), (2, 2), padding=((0, 1), (0, 1))), 3, 40, "rows"),
    "signal": (Geometry((1, 150), (1, 8), padding=((0, 0), (3, 4))), 6, 64, "panels"),
    "wide": (Geometry((7, 7), (3, 3), padding=((1, 1), (1, 1))), 128, 130, "panels"),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_known_networks(name, pooled, kind, dtype, isa):
    geometry, channels, filters, layout = NETWORKS[name]
    kernel = tuple(min(2, size) for size in geometry.output)
    pool = Geometry(geometry.output, kernel, kernel) if pooled else None
    rng = np.random.default_rng(1)
    case = Case(rng, geometry=geometry, channels=channels, filters=filters, groups=1, pool=pool, layout=layout)
    compare(case, kind, 9, dtype, isa)


def test_an_image_beyond_32_bit_offsets_names_its_shape():
    case = Case(np.random.default_rng(0), geometry=Geometry((50000, 1), (1, 1)), channels=50000, filters=1, groups=1)
    op = case.op("conv")
    buffers = {name: Buffer(name, *case.shapes()[name]) for name in op.inputs + op.outputs}
    with pytest.raises(ValueError, match=r"50000 x 1 places with 50000 channels.*take smaller images"):
        Runner(Plan("kernel", buffers, step=(op,)), dtype=np.float32, rows=1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", ["conv_transpose", "sum_parts"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_weights(seed, threads, kind, isa):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    channels, filters = (groups * int(rng.choice(sizes)) for sizes in ([1, 16, 65, 130], [1, 48, 67]))
    case = Case(rng, groups=groups, channels=channels, filters=filters)
    op = case.op(kind)
    values = case.values(op, 1, np.float32)
    actual = run_native(case, op, values, 1, np.float32, isa, threads=threads)
    assert_close(actual[op.outputs[0]], run_reference(case, op, values, 1, np.float32)[op.outputs[0]], np.float32, kind)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_chunks_of_a_batch_add_up(seed, kind, isa):
    rng = np.random.default_rng(100 + seed)
    compare(Case(rng), kind, 21, np.float64, isa, capacity=8)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draw", [Case, large_groups, narrow, few, small_windows])
@pytest.mark.parametrize("seed", range(8))
def test_bits_do_not_depend_on_threads(seed, draw, kind, isa):
    rng = np.random.default_rng(200 + seed)
    case, rows = draw(rng), int(rng.integers(1, 34))
    capacity = rows if seed % 2 else int(rng.integers(1, rows + 1))  # threads share each chunk anew
    same_bits(case, kind, rows, isa, capacity=capacity)
