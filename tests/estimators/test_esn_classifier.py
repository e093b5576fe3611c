"""ESNClassifier: shares of classes, and labels for every step."""

import numpy as np
import pytest
from sklearn.base import clone

from fastnn import ESNClassifier

random = np.random.default_rng(0)
X = [random.standard_normal((length, 2)) for length in random.integers(3, 40, 30)]
BINARY = np.array([int(x.mean() > 0) for x in X])
LABELS = np.array(["few", "many", "some"])[BINARY + np.array([int(x[-1, 0] > 0) for x in X])]
STEPS = [np.where(np.cumsum(x[:, 0]) > 0, "up", "down") for x in X]


@pytest.mark.parametrize("y", [BINARY, LABELS], ids=["two", "three"])
def test_shares_sum_to_one_and_agree_with_predict(y, backend):
    model = ESNClassifier(50, random_state=0, backend=backend).fit(X, y)
    P, z = model.predict_proba(X), model.decision_function(X)
    assert P.shape == (len(X), len(model.classes_)) and (P > 0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1.0)
    assert np.array_equal(model.classes_[P.argmax(axis=1)], model.predict(X))
    logits = z if z.ndim == 2 else np.column_stack([-z, z])
    np.testing.assert_allclose(np.log(P[:, 1] / P[:, 0]), logits[:, 1] - logits[:, 0])


def test_a_single_class_has_all_shares():
    model = ESNClassifier(10, random_state=0).fit(X, np.full(len(X), 7))
    assert np.array_equal(model.predict_proba(X), np.ones((len(X), 1)))
    assert np.array_equal(model.predict(X), np.full(len(X), 7))


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"feedback": True, "feedback_scaling": 0.1}], ids=str)
def test_labels_of_steps(options, backend):
    options = {"alpha": 1e-3, "features": ("bias", "input", "state"), "backend": backend, **options}
    model = ESNClassifier(100, random_state=0, **options).fit(X, STEPS)
    assert model.each_step_ and model.score(X, STEPS) > 0.8
    for x, among, P in zip(X, model.predict(X), model.predict_proba(X), strict=True):
        assert among.shape == (len(x),) and P.shape == (len(x), 2)
        assert np.array_equal(model.predict([x])[0], among)
        assert np.array_equal(model.classes_[P.argmax(axis=1)], among)


def test_labels_of_steps_in_padded_arrays_and_of_one_series():
    lengths, padded = [len(x) for x in X], np.full((len(X), 40, 2), np.nan)
    labels = np.full((len(X), 40), "nothing")
    for row, label, x, y in zip(padded, labels, X, STEPS, strict=True):
        row[: len(x)], label[: len(x)] = x, y
    model = ESNClassifier(30, random_state=0)
    expected = clone(model).fit(X, STEPS)
    same = clone(model).fit(padded, labels, lengths=lengths)
    assert np.array_equal(same.coef_, expected.coef_)
    predicted = same.predict(padded, lengths=lengths)
    assert predicted.shape == (len(X), 40)
    assert all(np.array_equal(p[: len(e)], e) for p, e in zip(predicted, expected.predict(X), strict=True))
    assert same.score(padded, labels, lengths=lengths) == expected.score(X, STEPS)
    alone = clone(model).fit([X[0]], [STEPS[0]])
    for u, y in (([X[0]], STEPS[0]), (X[0][np.newaxis], STEPS[0]), (X[0][np.newaxis], STEPS[0][np.newaxis])):
        assert np.array_equal(clone(model).fit(u, y).coef_, alone.coef_)


def test_a_labelled_series_may_come_in_pieces():
    u = np.random.default_rng(1).standard_normal((300, 1))
    y = np.where(np.cumsum(u) > 0, 1, 0)
    model = ESNClassifier(30, washout=20, feedback=True, random_state=0)
    whole, pieces = clone(model).fit([u], [y]), clone(model)
    for first in (0, 100, 200):
        part = slice(first, first + 100)
        pieces.partial_fit([u[part]], [y[part]], classes=[0, 1], continued=first > 0)
    np.testing.assert_allclose(pieces.coef_, whole.coef_, rtol=1e-6, atol=1e-9)


def test_feedback_of_whole_sequences_is_refused():
    with pytest.raises(ValueError, match="feedback=True needs targets for every step"):
        ESNClassifier(feedback=True).fit(X, BINARY)
