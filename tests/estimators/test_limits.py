"""Memory: batches that run in one piece are bounded where the size is ours to choose; what has no room is refused."""

import gc

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fastnn import (
    ConvNet,
    ESNClassifier,
    ESNRegressor,
    MLPClassifier,
    RecurrentClassifier,
    check_gradient,
    memory,
)
from fastnn.estimators import network
from fastnn.estimators.architecture import default_layers
from fastnn.layers import GRU, Activation, BatchNorm, Conv2D, Dense
from fastnn.losses import LogLoss
from fastnn.lower import Network
from fastnn.native import Runner, _machine
from fastnn.native.layout import compiled
from fastnn.optimizers import Adam

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = X[:300].reshape(-1, 8, 8) / 16, Y[:300]
LAYERS = [Conv2D(4, 3), BatchNorm(), Activation("relu")]
PLAIN = [Conv2D(4, 3), Activation("relu")]
TINY = {"max_iter": 2, "random_state": 0}


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.coefs_, b.coefs_, strict=True))


@pytest.mark.parametrize("shape", [(224, 224, 3), (64, 64, 3), (32, 32, 3), (1000, 4)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_of_the_default_layers_are_bounded(shape, dtype):
    net = Network(shape, (*default_layers(shape), Dense(10, "identity")), LogLoss(), "softmax")
    lowered = network.plan(net, "train", one_hot=True, optimizer=Adam(), whole_batch=True)
    rows = network.bounded_batch_size(lowered, 200, np.dtype(dtype))
    assert 16 <= rows <= 200
    if 16 < rows:
        assert network.batch_bytes(lowered, rows, np.dtype(dtype)) <= network.BATCH_BYTES
    assert (rows == 200) == (shape[0] != 224)
    layout = compiled(lowered, _machine.best_isa(), np.dtype(dtype), rows, False).layout
    assert layout.batch_size == pytest.approx(network.batch_bytes(lowered, rows, np.dtype(dtype)), rel=0.05)


@pytest.mark.parametrize(("bound", "batch_size"), [(1, 16), (400_000, 50), (10**9, 200)])
def test_automatic_batches_have_as_many_rows_as_the_bound_allows(bound, batch_size, backend, monkeypatch):
    """A row takes 8000 bytes here."""
    monkeypatch.setattr(network, "BATCH_BYTES", bound)
    monkeypatch.setattr(network, "batch_bytes", lambda lowered, rows, dtype, shared=True: 8000 * rows)
    parameters = {**TINY, "layers": LAYERS, "backend": backend}
    model = ConvNet(**parameters, n_jobs=3).fit(X, Y)
    assert same(model, ConvNet(**parameters).fit(X, Y))
    assert same(model, ConvNet(**parameters, batch_size=batch_size).fit(X, Y))
    few = ConvNet(**parameters).fit(X[:20], Y[:20])
    assert same(few, ConvNet(**parameters, batch_size=min(batch_size, 20)).fit(X[:20], Y[:20]))


def test_other_batches_are_as_given(backend, monkeypatch):
    whole = ConvNet(PLAIN, **TINY, backend=backend).fit(X, Y)
    given = ConvNet(LAYERS, **TINY, batch_size=100, backend=backend).fit(X, Y)
    monkeypatch.setattr(network, "BATCH_BYTES", 1)
    assert same(whole, ConvNet(PLAIN, **TINY, backend=backend).fit(X, Y))
    assert same(given, ConvNet(LAYERS, **TINY, batch_size=100, backend=backend).fit(X, Y))


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(network, "TRAINING_BYTES", 1)
    monkeypatch.setattr(memory, "available", lambda: 600_000)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, r"batch_size='auto' makes a batch of 200 rows.* a batch_size of at most \d+, or leave batch norm"),
        ({"batch_size": 150}, r"batch_size=150 makes a batch of 150 rows.* a batch_size of at most \d+, or"),
        ({"solver": "gd"}, r"solver='gd' makes a batch of 300 rows.* another solver, such as 'adam'"),
        ({"solver": "lbfgs"}, r"solver='lbfgs' makes a batch of 300 rows.* another solver, such as 'adam'"),
    ],
)
@pytest.mark.usefixtures("little_memory")
def test_a_batch_without_room_is_refused(parameters, message, backend):
    model = ConvNet(LAYERS, **TINY, backend=backend, **parameters)
    with pytest.raises(MemoryError, match=rf"^ConvNet: {message}") as error:
        model.fit(X, Y)
    assert "bytes, of which 600,000 are available" in str(error.value)
    assert not hasattr(model, "coefs_") and not hasattr(model, "input_shape_")
    ConvNet(PLAIN, **TINY, backend=backend, **parameters).fit(X, Y)


