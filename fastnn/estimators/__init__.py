"""scikit-learn estimators: parameters, validation, labels, fitted attributes. The arithmetic is a backend's."""

from fastnn.estimators.convnet import ConvNet, ConvNetRegressor
from fastnn.estimators.esn_classifier import ESNClassifier
from fastnn.estimators.esn_regressor import ESNRegressor
from fastnn.estimators.mlp import MLPClassifier, MLPRegressor
from fastnn.estimators.recurrent import RecurrentClassifier, RecurrentRegressor
from fastnn.estimators.sliding_window import SlidingWindow

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
]
