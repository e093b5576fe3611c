"""Ops as they stand in the plans of whole networks, on what a step has left in their buffers: those that no other file
puts into a plan of its own, and the products of convolutions and recurrent layers in bfloat16."""

from dataclasses import dataclass

import numpy as np
import pytest
from kernels import ALL_ISAS, ISAS, RATES, Kernel
from scipy import sparse

from fastnn.augment import Mixup
from fastnn.layers import (
    GRU,
    LSTM,
    BatchNorm,
    Bidirectional,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    LastStep,
    LayerNorm,
    MaxPool2D,
    SimpleRNN,
)
from fastnn.losses import LogLoss
from fastnn.lower import Network, lower
from fastnn.native import _executor
from fastnn.optimizers import Adam
from fastnn.plan import NUMBERS, PAIRS, TILES, Plan

ROWS, CLASSES, TOKENS = 128, 10, 100
PRODUCTS = {"amx": TILES, "avx512_bf16": PAIRS}
IMAGE, SEQUENCE, TEXT = (28, 28, 1), (28, 28), (100, 1)
MLP = Dense(256, "relu"), Dense(128, "relu")
KERAS = Conv2D(32, 3, activation="relu"), MaxPool2D(2), Conv2D(64, 3, activation="relu"), MaxPool2D(2), Flatten()
NORMED = Conv2D(32, 3), BatchNorm(), Conv2D(64, 3), LayerNorm(), GlobalAvgPool()


@dataclass(frozen=True)
class Case:
    """Layers on 128 rows, with a softmax of 10 classes and Adam behind them, and kinds of ops of their plan.

    Attributes
    ----------
    shape : tuple of int
        Of a row.
    layers : tuple of layer specs
    kinds : str
        What is measured: of each kind the op that moves most.
    network, options : dict
        What Network and `lower` are told besides.
    filled : float
        Share of the numbers of X that are not zero.
    """

    shape: tuple
    layers: tuple
    kinds: str
    network: dict
    options: dict
    purpose: str = "train"
    filled: float = 1.0

    @property
    def rounded(self):
        return self.network.get("precision") == "bfloat16"

    @property
    def isas(self):
        """Those that have instructions of their own for it."""
        return [isa for isa in ALL_ISAS if isa not in ISAS[:-1]] if self.rounded else ISAS

    def plan(self, isa):
        network = Network(self.shape, (*self.layers, Dense(CLASSES)), LogLoss(), "softmax", **self.network)
        options = {"one_hot": True, "optimizer": Adam(), "rows": ROWS, "products": PRODUCTS.get(isa, NUMBERS)}
        return lower(network, self.purpose, **options | self.options)

    def kernels(self, isa):
        """Kind -> kernel; on some instruction sets a plan has no need of some kinds."""
        plan, kernels = self.plan(isa), {}
        for op in plan.ops:
            if op.kind in self.kinds.split():
                kernel = self._kernel(plan, op)
                kernels[op.kind] = max(kernel, kernels.get(op.kind, kernel), key=lambda kernel: kernel.traffic)
        return kernels

    def _kernel(self, plan, op):
        buffers = [plan.buffers[name] for name in op.inputs + op.outputs]
        operands = {buffer.name: (buffer.shape, buffer.role, buffer.layout) for buffer in buffers}
        multiply_adds = op.multiply_adds * (self.filled if {"nonzero", "entries"} & {*op.attributes} else 1)
        operations = 0 if op.kind == "embedding_grad" else round(2 * ROWS * multiply_adds)  # that one only adds
        return Standing(op, ROWS, operands, operations, rounded=self.rounded, zeros=1 - self.filled, whole=plan)


