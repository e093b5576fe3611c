"""Bad input: a result or a clear error, never a crash, never a changed argument."""

import copy
import pickle
import re

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.datasets import load_iris
from sklearn.utils import assert_all_finite

from fastnn import (
    ConvNet,
    ESNClassifier,
    ESNRegressor,
    MLPClassifier,
    MLPRegressor,
    RecurrentClassifier,
    RecurrentRegressor,
)
from fastnn.activations import LeakyReLU
from fastnn.estimators.validation import split
from fastnn.layers import GRU
from fastnn.losses import Huber

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
BIG = np.finfo(np.float64).max


def with_value(value):
    changed = X.copy()
    changed[3, 1] = value
    return changed


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (X[:0], "0 sample"),
        (X[:, :0], "0 feature"),
        (X[:, 0], "2D array|2D container"),
        (X.reshape(50, 3, 4), "dim|Expected"),
        (X[:100], "inconsistent numbers of samples"),
        (with_value(np.nan), "NaN"),
        (with_value(np.inf), "infinity"),
        (X + 1j, "Complex"),
        (np.array([["a", "b"]] * 150), "could not convert string to float|unsupported"),
        (np.array([[{}, {}]] * 150, dtype=object), "must be|argument|unsupported"),
        (None, "Expected 2D|None"),
        (sparse.csr_array(with_value(np.nan)), "NaN"),
    ],
)
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_bad_X_is_an_error(Estimator, bad, message, backend):
    with pytest.raises((ValueError, TypeError), match=message):
        Estimator(**SMALL, backend=backend).fit(bad, Y)
    model = Estimator(**SMALL, backend=backend).fit(X, Y)
    if bad is not None and np.shape(bad) != (100, 4):
        with pytest.raises((ValueError, TypeError)):
            model.predict(bad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_numbers_that_are_not_finite_are_refused_in_scikit_learns_words(Estimator, value, dtype, backend):
    model, bad = Estimator(**SMALL, backend=backend), with_value(value).astype(dtype)
    for changed, y, name in ((bad, Y, "X"), (X, bad[:, 1].copy(), "y")):
        with pytest.raises(ValueError) as theirs:
            assert_all_finite(changed if name == "X" else y, estimator_name=type(model).__name__, input_name=name)
        with pytest.raises(ValueError, match=f"^{re.escape(str(theirs.value))}$"):
            model.fit(changed, y)


def test_finiteness_is_assumed_where_scikit_learn_is_told_so(backend):
    with config_context(assume_finite=True), pytest.raises(ValueError, match="non-finite parameter weights"):
        MLPClassifier(**SMALL, backend=backend).fit(with_value(np.nan), Y)


def test_plain_arrays_leave_the_same_attributes_as_others(backend):
    fits = [MLPRegressor(**SMALL, backend=backend).fit(X, y) for y in (Y, Y.tolist(), Y * 1.0)]
    for fit in fits:
        assert fit.n_features_in_ == 4
        np.testing.assert_array_equal(fit.coefs_[0], fits[0].coefs_[0])
    for dtype in (np.float32, np.float64):
        with pytest.raises(ValueError, match="X has 3 features, but MLPRegressor is expecting 4 features as input"):
            fits[0].partial_fit(X[:, :3].astype(dtype), Y)


@pytest.mark.parametrize("form", [np.array, np.ndarray.tolist, np.asfortranarray, sparse.csr_array])
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_predictions_refuse_what_is_infinite_in_the_type_of_the_weights(Estimator, form, backend):
    model, large = Estimator(**SMALL, precision="float32", backend=backend).fit(X, Y), form(with_value(1e39))
    for predict in (model.predict, model.transform):
        with pytest.raises(ValueError, match=r"too large for float32.*largest \|X\| is 1e\+39; scale X"):
            predict(large)
    model.predict(form(with_value(1e38)))
    with config_context(assume_finite=True), np.errstate(all="ignore"):
        model.predict(large)
    Estimator(**SMALL, backend=backend).fit(X, Y).predict(large)  # in float64


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_another_number_of_features(Estimator, backend):
    model = Estimator(**SMALL, backend=backend).fit(X, Y)
    with pytest.raises(ValueError, match="X has 3 features, but"):
        model.predict(X[:, :3])


@pytest.mark.parametrize("y", [[], None, Y[:3], Y + 0.5, np.full(150, np.nan), [[1, 2], [3, 4]] * 75])
def test_bad_labels(y, backend):
    with pytest.raises((ValueError, TypeError)):
        MLPClassifier(**SMALL, backend=backend).fit(X, y)


@pytest.mark.parametrize("y", [[], None, Y[:3], np.full(150, np.inf), ["a"] * 150, Y + 1j])
def test_bad_targets(y, backend):
    with pytest.raises((ValueError, TypeError)):
        MLPRegressor(**SMALL, backend=backend).fit(X, y)


@pytest.mark.parametrize("Estimator", [MLPRegressor, RecurrentRegressor, ESNRegressor])
def test_sparse_targets_of_a_regressor(Estimator, backend):
    with pytest.raises(TypeError, match=r"Sparse data was passed for y, but dense .* Use '.toarray\(\)'"):
        Estimator(backend=backend).fit(X, sparse.csr_array(np.eye(3)[Y]))


@pytest.mark.parametrize("Estimator", [MLPRegressor, RecurrentRegressor, ESNRegressor])
@pytest.mark.parametrize("dtype", ["datetime64[D]", "timedelta64[s]", str, bytes])
def test_dates_and_text_are_no_targets_of_a_regressor(Estimator, dtype):
    with pytest.raises(ValueError, match=rf"{Estimator.__name__}: expected numbers as y, got "):
        Estimator().fit(X, np.arange(150).astype(dtype))


@pytest.mark.parametrize("Estimator", [MLPRegressor, RecurrentRegressor, ESNRegressor])
def test_huge_targets_are_named(Estimator, backend):
    with pytest.raises(ValueError, match=r"scale X and y"):
        Estimator(backend=backend).fit(X, Y * 1e160)


def test_negative_poisson_targets(backend):
    with pytest.raises(ValueError, match="loss='poisson' expects y >= 0, got a minimum of -2"):
        MLPRegressor("poisson", **SMALL, backend=backend).fit(X, Y - 2.0)


@pytest.mark.parametrize("weight", [np.zeros(150), np.ones(149), np.full(150, np.nan), np.ones((150, 2))])
def test_bad_sample_weights(weight, backend):
    with pytest.raises(ValueError, match=r"[Ww]eight|NaN"):
        MLPRegressor(**SMALL, backend=backend).fit(X, Y, sample_weight=weight)


def forms(X):
    """The same numbers in every shape of memory."""
    column_major, strided, reversed_rows = np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X[::-1].copy()[::-1]
    read_only = X.copy()
    read_only.flags.writeable = False
    raw = np.zeros(X.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(np.float64).reshape(X.shape)
    misaligned[:] = X
    return {
        "list": X.tolist(),
        "column_major": column_major,
        "strided": strided,
        "reversed": reversed_rows,
        "read_only": read_only,
        "misaligned": misaligned,
        "big_endian": X.astype(">f8"),
        "object": X.astype(object),
        "csr": sparse.csr_array(X),
        "csc": sparse.csc_matrix(X),
        "int64_index": _long_index(sparse.csr_array(X)),
        "duplicates": _duplicated(X),
    }


def _long_index(matrix):
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return matrix


def _duplicated(X):
    half = sparse.coo_array(X / 2)
    data, row, column = (np.concatenate([part, part]) for part in (half.data, *half.coords))
    order = np.argsort(row, kind="stable")
    indptr = np.searchsorted(row[order], np.arange(len(X) + 1))
    return sparse.csr_array((data[order], column[order], indptr), shape=X.shape)


@pytest.mark.parametrize("form", forms(X))
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_every_form_of_memory_gives_the_same_model(Estimator, form, backend):
    data = forms(X)[form]
    before = copy.deepcopy(data)
    parameters = {**SMALL, "batch_size": 32, "max_iter": 5, "backend": backend}
    model, plain = Estimator(**parameters).fit(data, Y), Estimator(**parameters).fit(X, Y)
    np.testing.assert_allclose(model.coefs_[0], plain.coefs_[0], rtol=1e-12)
    np.testing.assert_allclose(model.predict(data), plain.predict(X), rtol=1e-9)
    if sparse.issparse(data):
        assert (data != before).nnz == 0
        assert data.data.shape == before.data.shape
    else:
        np.testing.assert_array_equal(data, before)


def test_memory_mapped(tmp_path, backend):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = MLPClassifier(**SMALL, backend=backend).fit(mapped, Y)
    np.testing.assert_array_equal(model.predict(mapped), model.predict(X))


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float16, np.bool_, np.longdouble])
def test_other_types_become_float64(dtype, backend):
    model = MLPRegressor(**SMALL, backend=backend).fit(X.astype(dtype), Y)
    assert model.coefs_[0].dtype == np.float64
    assert model.predict(X.astype(dtype)).dtype == np.float64


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_precision(precision, dtype, solver, backend):
    model = MLPRegressor(**SMALL, precision=precision, solver=solver, backend=backend).fit(X.astype(dtype), Y)
    assert {array.dtype for array in model.coefs_ + model.intercepts_} == {np.dtype(precision)}
    assert model.predict(X).dtype == precision


