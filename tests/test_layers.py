"""Layers give the shapes they promise, and refuse what does not fit with a message that names them."""

import copy
import pickle
import re

import numpy as np
import pytest

from fastnn.estimators.network import attribute_names, initial_weights
from fastnn.layers import (
    GRU,
    LSTM,
    Activation,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Bidirectional,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    LastStep,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    Reshape,
    Residual,
    SimpleRNN,
    TimeDistributed,
)
from fastnn.losses import SquaredError
from fastnn.lower import Network, lower

IMAGE, SIGNAL = (9, 8, 6), (30, 6)
CELLS = (SimpleRNN, LSTM, GRU)


def output_shape(shape, *layers, lengths=False):
    plan = lower(Network(shape, layers, SquaredError(), lengths=lengths), "predict")
    return plan.buffers[plan.output].shape


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        (IMAGE, Conv2D(5, 3), (7, 6, 5)),
        (IMAGE, Conv2D(5, (3, 1), stride=(2, 3)), (4, 3, 5)),
        (IMAGE, Conv2D(5, 3, padding="same"), (9, 8, 5)),
        (IMAGE, Conv2D(5, 3, stride=2, padding="same"), (5, 4, 5)),
        (IMAGE, Conv2D(5, 2, padding="same", dilation=3), (9, 8, 5)),
        (IMAGE, Conv2D(5, 3, padding=2), (11, 10, 5)),
        (IMAGE, Conv2D(5, 3, padding=(1, 0)), (9, 6, 5)),
        (IMAGE, Conv2D(5, 3, padding=((1, 0), (0, 2))), (8, 8, 5)),
        (IMAGE, Conv2D(6, 3, groups=3, activation="relu"), (7, 6, 6)),
        (IMAGE, MaxPool2D(), (4, 4, 6)),
        (IMAGE, MaxPool2D(3, 2, "same"), (5, 4, 6)),
        (IMAGE, AvgPool2D((9, 8)), (1, 1, 6)),
        (IMAGE, GlobalAvgPool(), (6,)),
        (IMAGE, GlobalMaxPool(), (6,)),
        (IMAGE, Flatten(), (432,)),
        (IMAGE, Reshape((-1, 12)), (36, 12)),
        (IMAGE, Dense(7), (7,)),
        (IMAGE, Residual([Conv2D(6, 3, padding="same"), BatchNorm()]), IMAGE),
        (IMAGE, Residual([Conv2D(3, 1, stride=2)], [Conv2D(3, 1, stride=2)]), (5, 4, 3)),
        (IMAGE, LayerNorm(), IMAGE),
        (IMAGE, Activation("tanh"), IMAGE),
        (IMAGE, Dropout(0.5, channels=True), IMAGE),
        (SIGNAL, Conv1D(5, 4), (27, 5)),
        (SIGNAL, Conv1D(5, 4, padding=(1, 2), stride=2), (15, 5)),
        (SIGNAL, Conv1D(5, 4, padding="same"), (30, 5)),
        (SIGNAL, MaxPool1D(), (15, 6)),
        (SIGNAL, AvgPool1D(4, 3, 1), (10, 6)),
        (SIGNAL, GlobalAvgPool(), (6,)),
        ((12,), Reshape((3, 4, 1)), (3, 4, 1)),
        (SIGNAL, SimpleRNN(5), (5,)),
        (SIGNAL, GRU(5, return_sequences=True), (30, 5)),
        (SIGNAL, Bidirectional(LSTM(5)), (10,)),
        (SIGNAL, Bidirectional(GRU(5, True)), (30, 10)),
        (SIGNAL, Bidirectional(GRU(5, True), merge="sum"), (30, 5)),
        (SIGNAL, Residual([LSTM(6, True)]), SIGNAL),
        (SIGNAL, TimeDistributed(Dense(4)), (30, 4)),
        (SIGNAL, TimeDistributed(LayerNorm()), SIGNAL),
        (SIGNAL, LastStep(), (6,)),
        ((30, 1), Embedding(50, 7), (30, 7)),
    ],
    ids=str,
)
def test_output_shape(shape, layer, expected):
    assert output_shape(shape, layer) == expected


