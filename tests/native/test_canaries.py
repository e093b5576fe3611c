"""No op writes outside its buffers: every gap between them still holds its canary after a batch."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from fastnn import memory
from fastnn.native import Runner, _machine
from fastnn.native import layout as native_layout
from fastnn.plan import PRODUCTS
from tests.native.networks import data, draw, lowered, random_image_network, random_network, random_sequence_network
from tests.native.test_nonzero import some_zeros
from tests.native.test_reservoir import reservoir

GAP = 256
CANARY = 0xA5


@pytest.fixture
def canaries(monkeypatch):
    """Spreads the buffers of every layout; returns the layouts made."""
    layouts, place, allocate = [], native_layout.Layout._place, memory.allocate

    def place_with_gap(layout, buffer):
        if not layouts or layouts[-1] is not layout:
            layouts.append(layout)
        partial = layout.plan.buffers[buffer.name].role == "partial"
        layout.fixed_size += 0 if partial and layout.partial_sizes else GAP
        place(layout, buffer)

    def allocate_with_gaps(sizes, spans):
        return allocate({name: size + GAP for name, size in sizes.items()}, spans)

    monkeypatch.setattr(native_layout.Layout, "_place", place_with_gap)
    monkeypatch.setattr(memory, "allocate", allocate_with_gaps)
    native_layout.compiled.clear()
    yield layouts
    native_layout.compiled.clear()


def free_bytes(layout, arena, size):
    """Mask of the bytes of an arena that belong to no buffer."""
    free = np.ones(size, bool)
    for name, (where, offset) in layout.offsets.items():
        if where == arena:
            role = layout.plan.buffers[name].role
            if role == "partial":
                length = 8 * layout.partial_sizes[name]
            else:
                length = layout.elements(name) * layout.dtype.itemsize
            free[offset : offset + length] = False
    return free


CASES = [(isa, dtype, "full") for isa in _machine.isa_names() for dtype in (np.float32, np.float64)]
CASES += [(isa, np.float32, "bfloat16") for isa in _machine.isa_names(bfloat16=True)]


@pytest.mark.parametrize(("isa", "dtype", "precision"), CASES)
@pytest.mark.parametrize("draw_network", [random_network, random_image_network, random_sequence_network])
@pytest.mark.parametrize("seed", range(25))
def test_gaps_are_untouched(canaries, seed, draw_network, isa, dtype, precision):
    rng = np.random.default_rng(seed)
    net = replace(draw_network(rng), precision=precision)
    rows = int(rng.integers(1, 40))
    entries = draw_network is random_network and seed % 3 == 1
    options = {"weighted": True, "l1": 0.1, "l2": 0.1, "whole_batch": bool(seed % 2), "sparse": seed % 3 == 0}
    plan = lowered(net, rows=rows, products=PRODUCTS[seed // 3 % 3], entries=entries, **options)
    X, y, w = data(rng, net, rows, dtype, weighted=True)
    if entries:
        X = sparse.csr_array(some_zeros(rng, X, 0.8))
    runner = Runner(plan, dtype=dtype, rows=rows, n_threads=2, isa=isa, keep=True)
    runner.bind(X, y, w)
    runner.train(rows, 0, 1, 0, np.array([0.0]), 1e9)
    layout = canaries[-1]
    arenas = {native_layout.FIXED: runner.fixed, native_layout.BATCH: runner._batch}
    free = {arena: free_bytes(layout, arena, len(array)) for arena, array in arenas.items()}
    for arena, array in arenas.items():
        array[free[arena]] = CANARY
    for name, value in draw(rng, plan).items():
        runner.set(name, value)
    runner.train(rows, 0, 1, 0, np.array([0.01]), 1e9)
    for arena, array in arenas.items():
        assert (array[free[arena]] == CANARY).all(), f"an op wrote outside its buffers in arena {arena}"
        assert free[arena].sum() >= GAP


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("links", [None, 3])
@pytest.mark.parametrize("rows", [1, 5, 17])
def test_gaps_around_a_reservoir_are_untouched(canaries, rows, links, dtype, isa):
    case = reservoir(np.random.default_rng(rows), dtype, rows, 7, 3, 21, links)
    case.native(dtype, isa, threads=2)
    runner, layout = case.runner, canaries[-1]
    arenas = {native_layout.FIXED: runner.fixed, native_layout.BATCH: runner._batch}
    free = {arena: free_bytes(layout, arena, len(array)) for arena, array in arenas.items()}
    for arena, array in arenas.items():
        array[free[arena]] = CANARY
    runner.train(rows, 0, 1, 0, np.array([0.0]), 1e9)
    for arena, array in arenas.items():
        assert (array[free[arena]] == CANARY).all(), f"an op wrote outside its buffers in arena {arena}"