def test_huge_values(backend):
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        MLPRegressor(**SMALL, backend=backend).fit(np.full((9, 2), BIG), np.zeros(9))
    model = MLPRegressor(**SMALL, backend=backend).fit(X, Y)
    assert model.predict(np.full((2, 4), BIG)).shape == (2,)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        MLPRegressor(**SMALL, precision="float32", backend=backend).fit(np.full((9, 2), 1e200), np.zeros(9))


def test_values_too_small_to_matter(backend):
    model = MLPClassifier(**SMALL, backend=backend).fit(X * 1e-310, Y)
    assert np.isfinite(model.predict_proba(X * 1e-310)).all()


def test_one_row_one_feature_one_class(backend):
    model = MLPClassifier(**SMALL, backend=backend).fit([[1.0]], ["only"])
    assert model.predict([[0.0], [9.0]]).tolist() == ["only", "only"]
    model = MLPRegressor(**SMALL, backend=backend).fit([[1.0]], [2.0])
    assert model.predict([[1.0]]).shape == (1,)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (3, 0)}, r"hidden_layer_sizes must be > 0, got \[3, 0\]"),
        ({"hidden_layer_sizes": -1}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (3, 2**31)}, r"hidden_layer_sizes must be <= 2147483647, got \[3, 2147483648\]"),
        ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes must hold whole numbers"),
        ({"activation": "sigmoid"}, "The 'activation' parameter of MLPRegressor must be"),
        ({"activation": ["relu"]}, "activation has 1 entries for 2 hidden layers"),
        ({"activation": ["relu", "softmax"]}, r"activation\[1\]: expected one of"),
        ({"activation": LeakyReLU}, "activation"),
        ({"solver": "newton"}, "The 'solver' parameter"),
        ({"loss": "hinge"}, "The 'loss' parameter"),
        ({"loss": "huber", "alpha": -1}, "The 'alpha' parameter"),
        ({"l1_ratio": 1.5}, "The 'l1_ratio' parameter"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"dropout": [0.1]}, "dropout has 1 entries for 2 hidden layers"),
        ({"dropout": [0.1, 1.0]}, r"dropout must lie in \[0, 1\)"),
        ({"dropout": np.array(3)}, r"dropout must lie in \[0, 1\), got array\(3\)"),
        ({"dropout": [0.1, 10**400]}, "dropout must be a number, or one for each hidden layer, got"),
        ({"dropout": [0.1, None]}, r"dropout must be a number, or one for each hidden layer, got \[0\.1, None\]"),
        ({"dropout": [[0.1], [0.2, 0.3]]}, "dropout must be a number, or one for each hidden layer"),
        ({"hidden_layer_sizes": np.array(3)}, r"hidden_layer_sizes must hold whole numbers.* got array\(3\)"),
        ({"normalization": "group"}, "The 'normalization' parameter"),
        ({"init": "xavier"}, "The 'init' parameter"),
        ({"learning_rate": "linear"}, "The 'learning_rate' parameter"),
        ({"precision": "float16"}, "The 'precision' parameter"),
        ({"backend": "cuda"}, "The 'backend' parameter"),
        ({"n_jobs": 0}, "The 'n_jobs' parameter"),
        ({"clip_norm": 0}, "The 'clip_norm' parameter"),
        ({"scoring": "nonsense"}, "The 'scoring' parameter"),
        ({"epoch_callback": 3}, "The 'epoch_callback' parameter"),
        ({"solver": "lbfgs", "dropout": 0.1}, "solver='lbfgs' needs the same loss in every evaluation"),
        ({"solver": "lbfgs", "activation": "rrelu"}, "solver='lbfgs' needs the same loss in every evaluation"),
        ({"solver": "lbfgs", "clip_norm": 1.0}, "solver='lbfgs' chooses its own step length"),
        ({"solver": "lbfgs", "activation": ["tanh", "sign"]}, "gradient of the loss, but 'sign' is flat .* or 'tanh'"),
    ],
)
def test_bad_parameters(parameters, message, backend):
    model = MLPRegressor(**({"hidden_layer_sizes": (4, 3), "max_iter": 2, "backend": backend} | parameters))
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)


