"""Recurrent layers on operands rounded to bfloat16: native = reference op by op at every size, on every instruction
set."""

import numpy as np
import pytest

from fastnn.native import _executor
from fastnn.ops.recurrent import CELLS
from fastnn.plan import Op
from tests.native.ops import CHANNELS, Case, check
from tests.native.test_recurrent import cell_case, check_parts, gradients_case

ROUNDED = {"precision": "bfloat16"}

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


@pytest.fixture(params=_executor.isa_names(bfloat16=True))
def isa(request):
    return request.param


def rounded_cell(rng, kind, rows, time, channels, units, gradient=False, **attributes):
    """A cell on a packed copy of its weights, and with `gradient` the way back, where dh is h."""
    case = cell_case(rng, np.float32, kind, rows, time, channels, units, **attributes)
    (op,) = (op for op in case.plan.step if op.kind == kind)
    x, W, U, *rest = op.inputs
    copy = (*case.fixed[W].shape[:-2], channels + units, units)
    ops = [
        Op("pack_gates", (W, U), ("copy",), ROUNDED, "columns"),
        op.with_(inputs=(x, "copy", *rest), attributes=op.attributes | ROUNDED),
    ]
    outputs = {name: (case.plan.buffers[name].shape, "batch") for name in op.outputs}
    packed, rounded = {"copy": copy}, op.outputs[1:] if CELLS[kind].gates else ()
    if gradient:
        h, gates, *c = op.outputs
        dgates = gates if rounded else "dgates"
        outputs[dgates] = outputs[gates]
        rounded = {*rounded, dgates}
        packed["UT"] = case.fixed["U"].shape
        inputs = (h, "UT", gates, *(c or [h]), *(["lengths"] if op.attributes["lengths"] else []))
        ops.append(Op("transpose_gates", ("U",), ("UT",), ROUNDED, "columns"))
        ops.append(Op(f"{kind}_grad", inputs, (dgates,), op.attributes | ROUNDED))
    batch = {name: case.sources[source] for name, source in zip(("x", "lengths"), case.sources, strict=False)}
    return Case(ops, batch, outputs, case.fixed, packed=packed, rounded=tuple(rounded))


@pytest.mark.parametrize("units", CHANNELS)
@pytest.mark.parametrize("kind", CELLS)
def test_every_size(kind, units, isa):
    """At the first step the results are as close as those of float32; later ones read rounded states, of which some
    fall to the other side of a tie."""
    rng = np.random.default_rng(units)
    for time, reverse, lengths, widen in ((1, False, False, 1.0), (6, False, True, 200.0), (6, True, True, 200.0)):
        rows, channels = int(rng.choice((1, 5, 17, 33))), int(rng.choice((1, 3, 16, 70)))
        case = rounded_cell(rng, kind, rows, time, channels, units, reverse=reverse, lengths=lengths)
        check(case, np.float32, isa, widen=widen)


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 63, 64, 65, 130])
@pytest.mark.parametrize("kind", CELLS)
def test_any_number_of_sequences(kind, rows, isa):
    check(rounded_cell(np.random.default_rng(rows), kind, rows, 4, 5, 21, lengths=True), np.float32, isa, widen=200.0)


@pytest.mark.parametrize("units", CHANNELS)
@pytest.mark.parametrize("kind", CELLS)
def test_gradients_of_gates(kind, units, isa):
    rng = np.random.default_rng(units)
    for rows, time, reverse, lengths in ((5, 1, False, False), (17, 6, False, True), (33, 6, True, False)):
        case = rounded_cell(rng, kind, rows, time, 5, units, gradient=True, reverse=reverse, lengths=lengths)
        check(case, np.float32, isa, widen=200.0)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", CHANNELS)
def test_weight_gradients(size, reverse, isa):
    """Also of more steps than are packed together, and of one step, which has no state before it."""
    rng = np.random.default_rng(size)
    for rows, time, other, lines in ((3, 1, 5, (0,)), (5, 30, 64, (0, 1, 3)), (3, 700, 33, (0, 1, 2, 3))):
        for channels, units in ((size, other), (other, size)):
            case = gradients_case(rng, np.float32, rows, time, channels, units, lines, reverse, **ROUNDED)
            check(case, np.float32, isa, widen=10.0)


@pytest.mark.parametrize("reverse", [False, True])
def test_parts_of_weight_gradients_depend_neither_on_chunks_nor_on_threads(reverse, isa):
    case = gradients_case(np.random.default_rng(0), np.float32, 70, 30, 5, 33, (0, 1, 2, 3), reverse, **ROUNDED)
    check_parts(case, np.float32, isa)


@pytest.mark.parametrize("units", CHANNELS)
def test_gradient_of_the_input(units, isa):
    rng = np.random.default_rng(units)
    for rows, time, channels, lines in ((3, 9, 70, (0,)), (33, 4, 16, (0, 1, 2)), (2, 60, 3, (0, 1, 2, 3))):
        dgates = rng.standard_normal((rows, time, 4, units)).astype(np.float32)
        W = (rng.standard_normal((len(lines), channels, units)) / units).astype(np.float32)
        ops = [
            Op("transpose_gates", ("W",), ("WT",), ROUNDED, split="columns"),
            Op("round", ("dgates",), ("dz",), ROUNDED),
            Op("recurrent_grad_input", ("dz", "WT"), ("dx",), {"lines": lines, **ROUNDED}),
        ]
        packed = {"WT": (len(lines), units, channels)}
        outputs = {"dx": ((time, channels), "batch"), "dz": (dgates.shape[1:], "batch")}
        check(Case(ops, {"dgates": dgates}, outputs, {"W": W}, packed=packed, rounded=("dz",)), np.float32, isa)
