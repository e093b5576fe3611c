"""Recurrent layers: all steps forward, all steps back, and the gradients of the weights; PyTorch's layers beside them,
whose backward pass is the last three of ours."""

from dataclasses import dataclass
from math import prod

import pytest
from kernels import HAS_TORCH, ISAS, Placed

from fastnn.ops.recurrent import CELLS, PARTS, part_rows
from fastnn.plan import Op

# name -> cell, rows, time, channels, units
LAYERS = {
    "lstm 128x28x28->128": ("lstm", 128, 28, 28, 128),
    "gru 128x28x28->128": ("gru", 128, 28, 28, 128),
    "simple_rnn 128x28x28->128": ("simple_rnn", 128, 28, 28, 128),
    "lstm 32x100x64->64": ("lstm", 32, 100, 64, 64),
    "gru 32x20x8->16": ("gru", 32, 20, 8, 16),
}

pytestmark = pytest.mark.parametrize("layer", LAYERS)
on_every_isa = pytest.mark.parametrize("isa", ISAS)


def _operands(layer):
    """Buffers of a layer and of its gradient."""
    kind, _, time, channels, units = LAYERS[layer]
    cell = CELLS[kind]
    axis, lines = () if cell.gates is None else (cell.gates,), cell.lines
    weights = {"W": (*axis, channels, units), "U": (*axis, units, units), "b": (*axis, units), "d": (units,)}
    transposed = {"WT": (*axis, units, channels), "UT": (*axis, units, units)}
    batch = {"x": (time, channels), "h": (time, units), "gates": (time, lines, units), "c": (time, units)}
    gradients = {"dx": (time, channels), "dh": (time, units), "dgates": (time, lines, units)}
    return {
        **{name: (shape, "parameter") for name, shape in weights.items()},
        **{f"d{name}": ((PARTS, *shape), "vector") for name, shape in weights.items()},
        **{name: (shape, "statistic") for name, shape in transposed.items()},
        **{name: (shape, "batch") for name, shape in (batch | gradients).items()},
    }


def _kernel(layer, op, weights, kernel=Placed):
    _, rows, time, *_ = LAYERS[layer]
    operands = _operands(layer)
    work = 2 * rows * time * sum(prod(operands[name][0]) for name in weights)
    used = {name: operands[name] for name in op.inputs + op.outputs}
    return kernel(op, rows, used, operations=work)


def _forward(layer):
    kind = LAYERS[layer][0]
    saved = {"lstm": ("gates", "c"), "gru": ("gates",), "simple_rnn": ()}[kind]
    weights = ("W", "U", "b", "d") if kind == "gru" else ("W", "U", "b")
    return Op(kind, ("x", *weights), ("h", *saved), _attributes(kind))


def _attributes(kind):
    activation = ("tanh",) if kind == "simple_rnn" else None
    return {"reverse": False, "truncate": None, "mask": False, "lengths": False, "activation": activation}


@on_every_isa
def test_recurrent(bench, isa, layer):
    bench(_kernel(layer, _forward(layer), ("W", "U")), isa)


@on_every_isa
def test_recurrent_grad(bench, isa, layer):
    kind = LAYERS[layer][0]
    saved = {"lstm": ("gates", "c"), "gru": ("gates", "h"), "simple_rnn": ("h",)}[kind]
    op = Op(f"{kind}_grad", ("dh", "UT", *saved), ("dgates",), _attributes(kind))
    bench(_kernel(layer, op, ("U",)), isa)


@on_every_isa
def test_recurrent_grad_input(bench, isa, layer):
    lines = CELLS[LAYERS[layer][0]].input_lines
    bench(_kernel(layer, Op("recurrent_grad_input", ("dgates", "WT"), ("dx",), {"lines": lines}), ("W",)), isa)


@on_every_isa
def test_recurrent_grad_weights(bench, isa, layer):
    kind = LAYERS[layer][0]
    attributes = {"lines": CELLS[kind].input_lines, "state_lines": CELLS[kind].state_lines, "reverse": False}
    attributes["part_rows"] = part_rows(LAYERS[layer][2])
    outputs = ("dW", "db", "dU", "dd") if kind == "gru" else ("dW", "db", "dU")
    op = Op("recurrent_grad_weights", ("x", "h", "dgates"), outputs, attributes, "parts")
    bench(_kernel(layer, op, ("W", "U")), isa)


@dataclass(frozen=True)
class TorchKernel(Placed):
    """The same layer of PyTorch, forwards or, with the gradients of everything, backwards."""

    backward: bool = False

    def call(self, isa, repeats, threads):
        import torch

        torch.set_num_threads(threads)
        cell = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "simple_rnn": torch.nn.RNN}[self.op.kind]
        (time, channels), (_, units) = (self.operands[name][0] for name in "xh")
        layer = cell(channels, units, batch_first=True)
        x = torch.randn(self.rows, time, channels, requires_grad=True)
        h, dh = layer(x)[0], torch.randn(self.rows, time, units)

        def run():
            for _ in range(repeats):
                if self.backward:
                    h.backward(dh, retain_graph=True)
                else:
                    layer(x)

        return run


if HAS_TORCH:

    def test_torch(bench, layer):
        bench(_kernel(layer, _forward(layer), ("W", "U"), TorchKernel), ISAS[-1])

    def test_torch_grad(bench, layer):
        def kernel(*operands, **work):
            return TorchKernel(*operands, **work, backward=True)

        bench(_kernel(layer, _forward(layer), ("W", "U", "W", "U"), kernel), ISAS[-1])
