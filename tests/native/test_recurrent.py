"""Recurrent layers: native = reference where steps, lengths, masks and panels meet; a sequence has the same bits in any
company and however far it is padded."""

import numpy as np
import pytest

from fastnn.layers import GRU, LSTM, Bidirectional, Dense, Embedding, GlobalAvgPool, LastStep, SimpleRNN
from fastnn.losses import LogLoss
from fastnn.lower import Network
from fastnn.native import Runner
from fastnn.ops.recurrent import CELLS, PARTS, part_rows
from fastnn.plan import Op
from tests.native.networks import draw, lowered
from tests.native.ops import CHANNELS, Case, check

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")

LAYERS = {
    "simple_rnn": SimpleRNN(33, True),
    "lstm": LSTM(65, True),
    "gru": GRU(17, True),
    "both ways": Bidirectional(GRU(20, True)),
}


def cell_case(rng, dtype, kind, rows, time, channels, units, *, reverse=False, lengths=False):
    """The op of a cell with random weights."""
    cell = CELLS[kind]
    axis = () if cell.gates is None else (cell.gates,)
    fixed = {"W": (*axis, channels, units), "U": (*axis, units, units), "b": (*axis, units)}
    fixed |= {"d": (units,)} if kind == "gru" else {}
    fixed = {name: (rng.standard_normal(shape) / np.sqrt(units)).astype(dtype) for name, shape in fixed.items()}
    batch = {"x": rng.standard_normal((rows, time, channels)).astype(dtype)}
    if lengths:
        batch["lengths"] = rng.integers(1, time + 1, (rows, 1)).astype(dtype)
    activation = ("gelu",) if kind == "simple_rnn" else None
    attributes = {"reverse": reverse, "truncate": None, "mask": False, "lengths": lengths, "activation": activation}
    outputs = {"h": ((time, units), "batch"), "gates": ((time, cell.lines, units), "batch")}
    outputs |= {"c": ((time, units), "batch")} if kind == "lstm" else {}
    inputs = ("x", *fixed, *(("lengths",) if lengths else ()))
    return Case([Op(kind, inputs, tuple(outputs), attributes)], batch, outputs, fixed)


@pytest.mark.parametrize("units", CHANNELS)
@pytest.mark.parametrize("kind", CELLS)
def test_every_size(kind, units, dtype, isa):
    rng = np.random.default_rng(units)
    for reverse, lengths in ((False, False), (True, False), (False, True), (True, True)):
        rows, time, channels = (int(rng.choice(sizes)) for sizes in ((1, 5, 17, 33), (1, 2, 9), (1, 3, 16, 70)))
        check(cell_case(rng, dtype, kind, rows, time, channels, units, reverse=reverse, lengths=lengths), dtype, isa)


@pytest.mark.parametrize("rows", [1, 2, 6, 7, 63, 64, 65, 130])
@pytest.mark.parametrize("kind", CELLS)
def test_any_number_of_sequences(kind, rows, dtype, isa):
    rng = np.random.default_rng(rows)
    check(cell_case(rng, dtype, kind, rows, 4, 5, 21, lengths=True), dtype, isa)


def gradients_case(rng, dtype, rows, time, channels, units, lines, reverse, precision="full"):
    """The gradients of the weights; the states are channels of x, since only x and dgates can be gathered."""
    x = rng.standard_normal((rows, time, channels)).astype(dtype)
    dgates = rng.standard_normal((rows, time, max(lines) + 1, units)).astype(dtype)
    fixed = {"V": (np.arange(units) % channels == np.arange(channels)[:, np.newaxis]), "v": np.zeros(units)}
    gates = len(lines)
    outputs = {"dW": (gates, channels, units), "db": (gates, units), "dU": (gates, units, units)}
    outputs |= {"dd": (units,)} if lines == (0, 1, 3) else {}
    attributes = {"lines": tuple(range(gates)), "state_lines": lines, "reverse": reverse, "precision": precision}
    attributes["part_rows"] = part_rows(time)
    rounded = ("dz",) if precision == "bfloat16" else ()
    inputs = ("x", "h", *(rounded or ("dgates",)))
    ops = [
        *(Op("round", ("dgates",), (name,), {"precision": precision}) for name in rounded),
        Op("dense", ("x", "V", "v"), ("h",), {"activation": None}),
        Op("recurrent_grad_weights", inputs, tuple(outputs), attributes, split="parts"),
    ]
    batch = {"h": ((time, units), "batch")} | {name: (dgates.shape[1:], "batch") for name in rounded}
    outputs = batch | {name: ((PARTS, *shape), "vector") for name, shape in outputs.items()}
    fixed = {name: value.astype(dtype) for name, value in fixed.items()}
    return Case(ops, {"x": x, "dgates": dgates}, outputs, fixed, rounded=rounded)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", CHANNELS)
def test_weight_gradients(size, reverse, dtype, isa):
    """Also of sequences longer than a stretch, and of one step, which has no state before it."""
    rng = np.random.default_rng(size)
    for rows, time, other, lines in ((3, 1, 5, (0,)), (5, 30, 64, (0, 1, 3)), (2, 300, 33, (0, 1, 2, 3))):
        for channels, units in ((size, other), (other, size)):
            check(gradients_case(rng, dtype, rows, time, channels, units, lines, reverse), dtype, isa, widen=10.0)


