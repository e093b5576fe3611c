"""The docstrings name every parameter and fitted attribute, and their examples run."""

import doctest
import inspect
import re

import pytest
from sklearn.datasets import load_iris

from fastnn import (
    ConvNet,
    ConvNetRegressor,
    ESNClassifier,
    ESNRegressor,
    MLPClassifier,
    MLPRegressor,
    RecurrentClassifier,
    RecurrentRegressor,
    gradient_check,
    layers,
)
from fastnn.estimators import convnet, esn_classifier, esn_regressor, mlp, recurrent, sliding_window

ESTIMATORS = {
    MLPClassifier: {"normalization": "batch", "max_iter": 1},
    MLPRegressor: {"normalization": "batch", "max_iter": 1},
    ConvNet: {"layers": [layers.BatchNorm()], "max_iter": 1},
    ConvNetRegressor: {"layers": [layers.BatchNorm()], "max_iter": 1},
    RecurrentClassifier: {"layers": [layers.GRU(3), layers.BatchNorm()], "max_iter": 1},
    RecurrentRegressor: {"layers": [layers.GRU(3), layers.BatchNorm()], "max_iter": 1},
    ESNClassifier: {},
    ESNRegressor: {},
}


def documented(Estimator, section):
    text = re.search(rf"^{section}\n-+\n(.*?)(?:\n[A-Z][\w ]+\n---|\Z)", Estimator.__doc__, re.S | re.M).group(1)
    heads = re.findall(r"^(\w[\w, ]*) :", text, re.M)
    return [name for head in heads for name in head.split(", ")]


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_every_parameter_in_order(Estimator):
    assert documented(Estimator, "Parameters") == list(inspect.signature(Estimator).parameters)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_every_fitted_attribute(Estimator):
    X, y = load_iris(return_X_y=True)
    model = Estimator(**ESTIMATORS[Estimator], backend="numpy").fit(X, y)
    fitted = {name for name in vars(model) if name.endswith("_") and name[0] != "_"}
    assert fitted == set(documented(Estimator, "Attributes")) - {"feature_names_in_"}


@pytest.mark.parametrize(
    "module", [convnet, esn_classifier, esn_regressor, mlp, recurrent, sliding_window, gradient_check]
)
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