@pytest.mark.usefixtures("little_memory")
def test_the_way_out_leads_out(backend):
    model = ConvNet(LAYERS, **TINY, backend=backend)
    with pytest.raises(MemoryError) as error:
        model.fit(X, Y)
    most = int(str(error.value).split("at most ")[1].split(",")[0])
    model.set_params(batch_size=most).fit(X, Y)
    with pytest.raises(MemoryError):
        model.set_params(batch_size=most + 1).fit(X, Y)


@pytest.mark.usefixtures("little_memory")
def test_a_gradient_without_room_is_refused(backend):
    with pytest.raises(MemoryError, match=r"the gradient of all rows makes a batch of 300 rows.* pass fewer rows"):
        check_gradient(ConvNet(LAYERS, backend=backend), X, Y)
    many = MLPClassifier((500,), normalization="batch", backend=backend)
    with pytest.raises(MemoryError, match=r"^MLPClassifier: batch_size='auto'"):
        many.fit(X.reshape(300, 64), Y)


def test_where_no_system_tells_nothing_is_refused(backend, monkeypatch):
    monkeypatch.setattr(network, "TRAINING_BYTES", 1)
    monkeypatch.setattr(memory, "available", lambda: None)
    ConvNet(LAYERS, **TINY, backend=backend).fit(X, Y)


@pytest.mark.parametrize(
    ("estimator", "way_out"),
    [
        (MLPClassifier((10**9,)), "fewer units or filters"),
        (MLPClassifier((2**30, 2**30)), "fewer units or filters"),
        (MLPClassifier((2**20,), solver="lbfgs"), "fewer units or filters"),
        (ConvNet([Conv2D(10**9, 3)]), "fewer units or filters"),
        (RecurrentClassifier([GRU(10**9)]), "fewer units or filters"),
        (ESNClassifier(10**6), "fewer units, or fewer of features and pooling"),
        (ESNClassifier(10**6, topology="orthogonal", features=("input",)), "fewer units"),
    ],
    ids=str,
)
def test_weights_without_room_are_refused_before_they_are_drawn(estimator, way_out, backend, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2 << 30)
    rows = X.reshape(300, 64) if isinstance(estimator, MLPClassifier) else X
    with pytest.raises(MemoryError, match=rf"^{type(estimator).__name__}: .* of which 2,147,483,648 are .*{way_out}"):
        estimator.set_params(backend=backend).fit(rows, Y)


@pytest.mark.parametrize("y", [np.arange(9.0), np.ones((9, 7, 2))], ids=["sequences", "steps"])
@pytest.mark.parametrize("pooling", [("mean",), ("mean", "last")])
@pytest.mark.parametrize("features", [("bias", "input"), ("state",), ("bias", "input", "state", "squared_state")])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_features_are_counted_before_they_are_made(features, pooling, bidirectional, y):
    esn = ESNRegressor(5, features=features, pooling=pooling, bidirectional=bidirectional)
    esn.fit(np.random.default_rng(0).normal(size=(9, 7, 3)), y)
    assert esn._features.number(3, 5, esn.each_step_) == len(esn.coef_)


FITS = {
    "predictions": lambda: ConvNet(PLAIN, **TINY).fit(X, Y).predict(X),
    "held-out rows": lambda: ConvNet(PLAIN, early_stopping=True, **TINY).fit(X, Y),
    "a scorer": lambda: ConvNet(PLAIN, early_stopping=True, scoring="accuracy", **TINY).fit(X, Y),
    "a callback": lambda: ConvNet(PLAIN, epoch_callback=lambda e: e.estimator.score(X, Y) > 2, **TINY).fit(X, Y),
    "L-BFGS": lambda: ConvNet(PLAIN, solver="lbfgs", **TINY).fit(X, Y),
    "a continuation": lambda: ConvNet(PLAIN, **TINY).partial_fit(X, Y, classes=range(10)).partial_fit(X, Y),
    "sequences": lambda: RecurrentClassifier([GRU(3)], **TINY).fit(X, Y).predict(X),
    "reservoirs": lambda: ESNClassifier(9, random_state=0).fit(X, Y).predict(X),
}


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_the_arrays_of_a_fit_go_with_it(fit):
    """Where objects know each other, Python keeps them until it looks for cycles, which the size of an array does not
    bring nearer: eight fits of a network of 2048 units had grown to 300 MB."""
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(thing, Runner) for thing in gc.get_objects())
        fit()
        assert sum(isinstance(thing, Runner) for thing in gc.get_objects()) == before
    finally:
        gc.enable()