@pytest.mark.parametrize(
    ("Estimator", "parameters"),
    [
        (MLPClassifier, {"hidden_layer_sizes": [0] * 10**6}),
        (MLPClassifier, {"hidden_layer_sizes": [0.5] * 10**6}),
        (MLPClassifier, {"dropout": [2] * 10**6, "hidden_layer_sizes": [1] * 10**6}),
        (MLPClassifier, {"class_weight": [0] * 10**6}),
        (ConvNet, {"layers": [[0] * 10**6]}),
        (ConvNet, {"input_shape": [0] * 10**6}),
        (ConvNet, {"augment": [[0] * 10**6]}),
        (ESNClassifier, {"alpha": [-1.0] * 10**6}),
        (ESNClassifier, {"features": ["states"] * 10**6}),
    ],
)
def test_a_huge_parameter_does_not_make_a_huge_message(Estimator, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))) as caught:
        Estimator(**parameters).fit(X, Y)
    assert len(str(caught.value)) < 600


def test_lbfgs_needs_the_whole_gradient(backend):
    model = RecurrentClassifier([GRU(3, truncate=2)], solver="lbfgs", backend=backend)
    with pytest.raises(ValueError, match="GRU has truncate=2, a gradient that is cut short; choose solver='adam'"):
        model.fit(X, Y)


