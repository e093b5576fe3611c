"""scikit-learn estimators: parameters, validation, labels, fitted attributes. The arithmetic is a backend's."""

from fastnn.estimators.classifier import MLPClassifier
from fastnn.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
