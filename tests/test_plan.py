"""Plans describe themselves and refuse nonsense."""

import pytest

from fastnn.layers import LSTM, Dense
from fastnn.losses import LogLoss
from fastnn.lower import Network, lower
from fastnn.plan import Buffer, Builder, Op


@pytest.fixture
def plan():
    return lower(Network(4, (Dense(5, "relu"), Dense(3, "identity")), LogLoss(), "softmax"), "predict")


def test_describe_names_ops_shapes_and_counts(plan):
    text = plan.describe()
    for part in ("dense", "x[4], dense0.W[4x5], dense0.b[5] -> dense0.y[5]", "softmax", "rows x 3"):
        assert part in text
    assert "43 parameters, 35 multiply-adds a row" in text


def test_counts(plan):
    assert plan.n_parameters == 4 * 5 + 5 + 5 * 3 + 3
    assert plan.multiply_adds == 4 * 5 + 5 * 3


def test_gates_of_steps_are_positions():
    plan = lower(Network((7, 3), (LSTM(5), Dense(2)), LogLoss(), "softmax"), "gradient", one_hot=True)
    gates = plan.buffers["lstm0.gates"]
    assert gates.shape == (7, 4, 5) and gates.positions == 28 and gates.columns == 5
    assert plan.n_parameters == 4 * (3 * 5 + 5 * 5 + 5) + 5 * 2 + 2
    cell = next(op for op in plan.step if op.kind == "lstm")
    assert cell.multiply_adds == 7 * 4 * (3 * 5 + 5 * 5)
    assert "x.panels[7x3], lstm0.W[4x3x5], lstm0.U[4x5x5], lstm0.b[4x5] -> lstm0.h[7x5]" in plan.describe()


def test_unknown_role_is_refused():
    with pytest.raises(ValueError, match="role must be one of"):
        Buffer("x", (3,), "activation")


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split must be"):
        Op("dense", (), (), split="panels")


def test_a_buffer_is_declared_once():
    builder = Builder("predict")
    builder.buffer("x", (3,), "batch")
    with pytest.raises(ValueError, match="declared twice"):
        builder.buffer("x", (3,), "batch")
