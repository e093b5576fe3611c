"""fastnn: neural networks with fit and predict, on a compiled core.

The estimators take scikit-learn's parameters and keep its contract; activations, augmentations, losses, optimisers,
initialisers and schedules are given by name or as specs from the modules of those names, layers as specs.
"""

from fastnn import activations, augment, datasets, initializers, layers, losses, optimizers, schedules
from fastnn.config import show_config
from fastnn.estimators import (
    ConvNet,
    ConvNetRegressor,
    ESNClassifier,
    ESNRegressor,
    MLPClassifier,
    MLPRegressor,
    RecurrentClassifier,
    RecurrentRegressor,
    SlidingWindow,
)
from fastnn.gradient_check import check_gradient

__all__ = [
    "ConvNet",
    "ConvNetRegressor",
    "ESNClassifier",
    "ESNRegressor",
    "MLPClassifier",
    "MLPRegressor",
    "RecurrentClassifier",
    "RecurrentRegressor",
    "SlidingWindow",
    "activations",
    "augment",
    "check_gradient",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "optimizers",
    "schedules",
    "show_config",
]
