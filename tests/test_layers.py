"""Layers give the shapes they promise, and refuse what does not fit with a message that names them."""

import copy
import pickle
import re

import numpy as np
import pytest

from fastnn.layers import (
    Activation,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    Reshape,
    Residual,
)
from fastnn.losses import SquaredError
from fastnn.lower import Network, lower

IMAGE, SIGNAL = (9, 8, 6), (30, 6)


def output_shape(shape, *layers):
    plan = lower(Network(shape, layers, SquaredError()), "predict")
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
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(shape, layers, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        output_shape(shape, *layers)


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
        (lambda: Residual(["conv"]), r"Residual: layers\[0\]: expected a layer of fastnn.layers, got 'conv'"),
    ],
)
def test_bad_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


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