@pytest.mark.parametrize("parameter", [{"solver": "newton"}, {"batch_size": 0}, {"learning_rate_init": -1}])
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor, RecurrentClassifier])
def test_parameters_set_between_calls_of_partial_fit_are_checked(Estimator, parameter, backend):
    model = Estimator(**({} if Estimator is RecurrentClassifier else SMALL), backend=backend)
    model.partial_fit(X, Y, **({} if Estimator is MLPRegressor else {"classes": [0, 1, 2]})).set_params(**parameter)
    with pytest.raises(ValueError, match=f"The '{next(iter(parameter))}' parameter of {Estimator.__name__}"):
        model.partial_fit(X, Y)


def test_a_loss_of_the_other_kind_of_estimator(backend):
    with pytest.raises(ValueError, match="this one belongs to a regressor"):
        MLPClassifier(**SMALL, loss=Huber(), backend=backend).fit(X, Y)


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_a_fit_that_fails_leaves_the_model_as_it_was(Estimator, backend):
    model = Estimator(**SMALL, backend=backend).fit(X, Y)
    before, predicted = pickle.dumps(model), model.predict(X)
    bad = [(np.full((150, 2), 1.7e308), Y == 1), (X[:, :3], Y[:3]), (X[:, :3], np.full(150, np.nan))]
    for rows, y in bad:
        with pytest.raises(ValueError):
            model.fit(rows, y)
        assert pickle.dumps(model) == before
    np.testing.assert_array_equal(model.predict(X), predicted)


