"""Recurrent cells: their formulas row by row, finite differences, truncation, sequences of unequal length."""

import numpy as np
import pytest

from fastnn.ops.recurrent import CELLS, LSTM, PARTS
from fastnn.reference import Step
from fastnn.reference.activation import logistic
from tests.reference.differences import central_differences

ROWS, TIME, CHANNELS, UNITS = 3, 7, 2, 3
PLAIN = {"mask": False, "lengths": False, "reverse": False, "truncate": None, "activation": None}
VARIANTS = {
    "plain": {},
    "mask": {"mask": True},
    "lengths": {"lengths": True},
    "reverse": {"reverse": True},
    "reverse, mask and lengths": {"reverse": True, "mask": True, "lengths": True},
}
CASES = {f"{kind}, {name}": (kind, PLAIN | variant) for kind in CELLS for name, variant in VARIANTS.items()}
CASES |= {
    f"simple_rnn, {activation[0]}": ("simple_rnn", PLAIN | {"lengths": True, "activation": activation})
    for activation in (("gelu",), ("leaky_relu", 0.01))
}


def case(kind, attributes):
    """The operands of a cell in order, dh, and the attributes with an activation."""
    rng, cell = np.random.default_rng(0), CELLS[kind]
    axis = () if cell.gates is None else (cell.gates,)
    shapes = {"W": (*axis, CHANNELS, UNITS), "U": (*axis, UNITS, UNITS), "b": (*axis, UNITS)}
    shapes |= {"d": (UNITS,)} if kind == "gru" else {}
    operands = {name: rng.standard_normal(shape) for name, shape in ({"x": (ROWS, TIME, CHANNELS)} | shapes).items()}
    if attributes["mask"]:
        operands["mask"] = rng.choice([0.0, 2.0], (ROWS, UNITS))
    if attributes["lengths"]:
        operands["lengths"] = np.array([[4.0], [7.0], [1.0]])
    attributes = attributes | {"activation": (attributes["activation"] or ("tanh",)) if axis == () else None}
    return operands, rng.standard_normal((ROWS, TIME, UNITS)), attributes


def steps_of(row, operands, attributes):
    """The numbers of a row's steps in the order in which they are taken."""
    length = int(operands["lengths"][row, 0]) if attributes["lengths"] else TIME
    return list(range(length))[:: -1 if attributes["reverse"] else 1]


def advance(execute, kind, operands, attributes, row, t, h, c):
    """h and c of one row after step t, by the formulas."""
    x, mask = operands["x"][row, t], operands["mask"][row] if attributes["mask"] else 1.0
    driven = np.einsum("i,...io->...o", x, operands["W"]) + operands["b"]
    heard = np.einsum("i,...io->...o", mask * h, operands["U"])
    if kind == "simple_rnn":
        z = {"z": (driven + heard)[np.newaxis]}
        return execute("activation", z, ("y",), {"activation": attributes["activation"]})["y"][0], c
    if kind == "lstm":
        i, f, g, o = driven + heard
        c = logistic(f) * c + logistic(i) * np.tanh(g)
        return logistic(o) * np.tanh(c), c
    r, z = logistic(driven[:2] + heard[:2])
    n = np.tanh(driven[2] + r * (heard[2] + operands["d"]))
    return (1 - z) * n + z * h, c


def states(execute, kind, operands, attributes, start=None):
    """h and c (rows, time, units) by the formulas; `start` holds states that stretches begin from as constants."""
    h, c = np.zeros((2, ROWS, TIME, UNITS))
    for row in range(ROWS):
        state = np.zeros((2, UNITS))
        for place, t in enumerate(order := steps_of(row, operands, attributes)):
            last = order[place - 1]
            if start is not None and place and t // attributes["truncate"] != last // attributes["truncate"]:
                state = start[0][row, last], start[1][row, last]
            state = advance(execute, kind, operands, attributes, row, t, *state)
            h[row, t], c[row, t] = state
    return h, c


def forward(execute, kind, operands, attributes):
    """All outputs of the op in training."""
    outputs = ("h", "gates", "c") if CELLS[kind] is LSTM else ("h", "gates")
    return execute(kind, operands, outputs, attributes)


def gradients(execute, kind, operands, attributes, dh):
    """What the gradient ops make of dh: dgates, dx, dW, db, dU and, of a GRU, dd."""
    cell, kept = CELLS[kind], forward(execute, kind, operands, attributes)
    saved = {"lstm": ("gates", "c"), "gru": ("gates", "h"), "simple_rnn": ("gates", "h")}[kind]
    if kind == "simple_rnn" and attributes["activation"][0] != "gelu":
        saved = ("h",)  # the derivative is one of the output
    optional = {name: operands[name] for name in ("mask", "lengths") if attributes[name]}
    UT, WT = (execute("transpose_gates", {"W": operands[name]}, ("WT",))["WT"] for name in ("U", "W"))
    inputs = {"dh": dh, "UT": UT} | {name: kept[name] for name in saved} | optional
    dgates = execute(f"{kind}_grad", inputs, ("dgates",), attributes)["dgates"]
    lines = {"lines": cell.input_lines, "state_lines": cell.state_lines, "reverse": attributes["reverse"]}
    result = {"dgates": dgates}
    result |= {"dx": execute("recurrent_grad_input", {"dgates": dgates, "WT": WT}, ("dx",), lines)["dx"]}
    h = kept["h"]
    if attributes["mask"]:
        h = execute("masked_states", {"h": h, "mask": operands["mask"]}, ("masked",))["masked"]
    outputs = {f"d{name}": np.zeros((PARTS, *operands[name].shape)) for name in "WbUd" if name in operands}
    lines["part_rows"] = 2
    found = execute("recurrent_grad_weights", {"x": operands["x"], "h": h, "dgates": dgates}, outputs, lines)
    return result | {name: found[name].sum(axis=0) for name in outputs}