def check_parts(case, dtype, isa):
    """Both parts of the rows get theirs, with the same bits in chunks and on any number of threads."""
    check(case, dtype, isa, widen=10.0)
    whole = case.native(dtype, isa)
    for threads, capacity in ((1, 32), (2, 64), (3, 16)):
        chunks = case.native(dtype, isa, threads, capacity)
        for name in ("dW", "db", "dU"):
            assert np.abs(whole[name]).max(axis=tuple(range(1, whole[name].ndim))).all(), f"{name}: a part is missing"
            assert np.array_equal(chunks[name], whole[name]), f"{name} differs in chunks of {capacity}"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("rows", [17, 70])
def test_parts_of_weight_gradients_depend_neither_on_chunks_nor_on_threads(rows, reverse, dtype, isa):
    rng = np.random.default_rng(rows)
    check_parts(gradients_case(rng, dtype, rows, 30, 5, 33, (0, 1, 2, 3), reverse), dtype, isa)


@pytest.mark.parametrize("units", CHANNELS)
def test_gradient_of_the_input(units, dtype, isa):
    rng = np.random.default_rng(units)
    for rows, time, channels, lines in ((3, 9, 70, (0,)), (33, 4, 16, (0, 1, 2)), (2, 60, 3, (0, 1, 2, 3))):
        dgates = rng.standard_normal((rows, time, 4, units)).astype(dtype)
        fixed = {"WT": (rng.standard_normal((len(lines), units, channels)) / units).astype(dtype)}
        op = Op("recurrent_grad_input", ("dgates", "WT"), ("dx",), {"lines": lines})
        check(Case([op], {"dgates": dgates}, {"dx": ((time, channels), "batch")}, fixed), dtype, isa)


@pytest.mark.parametrize("gates", [(), (3,), (4,)], ids=str)
@pytest.mark.parametrize("units", CHANNELS)
def test_transpose_gates(units, gates, dtype, isa):
    rng = np.random.default_rng(units)
    for inputs in (1, 17, 70):
        fixed = {"W": rng.standard_normal((*gates, inputs, units)).astype(dtype)}
        op = Op("transpose_gates", ("W",), ("WT",), split="columns")
        outputs = {"WT": ((*gates, units, inputs), "transposed")}
        check(Case([op], {"x": np.zeros((2, 1), dtype)}, outputs, fixed), dtype, isa, exact=("WT",))


def predict(net, values, X, dtype, isa, rows=16, threads=1):
    runner = Runner(lowered(net, "predict"), dtype=dtype, rows=rows, n_threads=threads, isa=isa)
    for name, value in values.items():
        runner.set(name, value)
    return runner.forward(X)


@pytest.mark.parametrize("pool", [LastStep(), GlobalAvgPool()], ids=["last", "mean"])
@pytest.mark.parametrize("layer", LAYERS)
def test_padded_sequences_have_the_bits_of_those_alone(layer, pool, dtype, isa):
    rng = np.random.default_rng(3)
    time, layers = 23, (LAYERS[layer], LAYERS[layer], pool, Dense(3, "identity"))
    net = Network((time, 5), layers, LogLoss(), "softmax", lengths=True)
    values = draw(rng, lowered(net, "predict"))
    x, lengths = rng.standard_normal((37, time, 5)), rng.integers(1, time + 1, 37)
    X = np.hstack([x.reshape(37, -1), lengths[:, np.newaxis]]).astype(dtype)
    together = predict(net, values, X, dtype, isa, threads=3)
    for row in (0, 5, 17, 36):
        n = lengths[row]
        alone = Network((int(n), 5), layers, LogLoss(), "softmax")
        assert np.array_equal(predict(alone, values, x[row : row + 1, :n].astype(dtype), dtype, isa)[0], together[row])


@pytest.mark.parametrize("token", [-5.0, 6.0, 1e30, -1e30, np.inf, np.nan])
def test_a_token_that_does_not_exist_reads_inside_of_the_weights(token, dtype, isa):
    net = Network((2, 1), (Embedding(6, 9), LastStep(), Dense(2, "identity")), LogLoss(), "softmax")
    values = draw(np.random.default_rng(0), lowered(net, "predict"))
    nearest = 5.0 if token > 0 else 0.0
    expected = predict(net, values, np.full((1, 2, 1), nearest, dtype), dtype, isa)
    assert np.array_equal(predict(net, values, np.full((1, 2, 1), token, dtype), dtype, isa), expected)


@pytest.mark.parametrize("length", [-3.0, 0.0, 1e30, np.inf, np.nan])
def test_lengths_that_are_none_stay_inside_of_the_sequence(length, dtype, isa):
    net = Network((4, 1), (GRU(9), Dense(2, "identity")), LogLoss(), "softmax", lengths=True)
    values = draw(np.random.default_rng(0), lowered(net, "predict"))
    X = np.array([[0.1, 0.2, 0.3, 0.4, length]], dtype)
    nearest = X.copy()
    nearest[0, -1] = 4 if length > 0 else 1
    assert np.array_equal(predict(net, values, X, dtype, isa), predict(net, values, nearest, dtype, isa))
