"""scikit-learn's own tests of its MLP, from the installed package, run on fastnn's classes and on each backend."""

import importlib.util
from unittest import mock

import pytest

import fastnn
from fastnn import training

NAME = "sklearn.neural_network.tests.test_mlp"

# These look into attributes that scikit-learn does not document (_optimizer, _no_improvement_count, _loss_grad_lbfgs)
# or set up half an estimator by hand.
PRIVATE = {
    "test_fit",
    "test_gradient",
    "test_learning_rate_warmstart",
    "test_adaptive_learning_rate",
    "test_n_iter_no_change",
    "test_n_iter_no_change_inf",
}


def load():
    """A fresh copy of the test module in which the two classes are fastnn's."""
    spec = importlib.util.find_spec(NAME)
    module = importlib.util.module_from_spec(spec)
    ours = {"MLPClassifier": fastnn.MLPClassifier, "MLPRegressor": fastnn.MLPRegressor}
    with mock.patch.multiple("sklearn.neural_network", **ours):
        spec.loader.exec_module(module)
    return module


MODULE = load()
TESTS = {name: test for name, test in vars(MODULE).items() if name.startswith("test_")}
globals().update({name: test for name, test in TESTS.items() if name not in PRIVATE})

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def on_each_backend(backend, monkeypatch):
    runner = training.runner_class(backend)
    monkeypatch.setattr(training, "runner_class", lambda name: runner)


@pytest.fixture
def global_random_seed():
    return 42


def test_the_module_holds_what_is_left_out():
    assert set(TESTS) >= PRIVATE
    assert len(TESTS) > 35


def test_the_classes_are_fastnn_s():
    assert MODULE.MLPClassifier is fastnn.MLPClassifier
    assert MODULE.MLPRegressor is fastnn.MLPRegressor