@pytest.mark.parametrize("name", CASES)
def test_states_follow_the_formulas(execute, name):
    kind, attributes = CASES[name]
    operands, _, attributes = case(kind, attributes)
    result = forward(execute, kind, operands, attributes)
    h, c = states(execute, kind, operands, attributes)
    np.testing.assert_allclose(result["h"], h, rtol=1e-12, atol=1e-14)
    if kind == "lstm":
        np.testing.assert_allclose(result["c"], c, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_central_differences(execute, name):
    kind, attributes = CASES[name]
    operands, dh, attributes = case(kind, attributes)
    result = gradients(execute, kind, operands, attributes, dh)
    for operand in [name for name in operands if name in "xWUbd"]:

        def h(value, operand=operand):
            return forward(execute, kind, operands | {operand: value}, attributes)["h"]

        expected = central_differences(h, operands[operand], dh)
        np.testing.assert_allclose(result[f"d{operand}"], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("truncate", [1, 2, 3, 7, 9])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_truncated_gradients_are_those_of_stretches_with_detached_states(execute, kind, reverse, truncate):
    changes = {"reverse": reverse, "truncate": truncate, "lengths": True, "mask": True}
    operands, dh, attributes = case(kind, PLAIN | changes)
    result = gradients(execute, kind, operands, attributes, dh)
    start = states(execute, kind, operands, attributes)
    for operand in [name for name in operands if name in "xWUbd"]:

        def h(value, operand=operand):
            return states(execute, kind, operands | {operand: value}, attributes, start)[0]

        expected = central_differences(h, operands[operand], dh)
        np.testing.assert_allclose(result[f"d{operand}"], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_steps_beyond_the_end_yield_zeros_whatever_they_hold(execute, kind, reverse):
    operands, dh, attributes = case(kind, PLAIN | {"lengths": True, "reverse": reverse})
    beyond = np.arange(TIME) >= operands["lengths"]
    operands["x"][beyond], dh[beyond] = np.nan, np.nan
    outputs = forward(execute, kind, operands, attributes)
    for name in ("h", "gates", "c") if kind == "lstm" else ("h", "gates"):
        assert np.isfinite(outputs[name]).all() and not outputs[name][beyond].any()
    result = gradients(execute, kind, operands, attributes, dh)
    for name in ("dgates", "dx"):
        assert np.isfinite(result[name]).all() and not result[name][beyond].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_a_sequence_has_the_same_bits_alone_and_padded_among_others(execute, name, dtype):
    kind, attributes = CASES[name]
    operands, dh, attributes = case(kind, attributes)
    operands, dh = {name: value.astype(dtype) for name, value in operands.items()}, dh.astype(dtype)
    together = forward(execute, kind, operands, attributes)["h"]
    dx = gradients(execute, kind, operands, attributes, dh)["dx"]
    assert together.dtype == dx.dtype == dtype
    for row in range(ROWS):
        steps = len(steps_of(row, operands, attributes))
        rows = {name: operands[name][row : row + 1] for name in ("x", "mask", "lengths") if name in operands}
        alone = operands | rows | {"x": rows["x"][:, :steps]}
        assert np.array_equal(forward(execute, kind, alone, attributes)["h"][0], together[row, :steps])
        gradient = gradients(execute, kind, alone, attributes, dh[row : row + 1, :steps])["dx"]
        assert np.array_equal(gradient[0], dx[row, :steps])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weight_gradients_of_chunks_add_up_to_those_of_the_batch(execute, dtype):
    rng = np.random.default_rng(0)
    x, h, dgates = (rng.standard_normal((5, TIME, *shape)).astype(dtype) for shape in ((2,), (UNITS,), (4, UNITS)))
    attributes, results = {"lines": (0, 1, 2), "state_lines": (0, 1, 3), "reverse": False, "part_rows": 2}, []
    shapes = {"dW": (3, 2, UNITS), "db": (3, UNITS), "dU": (3, UNITS, UNITS), "dd": (UNITS,)}
    for chunks in ([slice(0, 5)], [slice(0, 2), slice(2, 5)]):
        found = {name: np.zeros((PARTS, *shape)) for name, shape in shapes.items()}
        for chunk, rows in enumerate(chunks):
            inputs = {"x": x[rows], "h": h[rows], "dgates": dgates[rows]}
            before = {name: found[name] for name in shapes}
            step = Step(n=len(x[rows]), chunk=chunk, row=rows.start)
            found = execute("recurrent_grad_weights", inputs, before, attributes, step)
        assert {found[name].dtype for name in shapes} == {np.dtype(dtype)}
        results.append(found)
    for name in shapes:
        np.testing.assert_allclose(results[0][name], results[1][name], rtol=1e-4, atol=1e-5)


def test_each_gate_is_transposed(execute):
    W = np.arange(24.0).reshape(2, 3, 4)
    WT = execute("transpose_gates", {"W": W}, ("WT",))["WT"]
    assert WT.shape == (2, 4, 3) and np.array_equal(WT[1], W[1].T)
    assert np.array_equal(execute("transpose_gates", {"W": W[0]}, ("WT",))["WT"], W[0].T)


def test_states_are_masked_alike_in_all_steps(execute):
    h, mask = np.ones((2, 3, 2)), np.array([[0.0, 2.0], [2.0, 0.0]])
    masked = execute("masked_states", {"h": h, "mask": mask}, ("masked",))["masked"]
    assert np.array_equal(masked, np.repeat(mask[:, np.newaxis], 3, axis=1))
