"""What a user writes: layers as frozen dataclasses, one file a family. A layer holds no arrays and computes nothing;
``layer.lower(builder, x)`` adds its ops to a plan and returns the name of its output."""

from fastnn.layers.dense import Dense
from fastnn.layers.norm import BatchNorm, LayerNorm
from fastnn.layers.random import Dropout

__all__ = ["BatchNorm", "Dense", "Dropout", "LayerNorm"]