ROUNDED, LENGTHS = {"precision": "bfloat16"}, {"lengths": True}
FUSED = {"whole_batch": True}
CASES = {
    "784-256-128": Case((784,), MLP, "gather gather_target gather_weight transpose dense_update", {},
                        FUSED | {"weighted": True}),
    "784-256-128 of zeros": Case((784,), MLP, "nonzero dense_update", {}, FUSED | {"sparse": True}, filled=0.2),
    "20000-100 entries": Case((20_000,), MLP[:1], "dense dense_update", {}, FUSED | {"entries": True}, filled=0.005),
    "784-256-128 clipped": Case((784,), MLP, "penalty square_sum clip_norm clip_value", {},
                                {"l2": 1e-4, "clip_norm": 1.0, "clip_value": 1.0}),
    "784-256-128 dropout": Case((784,), (Dense(256, "rrelu"), Dropout(0.5), Dense(128, "tanh")),
                                "dropout dropout_grad rrelu rrelu_grad", {}, {}),
    "784-256-128 mixup": Case((784,), MLP, "mix", {"augment": (Mixup(0.2),)}, {}),
    "784-256-128 bfloat16": Case((784,), MLP, "pack round dense_grad_input dense_update", ROUNDED, FUSED),
    "32@3x3-64@3x3": Case(IMAGE, KERAS, "conv_transpose sum_parts", {}, {}),
    "32@3x3-64@3x3 bfloat16": Case(IMAGE, KERAS, "conv conv_grad_input conv_grad_weights conv_pack", ROUNDED, {}),
    "32@3x3-64@3x3 norms": Case(IMAGE, NORMED, "batch_norm_statistics batch_norm_grad_parameters layer_norm_grad "
                                "layer_norm_grad_parameters", {}, {}),
    "32@3x3-64@3x3 norms, predict": Case(IMAGE, NORMED, "fold_norm", {}, {}, "predict"),
    "LSTM-128": Case(SEQUENCE, (LSTM(128, recurrent_dropout=0.1),), "transpose_gates masked_states state_mask", {}, {}),
    "LSTM-128 bfloat16": Case(SEQUENCE, (LSTM(128),), "pack_gates lstm lstm_grad recurrent_grad_weights", ROUNDED, {}),
    "GRU-128 bfloat16": Case(SEQUENCE, (GRU(128),), "gru gru_grad recurrent_grad_weights", ROUNDED, {}),
    "RNN-128 bfloat16": Case(SEQUENCE, (SimpleRNN(128),), "simple_rnn simple_rnn_grad recurrent_grad_weights", ROUNDED,
                             {}),
    "bidirectional GRU-64": Case(SEQUENCE, (Bidirectional(GRU(64, return_sequences=True)), LastStep()),
                                 "concatenate take_columns last_step last_step_grad", LENGTHS, {}),
    "embedding-128, mean": Case(TEXT, (Embedding(TOKENS, 128), GlobalAvgPool()),
                                "embedding embedding_grad mean_over_steps mean_over_steps_grad", LENGTHS, {}),
    "embedding-128, max": Case(TEXT, (Embedding(TOKENS, 128), GlobalMaxPool()), "max_over_steps max_over_steps_grad",
                               LENGTHS, {}),
}  # fmt: skip


@dataclass(frozen=True)
class Standing(Kernel):
    """An op in the plan of a network, on what a step over random rows has left in its buffers."""

    whole: Plan = None

    def call(self, isa, repeats, threads):
        plan, random = self.whole, np.random.default_rng(0)
        runner = self.runner(plan, isa, threads, keep=True)
        for name in plan.parameters:
            runner.set(name, random.normal(scale=0.1, size=plan.buffers[name].shape))
        runner.bind(*self._rows(random))
        if plan.purpose == "train":
            runner.train(self.rows, 0, 1, 0, RATES, np.inf)
        else:
            runner._prepare_arenas(threads, self.rows)
        ops = [runner.layout.placed(*runner.layout._bind(self.op))] * repeats
        runner.program = _executor.Program(isa, runner.dtype.itemsize, [[], ops, []], Adam().kernel)
        runner._ops = runner.program.resolve([a.ctypes.data for a in (runner.fixed, runner._batch, runner._row_loss)])
        return lambda: runner.train(self.rows, 0, 1, 0, RATES, np.inf)

    def _rows(self, random):
        """X and, where the plan has them, y and weights."""
        buffers, size = self.whole.buffers, (self.rows, self.whole.buffers["X"].size)
        if any(buffer.layout == "entries" for buffer in buffers.values()):
            X = sparse.random_array(size, density=1 - self.zeros, dtype=np.float32, rng=random, format="csr")
        elif any(op.kind == "embedding" for op in self.whole.step):
            X = random.integers(TOKENS, size=size).astype(np.float32)
        else:
            X = (random.normal(size=size) * (random.random(size) >= self.zeros)).astype(np.float32)
        if "lengths" in buffers:
            X[:, -1] = random.integers(1, buffers["x"].shape[0], self.rows, endpoint=True)
        y, sample_weight = random.integers(CLASSES, size=self.rows), random.uniform(0.5, 1.5, self.rows)
        sources = [name for name, buffer in buffers.items() if buffer.role == "source"]
        return X, y if "y" in sources else None, sample_weight if "sample_weight" in sources else None


PARAMETERS = [(isa, name, kind) for name, case in CASES.items() for isa in case.isas for kind in case.kernels(isa)]


@pytest.mark.parametrize("isa, network, kind", PARAMETERS)
def test_op(bench, isa, network, kind):
    bench(CASES[network].kernels(isa)[kind], isa)
