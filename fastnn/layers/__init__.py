"""What a user writes: layers as frozen dataclasses, one file a family. A layer holds no arrays and computes nothing;
``layer.lower(builder, x)`` adds its ops to a plan and returns the name of its output."""

from fastnn.layers.activation import Activation
from fastnn.layers.conv import Conv1D, Conv2D
from fastnn.layers.dense import Dense
from fastnn.layers.embedding import Embedding
from fastnn.layers.norm import BatchNorm, LayerNorm
from fastnn.layers.pool import AvgPool1D, AvgPool2D, GlobalAvgPool, GlobalMaxPool, MaxPool1D, MaxPool2D
from fastnn.layers.random import Dropout
from fastnn.layers.recurrent import GRU, LSTM, Bidirectional, SimpleRNN
from fastnn.layers.shape import Flatten, Reshape
from fastnn.layers.stack import Residual, ShapeError, all_layers, check_layers
from fastnn.layers.steps import LastStep, TimeDistributed

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNorm",
    "Bidirectional",
    "Conv1D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "LastStep",
    "LayerNorm",
    "MaxPool1D",
    "MaxPool2D",
    "Reshape",
    "Residual",
    "ShapeError",
    "SimpleRNN",
    "TimeDistributed",
    "all_layers",
    "check_layers",
]
