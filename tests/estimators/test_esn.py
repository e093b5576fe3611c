"""Echo state networks: known series, equal bits, chunks, forecasts, what the readout is."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from fastnn import ESNClassifier, ESNRegressor
from fastnn.datasets import mackey_glass, narma
from fastnn.reservoir import recurrent_weights


def ragged(rng, n=23, channels=2, longest=40):
    """Sequences of different lengths, their classes, a value for each, and values for each step."""
    X = [rng.standard_normal((length, channels)) for length in rng.integers(1, longest, n)]
    y = np.array([int(x[-3:].sum() > 0) + int(x[:, 0].mean() > 0) for x in X])
    return X, y, np.array([x.mean() for x in X]), [np.cumsum(x[:, 0]) for x in X]


def nrmse(guess, truth):
    return np.sqrt(np.mean((guess - truth) ** 2)) / truth.std()


def test_japanese_vowels(backend):
    """Real utterances of 7 to 29 steps, defaults, mean of 5 reservoirs (2 in NumPy, which is slower)."""
    path = Path(os.environ.get("FASTNN_DATA", "")) / "japanesevowels.npz"
    if "FASTNN_DATA" not in os.environ or not path.exists():
        pytest.skip("FASTNN_DATA names no folder with japanesevowels.npz")
    with np.load(path) as data:
        train, test = (
            np.split(data[f"X_{part}"], np.cumsum(data[f"lengths_{part}"])[:-1]) for part in ("train", "test")
        )
        seeds = range(5 if backend == "native" else 2)
        models = [ESNClassifier(random_state=seed, backend=backend).fit(train, data["y_train"]) for seed in seeds]
        assert np.mean([model.score(test, data["y_test"]) for model in models]) >= 0.975


def test_mackey_glass():
    """Generative forecasts from 50 places of the held-out part, each after 1000 steps of the truth (Jaeger's NRMSE)."""
    x = np.tanh(mackey_glass(5600, random_state=0) - 1)
    starts = range(3000, 5500, 50)
    truth = np.stack([x[start : start + 84] for start in starts])
    errors = []
    for seed in range(3):
        esn = ESNRegressor(300, spectral_radius=1.1, leak=0.3, washout=100, alpha=1e-8, random_state=seed,
                           features=("bias", "input", "state", "squared_state"))  # fmt: skip
        esn.fit([x[:1999, np.newaxis]], [x[1:2000, np.newaxis]])
        forecasts = esn.forecast(84, [x[start - 1000 : start, np.newaxis] for start in starts])[:, :, 0]
        scaled = (forecasts - truth) / x.std()
        errors.append([np.sqrt(np.mean(scaled[:, h - 1] ** 2)) for h in (1, 10, 84)])
    assert (np.mean(errors, axis=0) <= (1e-3, 1e-3, 8e-2)).all(), errors


def test_narma():
    u, y = narma(4200, random_state=0)
    u = (2 * u - 0.5)[:, np.newaxis]
    errors = []
    for seed in range(3):
        esn = ESNRegressor(100, leak=1.0, input_scaling=0.1, washout=100, random_state=seed,
                           features=("bias", "input", "state", "squared_state"))  # fmt: skip
        esn.fit([u[:3000]], [y[:3000]])
        errors.append(nrmse(esn.predict([u])[0][3000:], y[3000:]))
    assert np.mean(errors) <= 0.22, errors


OPTIONS = [
    {},
    {"topology": "ring"},
    {"topology": "orthogonal"},
    {"density": 1.0},
    {"bidirectional": True, "features": ("bias", "input", "state", "squared_state")},
    {"precision": "float32", "activation": "hard_tanh", "standardize": True},
    {"units": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_alone_and_among_others_bit_for_bit(options, backend):
    X, y, value, steps = ragged(np.random.default_rng(0))
    common = {"units": 30, "random_state": 0, "backend": backend, **options}
    padded, lengths = np.full((len(X), 45, 2), np.nan), [len(x) for x in X]
    for row, x in zip(padded, X, strict=True):
        row[: len(x)] = x
    classifier = ESNClassifier(**common).fit(X, y)
    together = classifier.decision_function(X)
    assert np.array_equal(np.vstack([classifier.decision_function([x]) for x in X]), together)
    assert np.array_equal(classifier.decision_function(padded, lengths=lengths), together)
    regressor = ESNRegressor(**common).fit(X, value)
    assert np.array_equal(np.concatenate([regressor.predict([x]) for x in X]), regressor.predict(X))
    stepwise = ESNRegressor(**common).fit(X, steps)
    for x, among in zip(X, stepwise.predict(X), strict=True):
        assert among.shape == (len(x),)
        assert np.array_equal(stepwise.predict([x])[0], among)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_backends_agree(options):
    X, _, value, steps = ragged(np.random.default_rng(1))
    common = {"units": 30, "random_state": 0, "alpha": 0.1, **options}
    for target in (value, steps):
        native, numpy = (ESNRegressor(**common, backend=name).fit(X, target).predict(X) for name in ("native", "numpy"))
        tolerance = 1e-3 if options.get("precision") == "float32" else 1e-8
        np.testing.assert_allclose(np.hstack(native), np.hstack(numpy), rtol=tolerance, atol=tolerance)


def test_bits_do_not_depend_on_threads():
    X = np.random.default_rng(2).standard_normal((150, 60, 3))
    y = X.mean(axis=(1, 2))
    one, two = (ESNRegressor(200, random_state=0, n_jobs=n).fit(X, y) for n in (1, 2))
    assert np.array_equal(one.predict(X), two.predict(X))
    assert np.array_equal(one.coef_, two.coef_)


def test_bits_of_a_long_series_do_not_depend_on_threads():
    """On two, one multiplies what the other has computed."""
    u = np.random.default_rng(2).uniform(-1, 1, (3001, 1))
    fitted = [ESNRegressor(120, washout=30, random_state=0, n_jobs=n).fit([u[:-1]], [u[1:]]) for n in (1, 2)]
    assert np.array_equal(fitted[0].coef_, fitted[1].coef_)
    for esn in fitted:
        esn.partial_fit([u[:-1]], [u[1:]])
    assert np.array_equal(fitted[0].coef_, fitted[1].coef_)


def test_long_series_in_blocks_equals_a_loop():
    """The states of 3000 steps, which are several blocks, against the formula itself."""
    u = np.random.default_rng(3).uniform(-1, 1, (3000, 1))
    esn = ESNRegressor(150, random_state=0, features=("bias", "state")).fit([u[:-1]], [u[1:]])
    s, W = np.zeros(150), esn.recurrent_weights_.toarray()
    outputs = []
    for x in u:
        s = 0.7 * s + 0.3 * np.tanh(x @ esn.input_weights_ + s @ W + esn.bias_)
        outputs.append(s @ esn.coef_ + esn.intercept_)
    np.testing.assert_allclose(esn.predict([u])[0], outputs, rtol=1e-9, atol=1e-9)
    assert esn._echo().reservoir.block < 3000


@pytest.mark.parametrize("bias", [True, False])
def test_ridge_is_the_closed_form(bias):
    X, _, value, _ = ragged(np.random.default_rng(4), n=60)
    features = ("bias", "state") if bias else ("state",)
    esn = ESNRegressor(10, alpha=0.5, features=features, random_state=0).fit(X, value)
    F = esn._features.of_sequences(esn._echo(), X)
    mean, centre = (F.mean(axis=0), value.mean()) if bias else (0.0, 0.0)
    W = np.linalg.solve((F - mean).T @ (F - mean) + 0.5 * np.eye(F.shape[1]), (F - mean).T @ (value - centre))
    np.testing.assert_allclose(esn.coef_[:, 0], W, rtol=1e-8)
    np.testing.assert_allclose(esn.intercept_, centre - mean @ W if bias else 0.0, rtol=1e-8)


@pytest.mark.parametrize("features", [("bias", "state"), ("state",)])
def test_leave_one_out_is_leaving_one_out(features):
    X, _, value, _ = ragged(np.random.default_rng(5), n=25)
    alphas = [1e-3, 0.1, 10.0]
    esn = ESNRegressor(8, alpha=alphas, features=features, random_state=0).fit(X, value)
    expected = []
    for alpha in alphas:
        left_out = []
        for i in range(len(X)):
            rest = clone(esn).set_params(alpha=alpha).fit(X[:i] + X[i + 1 :], np.delete(value, i))
            left_out.append((rest.predict([X[i]])[0] - value[i]) ** 2)
        expected.append(np.mean(left_out))
    np.testing.assert_allclose(esn.loo_errors_, expected, rtol=1e-6)
    assert esn.alpha_ == alphas[int(np.argmin(expected))]


def test_leave_one_out_of_steps():
    u = np.random.default_rng(6).uniform(-1, 1, (400, 1))
    esn = ESNRegressor(40, alpha=[1e-8, 1e-4, 1e6], washout=20, random_state=0).fit([u[:-1]], [u[:-1] ** 2])
    assert esn.alpha_ < 1e6
    assert esn.loo_errors_.shape == (3,)


def test_partial_fit_over_chunks_equals_one_fit(backend):
    X, y, value, steps = ragged(np.random.default_rng(7), n=40)
    common = {"units": 20, "random_state": 0, "backend": backend, "alpha": 0.01}
    for Estimator, target in ((ESNClassifier, y), (ESNRegressor, value), (ESNRegressor, steps)):
        whole, chunked = Estimator(**common).fit(X, target), Estimator(**common)
        for part in np.array_split(np.arange(40), 4):
            extra = {"classes": np.unique(y)} if Estimator is ESNClassifier else {}
            chunked.partial_fit([X[i] for i in part], [target[i] for i in part], **extra)
        np.testing.assert_allclose(chunked.coef_, whole.coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(chunked.intercept_, whole.intercept_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("feedback", [False, True])
def test_a_series_may_come_in_pieces(feedback):
    u = mackey_glass(900, random_state=1)[:, np.newaxis]
    esn = ESNRegressor(50, washout=130, alpha=1e-4, feedback=feedback, random_state=0)
    whole, pieces = clone(esn).fit([u[:-1]], [u[1:]]), clone(esn)
    for i, first in enumerate(range(0, 899, 200)):
        stop = min(first + 200, 899)
        pieces.partial_fit([u[first:stop]], [u[first + 1 : stop + 1]], continued=i > 0)
    np.testing.assert_allclose(pieces.coef_, whole.coef_, rtol=1e-5, atol=1e-8)
    future = {"X_future": np.zeros((5, 1))} if feedback else {}
    np.testing.assert_allclose(pieces.forecast(5, **future), whole.forecast(5, **future), rtol=1e-5)


def test_recursive_least_squares_without_forgetting_is_ridge():
    u = mackey_glass(400, random_state=2)[:, np.newaxis]
    common = {"units": 15, "alpha": 0.01, "features": ("state",), "random_state": 0}
    ridge, rls = (ESNRegressor(**common, solver=name).fit([u[:-1]], [u[1:]]) for name in ("ridge", "rls"))
    np.testing.assert_allclose(rls.coef_, ridge.coef_, rtol=1e-5)


def test_forgetting_follows_a_change():
    u = np.random.default_rng(8).uniform(-1, 1, (2000, 1))
    y = np.where(np.arange(2000) < 1000, 1.0, -1.0)[:, np.newaxis] * u
    steady, forgetful = (
        ESNRegressor(20, solver="rls", forgetting=forgetting, alpha=1e-3, random_state=0).fit([u], [y])
        for forgetting in (1.0, 0.98)
    )
    late = [np.abs(esn.predict([u])[0][1500:] - y[1500:]).mean() for esn in (steady, forgetful)]
    assert late[1] < 0.1 * late[0]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_forgetting_follows_sequences_in_their_order(bidirectional, backend):
    """Whatever their lengths, the last one's rows count most, as where each came by itself."""
    rng = np.random.default_rng(9)
    X = [rng.uniform(-1, 1, (time, 1)) for time in (9, 700, 30, 30, 5)]
    Y = [rng.standard_normal((len(u), 2)) for u in X]
    esn = ESNRegressor(
        200, solver="rls", forgetting=0.98, alpha=0.1, bidirectional=bidirectional, random_state=0, backend=backend
    )
    together, apart = clone(esn).fit(X, Y), clone(esn)
    for u, y in zip(X, Y, strict=True):
        apart.partial_fit([u], [y])
    np.testing.assert_array_equal(together.coef_, apart.coef_)


def test_forecasts_go_on_with_the_series(backend):
    u = np.sin(np.arange(700) / 7)[:, np.newaxis]
    esn = ESNRegressor(100, washout=50, random_state=0, backend=backend).fit([u[:-1]], [u[1:]])
    truth = np.sin(np.arange(700, 730) / 7)[:, np.newaxis]
    np.testing.assert_allclose(esn.forecast(30), truth, atol=1e-2)
    several = esn.forecast(30, [u[-300:], u[-200:]])
    assert several.shape == (2, 30, 1)
    np.testing.assert_allclose(several[0], truth, atol=1e-2)
    np.testing.assert_allclose(esn.forecast(1, [u]), [esn.predict([u])[0][-1:]], rtol=1e-12)


def test_feedback_generates_a_wave_and_sees_inputs(backend):
    time = np.arange(800)
    control = np.where(time // 100 % 2, 1.0, 0.5)[:, np.newaxis]
    wave = np.sin(time / 6)[:, np.newaxis]
    esn = ESNRegressor(100, feedback=True, washout=100, alpha=1e-8, random_state=0, backend=backend)
    esn.fit([control], [wave])
    forecast = esn.forecast(20, X_future=np.full((20, 1), 0.5))
    np.testing.assert_allclose(forecast, np.sin(np.arange(800, 820) / 6)[:, np.newaxis], atol=0.1)
    resumed = esn.forecast(20, [control], [wave], X_future=np.full((20, 1), 0.5))
    np.testing.assert_allclose(resumed[0], forecast, rtol=1e-6, atol=1e-9)
    alone, among = esn.predict([control[:9]]), esn.predict([control[:5], control[:9]])
    assert np.array_equal(alone[0], among[1])


@pytest.mark.parametrize("shape", [(1, 2), (4, 1), (1, 1), (1, 4, 1), (2, 4, 2), (5, 2)])
def test_inputs_of_the_steps_to_come_have_as_many_steps_and_channels(shape, backend):
    u = np.random.default_rng(0).standard_normal((50, 2))
    esn = ESNRegressor(20, feedback=True, random_state=0, backend=backend).fit([u], [u[:, 0]])
    assert esn.forecast(4, X_future=u[:4]).shape == (4, 1)
    with pytest.raises(ValueError, match=r"expected \(4, 2\) or \(1, 4, 2\)"):
        esn.forecast(4, X_future=np.zeros(shape))


def test_forms_of_one_series():
    u = np.random.default_rng(9).standard_normal((50, 2))
    y = np.cumsum(u[:, 0])
    esn = ESNRegressor(20, random_state=0)
    expected = clone(esn).fit([u], [y]).predict([u])[0]
    for X, target in ((u[np.newaxis], y), (u[np.newaxis], y[np.newaxis]), ([u], y), (u[np.newaxis], y[:, np.newaxis])):
        predicted = clone(esn).fit(X, target).predict(X)
        assert np.array_equal(np.ravel(predicted[0]), expected)


@pytest.mark.parametrize("topology", ["random", "ring", "orthogonal"])
@pytest.mark.parametrize("units", [1, 2, 30, 150])
@pytest.mark.parametrize("density", [None, 0.05, 1.0])
def test_spectral_radius(topology, units, density):
    esn = ESNRegressor(units, topology=topology, density=density, spectral_radius=0.7, random_state=1)
    W = esn.fit(np.eye(3), np.arange(3.0)).recurrent_weights_
    W = W.toarray() if sparse.issparse(W) else W
    assert np.abs(np.linalg.eigvals(W)).max() == pytest.approx(0.7, rel=1e-5)
    if topology == "random":
        heard = min(units, 10) if density is None else max(1, round(density * units))
        assert ((W != 0).sum(axis=0) == heard).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_eigenvalue_is_found_among_many_nearly_as_large(seed):
    W = recurrent_weights(np.random.RandomState(seed), 200, "random", None, 0.9)
    assert np.abs(np.linalg.eigvals(W.toarray())).max() == pytest.approx(0.9, rel=1e-5)


def test_same_seed_same_bits_and_pickles(backend):
    X, y, _, steps = ragged(np.random.default_rng(10))
    esn = ESNRegressor(200, random_state=3, backend=backend).fit(X, steps)
    again = pickle.loads(pickle.dumps(esn))
    for a, b, c in zip(esn.predict(X), again.predict(X), clone(esn).fit(X, steps).predict(X), strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, c)
    assert ESNClassifier(random_state=0, backend=backend).fit(X, y).score(X, y) > 0.8


def test_score_of_steps():
    u = mackey_glass(600, random_state=3)[:, np.newaxis]
    esn = ESNRegressor(100, washout=50, random_state=0).fit([u[:-1]], [u[1:]])
    assert esn.score([u[:-1]], [u[1:]]) > 0.999


@pytest.mark.parametrize(
    "Estimator, options, message",
    [
        (ESNRegressor, {"washout": 50}, "washout=50 leaves nothing of a sequence of"),
        (ESNRegressor, {"features": ("states",)}, "features must name some of"),
        (ESNRegressor, {"features": ("bias",)}, "leaves nothing to read"),
        (ESNRegressor, {"pooling": ()}, "pooling must name some of"),
        (ESNRegressor, {"feedback": True}, "feedback=True needs targets for every step"),
        (ESNRegressor, {"alpha": [0.1, -1.0]}, "alpha must be a number or several"),
        (ESNRegressor, {"alpha": [1, [2, 3]]}, r"alpha must be a number or several, got \[1, \[2, 3\]\]"),
        (ESNRegressor, {"input_scaling": ["a"]}, r"input_scaling must be a number or several, got \['a'\]"),
        (ESNRegressor, {"input_scaling": [10**400]}, "input_scaling must be a number or several, got"),
        (ESNRegressor, {"units": True}, "units must be a whole number, at least 1, got True"),
        (ESNRegressor, {"solver": "rls", "alpha": 0.0}, "needs a positive alpha"),
        (ESNClassifier, {"solver": "rls", "alpha": [1.0, 2.0]}, "give one alpha"),
        (ESNClassifier, {"input_scaling": [1.0, 2.0, 3.0]}, "input_scaling has shape"),
        (ESNRegressor, {"input_scaling": [1.0, np.inf]}, "input_scaling must be finite numbers"),
        (ESNClassifier, {"activation": "rrelu"}, "is random"),
    ],
    ids=str,
)
def test_parameters_that_cannot_be(Estimator, options, message):
    X, y, _, _ = ragged(np.random.default_rng(11))
    with pytest.raises(ValueError, match=message):
        Estimator(**options).fit(X, y)


def test_targets_and_calls_that_cannot_be():
    X, y, value, steps = ragged(np.random.default_rng(12))
    with pytest.raises(ValueError, match="choosing among several alphas needs all data at once"):
        ESNRegressor(alpha=[1.0, 2.0]).partial_fit(X, value)
    with pytest.raises(ValueError, match=r"y\[0\] has shape"):
        ESNRegressor().fit(X, [values[:-1] if len(values) > 1 else values[:0] for values in steps])
    with pytest.raises(ValueError, match="y has 22 sequences, X has 23"):
        ESNRegressor().fit(X, steps[:-1])
    with pytest.raises(ValueError, match="continued=True needs a single sequence"):
        ESNRegressor().partial_fit(X[:1], value[:1], continued=True)
    with pytest.raises(ValueError, match="bidirectional=True sees the future"):
        ESNRegressor(feedback=True, bidirectional=True).fit(X, steps)
    with pytest.raises(ValueError, match="outputs are to be the next inputs"):
        ESNRegressor(20).fit(X, steps).forecast(3)
    with pytest.raises(ValueError, match="needs a network with targets for every step"):
        ESNRegressor(20).fit(X, value).forecast(3)
    classifier = ESNClassifier(20).partial_fit(X[:10], y[:10] % 2, classes=[0, 1])
    with pytest.raises(ValueError, match="classes that are not among"):
        classifier.partial_fit(X[10:], y[10:] + 5)


def test_a_fit_that_fails_changes_nothing():
    X, y, _, _ = ragged(np.random.default_rng(13))
    esn = ESNClassifier(20, random_state=0).fit(X, y)
    before = esn.decision_function(X)
    with pytest.raises(ValueError, match="washout"):
        esn.set_params(washout=100).fit([x[:, :1] for x in X], y)
    assert np.array_equal(esn.set_params(washout=0).decision_function(X), before)


def test_units_in_numpys_small_types_do_not_overflow():
    X, y, _, _ = ragged(np.random.default_rng(11))
    small, plain = (ESNRegressor(units, random_state=0).fit(X, y) for units in (np.uint8(200), 200))
    np.testing.assert_array_equal(small.coef_, plain.coef_)


@pytest.mark.parametrize("classes", [[0, 1, 2], [3, 5, 9], ["a", "b", "c"]], ids=str)
def test_labels_of_a_chunk_are_among_the_classes(classes):
    X = np.random.default_rng(12).normal(size=(4, 9, 1))
    known, model = np.array(classes), ESNClassifier(8, random_state=0)
    model.partial_fit(X, known[[0, 1, 1, 0]], classes=classes).partial_fit(X, known[[2, 2, 1, 2]])
    with pytest.raises(ValueError, match="classes that are not among"):
        model.partial_fit(X, [*known[[0, 1, 2]], classes[2] * 2])
