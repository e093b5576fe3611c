"""Recurrent layers on operands rounded to bfloat16: native = reference op by op at every size, on every instruction
set."""

import numpy as np
import pytest

from fastnn.native import _machine
from fastnn.ops.recurrent import CELLS
from fastnn.plan import Op
from fastnn.reference import recurrent as reference
from fastnn.reference.activation import logistic
from fastnn.reference.bfloat16 import bfloat16
from tests.native.ops import CHANNELS, Case, check
from tests.native.test_recurrent import cell_case, check_parts, gradients_case

ROUNDED = {"precision": "bfloat16"}
# Instruction sets that look gates up in tables, within 1e-3.
WITH_TABLES = {"avx512", "avx512_bf16", "amx"}

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


@pytest.fixture(params=_machine.isa_names(bfloat16=True))
def isa(request):
    return request.param


def rounded_cell(seed, kind, rows, time, channels, units, dgates=None, **attributes):
    """A cell on a packed copy of its weights, and the way back to `dgates`, where dh is h."""
    return with_rounded_operands(
        cell_case(np.random.default_rng(seed), np.float32, kind, rows, time, channels, units, **attributes), dgates
    )


def with_rounded_operands(case, dgates=None):
    (op,) = (op for op in case.plan.step if op.kind in CELLS)
    x, W, U, *rest = op.inputs
    *axis, units, _ = case.fixed[U].shape
    copy = (*axis, case.fixed[W].shape[-2] + units, units)
    ops = [
        Op("pack_gates", (W, U), ("copy",), ROUNDED, "columns"),
        op.with_(inputs=(x, "copy", *rest), attributes=op.attributes | ROUNDED),
    ]
    outputs = {name: (case.plan.buffers[name].shape, "batch") for name in op.outputs}
    packed, rounded = {"copy": copy}, op.outputs[1:] if CELLS[op.kind].gates else ()
    if dgates:
        h, gates, *c = op.outputs
        outputs[dgates] = outputs[gates]
        rounded = {*rounded, dgates}
        packed["UT"] = case.fixed["U"].shape
        inputs = (h, "UT", gates, *(c or [h]), *(["lengths"] if op.attributes["lengths"] else []))
        ops.append(Op("transpose_gates", ("U",), ("UT",), ROUNDED, "columns"))
        ops.append(Op(f"{op.kind}_grad", inputs, (dgates,), op.attributes | ROUNDED))
    batch = {name: case.sources[source] for name, source in zip(("x", "lengths"), case.sources, strict=False)}
    return Case(ops, batch, outputs, case.fixed, packed=packed, rounded=tuple(rounded))


@pytest.mark.parametrize("units", CHANNELS)
@pytest.mark.parametrize("kind", CELLS)
def test_every_size(kind, units, isa):
    """At the first step the results are as close as the gates are, those of float32 where there are no tables of them;
    later ones read rounded states, of which some fall to the other side of a tie."""
    rng, once = np.random.default_rng(units), 50.0 if CELLS[kind].gates and isa in WITH_TABLES else 1.0
    for time, reverse, lengths, widen in ((1, False, False, once), (6, False, True, 200.0), (6, True, True, 200.0)):
        rows, channels = int(rng.choice((1, 5, 17, 33))), int(rng.choice((1, 3, 16, 70)))
        case = rounded_cell(units, kind, rows, time, channels, units, reverse=reverse, lengths=lengths)
        check(case, np.float32, isa, widen=widen)


def test_gates_over_their_range(isa):
    """One unit of a GRU yields tanh x, another one 1 - logistic x: no gate is off by a fifth of the last place of the
    bfloat16 below 1, none that is not nearly 0 or 1 by a quarter of its own."""
    x = np.concatenate([np.linspace(-9, 9, 20_001), [0, 1e-30, -1e-30, 88, -88, 3e38, -3e38, np.nan]])
    x = x.astype(np.float32)
    pieces, rest = [], x
    for _ in range(3):
        pieces.append(bfloat16(rest))
        rest = rest - pieces[-1]
    shape = (3, 3, 2)  # gates r, z, n, three pieces of x, units
    fixed = {name: np.zeros(size, np.float32) for name, size in (("W", shape), ("U", (3, 2, 2)), ("b", (3, 2)))}
    fixed["W"][2, :, 0] = fixed["W"][1, :, 1] = 1
    fixed["b"][1, 0], fixed["b"][2, 1] = -100, 100
    fixed["d"] = np.zeros(2, np.float32)
    outputs = {"h": ((1, 2), "batch"), "gates": ((1, 4, 2), "batch")}
    attributes = {"reverse": False, "truncate": None, "mask": False, "lengths": False, "activation": None}
    op = Op("gru", ("x", *fixed), tuple(outputs), attributes)
    case = with_rounded_operands(Case([op], {"x": np.stack(pieces, axis=1)[:, np.newaxis]}, outputs, fixed))
    tanh, above = case.native(np.float32, isa)["h"][:, 0].T.astype(np.float64)
    wide = x.astype(np.float64)
    for gate, exact, far in ((tanh, np.tanh(wide), 3.9), (1 - above, logistic(wide), 7.7)):
        assert np.array_equal(np.isnan(gate), np.isnan(x))
        error, near = np.abs(gate - exact), np.abs(x) < far
        assert np.nanmax(error) < 7e-4
        assert np.nanmax(np.abs(gate)) <= 1
        room = np.abs(exact) if far < 4 else np.minimum(exact, 1 - exact)
        assert (error <= 1e-3 * room + 1e-7 * (far > 4))[near].all()


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 63, 64, 65, 130])
@pytest.mark.parametrize("kind", CELLS)
def test_any_number_of_sequences(kind, rows, isa):
    check(rounded_cell(rows, kind, rows, 4, 5, 21, lengths=True), np.float32, isa, widen=200.0)


@pytest.mark.parametrize("units", CHANNELS)
@pytest.mark.parametrize("kind", CELLS)
def test_gradients_of_gates(kind, units, isa):
    """From the same states and gates. Where what a cell keeps of its gates is the room for them, bits are the same."""
    for rows, time, reverse, lengths in ((5, 1, False, False), (17, 6, False, True), (33, 6, True, False)):
        size = (units, kind, rows, time, 5, units)
        case = rounded_cell(*size, "dgates", reverse=reverse, lengths=lengths)
        *_, op = case.plan.step
        values = case.native(np.float32, isa)
        buffers = values | {"UT": np.swapaxes(case.fixed["U"], -1, -2), "lengths": case.sources.get("y")}
        reference.OPS[op.kind](op, buffers, None)
        check(case, np.float32, isa, widen=20.0, expected={"dgates": buffers["dgates"]})
        if CELLS[kind].gates:
            inside = rounded_cell(*size, "gates", reverse=reverse, lengths=lengths).native(np.float32, isa)
            np.testing.assert_array_equal(inside["gates"], values["dgates"])


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