@pytest.mark.parametrize("Estimator", [MLPClassifier, ConvNet, RecurrentClassifier, ESNClassifier])
def test_a_first_partial_fit_that_fails_leaves_nothing(Estimator, backend):
    model = Estimator(backend=backend)
    for rows, y, classes in ((with_value(np.nan), Y, [0, 1]), (X, Y, [0, 1]), (X, Y[:9], [0, 1, 2])):
        with pytest.raises(ValueError):
            model.partial_fit(rows, y, classes=classes)
        assert vars(model) == vars(Estimator(backend=backend))
    assert model.partial_fit(X, Y, classes=[0, 1, 2]).predict(X).shape == Y.shape


def test_validation_rows_without_weight(backend):
    model = MLPClassifier(**SMALL, early_stopping=True, backend=backend)
    with pytest.raises(ValueError, match="sample weights of the validation rows sum to 0, expected a positive number"):
        model.fit(X, Y, sample_weight=np.r_[1.0, 1.0, np.zeros(148)])
    with pytest.raises(ValueError, match="sample weights of the validation rows sum to -150"):
        model.fit(X, Y, X_val=X, y_val=Y, sample_weight_val=np.full(150, -1.0))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_weights_that_leave_nothing_to_learn_from(solver, backend):
    model = MLPClassifier(**SMALL, solver=solver, backend=backend)
    with pytest.raises(ValueError, match="rows sum to 0, expected a positive number"):
        model.fit(X[:100], Y[:100], np.where(Y[:100], -1.0, 1.0))
    with pytest.raises(ValueError, match="the weights of the training rows sum to -150"):
        model.fit(X, Y, np.full(150, -1.0))
    for weight, total in ((1e-320, "1.49998e-318"), (1e308, "inf")):
        with pytest.raises(ValueError, match=f"rows sum to {total}, expected a positive number"):
            model.fit(X, Y, np.full(150, weight))
    with pytest.raises(ValueError, match="times class_weight"):
        model.set_params(class_weight={0: 0.0, 1: 0.0, 2: 0.0}).fit(X, Y)


def test_a_split_that_leaves_training_rows_without_weight(backend):
    model = MLPRegressor(**SMALL, early_stopping=True, backend=backend)
    _, aside = split(150, 0.1, None, False, model.fit(X, Y)._progress.seed)
    weight = np.zeros(150)
    weight[aside] = 1.0
    with pytest.raises(ValueError, match="without those that early_stopping holds out"):
        model.fit(X, Y, weight)


def test_a_batch_whose_weights_sum_to_zero_changes_nothing(backend):
    weight = np.where(np.arange(150) < 60, np.resize([1.0, -1.0], 150), 1.0)
    options = SMALL | {"shuffle": False, "solver": "sgd", "momentum": 0, "batch_size": 30, "max_iter": 1}
    model = MLPRegressor(**options, backend=backend).fit(X, Y, weight)
    without = MLPRegressor(**options, backend=backend).fit(X[60:], Y[60:])
    for weights, expected in zip(model.coefs_, without.coefs_, strict=True):
        np.testing.assert_array_equal(weights, expected)


