"""ConvNet and ConvNetRegressor: forms of X, layers, what they show of themselves, and all that MLPs can do too."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn import ConvNet, ConvNetRegressor, check_gradient
from fastnn.activations import Sign
from fastnn.augment import GaussianNoise, Mixup, Shift
from fastnn.estimators.architecture import default_layers
from fastnn.layers import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    MaxPool2D,
    Reshape,
    Residual,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FLAT, Y = load_digits(return_X_y=True)
FLAT, Y = FLAT[:300], Y[:300]
X = FLAT.reshape(-1, 8, 8, 1) / 16
LAYERS = [Conv2D(4, 3, activation="relu"), MaxPool2D(2)]
SMALL = {"layers": LAYERS, "random_state": 0, "max_iter": 3, "learning_rate_init": 0.01, "batch_size": 50}


def same(a, b, rtol=0.0):
    arrays = [
        [array for name in ("coefs_", "intercepts_") for array in getattr(model, name) if array is not None]
        for model in (a, b)
    ]
    return all(np.allclose(x, y, rtol=rtol, atol=0.0) for x, y in zip(*arrays, strict=True))


# ---- forms of X ----


def test_all_forms_of_images_give_the_same_model(backend):
    model = ConvNet(**SMALL, backend=backend).fit(X, Y)
    forms = {
        "without channels": (X[..., 0], None),
        "flat": (X.reshape(300, 64), (8, 8, 1)),
        "flat, two numbers": (X.reshape(300, 64), (8, 8)),
        "nested lists": (X[..., 0].tolist(), None),
        "shaped and said": (X[..., 0], (8, 8, 1)),
    }
    for data, input_shape in forms.values():
        other = ConvNet(**SMALL, input_shape=input_shape, backend=backend).fit(data, Y)
        assert same(model, other)
        assert other.input_shape_ == (8, 8, 1)
        assert other.n_features_in_ == 64
        for rows in (X, X[..., 0], X.reshape(300, 64)):
            np.testing.assert_array_equal(other.predict_proba(rows), model.predict_proba(X))


def test_forms_of_signals(backend):
    rng = np.random.RandomState(0)
    for shape, layers, expected in (
        ((40, 6), None, (40, 6)),
        ((40,), None, (40, 1)),
        ((6, 40), [Conv1D(3, 2)], (6, 40)),
        ((40, 6), [Conv2D(3, 2)], (40, 6, 1)),
        ((20, 20), [Dense(3)], (20, 20, 1)),
        ((6, 40), None, (6, 40, 1)),
    ):
        rows = rng.normal(size=(12, *shape))
        model = ConvNetRegressor(layers, max_iter=1, backend=backend).fit(
            rows, rows.mean(axis=tuple(range(1, rows.ndim)))
        )
        assert model.input_shape_ == expected
        np.testing.assert_allclose(model.predict(rows.reshape(12, -1)), model.predict(rows))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64, np.bool_])
def test_types(dtype, backend):
    images = FLAT.reshape(-1, 8, 8).astype(dtype)
    model = ConvNet(**SMALL, backend=backend).fit(images, Y)
    assert model.scale_ == (1 / 255 if dtype == np.uint8 else 1.0)
    assert model.coefs_[0].dtype == (np.float32 if dtype in (np.float32, np.uint8) else np.float64)


def test_bytes_are_scaled_floats(backend):
    images = (X * 255).astype(np.uint8)
    model = ConvNet(**SMALL, backend=backend).fit(images, Y)
    scaled = ConvNet(**SMALL, backend=backend).fit(images.astype(np.float32) / 255, Y)
    given = ConvNet(**SMALL, scale=1 / 255, backend=backend).fit(images.astype(np.float32), Y)
    assert same(given, model)
    assert same(scaled, model, rtol=1e-2)
    np.testing.assert_array_equal(model.predict_proba(images), model.predict_proba(images.astype(np.float64)))


def test_bytes_after_a_fit_on_floats_warn_once_a_call(backend):
    images = (X * 255).astype(np.uint8)
    model = ConvNet(**SMALL, backend=backend).fit(X, Y)
    for call in (model.predict, model.predict_proba, model.transform, lambda rows: model.score(rows, Y)):
        with pytest.warns(UserWarning, match=r"type uint8.* pass X / 255, or .*scale=1/255; .* set scale=1") as caught:
            call(images)
        assert len(caught) == 1
        assert call != model.predict or caught[0].filename == __file__
    for parameters in ({}, {"scoring": "accuracy", "early_stopping": True}):
        with pytest.warns(UserWarning, match="type uint8") as caught:
            ConvNet(**SMALL, **parameters, backend=backend).fit(X, Y, X_val=images, y_val=Y)
        assert len([one for one in caught if "uint8" in str(one.message)]) == 1


def test_bytes_that_are_scaled_as_in_fit_do_not_warn(backend):
    images = (X * 255).astype(np.uint8)
    ConvNet(**SMALL, backend=backend).fit(images, Y).predict(images)
    ConvNet(**SMALL, scale=1 / 255, backend=backend).fit(images.astype(float), Y).predict(images)
    model = ConvNet(**SMALL, scale=1, backend=backend).fit(FLAT.reshape(-1, 8, 8), Y)
    small = FLAT.astype(np.uint8).reshape(-1, 8, 8)
    np.testing.assert_allclose(model.predict_proba(small), model.predict_proba(FLAT), rtol=1e-12)


def test_bytes_are_not_copied(backend):
    model = ConvNet(**SMALL, backend=backend)
    images = np.zeros((20, 8, 8, 1), np.uint8)
    assert np.shares_memory(model._read(images, reset=True), images)


@pytest.mark.parametrize(
    ("rows", "parameters", "message"),
    [
        (np.zeros((5, 2, 2, 2, 2)), {}, r"ConvNet: expected X of shape .* got \(n, 2, 2, 2, 2\)"),
        (np.zeros((5, 8, 8, 3)), {"input_shape": (8, 8, 1)}, r"does not fit X of shape \(n, 8, 8, 3\).* 192 numbers"),
        (np.zeros((5, 3, 8, 8)), {"input_shape": (8, 8, 3)}, r"does not fit X of shape \(n, 3, 8, 8\)"),
        (np.zeros((5, 65)), {"input_shape": (8, 8)}, r"does not fit X of shape \(n, 65\)"),
        (np.zeros((5, 64)), {"input_shape": (8, 0)}, "input_shape must be"),
        (np.zeros((5, 64)), {"input_shape": (8, 2, 2, 2)}, "input_shape must be"),
        (np.zeros((5, 64)), {"input_shape": "big"}, "'input_shape' parameter of ConvNet|input_shape must be"),
        (np.zeros((5, 64)), {}, r"layers\[0\] Conv2D: expected \(n, height, width, channels\), got \(n, 64, 1\)"),
        (np.zeros((5, 2, 8)), {}, r"layers\[0\] Conv2D: .*3x3"),
        (X[:5], {"layers": [Conv2D(2, 3), MaxPool2D(9)]}, r"ConvNet: layers\[1\] MaxPool2D: "),
        (X[:5], {"layers": [Conv2D(2, 3, groups=2)]}, r"ConvNet: layers\[0\] Conv2D: 1 channels cannot be split"),
        (X[:5], {"layers": [Conv2D(1, 2, weights=np.ones((2, 2, 3, 1)))]}, "weights are for 3 channels"),
        (X[:5], {"layers": [Flatten(), Conv2D(1, 2)]}, r"layers\[1\] Conv2D: .*Reshape"),
        (X[:5], {"layers": [Reshape((9, 9))]}, r"layers\[0\] Reshape: 64 numbers"),
        (X[:5], {"layers": [Residual([Conv2D(2, 3)])]}, r"layers\[0\] Residual: the layers turn"),
        (X[:5], {"layers": [Conv2D]}, r"ConvNet: layers\[0\]: expected a layer.*write Conv2D\(...\) with brackets"),
        (X[:5], {"layers": Conv2D(2, 3)}, "The 'layers' parameter of ConvNet"),
        (X[:5], {"scale": 0}, "The 'scale' parameter"),
        (X[:5], {"augment": ["tilt"]}, r"ConvNet: augment\[0\]: expected one of shift"),
        (X[:5], {"augment": "shift"}, "The 'augment' parameter of ConvNet"),
        (X[:5], {"augment": [Shift]}, r"ConvNet: augment\[0\]: "),
        (X[:5], {"augment": [Shift(8)]}, r"ConvNet: augment\[0\] Shift\(size=8\): expected a size below"),
        (np.full((5, 8, 8), np.nan), {}, "NaN"),
        (np.zeros((5, 0, 8, 1)), {}, "0 feature"),
        (np.zeros((0, 8, 8, 1)), {}, "0 sample"),
    ],
)
def test_bad_input(rows, parameters, message, backend):
    model = ConvNet(**SMALL | parameters, backend=backend)
    with pytest.raises(ValueError, match=message):
        model.fit(rows, [0, 1, 0, 1, 0][: len(rows)])
    assert set(vars(model)) == set(model.get_params())


def test_another_shape_in_prediction(backend):
    model = ConvNet(**SMALL, backend=backend).fit(X, Y)
    for rows, message in (
        (X[:, :7], r"expected X of shape \(n, 8, 8, 1\) as in fit, or flat \(n, 64\), got \(n, 7, 8, 1\)"),
        (X.reshape(300, 4, 16), r"got \(n, 4, 16\)"),
        (X.reshape(300, 64)[:, 1:], "X has 63 features, but ConvNet is expecting 64"),
        (X[0], r"got \(n, 8, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(rows)


def test_sparse_matrices_are_refused(backend):
    from scipy import sparse

    with pytest.raises(TypeError, match="Sparse data was passed"):
        ConvNet(backend=backend).fit(sparse.csr_array(FLAT), Y)


# ---- layers ----


@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 1), (7, 1), (31, 2), (32, 1), (100, 6), (1, 1, 1), (3, 4, 2), (8, 8, 1), (28, 28, 1)]
)
def test_default_layers_fit_every_shape(shape, backend):
    rows = np.random.RandomState(0).normal(size=(6, *shape)).astype(np.float32)
    model = ConvNet(input_shape=shape[:1] if shape[1:] == (1,) else shape, max_iter=1, random_state=0, backend=backend)
    model.fit(rows.reshape(6, -1), [0, 1, 2, 0, 1, 2])
    assert model.layers_[:-1] == default_layers(shape)
    assert np.isfinite(model.predict_proba(rows)).all()


def test_default_layers_learn(backend):
    model = ConvNet(random_state=0, max_iter=8, precision="float32", batch_size=32, backend=backend).fit(X, Y)
    assert model.score(X, Y) > 0.95


def test_layers_compute_what_they_say(backend):
    stack = [
        Conv2D(4, 3, padding="same", bias=False),
        BatchNorm(),
        Activation("tanh"),
        AvgPool2D(2),
        Residual([Conv2D(4, 1), LayerNorm()]),
        GlobalAvgPool(),
    ]
    model = ConvNet(**SMALL | {"layers": stack}, backend=backend).fit(X, Y)
    assert [array.shape for array in model.coefs_] == [(3, 3, 1, 4), (1, 1, 4, 4), (4, 10)]
    assert [None if array is None else array.shape for array in model.intercepts_] == [None, (4,), (10,)]
    assert [array.shape for array in model.scales_ + model.shifts_] == [(4,)] * 4
    assert [array is None for array in model.running_means_ + model.running_variances_] == [False, True] * 2
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    x = np.einsum("nijcuv,uvco->nijo", windows, model.coefs_[0])
    np.testing.assert_allclose(model.transform(X, 0), x, atol=1e-9)
    x = (x - model.running_means_[0]) / np.sqrt(model.running_variances_[0] + 1e-5) * model.scales_[0] + model.shifts_[
        0
    ]
    x = np.tanh(x).reshape(300, 4, 2, 4, 2, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(model.transform(X, 3), x, atol=1e-9)
    f = x @ model.coefs_[1][0, 0] + model.intercepts_[1]
    f = (f - f.mean(axis=-1, keepdims=True)) / np.sqrt(f.var(axis=-1, keepdims=True) + 1e-5)
    x = x + f * model.scales_[1] + model.shifts_[1]
    np.testing.assert_allclose(model.transform(X, -3), x, atol=1e-8)
    x = x.mean(axis=(1, 2)) @ model.coefs_[2] + model.intercepts_[2]
    np.testing.assert_allclose(model.decision_function(X), x, atol=1e-8)


def test_fixed_weights_stay(backend):
    sobel = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    stack = [Conv2D(1, 3, weights=sobel, bias=False, trainable=False), Conv2D(3, 3, activation="relu")]
    model = ConvNet(**SMALL | {"layers": stack}, backend=backend).fit(X, Y)
    np.testing.assert_array_equal(model.coefs_[0][..., 0, 0], sobel)
    assert [array.shape for array in model.coefs_] == [(3, 3, 1, 1), (3, 3, 1, 3), (48, 10)]
    assert model.summary().total("fixed") == 9
    assert "and 9 fixed weights" in repr(model.summary())
    model.coefs_[0][:] = 0.0
    np.testing.assert_array_equal(model.transform(X, 0), 0.0)


def test_init_is_for_layers_without_their_own(backend):
    stack = [Conv2D(3, 3, init="zeros"), Conv2D(3, 3), Dense(4, init="he_normal")]
    frozen = {"learning_rate_init": 1e-300, "solver": "sgd", "init": "orthogonal"}
    model = ConvNet(**SMALL | frozen | {"layers": stack}, backend=backend).fit(X, Y)
    assert not np.abs(model.coefs_[0]).max() > 1e-290
    W = model.coefs_[1].reshape(-1, 3)
    np.testing.assert_allclose(W.T @ W, np.eye(3), atol=1e-12)
    assert model.coefs_[2].std() == pytest.approx(np.sqrt(2 / 48), rel=0.15)


# ---- what a fitted network shows ----


def test_transform(backend):
    model = ConvNet(**SMALL, backend=backend).fit(X, Y)
    shapes = [model.transform(X[:7], layer).shape for layer in (0, 1, 2)]
    assert shapes == [(7, 6, 6, 4), (7, 3, 3, 4), (7, 10)]
    np.testing.assert_array_equal(model.transform(X), model.predict_proba(X))
    np.testing.assert_array_equal(model.transform(X, -3), model.transform(X, 0))
    for layer in (3, -4, "conv", 0.5):
        with pytest.raises(ValueError, match="layer must be an int from -3 to 2"):
            model.transform(X, layer)
    features = make_pipeline(model.set_params(max_iter=20), LogisticRegression()).fit(X, Y)
    assert features.score(X, Y) > 0.5


def test_summary(backend):
    model = ConvNet([Conv2D(32, 3, activation="relu"), MaxPool2D(2), Conv2D(64, 3), Dropout(0.5)], backend=backend)
    model.set_params(input_shape=(28, 28, 1))
    before = model.summary()
    assert [line.name for line in before] == ["input", "Conv2D", "MaxPool2D", "Conv2D", "Dropout"]
    summary = model.set_params(max_iter=1).fit(np.zeros((10, 28, 28), np.uint8), np.arange(10)).summary()
    assert summary[:-1] == before
    assert [line.output for line in summary] == [
        (28, 28, 1), (26, 26, 32), (13, 13, 32), (11, 11, 64), (11, 11, 64), (10,)
    ]  # fmt: skip
    assert [line.parameters for line in summary] == [0, 320, 0, 18496, 0, 77450]
    assert summary[1].multiply_adds == 26 * 26 * 9 * 32
    assert summary[1].bytes == 26 * 26 * 32 * 4
    assert summary.total("parameters") == sum(a.size for a in model.coefs_ + model.intercepts_)
    assert repr(summary).splitlines()[-1].split()[:2] == ["total", "96,266"]


def test_summary_before_fit_needs_a_shape():
    with pytest.raises(NotFittedError, match="not known before fit"):
        ConvNet().summary()
    with pytest.raises(ValueError, match=r"ConvNet: layers\[0\] Conv2D"):
        ConvNet([Conv2D(3, 9)], input_shape=(8, 8, 1)).summary()


def test_predictions_follow_changed_weights(backend):
    model = ConvNet(**SMALL, backend=backend).fit(X, Y)
    model.coefs_[0][:] = 0.0
    model.intercepts_[0][:] = 0.0
    np.testing.assert_allclose(model.decision_function(X), np.tile(model.intercepts_[1], (300, 1)))
    model.coefs_[0] = model.coefs_[0][..., :2]
    with pytest.raises(ValueError, match=r"coefs_\[0\]: expected shape \(3, 3, 1, 4\), got shape \(3, 3, 1, 2\)"):
        model.predict(X)


# ---- training ----


SETTINGS = {
    "plain": {},
    "batch_norm": {"layers": [Conv2D(4, 3), BatchNorm(), Activation("relu"), Dropout(0.2)]},
    "augment": {"augment": [Shift(1), GaussianNoise(0.1), Mixup(0.5)]},
    "bytes": {"precision": "float64"},
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("Estimator", [ConvNet, ConvNetRegressor])
def test_warm_start_equals_one_fit(Estimator, setting, backend):
    rows = (X * 255).astype(np.uint8) if setting == "bytes" else X
    parameters = SMALL | {"backend": backend} | SETTINGS[setting]
    whole = Estimator(**parameters | {"max_iter": 4}).fit(rows, Y)
    parts = Estimator(**parameters | {"max_iter": 2}, warm_start=True).fit(rows, Y)
    parts = pickle.loads(pickle.dumps(parts)).fit(rows.reshape(300, 64), Y)
    assert same(parts, whole)
    assert parts.loss_curve_ == whole.loss_curve_


@pytest.mark.parametrize("setting", SETTINGS)
def test_partial_fit_equals_fit(setting, backend):
    rows = (X * 255).astype(np.uint8) if setting == "bytes" else X
    parameters = SMALL | {"backend": backend} | SETTINGS[setting]
    whole = ConvNet(**parameters).fit(rows, Y)
    parts = ConvNet(**parameters)
    for _ in range(3):
        parts.partial_fit(rows, Y, classes=np.arange(10))
    assert same(parts, whole)


@pytest.mark.parametrize("other", [{"scale": 0.5}, {"input_shape": (16, 4)}])
def test_training_that_goes_on_keeps_to_scale_and_shape(other, backend):
    model = ConvNet(**SMALL, warm_start=True, backend=backend).fit(X, Y)
    same = {"scale": model.scale_, "input_shape": model.input_shape_[:2]}
    model.set_params(**same).fit(X, Y).set_params(**other)
    for fit in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"cannot go on with {next(iter(other))}=.* since the first fit had"):
            fit(X, Y)


def test_warm_start_with_other_layers(backend):
    model = ConvNet(**SMALL, warm_start=True, backend=backend).fit(X, Y)
    with pytest.raises(ValueError, match=r"coefs_\[0\] should have shape \(3, 3, 1, 5\) but has shape \(3, 3, 1, 4\)"):
        model.set_params(layers=[Conv2D(5, 3), MaxPool2D(2)]).fit(X, Y)


def test_held_out_rows_are_not_augmented(backend):
    """Noise that drowns everything in training leaves the loss of the held-out rows what the weights make it."""
    frozen = SMALL | {"learning_rate_init": 1e-300, "solver": "sgd", "max_iter": 1}
    model = ConvNet(**frozen, augment=[GaussianNoise(100.0)], backend=backend).fit(X, Y, X_val=X, y_val=Y)
    plain = ConvNet(**frozen, backend=backend).fit(X, Y, X_val=X, y_val=Y)
    assert model.history_["validation_loss"] == plain.history_["validation_loss"]
    assert model.history_["validation_score"] == [model.score(X, Y)]
    assert model.loss_ > 2 * plain.loss_
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("Estimator", [ConvNet, ConvNetRegressor])
def test_mixup_takes_nothing_from_rows_without_weight(Estimator, backend):
    weight = np.random.default_rng(0).integers(0, 3, 300).astype(float)
    absent = weight == 0
    noise, other = X.copy(), Y.copy()
    noise[absent] = np.random.default_rng(1).normal(size=X[absent].shape)
    other[absent] = np.roll(Y[absent], 1)
    parameters = {**SMALL, "augment": [Mixup(1.0)], "backend": backend}
    plain = Estimator(**parameters).fit(X, Y, sample_weight=weight)
    changed = Estimator(**parameters).fit(noise, other, sample_weight=weight)
    assert same(changed, plain)
    assert changed.loss_curve_ == plain.loss_curve_
    everywhere = Estimator(**parameters).fit(noise, other)
    assert not same(everywhere, Estimator(**parameters).fit(X, Y))


def test_mixup_with_weights_is_the_same_on_both_backends():
    weight = np.random.default_rng(0).integers(0, 3, 300).astype(float)
    numpy, native = (
        ConvNet(**SMALL, augment=[Mixup(1.0)], backend=backend).fit(X, Y, sample_weight=weight)
        for backend in ("numpy", "native")
    )
    assert same(native, numpy, rtol=1e-8)


def test_validation_rows_in_another_form(backend):
    model = ConvNet(**SMALL, backend=backend).fit(X, Y, X_val=FLAT[:100] / 16, y_val=Y[:100])
    assert model.history_["validation_score"][-1] == model.score(X[:100], Y[:100])


def test_callbacks_see_images(backend):
    scores = []
    monitor = ScoringMonitor(scoring="accuracy")
    model = ConvNet(**SMALL, early_stopping=True, backend=backend).set_callbacks(monitor)
    model.set_params(epoch_callback=lambda epoch: scores.append(epoch.estimator.score(X, Y))).fit(X, Y)
    assert len(scores) == len([row for row in monitor.get_logs().data if row["task_name"] == "epoch"]) == 3


def test_same_model_for_any_number_of_threads(backend):
    stack = [Conv2D(17, 3, padding="same"), BatchNorm(), Activation("relu"), MaxPool2D(2), Residual([Conv2D(17, 1)])]
    models = [ConvNet(**SMALL | {"layers": stack}, n_jobs=n_jobs, backend=backend).fit(X, Y) for n_jobs in (1, 2, 3)]
    assert all(same(models[0], model) for model in models[1:])


def test_early_stopping_on_images(backend):
    images = (X[..., 0] * 255).astype(np.uint8)
    model = ConvNet(**SMALL | {"max_iter": 20}, early_stopping=True, scoring="neg_log_loss", backend=backend)
    model.fit(images, Y)
    assert model.best_validation_score_ == max(model.validation_scores_)


@pytest.mark.parametrize("pool", [AvgPool2D(2), MaxPool2D(2)])
def test_gradient(pool, backend):
    stack = [Conv2D(3, 3, activation="tanh"), pool, BatchNorm(), Residual([Conv2D(3, 1)]), Dropout(0.2, channels=True)]
    model = ConvNet(stack, random_state=0, augment=[Shift(1)], backend=backend)
    result = check_gradient(model, X[:20], Y[:20])
    assert result.worst < 1e-6
    assert list(result)[:4] == ["coefs_[0]", "intercepts_[0]", "scales_[0]", "shifts_[0]"]
    with pytest.raises(ValueError, match="'sign' is flat"):
        check_gradient(model.set_params(layers=[Residual([Activation(Sign())])]), X[:20], Y[:20])


def test_lbfgs(backend):
    stack = [Conv2D(3, 3), Residual([BatchNorm(), Activation("tanh")]), MaxPool2D(2)]
    model = ConvNet(stack, solver="lbfgs", max_iter=30, random_state=0, backend=backend).fit(X, Y)
    assert model.score(X, Y) > 0.9
    z = model.transform(X, 0)
    np.testing.assert_allclose(model.running_means_[0], z.mean(axis=(0, 1, 2)), atol=1e-8)
    for parameters in ({"layers": [Residual([Dropout(0.5)])]}, {"augment": ["horizontal_flip"]}):
        with pytest.raises(ValueError, match="solver='lbfgs' needs the same loss in every evaluation"):
            ConvNet(**SMALL | parameters, solver="lbfgs", backend=backend).fit(X, Y)


def test_default_layers_train_with_lbfgs(backend):
    model = ConvNet(solver="lbfgs", max_iter=3, random_state=0, backend=backend).fit(FLAT[:100], Y[:100])
    assert not any(isinstance(layer, Dropout) for layer in model.layers_)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_targets(backend):
    labels = np.column_stack([Y > 4, Y % 2]).astype(int)
    assert ConvNet(**SMALL, backend=backend).fit(X, labels).predict(X).shape == (300, 2)
    model = ConvNet(**SMALL, loss="hinge", class_weight="balanced", backend=backend).fit(
        X, Y > 4, sample_weight=Y + 1.0
    )
    assert model.decision_function(X).shape == (300,)
    means = np.column_stack([X.mean(axis=(1, 2, 3)), X[:, 0, 0, 0]])
    model = ConvNetRegressor(**SMALL, loss="huber", backend=backend).fit(X, means)
    assert model.predict(X).shape == (300, 2)
    assert ConvNetRegressor(**SMALL, loss="poisson", backend=backend).fit(X, Y).out_activation_ == "exp"


def test_pipelines_searches_and_clones(backend):
    parameters = SMALL | {"input_shape": (8, 8, 1), "backend": backend}
    model = make_pipeline(StandardScaler(), ConvNet(**parameters))
    assert cross_val_score(model, FLAT, Y, cv=2).shape == (2,)
    assert clone(model).fit(FLAT, Y).score(FLAT, Y) > 0.3
    grid = {"convnet__layers": [LAYERS, [Conv2D(2, 5, stride=2)], None], "convnet__augment": [None, ["shift"]]}
    search = GridSearchCV(model.set_params(convnet__max_iter=1), grid, cv=2).fit(FLAT, Y)
    assert len(search.cv_results_["params"]) == 6
    assert "Conv2D(filters=4" in repr(model)
    assert cross_val_score(ConvNet(**SMALL, backend=backend), X, Y, cv=2).shape == (2,)


def test_a_fit_that_fails_leaves_the_model_as_it_was(backend):
    model = ConvNet(**SMALL, backend=backend).fit(X, Y)
    before = pickle.dumps(model)
    for rows, y in ((np.full((300, 5, 5), 1.7e308), Y), (X[:, 1:], np.full(300, np.nan))):
        with pytest.raises(ValueError):
            model.fit(rows, y)
        assert pickle.dumps(model) == before


def test_chunks_do_not_change_a_fit(monkeypatch, backend):
    """Little memory means small chunks, and the same model."""
    from fastnn.estimators import network

    whole = ConvNet(**SMALL, backend=backend).fit(X, Y)
    monkeypatch.setattr(network, "TRAINING_BYTES", 100_000)
    monkeypatch.setattr(network, "PREDICTION_BYTES", 20_000)
    parts = ConvNet(**SMALL, backend=backend).fit(X, Y)
    assert same(parts, whole, rtol=1e-9)
    np.testing.assert_allclose(parts.predict_proba(X), whole.predict_proba(X), rtol=1e-9)


def test_memory_of_a_chunk_is_bounded():
    from fastnn.estimators import network
    from fastnn.losses import LogLoss
    from fastnn.lower import Network
    from fastnn.optimizers import Adam

    stack = (Conv2D(64, 3, padding="same"), Conv2D(64, 3, padding="same"), Dense(10, "identity"))
    net = Network((64, 64, 3), stack, LogLoss(), "softmax")
    training, prediction = network.plan(net, "train", one_hot=True, optimizer=Adam()), network.plan(net, "predict")
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        rows = network.training_capacity(training, 60_000, dtype)
        assert 1 <= rows < 60
        assert rows * network.row_bytes(training, dtype) <= network.TRAINING_BYTES
        rows = network.prediction_capacity(prediction, 60_000, dtype)
        assert 1 <= rows <= 2  # the last layer's weights take as much as the activations of two rows
    wide = Network((100_000,), (Dense(50), Dense(10, "identity")), LogLoss(), "softmax")
    assert network.prediction_capacity(network.plan(wide, "predict"), 60_000, dtype) == 32  # as many bytes as weights
    small = Network((28, 28, 1), (Dense(10, "identity"),), LogLoss(), "softmax")
    assert network.training_capacity(network.plan(small, "predict"), 200, dtype) == 200
