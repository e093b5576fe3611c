"""Sample weights of echo state networks: whole weights are repetitions, of sequences and of steps."""

import numpy as np
import pytest
from sklearn.base import clone

from fastnn import ESNClassifier, ESNRegressor

random = np.random.default_rng(0)
X = [random.standard_normal((length, 2)) for length in random.integers(3, 20, 40)]
CLASSES = np.array([int(x.mean() > 0) for x in X])
VALUES = np.array([x.mean() for x in X])
STEPS = [np.cumsum(x[:, 0]) for x in X]
WEIGHT = random.integers(0, 4, len(X))

TARGETS = [(ESNClassifier, CLASSES), (ESNRegressor, VALUES), (ESNRegressor, STEPS)]


def repeated(values):
    return [value for value, times in zip(values, WEIGHT, strict=True) for _ in range(times)]


@pytest.mark.parametrize(
    "options",
    [{}, {"features": ("state",)}, {"standardize": True}, {"solver": "rls"}, {"alpha": [0.1]}],
    ids=str,
)
@pytest.mark.parametrize("Estimator, y", TARGETS, ids=["classes", "values", "steps"])
def test_whole_weights_are_repetitions(Estimator, y, options, backend):
    model = Estimator(10, random_state=0, backend=backend, **{"alpha": 0.1, **options})
    weighted = clone(model).fit(X, y, sample_weight=WEIGHT)
    expected = clone(model).fit(repeated(X), repeated(y))
    np.testing.assert_allclose(weighted.coef_, expected.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(weighted.intercept_, expected.intercept_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("Estimator, y", TARGETS, ids=["classes", "values", "steps"])
def test_weights_in_chunks(Estimator, y):
    model, chunked = Estimator(10, alpha=0.1, random_state=0), Estimator(10, alpha=0.1, random_state=0)
    for part in (slice(0, 15), slice(15, 40)):
        extra = {"classes": [0, 1]} if Estimator is ESNClassifier else {}
        chunked.partial_fit(X[part], y[part], sample_weight=WEIGHT[part], **extra)
    np.testing.assert_allclose(chunked.coef_, model.fit(X, y, sample_weight=WEIGHT).coef_, rtol=1e-6, atol=1e-9)


def test_weights_of_steps():
    u = np.random.default_rng(1).standard_normal((200, 1))
    weight = np.ones(200)
    weight[:120] = 0
    model = ESNRegressor(10, alpha=0.1, random_state=0)
    expected = clone(model).set_params(washout=120).fit([u], [u**2])
    for given in (weight, [weight], weight[np.newaxis]):
        np.testing.assert_allclose(clone(model).fit([u], [u**2], sample_weight=given).coef_, expected.coef_, rtol=1e-9)
    assert expected.score([u], [u**2]) == pytest.approx(
        clone(model).fit([u], [u**2], sample_weight=weight).score([u], [u**2], sample_weight=weight)
    )


def test_leave_one_out_weighs_errors_and_leaves_out_whole_rows():
    model = ESNRegressor(8, alpha=[1e-3, 0.1, 10.0], random_state=0).fit(X, VALUES, sample_weight=WEIGHT + 0.5)
    expected = []
    for alpha in model.alpha:
        left_out = []
        for i in range(len(X)):
            rest = [j for j in range(len(X)) if j != i]
            other = clone(model).set_params(alpha=alpha)
            other.fit([X[j] for j in rest], VALUES[rest], sample_weight=WEIGHT[rest] + 0.5)
            left_out.append((other.predict([X[i]])[0] - VALUES[i]) ** 2)
        expected.append(np.average(left_out, weights=WEIGHT + 0.5))
    np.testing.assert_allclose(model.loo_errors_, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "weight, message",
    [
        (-np.ones(len(X)), "Negative values"),
        (np.zeros(len(X)), "zero"),
        (np.ones(3), "sample_weight"),
        (np.full(len(X), np.nan), "NaN"),
    ],
    ids=["negative", "zero", "short", "nan"],
)
@pytest.mark.parametrize("Estimator, y", TARGETS, ids=["classes", "values", "steps"])
def test_weights_that_cannot_be(Estimator, y, weight, message):
    with pytest.raises(ValueError, match=message):
        Estimator(10).fit(X, y, sample_weight=weight)


def test_weights_within_the_washout_alone_are_an_error():
    u = np.random.default_rng(1).standard_normal((50, 1))
    with pytest.raises(ValueError, match="no row after the washout"):
        ESNRegressor(10, washout=20).fit([u], [u], sample_weight=np.arange(50) < 20)