def test_label_smoothing_without_a_target(backend):
    with pytest.raises(ValueError, match=r"label_smoothing=0\.1 needs a loss with targets"):
        MLPClassifier(**SMALL, loss="hinge", label_smoothing=0.1, backend=backend).fit(X, Y)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"X_val": X}, "X_val is provided, but y_val was not provided"),
        ({"y_val": Y}, "y_val is provided, but X_val was not provided"),
        ({"sample_weight_val": np.ones(150)}, "sample_weight_val is given without X_val"),
        ({"X_val": X, "y_val": Y[:9]}, "fit: X_val and y_val: .* inconsistent numbers of samples"),
        ({"X_val": X[:, :3], "y_val": Y}, "fit: X_val: X has 3 features"),
        ({"X_val": X[:0], "y_val": Y[:0]}, "fit: X_val: Found array with 0 sample"),
        ({"X_val": with_value(np.nan), "y_val": Y}, "fit: X_val: Input X contains NaN"),
        ({"X_val": X, "y_val": Y + 1}, "fit: y_val: `y` has classes not in"),
        ({"X_val": X, "y_val": np.where(Y, 1.0, np.nan)}, "fit: y_val: .*contains NaN"),
        ({"X_val": X, "y_val": Y, "sample_weight_val": [1.0]}, "fit: sample_weight_val: sample_weight"),
    ],
)
def test_bad_validation_data(validation, message, backend):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**SMALL, backend=backend).fit(X, Y, **validation)


def test_validation_data_with_other_columns(backend):
    with pytest.raises(ValueError, match=r"y_val has shape \(150, 2\), y has 3 columns"):
        model = MLPRegressor(**SMALL, backend=backend)
        model.fit(X, np.zeros((150, 3)), X_val=X, y_val=np.zeros((150, 2)))


def test_balanced_class_weights_need_all_data(backend):
    with pytest.raises(ValueError, match="class_weight='balanced' needs all data at once"):
        MLPClassifier(**SMALL, class_weight="balanced", backend=backend).partial_fit(X, Y, classes=[0, 1, 2])
    labels = np.column_stack([Y == 0, Y == 1])
    with pytest.raises(ValueError, match=r"class_weight=\[None, 'balanced'\] needs all data at once"):
        MLPClassifier(**SMALL, class_weight=[None, "balanced"], backend=backend).partial_fit(X, labels, classes=[0, 1])


@pytest.mark.parametrize("class_weight", [[1], [1.0, 2.0, 3.0], [{0: 2.0}, {0: 1.0}, {0: 1.0}]])
def test_class_weights_in_a_list_are_for_labels(class_weight, backend):
    with pytest.raises(ValueError, match="a list holds a dict for each label of multilabel targets"):
        MLPClassifier(**SMALL, class_weight=class_weight, backend=backend).fit(X, Y - 1)


def test_class_weights_of_labels_are_dicts(backend):
    with pytest.raises(ValueError, match="a list holds a dict for each label"):
        MLPClassifier(**SMALL, class_weight=[1, 2, 3], backend=backend).fit(X, np.eye(3, dtype=int)[Y])


def test_partial_fit_keeps_the_kind_of_target(backend):
    model = MLPClassifier(**SMALL, backend=backend).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"expected y of shape \(n_samples,\)|Mix|classes"):
        model.partial_fit(X, np.ones((150, 2), int))
    model = MLPRegressor(**SMALL, backend=backend).fit(X, np.zeros((150, 2)))
    with pytest.raises(ValueError, match="training cannot go on from the fitted weights"):
        model.partial_fit(X, Y)


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("index", [-1, 10**6])
def test_a_sparse_matrix_that_points_outside_is_refused(make, index, backend):
    broken = make(X)
    broken.indices[5] = index
    with pytest.raises(ValueError, match=r"indices|indexes|index values"):
        MLPClassifier(**SMALL, backend=backend).fit(broken, Y)
    fitted = MLPClassifier(**SMALL, backend=backend).fit(X, Y)
    with pytest.raises(ValueError, match=r"indices|indexes|index values"):
        fitted.predict(broken)


