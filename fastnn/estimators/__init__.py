"""scikit-learn estimators: parameters, validation, labels, fitted attributes. The arithmetic is a backend's."""

from fastnn.estimators.convnet import ConvNet, ConvNetRegressor
from fastnn.estimators.mlp import MLPClassifier, MLPRegressor

__all__ = ["ConvNet", "ConvNetRegressor", "MLPClassifier", "MLPRegressor"]
