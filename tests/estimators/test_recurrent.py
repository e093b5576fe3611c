"""Recurrent estimators: sequences of any length, one target each or one a step, on both backends."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline

from fastnn import ConvNet, RecurrentClassifier, RecurrentRegressor, SlidingWindow, check_gradient
from fastnn.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Conv1D,
    Dense,
    Embedding,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    LastStep,
    SimpleRNN,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

random = np.random.default_rng(0)
LENGTHS = [3, 5, 1, 9, 4, 6, 2, 7, 5, 8, 3, 6]
SERIES = [random.standard_normal((length, 2)) for length in LENGTHS]
LABELS = np.array(["a", "b", "c"])[[int(x[:, 0].sum() > 0) + int(x[:, 1].sum() > 0) for x in SERIES]]
VALUES = np.array([x.mean() for x in SERIES])
STEP_LABELS = [np.array(["up", "down"])[(x[:, 0] > 0).astype(int)] for x in SERIES]
STEP_VALUES = [np.cumsum(x, axis=0) for x in SERIES]
TINY = {"max_iter": 3, "batch_size": 5, "random_state": 0}
SEQUENCES = {"return_sequences": True}


def padded(series, fill=np.nan):
    array = np.full((len(series), max(map(len, series)), *series[0].shape[1:]), fill, dtype=np.result_type(*series))
    for row, values in zip(array, series, strict=True):
        row[: len(values)] = values
    return array


SMALL = (GRU(4),)


def classifier(layers=SMALL, **options):
    return RecurrentClassifier(list(layers), **{**TINY, **options})


def regressor(layers=SMALL, **options):
    return RecurrentRegressor(list(layers), **{**TINY, **options})


def same(a, b):
    pairs = [(a.coefs_, b.coefs_), (a.intercepts_, b.intercepts_), (a.recurrent_coefs_, b.recurrent_coefs_)]
    arrays = [(x, y) for left, right in pairs for x, y in zip(left, right, strict=True) if x is not None]
    return all(np.array_equal(x, y) for x, y in arrays)


STACKS = {
    "gru": [GRU(5)],
    "wide lstm": [LSTM(70)],
    "elman": [SimpleRNN(5)],
    "stacked": [LSTM(5, **SEQUENCES), GRU(3)],
    "both ways": [Bidirectional(GRU(5))],
    "mean": [Bidirectional(LSTM(5, **SEQUENCES)), GlobalAvgPool()],
    "maximum": [GRU(5, **SEQUENCES), GlobalMaxPool()],
    "last": [GRU(5, **SEQUENCES), LastStep(), Dense(4, "relu")],
    "dropout": [GRU(5, dropout=0.2, recurrent_dropout=0.2)],
}


@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_predictions_have_the_same_bits_alone_and_among_others(layers, backend):
    model = classifier(layers, backend=backend).fit(SERIES, LABELS)
    together = model.predict_proba(SERIES)
    alone = [model.predict_proba([x])[0] for x in SERIES]
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("layers", [[GRU(5, **SEQUENCES)], [Bidirectional(LSTM(5, **SEQUENCES))]], ids=["gru", "lstm"])
def test_predictions_at_each_step_have_the_same_bits_alone_and_among_others(layers, backend):
    model = classifier(layers, backend=backend).fit(SERIES, STEP_LABELS)
    for x, together in zip(SERIES, model.predict_proba(SERIES), strict=True):
        assert np.array_equal(model.predict_proba([x])[0], together)


def test_very_different_lengths_are_padded_in_groups(backend):
    series = [random.standard_normal((length, 2)) for length in (2, 3, 200, 5, 2, 180, 1, 1, 1, 1)]
    model = regressor(backend=backend).fit(SERIES, VALUES)
    assert np.array_equal(model.predict(series), [model.predict([x])[0] for x in series])
    steps = regressor([GRU(4, **SEQUENCES)], backend=backend).fit(SERIES, STEP_VALUES)
    for x, values in zip(series, steps.predict(series), strict=True):
        assert np.array_equal(steps.predict([x])[0], values)


def test_every_form_of_X_means_the_same(backend):
    expected = classifier(backend=backend).fit(SERIES, LABELS)
    X = padded(SERIES)
    model = classifier(backend=backend).fit(X, LABELS, lengths=LENGTHS)
    assert same(model, expected)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform"):
        assert np.array_equal(getattr(model, method)(X, lengths=LENGTHS), getattr(expected, method)(SERIES))
    assert model.score(X, LABELS, lengths=LENGTHS) == expected.score(SERIES, LABELS)
    assert np.array_equal(
        classifier(backend=backend).fit_transform(X, LABELS, lengths=LENGTHS), expected.transform(SERIES)
    )


def test_steps_come_back_in_the_form_of_X(backend):
    layers = [GRU(4, **SEQUENCES)]
    X, Y = padded(SERIES), padded(STEP_VALUES)
    listed = regressor(layers, backend=backend).fit(SERIES, STEP_VALUES)
    model = regressor(layers, backend=backend).fit(X, Y, lengths=LENGTHS)
    assert same(model, listed)
    values, array = listed.predict(SERIES), model.predict(X, LENGTHS)
    assert [v.shape for v in values] == [v.shape for v in STEP_VALUES]
    assert np.array_equal(array, padded(values, 0.0))
    assert np.array_equal(model.transform(X, 0, LENGTHS), padded(listed.transform(SERIES, layer=0), 0.0))
    assert listed.predict([x[:3] for x in SERIES if len(x) > 2])[0].shape == (3, 2)


def test_outputs_at_each_step_of_a_classifier(backend):
    model = classifier([GRU(4, **SEQUENCES)], backend=backend).fit(SERIES, STEP_LABELS)
    labels, P, z = model.predict(SERIES), model.predict_proba(SERIES), model.decision_function(SERIES)
    for x, label, p, log_p, score in zip(SERIES, labels, P, model.predict_log_proba(SERIES), z, strict=True):
        assert label.shape == score.shape == (len(x),) and p.shape == (len(x), 2)
        np.testing.assert_allclose(p.sum(axis=1), 1)
        np.testing.assert_allclose(log_p, np.log(p))
        assert np.array_equal(label, model.classes_[p.argmax(axis=1)])
        assert np.array_equal(score > 0, p[:, 1] > 0.5)


def test_several_classes_and_labels_at_each_step(backend):
    several = [np.digitize(x[:, 0], [-0.5, 0.5]) for x in SERIES]
    model = classifier([LSTM(4, **SEQUENCES)], backend=backend, max_iter=60, learning_rate_init=0.05)
    assert model.fit(SERIES, several).score(SERIES, several) > 0.8
    labels = [(x > 0).astype(int) for x in SERIES]
    assert model.fit(SERIES, labels).predict(SERIES)[3].shape == (9, 2)
    assert model.out_activation_ == "logistic"


def test_a_score_refuses_weights_of_other_sequences():
    model = classifier([GRU(4, **SEQUENCES)]).fit(SERIES, STEP_LABELS)
    with pytest.raises(ValueError, match=r"sample_weight\.shape == \(5,\), expected \(12,\)"):
        model.score(SERIES, STEP_LABELS, sample_weight=np.ones(5))


def test_score_counts_steps_not_sequences(backend):
    weight = np.arange(1.0, 13.0)
    model = classifier([GRU(4, **SEQUENCES)], backend=backend).fit(SERIES, STEP_LABELS)
    truth, guess = np.concatenate(STEP_LABELS), np.concatenate(model.predict(SERIES))
    assert model.score(SERIES, STEP_LABELS) == accuracy_score(truth, guess)
    assert model.score(SERIES, STEP_LABELS, weight) == pytest.approx(
        accuracy_score(truth, guess, sample_weight=np.repeat(weight, LENGTHS))
    )
    model = regressor([GRU(4, **SEQUENCES)], backend=backend).fit(SERIES, STEP_VALUES)
    truth, guess = np.concatenate(STEP_VALUES), np.concatenate(model.predict(SERIES))
    assert model.score(SERIES, STEP_VALUES) == pytest.approx(r2_score(truth, guess))


def test_the_loss_is_the_mean_over_a_sequences_own_steps(backend):
    model = regressor(
        [GRU(4, **SEQUENCES)], backend=backend, max_iter=1, batch_size=12, learning_rate_init=1e-300, alpha=0
    ).fit(SERIES, STEP_VALUES)
    errors = [
        np.mean(np.sum((p - v) ** 2, axis=1)) / 2 for p, v in zip(model.predict(SERIES), STEP_VALUES, strict=True)
    ]
    assert model.loss_ == pytest.approx(np.mean(errors))


def test_padding_is_nobodys_business(backend):
    X = padded(SERIES)
    models = [
        classifier([GRU(4, **SEQUENCES)], backend=backend).fit(
            np.nan_to_num(X, nan=fill), padded([(x[:, 0] > 0).astype(int) for x in SERIES], label), lengths=LENGTHS
        )
        for fill, label in ((0.0, 0), (7.0, 1))
    ]
    assert same(*models)


def test_learns_unequal_lengths_without_being_given_layers(backend):
    speed = random.integers(1, 4, 60)
    X = [np.sin(v * np.arange(random.integers(20, 30)) / 5)[:, np.newaxis] for v in speed]
    model = RecurrentClassifier(
        learning_rate_init=0.02, batch_size=20, max_iter=60, tol=0.01, random_state=0, backend=backend
    )
    assert model.fit(X[:40], speed[:40]).score(X[40:], speed[40:]) > 0.9
    assert model.layers_[0] == GRU(32)


def test_native_learns_what_the_reference_learns():
    for layers in STACKS.values():
        a, b = (classifier(layers, backend=name).fit(SERIES, LABELS) for name in ("numpy", "native"))
        np.testing.assert_allclose(a.predict_proba(SERIES), b.predict_proba(SERIES), atol=1e-10)


@pytest.mark.parametrize("layers", [*STACKS.values()], ids=STACKS)
def test_gradient(layers, backend):
    assert check_gradient(classifier(layers, backend=backend), SERIES, LABELS, max_entries=10).worst < 1e-6


def test_gradient_at_each_step(backend):
    layers = [Embedding(9, 3), LSTM(4, **SEQUENCES)]
    tokens = [random.integers(0, 9, n) for n in (3, 5, 4)]
    targets = [t % 3 for t in tokens]
    assert check_gradient(classifier(layers, backend=backend), tokens, targets).worst < 1e-6
    model = regressor([GRU(4, **SEQUENCES)], backend=backend)
    assert check_gradient(model, SERIES, STEP_VALUES, np.arange(1.0, 13.0)).worst < 1e-6


# ---- tokens ----


def test_tokens_in_every_form(backend):
    tokens = random.integers(0, 7, (10, 6))
    y = tokens[:, 0] > 3
    layers = [Embedding(7, 3), GRU(4)]
    expected = classifier(layers, backend=backend).fit(tokens, y)
    assert expected.coefs_[0].shape == (7, 3) and expected.coefs_[0].dtype == np.float32
    assert expected.intercepts_[0] is None and expected.recurrent_coefs_[0] is None
    for same_tokens in (tokens.astype(np.uint8), tokens[:, :, np.newaxis], tokens.astype(float), list(tokens)):
        assert same(classifier(layers, backend=backend).fit(same_tokens, y), expected)
    ragged = [row[: 1 + i % 6] for i, row in enumerate(tokens)]
    assert np.array_equal(expected.predict_proba(ragged), [expected.predict_proba([x])[0] for x in ragged])
    assert expected.predict(tokens[:, :4]).shape == (10,)


@pytest.mark.parametrize("wrong, what", [(7, "7"), (-1, "-1"), (2.5, "2.5")])
@pytest.mark.parametrize("form", [list, np.array])
def test_tokens_out_of_range(form, wrong, what):
    tokens = np.array([[0, 1, 2], [3, 4, wrong]])
    with pytest.raises(ValueError, match=rf"X holds the number {what}, but Embedding\(7, ...\) takes whole numbers"):
        classifier([Embedding(7, 3), GRU(4)], batch_size="auto").fit(form(tokens.tolist()), [0, 1])
    model = classifier([Embedding(7, 3), GRU(4)], batch_size="auto").fit([[0, 1, 2], [3, 4, 6]], [0, 1])
    with pytest.raises(ValueError, match="whole numbers from 0 to 6"):
        model.predict(form(tokens.tolist()))


@pytest.mark.parametrize("layers", [[Embedding(3, 3), GRU(4)], [GRU(4)], ["embedding"]])
@pytest.mark.parametrize("Estimator", [RecurrentClassifier, ConvNet])
def test_layers_that_are_set_wait_for_the_next_fit(Estimator, layers, backend):
    tokens = random.integers(0, 7, (10, 6))
    given = [Embedding(7, 3), GRU(4)] if Estimator is RecurrentClassifier else [Embedding(7, 3), GlobalMaxPool()]
    model = Estimator(given, max_iter=2, random_state=0, backend=backend).fit(tokens, tokens[:, 0] > 3)
    expected = model.predict_proba(tokens)
    model.set_params(layers=layers)
    assert np.array_equal(model.predict_proba(tokens), expected)
    with pytest.raises(ValueError, match="whole numbers from 0 to 6"):
        model.predict(tokens + 7)


def test_convnet_leaves_tokens_as_they_are(backend):
    tokens = random.integers(0, 7, (10, 6)).astype(np.uint8)
    layers = [Embedding(7, 3), Conv1D(4, 2, activation="relu"), GlobalMaxPool()]
    model = ConvNet(layers, backend=backend, max_iter=2, random_state=0).fit(tokens, tokens[:, 0] > 3)
    assert model.scale_ == 1.0
    assert np.array_equal(model.predict_proba(tokens), model.predict_proba(tokens.astype(np.float32)))
    for wrong in (tokens + 1, tokens + 1.0):
        with pytest.raises(ValueError, match="whole numbers from 0 to 6"):
            model.predict(wrong)
    with pytest.raises(ValueError, match=r"scale=0\.5 would change the tokens"):
        ConvNet(layers, scale=0.5).fit(tokens, tokens[:, 0] > 3)


# ---- everything that networks offer ----


def test_shapes_of_fitted_arrays(backend):
    model = classifier([Bidirectional(LSTM(5, **SEQUENCES)), GRU(3)], backend=backend).fit(SERIES, LABELS)
    shapes = [[None if a is None else a.shape for a in arrays] for arrays in (
        model.coefs_, model.intercepts_, model.recurrent_coefs_, model.recurrent_intercepts_)]  # fmt: skip
    assert shapes == [
        [(4, 2, 5), (4, 2, 5), (3, 10, 3), (3, 3)],
        [(4, 5), (4, 5), (3, 3), (3,)],
        [(4, 5, 5), (4, 5, 5), (3, 3, 3), None],
        [None, None, (3,), None],
    ]
    assert model.summary().total("parameters") == sum(
        np.size(a)
        for arrays in (model.coefs_, model.intercepts_, model.recurrent_coefs_, model.recurrent_intercepts_)
        for a in arrays
        if a is not None
    )


@pytest.mark.parametrize("attribute", ["coefs_", "intercepts_", "recurrent_coefs_", "recurrent_intercepts_"])
def test_predictions_use_what_the_user_changed(attribute, backend):
    X = np.stack([x[:3] for x in SERIES if len(x) > 2])
    model = regressor([GRU(4)], backend=backend).fit(SERIES, VALUES)
    before = model.predict(X)
    getattr(model, attribute)[0] += 0.5
    after = model.predict(X)
    assert not np.array_equal(before, after)
    assert np.array_equal(after, model.predict(list(X)))
    getattr(model, attribute)[0] -= 0.5
    np.testing.assert_allclose(model.predict(X), before)


def test_a_fit_goes_on_as_if_it_had_never_stopped(backend):
    whole = classifier(backend=backend, max_iter=6).fit(SERIES, LABELS)
    first = classifier(backend=backend, max_iter=3, warm_start=True).fit(SERIES, LABELS)
    assert same(pickle.loads(pickle.dumps(first)).fit(SERIES, LABELS), whole)
    steps = classifier(backend=backend)
    for _ in range(6):
        steps.partial_fit(SERIES, LABELS, classes=["a", "b", "c"])
    assert same(steps, whole)


def test_partial_fit_takes_sequences_of_other_lengths(backend):
    model = classifier([LSTM(4, **SEQUENCES)], backend=backend, batch_size="auto")
    model.partial_fit(SERIES[:6], STEP_LABELS[:6], classes=["down", "up"])
    model.partial_fit(SERIES[3:4], STEP_LABELS[3:4])
    assert model.t_ == 7
    with pytest.raises(ValueError, match="has classes not in"):
        model.partial_fit(SERIES[:1], [np.array(["left", "up", "up"])])
    values = regressor(backend=backend, batch_size="auto").partial_fit(padded(SERIES), VALUES, lengths=LENGTHS)
    assert values.partial_fit(SERIES[3:4], VALUES[3:4]).t_ == 13


def test_copies_predict_the_same(backend):
    model = classifier(backend=backend).fit(SERIES, LABELS)
    expected = model.predict_proba(SERIES)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), clone(model).fit(SERIES, LABELS)):
        assert np.array_equal(twin.predict_proba(SERIES), expected)


@pytest.mark.parametrize("solver", ["lbfgs", "gd", "sgd", "adagrad", "rmsprop", "adamw"])
def test_solvers(solver, backend):
    model = regressor(backend=backend, solver=solver, max_iter=20, learning_rate_init=0.01).fit(SERIES, VALUES)
    assert model.loss_ < model.loss_curve_[0]


def test_lbfgs_ignores_the_clipping_that_nobody_asked_for(backend):
    with pytest.raises(ValueError, match="leave out clip_norm"):
        regressor(solver="lbfgs", clip_norm=2.0, backend=backend).fit(SERIES, VALUES)
    assert clone(regressor(solver="lbfgs", backend=backend)).fit(SERIES, VALUES).clip_norm == 1.0


@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss"])
@pytest.mark.parametrize("steps", [False, True])
def test_held_out_sequences_may_have_other_lengths(scoring, steps, backend):
    layers, y = ([GRU(4, **SEQUENCES)], STEP_LABELS) if steps else ([GRU(4)], LABELS)
    model = classifier(layers, backend=backend, scoring=scoring, early_stopping=True)
    X_val, lengths = padded(SERIES[2:]), LENGTHS[2:]
    model.fit(SERIES, y, X_val=X_val, y_val=y[2:], lengths_val=lengths, sample_weight_val=np.arange(1.0, 11.0))
    assert len(model.validation_scores_) == 3
    if scoring != "neg_log_loss":
        assert model.best_validation_score_ == pytest.approx(model.score(SERIES[2:], y[2:], np.arange(1.0, 11.0)))


@pytest.mark.parametrize("scoring", [None, "r2"])
def test_early_stopping_sets_sequences_aside(scoring, backend):
    for layers, y in (([GRU(4)], VALUES), ([GRU(4, **SEQUENCES)], STEP_VALUES)):
        model = regressor(layers, backend=backend, early_stopping=True, validation_fraction=0.3, scoring=scoring)
        assert len(model.fit(SERIES, y).validation_scores_) == 3
        padded_model = clone(model).fit(padded(SERIES), padded(y) if layers[0].return_sequences else y, lengths=LENGTHS)
        assert padded_model.validation_scores_ == model.validation_scores_


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("layer", [LSTM(64), GRU(64), Bidirectional(LSTM(32)), SimpleRNN(256)], ids=repr)
def test_same_model_whether_a_batch_stays_in_the_cache_or_not(layer, precision):
    """Batches are cut into pieces that the caches of all threads hold."""
    rng = np.random.default_rng(0)
    X, y, models = rng.random((230, 40, 3), np.float32), rng.integers(0, 3, 230), []
    for n_jobs in (1, 2, 3, 6):
        options = {"max_iter": 2, "batch_size": 150, "precision": precision, "random_state": 0}
        models.append(RecurrentClassifier([layer], n_jobs=n_jobs, **options).fit(X, y))
    for other in models[1:]:
        for name in ("coefs_", "recurrent_coefs_", "intercepts_"):
            for ours, theirs in zip(getattr(models[0], name), getattr(other, name), strict=True):
                assert ours is theirs is None or np.array_equal(ours, theirs)


@pytest.mark.parametrize("layers", [STACKS["both ways"], STACKS["dropout"]], ids=["both ways", "dropout"])
def test_same_model_for_any_number_of_threads(layers, backend):
    models = [classifier(layers, backend=backend, n_jobs=n_jobs).fit(SERIES, LABELS) for n_jobs in (1, 2, 3)]
    assert all(same(models[0], model) for model in models[1:])


def test_a_sequence_without_weight_is_not_learnt(backend):
    weight = np.ones(12)
    weight[3] = 0.0
    other = [*SERIES[:3], -SERIES[3], *SERIES[4:]]
    models = [regressor(backend=backend).fit(X, VALUES, sample_weight=weight) for X in (SERIES, other)]
    assert same(*models)
    assert not same(models[0], regressor(backend=backend).fit(SERIES, VALUES))


def test_windows_of_a_series_in_a_pipeline(backend):
    x = np.sin(np.arange(60.0) / 4)[:, np.newaxis]
    model = make_pipeline(SlidingWindow(6), regressor(backend=backend, max_iter=60, learning_rate_init=0.02))
    assert model.fit(x[:-1], x[1:, 0]).score(x[:-1], x[1:, 0]) > 0.9


def test_class_weight_and_label_smoothing(backend):
    plain = classifier(backend=backend).fit(SERIES, LABELS)
    assert not same(classifier(backend=backend, class_weight="balanced").fit(SERIES, LABELS), plain)
    assert not same(classifier(backend=backend, label_smoothing=0.1).fit(SERIES, LABELS), plain)
    with pytest.raises(ValueError, match="class_weight weighs sequences"):
        classifier([GRU(4, **SEQUENCES)], class_weight="balanced", backend=backend).fit(SERIES, STEP_LABELS)


def test_callbacks_see_the_network_of_the_moment(backend):
    seen = []
    model = classifier([GRU(4, **SEQUENCES)], backend=backend)
    model.set_params(epoch_callback=lambda epoch: seen.append(epoch.estimator.predict(SERIES)))
    model.fit(SERIES, STEP_LABELS)
    assert len(seen) == 3 and np.array_equal(np.concatenate(seen[-1]), np.concatenate(model.predict(SERIES)))


def test_one_channel_tables_and_other_lengths(backend):
    table = random.standard_normal((10, 5))
    model = regressor(backend=backend).fit(table, table[:, 0])
    assert model.n_features_in_ == 5
    assert np.array_equal(model.predict(table), model.predict(table[:, :, np.newaxis]))
    assert model.predict(table[:, :3, np.newaxis]).shape == (10,)
    with pytest.raises(ValueError, match="3 features"):
        model.predict(table[:, :3])
    model.predict(table[:, :3, np.newaxis])  # which the short way of predictions now takes
    with pytest.raises(ValueError, match="3 features"):
        model.predict(table[:, :3])


def test_layers_that_depend_on_the_number_of_steps(backend):
    X = random.standard_normal((8, 6, 2))
    model = regressor([GRU(4, **SEQUENCES), Flatten(), Dense(3)], backend=backend).fit(X, X[:, 0, 0])
    assert model.predict(X).shape == (8,)
    with pytest.raises(ValueError, match="the layers depend on the number of steps: they have weights for 6, X has 5"):
        model.predict(X[:, :5])
    with pytest.raises(ValueError, match="cannot tell where sequences of unequal length end"):
        model.fit(SERIES, VALUES)


# ---- bad input ----

NETWORKS = {"vector": [GRU(4)], "steps": [GRU(4, **SEQUENCES)]}


@pytest.mark.parametrize(
    "layers, X, y, message",
    [
        ("vector", [], [], "X is an empty list"),
        ("vector", [SERIES[0], np.zeros((0, 2))], [0, 1], r"X\[1\] is an empty sequence"),
        ("vector", [SERIES[0], SERIES[1][:, :1]], [0, 1], r"X\[1\] has 1 channels, X\[0\] has 2"),
        ("vector", [SERIES[0], SERIES[1] * np.nan], [0, 1], r"X\[1\] contains NaN"),
        ("vector", SERIES[:2], [0, 1, 0], "inconsistent numbers of samples"),
        ("vector", SERIES[:2], None, "requires y to be passed"),
        ("vector", SERIES[:2], STEP_LABELS[:2], "choose return_sequences=True"),
        ("vector", SERIES[:2], np.zeros((2, 5, 1)), "choose return_sequences=True"),
        ("steps", SERIES[:2], [0, 1], r"y\[0\] has shape \(\), expected values for each of the 3 steps"),
        ("steps", SERIES[:2], np.array([0, 1]), "choose return_sequences=False"),
        ("steps", SERIES[:2], np.zeros((2, 4)), "must have a value for each of 5 steps"),
        ("steps", SERIES[:2], STEP_LABELS[:3], "y has 3 sequences, X has 2"),
        ("steps", SERIES[:2], [STEP_LABELS[0], STEP_LABELS[1][:4]], r"y\[1\] has shape \(4,\)"),
        ("steps", SERIES[:2], None, "requires y to be passed"),
        ("steps", np.zeros((2, 4, 2)), np.zeros((2, 5)), "must have a value for each of 4 steps"),
    ],
    ids=range(15),
)
def test_bad_input_of_fit(layers, X, y, message):
    with pytest.raises(ValueError, match=message):
        classifier(NETWORKS[layers]).fit(X, y)


def test_values_that_are_no_numbers_at_a_step():
    values = [*STEP_VALUES[:-1], STEP_VALUES[-1] * np.nan]
    with pytest.raises(ValueError, match="Input y contains NaN"):
        regressor(NETWORKS["steps"]).fit(SERIES, values)


@pytest.mark.parametrize(
    "lengths, message",
    [
        ([0, *LENGTHS[1:]], r"lengths\[0\] is 0; a sequence has at least 1"),
        ([10, *LENGTHS[1:]], r"lengths\[0\] is 10; a sequence has at most 9"),
        (LENGTHS[1:], "lengths must be 12 whole numbers"),
    ],
    ids=["none", "beyond", "few"],
)
def test_bad_lengths(lengths, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(padded(SERIES, 0.0), LABELS, lengths=lengths)
    with pytest.raises(ValueError, match=message):
        classifier().fit(SERIES, LABELS).predict(padded(SERIES, 0.0), lengths)


def test_other_errors_name_the_way_out():
    with pytest.raises(ValueError, match="lengths belong to padded arrays"):
        classifier().fit(SERIES, LABELS, lengths=LENGTHS)
    with pytest.raises(ValueError, match="lengths_val is given without X_val"):
        classifier().fit(SERIES, LABELS, lengths_val=LENGTHS)
    with pytest.raises(ValueError, match="X has 3 channels, but the fit had 2"):
        classifier().fit(SERIES, LABELS).predict([np.zeros((4, 3))])
    with pytest.raises(ValueError, match="the layers turn 6 steps into 5"):
        regressor([Conv1D(3, 2)]).fit(np.zeros((4, 6, 2)), np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"layers\[1\] GRU"):
        classifier([LSTM(3), GRU(3)]).fit(SERIES, LABELS)


def test_a_fit_that_fails_leaves_everything_as_it_was():
    model = classifier().fit(SERIES, LABELS)
    before = model.predict_proba(SERIES)
    with pytest.raises(ValueError, match="inconsistent"):
        model.fit([x[:, :1] for x in SERIES], LABELS[1:])
    assert np.array_equal(model.predict_proba(SERIES), before)