def breaks(name, place, value):
    """A function that puts a value at a place of an array of a sparse matrix, or shortens the array."""

    def broken(X):
        array = getattr(X, name)
        if place is None:
            setattr(X, name, array[:value])
        else:
            (array[0] if name == "coords" else array)[place] = value

    return broken


@pytest.mark.filterwarnings("ignore:Constructing a DIA matrix")
@pytest.mark.parametrize("dtype", [np.float64, np.int64])  # SciPy adds up repeated ones before it converts a type
@pytest.mark.parametrize(
    ("form", "broken", "message"),
    [
        ("csr", breaks("indptr", 5, 10**8), "indptr must be a non-decreasing sequence"),
        ("csr", breaks("indptr", -1, 0), "indptr must be a non-decreasing sequence"),
        ("csc", breaks("indptr", -1, -1), "indptr must be a non-decreasing sequence"),
        ("csc", breaks("indptr", 2, 10**8), "indptr must be a non-decreasing sequence"),
        ("bsr", breaks("indptr", 5, 10**8), "must form a non-decreasing sequence"),
        ("csr", breaks("data", None, 9), "should have the same size"),
        ("coo", breaks("coords", 5, 10**8), "axis 0 index 100000000 exceeds matrix dimension 150"),
        ("coo", breaks("coords", 5, -(10**8)), "negative axis 0 index"),
        ("coo", breaks("data", None, 9), "must have the same length"),
        ("dia", breaks("offsets", None, 3), "does not match the number of offsets"),
        ("lil", breaks("data", 3, [1] * 10**6), "rows and data of a LIL matrix must have the same lengths"),
        ("lil", breaks("rows", None, 9), "rows and data of a LIL matrix must have the same lengths"),
        ("lil", breaks("rows", 3, [10**8]), "same lengths|indices must be < 4"),
    ],
)
def test_a_broken_sparse_matrix_is_refused(form, broken, message, dtype, backend):
    matrix = sparse.csr_array(X.astype(dtype)).asformat(form)
    fitted = MLPClassifier(**SMALL, backend=backend).fit(matrix, Y)
    broken(matrix)
    for call in (lambda: fitted.predict(matrix), lambda: MLPClassifier(**SMALL, backend=backend).fit(matrix, Y)):
        with pytest.raises(ValueError, match=message):
            call()


CHANGES = {
    "outside": lambda X: X.indices.fill(10**9),
    "negative": lambda X: X.indices.fill(-(10**9)),
    "order": lambda X: X.indices.__setitem__(slice(None), X.indices[::-1].copy()),
    "starts": lambda X: X.indptr[1:].fill(10**9),
    "size": lambda X: X.resize(3, 3),
}


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("change", CHANGES)
def test_the_places_of_a_sparse_matrix_may_change_while_it_is_read(change, index, backend):
    few = np.random.default_rng(0).random((150, 300)) < 0.05
    fits = []
    for changed in (False, True):
        matrices = [sparse.csr_array(few * 1.0) for _ in range(2)]
        for matrix in matrices:
            matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
        model = MLPClassifier((64,), max_iter=4, random_state=0, backend=backend)
        if changed:
            model.epoch_callback = lambda epoch, of=matrices: [CHANGES[change](matrix) for matrix in of] and None
        fits.append(model.fit(matrices[0], Y, X_val=matrices[1], y_val=Y))
    for name in ("loss", "validation_loss", "validation_score"):
        assert fits[1].history_[name] == fits[0].history_[name]
    np.testing.assert_array_equal(fits[1].coefs_[0], fits[0].coefs_[0])