@pytest.mark.parametrize(
    ("shape", "layers", "message"),
    [
        ((784,), [Conv2D(32, 3)], "layers[0] Conv2D: expected (n, height, width, channels), got (n, 784); put Resh"),
        (SIGNAL, [Conv2D(2, 3)], "layers[0] Conv2D: expected (n, height, width, channels), got (n, 30, 6); Conv1D"),
        (IMAGE, [Conv1D(2, 3)], "layers[0] Conv1D: expected (n, time, channels), got (n, 9, 8, 6); Conv2D"),
        (IMAGE, [Flatten(), MaxPool2D()], "layers[1] MaxPool2D: expected (n, height, width, channels), got (n, 432)"),
        (IMAGE, [Flatten(), Conv2D(2, 3)], "got (n, 432); put Reshape((18, 24, 1)) first"),
        ((12,), [GlobalAvgPool()], "layers[0] GlobalAvgPool: expected"),
        (((1 << 24) + 1, 1), [GlobalMaxPool()], "layers[0] GlobalMaxPool: a maximum of 16,777,217 places, of which"),
        ((5000, 5000, 1), [MaxPool2D(4097)], "layers[0] MaxPool2D: a maximum of 16,785,409 places, of which float32"),
        (IMAGE, [Conv2D(2, 11)], "layers[0] Conv2D: a window of 11x11 does not fit into 9x8, the input (n, 9, 8, 6)"),
        (IMAGE, [Conv2D(2, 3, dilation=4)], "a window of 9x9 does not fit into 9x8"),
        (IMAGE, [MaxPool2D(), MaxPool2D(), MaxPool2D(), MaxPool2D()], "layers[3] MaxPool2D: a window of 2x2 does not"),
        (SIGNAL, [Conv1D(2, 31)], "layers[0] Conv1D: a window of 31 does not fit into 30"),
        (IMAGE, [Conv2D(8, 3, groups=4)], "layers[0] Conv2D: 6 channels cannot be split into groups=4"),
        (IMAGE, [Conv2D(8, 3, groups=4)], "got (n, 9, 8, 6); choose groups that divide 6"),
        (IMAGE, [Conv2D(1, 3, weights=np.ones((3, 3)))], "the weights are for 1 channels, got (n, 9, 8, 6); give"),
        ((12,), [Dense(2, weights=np.ones((3, 2)))], "layers[0] Dense: the weights are for 3 inputs, got (n, 12)"),
        (IMAGE, [Reshape((5, 5))], "layers[0] Reshape: 432 numbers a row (9 x 8 x 6) cannot take the shape (5, 5)"),
        (IMAGE, [Residual([Conv2D(3, 3)])], "layers[0] Residual: the layers turn (n, 9, 8, 6) into (n, 7, 6, 3), but"),
        (IMAGE, [Residual([Dense(4), Conv2D(3, 3)])], "layers[0] Residual: layers[1] Conv2D: expected"),
        (IMAGE, [Residual([Dense(4)], [Conv2D(3, 30)])], "layers[0] Residual: shortcut: layers[0] Conv2D: a window"),
        ((28,), [LSTM(3)], "layers[0] LSTM: expected (n, time, channels), got (n, 28); put Reshape((28, 1)) first"),
        (SIGNAL, [GRU(4), GRU(3)], "layers[1] GRU: expected (n, time, channels), got (n, 4)"),
        (SIGNAL, [GRU(4), GRU(3)], "or give the recurrent layer before it return_sequences=True"),
        (
            IMAGE,
            [SimpleRNN(3)],
            "layers[0] SimpleRNN: expected (n, time, channels), got (n, 9, 8, 6); put Reshape((9, 48",
        ),
        (IMAGE, [Bidirectional(GRU(3))], "layers[0] Bidirectional: expected (n, time, channels), got (n, 9, 8, 6)"),
        ((28,), [TimeDistributed(Dense(3))], "layers[0] TimeDistributed: expected (n, time, channels), got (n, 28)"),
        ((28,), [LastStep()], "layers[0] LastStep: expected (n, time, channels), got (n, 28)"),
        (SIGNAL, [TimeDistributed(Dense(2, weights=np.ones((3, 2))))], "the weights are for 3 inputs, got (n, 30, 6)"),
        (
            SIGNAL,
            [Embedding(9, 3)],
            "layers[0] Embedding: expected (n, time, 1), got (n, 30, 6); Embedding reads tokens",
        ),
        ((28,), [Embedding(9, 3)], "layers[0] Embedding: expected (n, time, 1), got (n, 28)"),
        ((9, 1), [Embedding(9, 1), Embedding(9, 3)], "layers[1] Embedding: expected (n, time, 1), got (n, 9, 1); Emb"),
        (SIGNAL, [Residual([LSTM(5, True)])], "layers[0] Residual: the layers turn (n, 30, 6) into (n, 30, 5)"),
        (SIGNAL, [Residual([LSTM(6)])], "return_sequences=True and as many units as channels"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(shape, layers, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        output_shape(shape, *layers)


@pytest.mark.parametrize(
    "layers",
    [
        [Flatten()],
        [Dense(3)],
        [Conv1D(2, 3)],
        [MaxPool1D()],
        [BatchNorm()],
        [Reshape((6, 30))],
        [GRU(4, True), Dense(3)],
        [Residual([BatchNorm()])],
        [Residual([GRU(6, True)], [Conv1D(6, 1)])],
    ],
    ids=str,
)
def test_layers_that_would_mix_in_what_lies_behind_a_sequence_are_refused(layers):
    output_shape(SIGNAL, *layers)
    with pytest.raises(ValueError, match=rf"layers\[{len(layers) - 1}\] .*cannot tell where sequences .* put LastStep"):
        output_shape(SIGNAL, *layers, lengths=True)


@pytest.mark.parametrize(
    "layers",
    [
        [GRU(4), Dense(3)],
        [
            Bidirectional(LSTM(4, True)),
            TimeDistributed(Dense(3, "relu")),
            LayerNorm(),
            Dropout(0.1),
            Activation("tanh"),
        ],
        [LastStep(), Flatten(), BatchNorm(), Dense(3)],
        [GlobalAvgPool(), Dense(3)],
        [Residual([SimpleRNN(6, True), Dropout(0.2)]), GlobalMaxPool()],
    ],
    ids=str,
)
def test_layers_that_keep_to_the_steps_of_a_sequence_take_unequal_lengths(layers):
    assert output_shape(SIGNAL, *layers) == output_shape(SIGNAL, *layers, lengths=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2D(0, 3), "Conv2D: filters must be an int >= 1, got 0"),
        (lambda: Conv2D(4, 0), "Conv2D: kernel_size must be an int >= 1 or a pair of them, got 0"),
        (lambda: Conv2D(4, (3, 3, 3)), "Conv2D: kernel_size must be"),
        (lambda: Conv2D(4, 3, stride=0), "Conv2D: stride must be"),
        (lambda: Conv2D(4, 3, padding="full"), "Conv2D: padding must be 'valid', 'same'"),
        (lambda: Conv2D(4, 3, padding=-1), "Conv2D: padding must be"),
        (lambda: Conv2D(4, 3, groups=3), "Conv2D: filters must be a multiple of groups, got 4 and 3"),
        (lambda: Conv2D(4, 3, bias="no"), "Conv2D: bias must be True or False"),
        (lambda: Conv2D(4, 3, activation="relo"), "Conv2D: activation"),
        (lambda: Conv2D(4, 3, init="he"), "Conv2D: init"),
        (lambda: Conv2D(4, 3, weights=np.ones((5, 5, 1, 4))), r"Conv2D: weights must have shape \(3, 3, channels"),
        (lambda: Conv2D(1, 3, weights=np.full((3, 3), np.nan)), "Conv2D: weights hold NaN"),
        (lambda: Conv1D(4, 2.5), "Conv1D: kernel_size must be an int >= 1, got 2.5"),
        (lambda: Dense(2, weights=np.ones((3, 4))), r"Dense: weights must have shape \(in, 2\), got \(3, 4\)"),
        (lambda: Dense(2, weights="a"), "Dense: weights must be an array of numbers, got 'a'"),
        (lambda: Conv1D(2, 3, weights=[[1, 2], [3]]), "Conv1D: weights must be an array of numbers, got "),
        (lambda: BatchNorm(epsilon=np.inf), r"BatchNorm: epsilon must be a number in \(0, inf\), got inf"),
        (lambda: Dense(2, trainable=None), "Dense: trainable must be True or False"),
        (lambda: MaxPool2D(0), "MaxPool2D: size must be"),
        (lambda: MaxPool2D(2, padding=2), "MaxPool2D: padding must be smaller than size=2"),
        (lambda: AvgPool1D(2, stride=-1), "AvgPool1D: stride must be"),
        (lambda: Reshape((2, -1, -1)), "Reshape: shape must hold"),
        (lambda: Reshape("ab"), "Reshape: shape must hold"),
        (lambda: Dropout(0.5, channels=1), "Dropout: channels must be True or False"),
        (lambda: Residual(Conv2D(4, 3)), "Residual: layers must be a list of layers"),
        (lambda: Residual([Conv2D]), r"Residual: layers\[0\]: expected a layer of fastnn.layers.*write Conv2D\("),
        (lambda: Activation("relo"), "Activation: activation"),
        (lambda: LSTM(0), "LSTM: units must be an int >= 1, got 0"),
        (lambda: GRU(True), "GRU: units must be an int >= 1, got True"),
        (lambda: GRU(4, return_sequences=1), "GRU: return_sequences must be True or False, got 1"),
        (lambda: SimpleRNN(4, dropout=1.0), r"SimpleRNN: dropout must be a number in \[0, 1\), got 1.0"),
        (lambda: LSTM(4, recurrent_dropout=-0.1), r"LSTM: recurrent_dropout must be a number in \[0, 1\), got -0.1"),
        (lambda: LSTM(4, truncate=0), "LSTM: truncate must be an int >= 1 or None, got 0"),
        (lambda: LSTM(4, truncate=2.0), "LSTM: truncate must be an int >= 1 or None, got 2.0"),
        (lambda: LSTM(4, init="he"), "LSTM: init"),
        (lambda: GRU(4, recurrent_init=None), "GRU: recurrent_init"),
        (lambda: GRU(4, trainable="no"), "GRU: trainable must be True or False"),
        (lambda: LSTM(4, forget_bias=None), "LSTM: forget_bias must be a finite number, got None"),
        (lambda: LSTM(4, forget_bias=np.nan), "LSTM: forget_bias must be a finite number, got nan"),
        (lambda: SimpleRNN(4, activation="tahn"), "SimpleRNN: activation"),
        (lambda: SimpleRNN(4, activation="rrelu"), "SimpleRNN: activation 'rrelu' is random; choose another"),
        (lambda: Bidirectional(Dense(3)), "Bidirectional: layer must be a SimpleRNN, LSTM or GRU, got Dense"),
        (lambda: Bidirectional(LSTM), "Bidirectional: layer must be a SimpleRNN, LSTM or GRU"),
        (lambda: Bidirectional(LSTM(3), merge="mean"), r"Bidirectional: merge must be one of \('concatenate', 'sum'\)"),
        (lambda: Bidirectional(LSTM(3), merge=["sum"]), r"Bidirectional: merge must be one of .* got \['sum'\]"),
        (lambda: TimeDistributed(LSTM(3)), "TimeDistributed: layer must be a Dense, Activation, Dropout or LayerNorm"),
        (lambda: Embedding(0, 3), "Embedding: tokens must be an int >= 1, got 0"),
        (lambda: Embedding(1 << 25, 3), "Embedding: tokens must be an int <= 16777216, got 33554432"),
        (lambda: Embedding(9, 2.0), "Embedding: units must be an int >= 1, got 2.0"),
        (lambda: Embedding(9, 2, init="he"), "Embedding: init"),
        (lambda: Embedding(9, 2, trainable=1), "Embedding: trainable must be True or False"),
        (lambda: Conv2D(4, 3, stride=10**30), r"stride must be an int <= 2147483647 or a pair of them, got 10+$"),
        (lambda: Conv1D(4, 3, padding=2**63), "Conv1D: padding must be 'valid', 'same', an int <= 2147483647 or"),
        (lambda: MaxPool2D((2, 2**31)), r"MaxPool2D: size must be an int <= 2147483647 or .* got \(2, 2147483648\)"),
        (lambda: Dense(2**31), "Dense: units must be an int <= 2147483647, got 2147483648"),
        (lambda: LSTM(4, truncate=10**400), "LSTM: truncate must be an int <= 2147483647 or None, got 1000"),
        (lambda: LSTM(4, forget_bias=10**400), "LSTM: forget_bias must be a finite number, got 1000"),
        (lambda: LayerNorm(epsilon=10**400), r"LayerNorm: epsilon must be a number in \(0, inf\), got 1000"),
        (lambda: Residual(["conv"]), r"Residual: layers\[0\]: expected a layer of fastnn.layers, got 'conv'"),
    ],
)
def test_bad_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_counts_in_numpys_small_types_do_not_overflow():
    conv, plain = Conv2D(np.uint8(200), np.int8(3), groups=np.uint8(2)), Conv2D(200, 3, groups=2)
    shape = output_shape((9, 9, 4), conv)
    assert shape == output_shape((9, 9, 4), plain)
    W, same = (
        layer.starting_weights(np.random.RandomState(0), (3, 3, 2, 200), "relu", "glorot_normal")[0]
        for layer in (conv, plain)
    )
    np.testing.assert_array_equal(W, same)


def test_layers_are_equal_and_hashable_with_given_weights():
    sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    assert Conv2D(1, 3, weights=sobel) == Conv2D(1, 3, weights=sobel.tolist())
    assert len({Conv2D(1, 3, weights=sobel), Conv2D(1, 3, weights=sobel), Conv2D(1, 3)}) == 2
    layer = Conv2D(1, 3, weights=sobel)
    assert hash(layer) == hash(pickle.loads(pickle.dumps(layer))) == hash(copy.deepcopy(layer))
    assert pickle.loads(pickle.dumps(layer)) == layer
    assert not vars(pickle.loads(pickle.dumps(layer)).weights)


def test_the_hash_of_given_weights_is_taken_once():
    """Of a million numbers it takes longer than a small prediction, which looks up its plan several times."""
    layer = Conv2D(1, 3, weights=np.ones((3, 3)))
    hash(layer)
    layer.weights.hash = 7
    assert hash(layer.weights) == 7


@pytest.mark.parametrize(
    ("with_lists", "with_tuples"),
    [
        (
            Conv2D(4, [3, 2], stride=[1, 2], padding=[[1, 0], [0, 2]], dilation=[1, 1]),
            Conv2D(4, (3, 2), stride=(1, 2), padding=((1, 0), (0, 2)), dilation=(1, 1)),
        ),
        (Conv1D(4, 3, padding=[1, 0]), Conv1D(4, 3, padding=(1, 0))),
        (MaxPool2D([2, 3], stride=[1, 2], padding=[1, 1]), MaxPool2D((2, 3), stride=(1, 2), padding=(1, 1))),
        (AvgPool1D([2], padding=[[1, 0]]), AvgPool1D((2,), padding=((1, 0),))),
    ],
    ids=str,
)
def test_lists_are_as_good_as_tuples(with_lists, with_tuples):
    """Plans are cached by layers, so a layer with a list in it could not be fitted."""
    assert with_lists == with_tuples
    assert hash(with_lists) == hash(with_tuples)


def test_given_weights_are_where_training_starts():
    layer = Conv1D(2, 3, weights=np.arange(6.0).reshape(3, 1, 2))
    W, b = layer.starting_weights(np.random.RandomState(0), (3, 1, 2), "relu", "auto")
    assert np.array_equal(W, np.arange(6.0).reshape(3, 1, 2))
    assert not b.any()


def test_fans_count_the_places_of_the_window():
    layer = Conv2D(24, (3, 5), groups=2, init="glorot_uniform")
    W, _ = layer.starting_weights(np.random.RandomState(0), (3, 5, 10, 24), "relu", "zeros")
    assert W.shape == (3, 5, 10, 24)
    assert np.abs(W).max() == pytest.approx(np.sqrt(6 / (15 * 10 + 15 * 12)), rel=0.01)


def test_frozen_weights_get_no_gradient():
    fixed = {"trainable": False}
    layers = (Conv2D(4, 3, **fixed), Conv2D(4, 3), Conv2D(4, 3, **fixed), Dense(5, **fixed), Dense(1))
    plan = lower(Network(IMAGE, layers, SquaredError()), "gradient")
    assert list(plan.gradients) == ["dense4.W", "dense4.b", "conv1.W", "conv1.b"]
    assert plan.statistics == ("conv0.W", "conv0.b", "conv2.W", "conv2.b", "dense3.W", "dense3.b")


def test_frozen_cells_and_embeddings_get_no_gradient_but_pass_one_on():
    fixed = {"trainable": False}
    layers = (Embedding(9, 3, **fixed), GRU(3, True), LSTM(4, True, **fixed), Bidirectional(SimpleRNN(2, **fixed)))
    plan = lower(Network((5, 1), (*layers, Dense(1)), SquaredError()), "gradient")
    assert sorted(plan.gradients) == ["dense5.W", "dense5.b", *(f"gru1.{array}" for array in "UWbd")]
    assert "lstm2.U" in plan.statistics and "simple_rnn4.W" in plan.statistics and "embedding0.W" in plan.statistics


def start(layers, seed=0, init="auto", shape=(7, 5)):
    """Starting weights of a network by name."""
    network = Network(shape, (*layers, Dense(2)), SquaredError())
    return initial_weights(network, np.random.RandomState(seed), init, "tanh")


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_weights_start_orthogonal_each_gate_on_its_own(cell):
    weights = start([cell(6)])
    U = weights[f"{cell.cell.kind}0.U"].reshape(-1, 6, 6)
    assert len(U) == (cell.cell.gates or 1)
    for gate in U:
        np.testing.assert_allclose(gate @ gate.T, np.eye(6), atol=1e-12)
    assert len({gate.tobytes() for gate in U}) == len(U)


def test_only_the_forget_gate_starts_with_a_bias():
    for layer, bias in ((LSTM(3), 1.0), (LSTM(3, forget_bias=-2), -2.0)):
        assert start([layer])["lstm0.b"].tolist() == [[0.0] * 3, [bias] * 3, [0.0] * 3, [0.0] * 3]
    weights = start([GRU(3), Reshape((3, 1)), SimpleRNN(3)])
    assert not any(weights[name].any() for name in ("gru0.b", "gru0.d", "simple_rnn1.b"))


@pytest.mark.parametrize("cell", CELLS)
def test_input_weights_start_by_glorots_rule_for_each_gate(cell):
    W = start([cell(300)], shape=(7, 200))[f"{cell.cell.kind}0.W"]
    for gate in W.reshape(-1, 200, 300):
        assert np.abs(gate).max() == pytest.approx(np.sqrt(6 / 500), rel=0.01)


def test_an_initialiser_of_the_layer_beats_that_of_the_estimator():
    zeros = start([LSTM(4, init="zeros", recurrent_init="zeros")], init="he_normal")
    assert not zeros["lstm0.W"].any() and not zeros["lstm0.U"].any()
    assert start([LSTM(4)], init="zeros")["lstm0.U"].any() and not start([LSTM(4)], init="zeros")["lstm0.W"].any()
    tokens = start([Embedding(2000, 30)], init="zeros", shape=(7, 1))["embedding0.W"]
    assert tokens.mean() == pytest.approx(0, abs=0.02) and tokens.std() == pytest.approx(1, abs=0.02)
    assert not start([Embedding(9, 3, init="zeros")], shape=(7, 1))["embedding0.W"].any()


@pytest.mark.parametrize("cell", CELLS)
def test_starting_weights_follow_the_seed_and_differ_between_directions(cell):
    layers = [Bidirectional(cell(4, True)), cell(4)]
    first, again, other = (start(layers, seed) for seed in (0, 0, 1))
    for name in first:
        assert np.array_equal(first[name], again[name])
    for array in "WU":
        forwards, backwards = (f"{cell.cell.kind}{number}.{array}" for number in range(2))
        assert not np.array_equal(first[forwards], first[backwards])
        assert not np.array_equal(first[forwards], other[forwards])


def test_fitted_attributes_list_the_arrays_of_cells_layer_by_layer():
    network = Network((7, 1), (Embedding(9, 3), Bidirectional(LSTM(4, True)), GRU(2), Dense(1)), SquaredError())
    assert attribute_names(network) == {
        "coefs_": ("embedding0.W", "lstm1.W", "lstm2.W", "gru3.W", "dense4.W"),
        "intercepts_": (None, "lstm1.b", "lstm2.b", "gru3.b", "dense4.b"),
        "recurrent_coefs_": (None, "lstm1.U", "lstm2.U", "gru3.U", None),
        "recurrent_intercepts_": (None, None, None, "gru3.d", None),
    }
