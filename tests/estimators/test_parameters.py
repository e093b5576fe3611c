"""What the parameters beyond scikit-learn's do."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import Interval, InvalidParameterError

import fastnn
from fastnn import ConvNet, MLPClassifier, MLPRegressor, RecurrentClassifier
from fastnn.activations import ACTIVATIONS, LeakyReLU
from fastnn.initializers import INITIALIZERS, Initializer, Normal
from fastnn.losses import Huber, Quantile
from fastnn.schedules import SCHEDULES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
SMALL = {"hidden_layer_sizes": (12,), "random_state": 0, "learning_rate_init": 0.02, "max_iter": 60}


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.coefs_, b.coefs_, strict=True))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_learn(activation, backend):
    model = MLPClassifier(**SMALL, activation=activation, backend=backend).fit(X, Y)
    assert model.score(X, Y) > 0.9


def test_one_activation_a_layer(backend):
    parameters = {**SMALL, "hidden_layer_sizes": (5, 4, 3), "max_iter": 3, "backend": backend}
    mixed = MLPClassifier(**parameters | {"activation": ["relu", "tanh", LeakyReLU(0.2)]}).fit(X, Y)
    x = X
    functions = [lambda z: np.maximum(z, 0), np.tanh, lambda z: np.where(z > 0, z, 0.2 * z), lambda z: z]
    for W, b, function in zip(mixed.coefs_, mixed.intercepts_, functions, strict=True):
        x = function(x @ W + b)
    np.testing.assert_allclose(mixed.decision_function(X), x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", ["gd", "sgd", "adagrad", "rmsprop", "adam", "adamw", "lbfgs"])
def test_solvers_learn(solver, backend):
    rate = {"gd": 0.5, "sgd": 0.1, "adagrad": 0.1}.get(solver, 0.02)
    model = MLPClassifier(**SMALL | {"learning_rate_init": rate, "max_iter": 150}, solver=solver, backend=backend)
    assert model.fit(X, Y).score(X, Y) > 0.95


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_learn(schedule, backend):
    parameters = {"solver": "sgd", "learning_rate_init": 0.3, "batch_size": 50, "learning_rate": schedule}
    model = MLPClassifier(**SMALL | parameters, power_t=0.1, backend=backend)
    assert model.fit(X, Y).score(X, Y) > 0.9


@pytest.mark.parametrize("init", [name for name in INITIALIZERS if name != "zeros"])
def test_initialisers_learn(init, backend):
    model = MLPClassifier(**SMALL, init=init, backend=backend).fit(X, Y)
    assert model.score(X, Y) > 0.9


def test_initialiser_spec(backend):
    frozen = SMALL | {"learning_rate_init": 1e-300, "solver": "sgd", "max_iter": 1, "hidden_layer_sizes": (400,)}
    model = MLPRegressor(**frozen, init=Normal(0.3), backend=backend).fit(X, Y)
    assert model.coefs_[0].std() == pytest.approx(0.3, rel=0.05)
    np.testing.assert_allclose(model.intercepts_[0], 0.0, atol=1e-290)


def test_full_batch_solver_ignores_the_batch_size(backend):
    a, b = (MLPClassifier(**SMALL, solver="gd", batch_size=size, backend=backend).fit(X, Y) for size in (7, "auto"))
    assert same(a, b)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile", Huber(0.1), Quantile(0.8)])
def test_regression_losses_learn(loss, backend):
    X, y = make_regression(n_samples=150, n_features=5, n_informative=3, random_state=0)
    model = MLPRegressor(loss, **SMALL | {"max_iter": 300}, backend=backend).fit(X, y / 100)
    assert model.score(X, y / 100) > 0.8


def test_quantile_regression_covers_its_share(backend):
    y = np.random.RandomState(0).normal(size=500)
    model = MLPRegressor(Quantile(0.8), (), init="zeros", learning_rate_init=0.05, max_iter=200, backend=backend)
    model.fit(np.zeros((500, 1)), y)
    assert np.mean(y < model.predict([[0.0]])[0]) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("loss", ["log_loss", "squared_error", "hinge", "perceptron"])
def test_classification_losses_learn(loss, backend):
    X_labels, labels = make_multilabel_classification(n_samples=100, n_classes=3, random_state=0)
    for data, y in ((X, Y), (X[:100], Y[:100]), (StandardScaler().fit_transform(X_labels), labels)):
        model = MLPClassifier(**SMALL, loss=loss, backend=backend).fit(data, y)
        assert model.score(data, y) > 0.8
        decision = model.decision_function(data)
        assert decision.shape == ((len(data),) if len(np.unique(y)) == 2 and y.ndim == 1 else (len(data), 3))
        assert hasattr(model, "predict_proba") == (loss == "log_loss")


def test_log_probabilities_stay_finite(backend):
    model = MLPClassifier((), init="zeros", max_iter=1, backend=backend).fit(X, Y)
    model.coefs_[0][:] = [[-1e3, 0.0, 1e3]] * 4
    assert (model.predict_proba(X) == 0).any()
    log_p = model.predict_log_proba(X)
    assert np.isfinite(log_p).all()
    np.testing.assert_allclose(log_p, log_softmax(model.decision_function(X), axis=1), atol=1e-12)


def test_elastic_net_penalty(backend):
    W = np.array([[0.5, -2.0], [0.0, 1.0], [3.0, 0.25], [-1.0, 1.0]])
    for l1_ratio in (0.0, 0.3, 1.0):
        model = MLPRegressor(hidden_layer_sizes=(), alpha=5.0, l1_ratio=l1_ratio, solver="gd", max_iter=1)
        model.set_params(warm_start=True, learning_rate_init=1e-300, backend=backend).fit(X, np.zeros((150, 2)))
        model.coefs_, model.intercepts_ = [W.copy()], [np.zeros(2)]
        model.fit(X, X @ W)
        expected = 5.0 * (l1_ratio * np.abs(W).sum() + (1 - l1_ratio) / 2 * (W**2).sum()) / 150
        assert model.loss_ == pytest.approx(expected)


def test_one_norm_shrinks_weights_towards_zero(backend):
    X, y = make_regression(n_samples=200, n_features=20, n_informative=3, noise=1.0, random_state=0)
    parameters = {"hidden_layer_sizes": (), "alpha": 200.0, "solver": "lbfgs", "max_iter": 500, "backend": backend}
    with_l1, without = (MLPRegressor(l1_ratio=ratio, **parameters).fit(X, y / 10) for ratio in (1.0, 0.0))
    small = [np.sum(np.abs(model.coefs_[0]) < 0.1) for model in (with_l1, without)]
    assert small[0] > small[1]


def test_dropout_and_normalisation_learn(backend):
    for parameters in ({"dropout": 0.2}, {"dropout": [0.2], "input_dropout": 0.1}, {"normalization": "layer"}):
        model = MLPClassifier(**SMALL | parameters, backend=backend).fit(X, Y)
        assert model.score(X, Y) > 0.9
    assert [array.shape for array in model.scales_ + model.shifts_] == [(12,), (12,)]
    assert not hasattr(model, "running_means_")
    model.set_params(normalization=None).fit(X, Y)
    assert not hasattr(model, "scales_")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_batch_normalisation_predicts_with_running_statistics(solver, backend):
    parameters = {"normalization": "batch", "solver": solver, "batch_size": 150, "activation": "tanh"}
    model = MLPClassifier(**SMALL | parameters, backend=backend).fit(X, Y)
    assert model.score(X, Y) > 0.9
    hidden = np.tanh(X @ model.coefs_[0] + model.intercepts_[0])
    tolerance = 1e-8 if solver == "lbfgs" else 0.1  # lbfgs leaves the statistics of its very result
    np.testing.assert_allclose(model.running_means_[0], hidden.mean(axis=0), atol=tolerance)
    np.testing.assert_allclose(model.running_variances_[0], hidden.var(axis=0, ddof=1), atol=tolerance)
    rows = [model.decision_function(X[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(rows, model.decision_function(X)[:3], rtol=1e-12)


def test_clipping_bounds_the_step(backend):
    one_step = SMALL | {"solver": "gd", "max_iter": 1, "learning_rate_init": 1.0, "backend": backend}
    frozen = one_step | {"learning_rate_init": 1e-300}
    start = MLPRegressor(**frozen).fit(X, 100.0 * Y)
    for clipping in ({"clip_norm": 0.5}, {"clip_value": 0.01}):
        model = MLPRegressor(**one_step, **clipping).fit(X, 100.0 * Y)
        pairs = zip(model.coefs_ + model.intercepts_, start.coefs_ + start.intercepts_, strict=True)
        step = np.concatenate([(a - b).ravel() for a, b in pairs])
        if "clip_norm" in clipping:
            assert np.linalg.norm(step) == pytest.approx(0.5)
        else:
            assert np.abs(step).max() == pytest.approx(0.01)


def test_weight_decay_of_adamw(backend):
    parameters = SMALL | {"alpha": 0.0, "max_iter": 1, "backend": backend}
    plain = MLPClassifier(**parameters, solver="adamw", weight_decay=0.0).fit(X, Y)
    assert same(plain, MLPClassifier(**parameters, solver="adam").fit(X, Y))
    start = MLPClassifier(**parameters | {"learning_rate_init": 1e-300}).fit(X, Y)
    decayed = MLPClassifier(**parameters, solver="adamw", weight_decay=0.5).fit(X, Y)
    np.testing.assert_allclose(plain.coefs_[0] - decayed.coefs_[0], 0.02 * 0.5 * start.coefs_[0], rtol=1e-9)
    np.testing.assert_array_equal(plain.intercepts_[0], decayed.intercepts_[0])


@pytest.mark.parametrize("class_weight", [{0: 3.0, 1: 1.0, 2: 0.5}, "balanced"])
def test_class_weights_are_sample_weights(class_weight, backend):
    rows = np.r_[0:50, 50:80, 100:110]
    X_part, y = X[rows], Y[rows]
    counts = np.bincount(y)
    factors = np.array([3.0, 1.0, 0.5]) if class_weight != "balanced" else len(y) / (3 * counts)
    weight = np.linspace(0.5, 2, len(y))
    a = MLPClassifier(**SMALL, class_weight=class_weight, backend=backend).fit(X_part, y, sample_weight=weight)
    b = MLPClassifier(**SMALL, backend=backend).fit(X_part, y, sample_weight=weight * factors[y])
    assert same(a, b)


def test_class_weights_of_labels(backend):
    X_labels, labels = make_multilabel_classification(n_samples=60, n_classes=2, random_state=0)
    weights = [{0: 1.0, 1: 2.0}, {0: 1.0, 1: 3.0}]
    a = MLPClassifier(**SMALL, class_weight=weights, backend=backend).fit(X_labels, labels)
    weight = np.where(labels[:, 0], 2.0, 1.0) * np.where(labels[:, 1], 3.0, 1.0)
    assert same(a, MLPClassifier(**SMALL, backend=backend).fit(X_labels, labels, sample_weight=weight))


@pytest.mark.parametrize("loss", ["squared_error", "hinge", "perceptron"])
def test_probabilities_are_those_of_the_loss_that_was_fitted(loss, backend):
    model = MLPClassifier(**SMALL, backend=backend).fit(X, Y)
    expected = model.predict_proba(X)
    np.testing.assert_array_equal(model.set_params(loss=loss).predict_proba(X), expected)
    model.fit(X, Y).set_params(loss="log_loss")
    assert not hasattr(model, "predict_proba") and not hasattr(model, "predict_log_proba")


def test_class_weights_of_classes_that_are_not_among_the_rows(backend):
    classes, two = np.array(["a", "b", "c"]), Y[:100]
    weighted = MLPClassifier(**SMALL, class_weight={"a": 2.0, "c": 5.0}, backend=backend)
    weighted.partial_fit(X[:100], classes[two], classes=classes)
    plain = MLPClassifier(**SMALL, backend=backend)
    assert same(weighted, plain.partial_fit(X[:100], two, np.where(two, 1.0, 2.0), classes=[0, 1, 2]))
    weighted.fit(X, classes[Y], X_val=X[:50], y_val=classes[Y[:50]])
    plain.fit(X, Y, np.array([2.0, 1.0, 5.0])[Y], X_val=X[:50], y_val=Y[:50], sample_weight_val=np.full(50, 2.0))
    assert weighted.history_["validation_loss"] == pytest.approx(plain.history_["validation_loss"])
    labels = MLPClassifier(**SMALL, class_weight=[{1: 2.0}, {1: 3.0}], backend=backend)
    labels.partial_fit(X[:9], np.zeros((9, 2), int), classes=[0, 1])
    with pytest.raises(ValueError, match="not in class_weight"):
        MLPClassifier(**SMALL, class_weight={"d": 2.0}, backend=backend).fit(X, classes[Y])


def test_label_smoothing_bounds_confidence(backend):
    exact = {"solver": "lbfgs", "alpha": 0.0, "max_iter": 3000, "tol": 1e-7, "random_state": 0, "backend": backend}
    zeros = np.zeros((20, 1))
    binary = MLPClassifier((), **exact, label_smoothing=0.2).fit(zeros, [0] * 10 + [1] * 10)
    assert binary.predict_proba(zeros)[0, 1] == pytest.approx(0.5)
    rows = np.repeat(np.eye(3), 5, axis=0)
    model = MLPClassifier((), **exact, label_smoothing=0.3).fit(rows, np.repeat([0, 1, 2], 5))
    np.testing.assert_allclose(model.predict_proba(np.eye(3)), 0.7 * np.eye(3) + 0.1, atol=1e-4)
    model = MLPClassifier((), **exact, label_smoothing=0.3).fit(rows[:10], np.repeat([0, 1], 5))
    np.testing.assert_allclose(model.predict_proba(np.eye(3)[:2])[:, 1], [0.15, 0.85], atol=1e-4)


def test_sparse_multilabel_targets(backend):
    X_labels, labels = make_multilabel_classification(n_samples=60, random_state=0)
    for early_stopping in (False, True):
        parameters = {**SMALL, "early_stopping": early_stopping, "backend": backend}
        model = MLPClassifier(**parameters).fit(X_labels, sparse.csr_array(labels))
        dense = MLPClassifier(**parameters).fit(X_labels, labels)
        np.testing.assert_array_equal(model.predict(X_labels).toarray(), dense.predict(X_labels))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
def test_label_columns_of_any_type(dtype):
    X_labels, labels = make_multilabel_classification(n_samples=60, random_state=0)
    model, other = (MLPClassifier(**SMALL).fit(X_labels, y) for y in (labels, labels.astype(dtype)))
    assert same(model, other) and other.classes_.tolist() == [0, 1, 2, 3, 4]
    other.partial_fit(X_labels[:5], labels[:5].astype(dtype))
    with pytest.raises(ValueError, match="class"):
        other.partial_fit(X_labels, labels[:, :4].astype(dtype))


def test_same_model_for_any_number_of_threads(backend):
    wide = SMALL | {"hidden_layer_sizes": (200, 200), "max_iter": 3}
    models = [MLPClassifier(**wide, n_jobs=n_jobs, backend=backend).fit(X, Y) for n_jobs in (1, 2, 3, None, -1)]
    assert all(same(models[0], model) for model in models[1:])


def test_specs_in_pipelines_searches_and_clones(backend):
    model = MLPClassifier(**SMALL | {"max_iter": 5}, activation=LeakyReLU(0.3), backend=backend)
    assert "LeakyReLU(slope=0.3)" in repr(model)
    assert "LeakyReLU" in model._repr_html_()
    assert clone(model).activation == LeakyReLU(0.3)
    grid = {"mlpclassifier__activation": ["relu", LeakyReLU(0.1)], "mlpclassifier__hidden_layer_sizes": [(), (3,)]}
    search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, cv=2).fit(X, Y)
    assert len(search.cv_results_["params"]) == 4
    assert cross_val_predict(model, X, Y, cv=2, method="predict_proba").shape == (150, 3)


def test_validation_data_through_a_pipeline(backend):
    from sklearn import config_context

    with config_context(enable_metadata_routing=True):
        model = MLPClassifier(**SMALL, early_stopping=True, backend=backend)
        model.set_fit_request(X_val=True, y_val=True, sample_weight=True)
        pipeline = Pipeline(
            [("scale", StandardScaler().set_fit_request(sample_weight=False)), ("net", model)],
            transform_input=["X_val"],
        )
        weight = np.ones(75)
        pipeline.fit(100 * X[::2], Y[::2], X_val=100 * X[1::2], y_val=Y[1::2], sample_weight=weight)
    assert pipeline.score(100 * X[1::2], Y[1::2]) == pipeline[-1].best_validation_score_


def test_transform_gives_hidden_activations(backend):
    model = MLPClassifier(**SMALL | {"hidden_layer_sizes": (5, 4)}, activation="tanh", backend=backend).fit(X, Y)
    x = X
    for layer, (W, b) in enumerate(zip(model.coefs_[:2], model.intercepts_[:2], strict=True)):
        x = np.tanh(x @ W + b)
        np.testing.assert_allclose(model.transform(sparse.csr_array(X), layer), x, atol=1e-12)
    np.testing.assert_array_equal(model.transform(X), model.predict_proba(X))
    assert make_pipeline(model, MLPClassifier(**SMALL, backend=backend)).fit(X, Y).score(X, Y) > 0.9


def test_summary(backend):
    model = MLPRegressor(hidden_layer_sizes=(5,), normalization="layer", max_iter=2, backend=backend).fit(X, Y)
    summary = model.summary()
    assert [line.name for line in summary] == ["input", "Dense", "LayerNorm", "Dense"]
    assert [line.parameters for line in summary] == [0, 25, 10, 6]
    assert [line.bytes for line in summary] == [32, 40, 40, 8]


def test_public_names():
    assert set(fastnn.__all__) <= set(dir(fastnn))


def test_fits_and_predictions_in_several_threads(backend):
    parameters = SMALL | {"max_iter": 10, "backend": backend}
    model = MLPClassifier(**parameters).fit(X, Y)
    expected = model.predict_proba(X)
    with ThreadPoolExecutor(4) as pool:
        fits = [pool.submit(MLPClassifier(**parameters).fit, X, Y) for _ in range(8)]
        predictions = [pool.submit(model.predict_proba, X) for _ in range(8)]
    assert all(same(fit.result(), model) for fit in fits)
    for prediction in predictions:
        np.testing.assert_array_equal(prediction.result(), expected)


def test_weights_of_an_initialiser_of_the_users_own_stay_as_they_are(backend):
    class Kept(Initializer):
        name = "kept"
        W = np.full((4, 4), 0.1)

        def draw(self, random_state, n_in, n_out, activation_name="identity", fan_out=None):
            return self.W[:n_in, :n_out], np.zeros(n_out)

    labels = np.arange(len(X)) % 4
    model = MLPClassifier((4, 4), init=Kept(), max_iter=2, random_state=0, backend=backend).fit(X, labels)
    assert (Kept.W == 0.1).all()
    assert (model.coefs_[0] != 0.1).any() and (model.coefs_[0] != model.coefs_[1]).any()


def test_a_seed_draws_what_a_generator_with_this_seed_draws():
    for seed in (7, np.int64(7)):
        ours = MLPClassifier((8,), max_iter=1, random_state=seed).fit(X, Y)
        theirs = MLPClassifier((8,), max_iter=1, random_state=np.random.RandomState(7)).fit(X, Y)
        np.testing.assert_array_equal(ours.coefs_[0], theirs.coefs_[0])
        assert ours._progress.seed == theirs._progress.seed


@pytest.mark.parametrize("dtype", [np.uint8, bool, str, float])
def test_classes_come_back_in_the_type_they_came(dtype):
    y = Y.astype(dtype)
    model = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert model.predict(X[:3]).dtype == y.dtype


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 2, 7], [5, 6, 9], [-3, 0, 2], [0, 1 << 15, 2], [3, 3, 3], [0, 1, 0]])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16, np.uint64, np.float64])
def test_labels_are_coded_by_their_place_among_the_classes(labels, dtype):
    y = np.array(labels).astype(dtype)[Y]
    model = MLPClassifier((4,), max_iter=1, random_state=0).fit(X, y)
    classes, places = np.unique(y, return_inverse=True)
    assert model.classes_.dtype == y.dtype
    np.testing.assert_array_equal(model.classes_, classes)
    np.testing.assert_array_equal(model._encode(y, reset=False, incremental=True)[1], places)


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor, ConvNet, RecurrentClassifier])
def test_every_default_satisfies_its_constraints(Estimator):
    BaseEstimator._validate_params(Estimator())


@pytest.mark.parametrize("parameters", [{"alpha": -1e-4}, {"solver": "newton"}, {"max_iter": 2.0}, {"shuffle": "yes"}])
def test_a_wrong_parameter_is_refused_in_scikit_learns_words(parameters):
    model = MLPClassifier(**parameters)
    with pytest.raises(InvalidParameterError) as theirs:
        BaseEstimator._validate_params(model)
    with pytest.raises(InvalidParameterError, match=f"^{re.escape(str(theirs.value))}$"):
        model.fit(X, Y)


ESTIMATORS = [getattr(fastnn, name) for name in fastnn.__all__ if hasattr(getattr(fastnn, name), "fit")]


@pytest.mark.parametrize("value", [10**400, -(10**400), np.inf, np.nan], ids=lambda value: str(value)[:5])
@pytest.mark.parametrize(
    ("Estimator", "name"),
    [
        (Estimator, name)
        for Estimator in ESTIMATORS
        for name, constraints in Estimator._parameter_constraints.items()
        if any(isinstance(constraint, Interval) for constraint in constraints)
    ],
)
def test_numbers_beyond_all_floats_are_refused_by_name(Estimator, name, value):
    if name == "n_iter_no_change" and value == np.inf:
        return
    with pytest.raises(InvalidParameterError, match=f"^The '{name}' parameter of {Estimator.__name__} must be"):
        Estimator(**{name: value}).fit(X, Y)


def test_true_and_false_are_numbers_as_in_scikit_learn(backend):
    given = {"alpha": False, "tol": False, "momentum": False, "batch_size": True, "max_iter": True}
    for solver in ("adam", "sgd", "lbfgs"):
        model, other = (
            MLPClassifier((3,), solver=solver, random_state=0, backend=backend, **numbers).fit(X, Y)
            for numbers in (given, {name: int(value) for name, value in given.items()})
        )
        assert same(model, other)


def test_a_subclass_has_its_own_parameters():
    class Wide(MLPClassifier):
        def __init__(self, width=8, max_iter=1):
            super().__init__((width,), max_iter=max_iter)
            self.width = width

    assert sorted(Wide().get_params()) == ["max_iter", "width"]
    assert "solver" in MLPClassifier().get_params()
    with pytest.raises(InvalidParameterError, match="'max_iter' parameter of Wide"):
        Wide(max_iter=0).fit(X, Y)
