"""Predictions in a row: what is kept between them is never seen, neither in results nor in errors."""

import copy
import multiprocessing
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from fastnn import ConvNet, MLPClassifier, MLPRegressor
from fastnn.estimators import prediction, validation
from fastnn.layers import Activation, BatchNorm, Conv2D, Dense, LayerNorm, MaxPool2D

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 7)).astype(np.float32)
IMAGES = RANDOM.integers(0, 256, (40, 6, 6, 1), dtype=np.uint8)
SMALL = {"hidden_layer_sizes": (70, 5), "max_iter": 3, "random_state": 0}
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")


def convnet(backend, images=IMAGES, **parameters):
    layers = [Conv2D(5, 3), BatchNorm(), Activation("relu"), MaxPool2D(), Dense(9, "tanh")]
    model = ConvNet(layers, max_iter=2, random_state=0, backend=backend, **parameters)
    return model.fit(images, np.arange(len(images)) % 3)


Y = np.arange(90)
MODELS = {  # estimator, rows, targets
    "binary": (MLPClassifier(**SMALL), X, Y % 2),
    "classes": (MLPClassifier(**SMALL), X, np.array(list("abc"))[Y % 3]),
    "one class": (MLPClassifier(**SMALL), X, Y * 0),
    "labels": (MLPClassifier(**SMALL), X, np.stack([Y % 2, Y % 3 > 0], axis=1)),
    "normalised": (MLPClassifier(**SMALL, normalization="batch"), X, Y % 2),
    "hinge": (MLPClassifier(**SMALL, loss="hinge"), X, Y % 2),
    "float64": (MLPClassifier(**SMALL), X.astype(np.float64), Y % 3),
    "regressor": (MLPRegressor(**SMALL), X, X[:, :2]),
    "convnet": (ConvNet(max_iter=2, random_state=0), IMAGES, Y[:40] % 3),
}


def unknown(model):
    """The same model without anything kept."""
    return pickle.loads(pickle.dumps(model))


def outputs(model, rows):
    return {name: getattr(model, name)(rows) for name in METHODS if hasattr(model, name)}


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array, name)


def count(monkeypatch):
    """A list that grows with each network that is packed."""
    packed, make = [], prediction.Ready.__init__
    monkeypatch.setattr(prediction.Ready, "__init__", lambda self, *given: (packed.append(1), make(self, *given))[1])
    return packed


@pytest.mark.parametrize("name", MODELS)
def test_the_second_prediction_has_the_bits_of_the_first(name, backend):
    estimator, rows, y = MODELS[name]
    model = clone(estimator).set_params(backend=backend).fit(rows, y)
    for n in (1, 3, 32, len(rows)):
        expected = outputs(unknown(model), rows[:n])
        for _ in range(3):
            assert_same(outputs(model, rows[:n]), expected)


def test_nothing_is_packed_twice(monkeypatch):
    model = MLPClassifier(**SMALL).fit(X, np.arange(90) % 2)
    packed = count(monkeypatch)
    for rows in (X[:1], X, X.tolist(), sparse.csr_array(X), X.astype(np.float64), np.asfortranarray(X)):
        model.predict(rows), model.predict_proba(rows), model.predict_proba(rows[:1])
    assert len(packed) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("fitted", [np.float32, np.float64])
def test_types(fitted, dtype, backend):
    model = MLPRegressor(**SMALL, backend=backend).fit(X.astype(fitted), X[:, 0])
    rows = np.abs(X * 9).astype(dtype)
    expected = unknown(model).predict(rows)
    model.predict(rows)
    assert_same({"": model.predict(rows)}, {"": expected})
    # As validation has it: the bytes as float64.
    np.testing.assert_array_equal(expected, unknown(model).predict(rows.astype(np.float64)))


@pytest.mark.parametrize("images", [IMAGES, IMAGES.astype(np.float32), IMAGES.astype(np.float64)])
def test_forms_of_images(images, backend):
    model = convnet(backend, images)
    expected = unknown(model).predict_proba(images)
    for form in ((6, 6, 1), (6, 6), (36,)):
        for _ in range(2):
            np.testing.assert_array_equal(model.predict_proba(images.reshape(-1, *form)), expected)
    for wrong in ((36, 1), (4, 9), (6, 6, 1, 1), (1, 6, 6), (3, 12), (35,)):
        with pytest.raises(ValueError):
            model.predict_proba(np.zeros((4, *wrong), images.dtype))


def changes():
    def element(model):
        model.coefs_[1][69, 4] += 1

    def last_column(model):
        model.coefs_[0][6, 69] += 1

    def negative_zero(model):
        model.intercepts_[0][:] = 0.0
        model.predict(X)
        model.intercepts_[0][:] = -0.0

    def bias(model):
        model.intercepts_[-1] -= 5

    def replaced(model):
        model.coefs_[0] = model.coefs_[0] * 2

    def new_list(model):
        model.coefs_ = [2 * W for W in model.coefs_]

    def a_tuple(model):
        model.coefs_ = tuple(2 * W for W in model.coefs_)

    def nested_list(model):
        model.coefs_[0] = (2 * model.coefs_[0]).tolist()

    def column_major(model):
        model.coefs_[0] = np.asfortranarray(2 * model.coefs_[0])

    def float64(model):
        model.coefs_ = [W.astype(np.float64) for W in model.coefs_]

    def one_is_float64(model):
        model.coefs_[2] = model.coefs_[2].astype(np.float64)

    def statistics(model):
        model.running_means_[0][:] += 1

    def scale(model):
        model.scales_[1] *= 0.5

    def cut(model):
        model.coefs_[0], model.intercepts_[0] = model.coefs_[0][:, :20], model.intercepts_[0][:20]
        model.coefs_[1] = model.coefs_[1][:20]
        for name in ("scales_", "shifts_", "running_means_", "running_variances_"):
            getattr(model, name)[0] = getattr(model, name)[0][:20]

    def refitted(model):
        model.set_params(activation="tanh").fit(X, np.arange(90) % 2)

    def trained(model):
        model.partial_fit(X, np.arange(90) % 2)

    def numpy(model):
        model.set_params(backend="numpy")

    def one_thread(model):
        model.set_params(n_jobs=1)

    return [change for change in locals().values() if callable(change)]


@pytest.mark.parametrize("change", changes(), ids=lambda change: change.__name__)
def test_changes_are_seen(change, backend):
    model = MLPClassifier(**SMALL, normalization="batch", backend=backend).fit(X, np.arange(90) % 2)
    for name in METHODS:
        getattr(model, name)(X)
    change(model)
    assert_same(outputs(model, X), outputs(unknown(model), X))
    assert_same(outputs(model, X[:1]), outputs(unknown(model), X[:1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("units", [64, 130, 200])
def test_changes_of_any_large_weight_are_seen_for_any_number_of_rows(units, dtype):
    rows = RANDOM.normal(size=(200, 70)).astype(dtype)
    model = MLPClassifier((units, 64), max_iter=1, random_state=0).fit(rows, np.arange(200) % 3)
    for n in (1, 5, 33, 200):
        for place in ((0, 0), (69, units - 1), (35, units // 2), (3, 63)):
            model.predict_proba(rows[:n])
            model.coefs_[0][place] += 1
            expected = unknown(model).predict_proba(rows[:n])
            np.testing.assert_array_equal(model.predict_proba(rows[:n]), expected)
    model.coefs_[2][63, 1] -= 1
    np.testing.assert_array_equal(model.predict_proba(rows[:2]), unknown(model).predict_proba(rows[:2]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("units", [3, 16, 70, 200])
def test_changes_of_weights_that_multiply_entries_are_seen(units, dtype, backend):
    rows = sparse.random(60, 500, 0.01, format="csr", dtype=dtype, random_state=0)
    model = MLPClassifier((units,), max_iter=1, random_state=0, backend=backend).fit(rows, np.arange(60) % 3)
    used = rows[:2].indices
    unused = np.setdiff1d(np.arange(500), used)
    for row, n in ((used[0], 2), (used[-1], 2), (unused[0], 2), (unused[-1], 2), (499, 60)):
        for unit in (0, units // 2, units - 1):
            before = model.predict_proba(rows[:n])
            model.coefs_[0][row, unit] += 1
            after = model.predict_proba(rows[:n])
            np.testing.assert_array_equal(after, unknown(model).predict_proba(rows[:n]))
            assert np.array_equal(before, after) == (row not in rows[:n].indices)
    np.testing.assert_array_equal(model.predict_proba(rows), unknown(model).predict_proba(rows))


@pytest.mark.parametrize("form", ["strided", "unaligned", "swapped"])
def test_entries_may_lie_anywhere_in_memory(form, backend):
    rows = sparse.random(60, 50, 0.2, format="csr", random_state=0)
    model = MLPClassifier((5,), max_iter=1, random_state=0, backend=backend).fit(rows, np.arange(60) % 3)
    data = {
        "strided": np.repeat(rows.data, 2)[::2],
        "unaligned": np.frombuffer(b" " + rows.data.tobytes(), rows.dtype, offset=1),
        "swapped": rows.data.astype(rows.dtype.newbyteorder()),
    }[form]
    same = sparse.csr_array((data, rows.indices, rows.indptr), shape=rows.shape)
    np.testing.assert_array_equal(model.predict_proba(same), model.predict_proba(rows))
    np.testing.assert_array_equal(clone(model).fit(same, np.arange(60) % 3).coefs_[0], model.coefs_[0])


def test_a_sparse_vector_is_an_error():
    model = MLPClassifier((5,), random_state=0, max_iter=1).fit(X, Y)
    with pytest.raises(ValueError, match="Expected 2D"):
        model.predict(sparse.coo_array(X[0]).tocsr())


def test_an_entry_outside_a_sparse_matrix_is_an_error():
    rows = sparse.random(60, 500, 0.01, format="csr", random_state=0)
    model = MLPClassifier((5,), max_iter=1, random_state=0).fit(rows, np.arange(60) % 3)
    model.predict(rows[:2])
    for column in (500, -1, 2**31 - 1):
        row = rows[:2].copy()
        row.indices[0] = column
        with pytest.raises(ValueError, match=r"indices|outside"):
            model.predict(row)


def test_changes_of_a_convolution_are_seen(backend):
    model = convnet(backend)
    before = model.predict_proba(IMAGES)
    model.coefs_[0][2, 2, 0, 4] += 1
    after = model.predict_proba(IMAGES)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, unknown(model).predict_proba(IMAGES))


def test_a_layer_in_between_does_not_depend_on_later_ones(backend):
    model = convnet(backend)
    before = model.transform(IMAGES, layer=0)
    model.coefs_[2] = model.coefs_[2][:3]
    for _ in range(2):
        np.testing.assert_array_equal(model.transform(IMAGES, layer=0), before)
        with pytest.raises(ValueError, match=r"coefs_\[2\]: expected shape \(9, 3\)"):
            model.predict(IMAGES)


@pytest.mark.parametrize("attribute", ["coefs_", "intercepts_"])
def test_arrays_that_do_not_fit_are_an_error(attribute, backend):
    model = MLPClassifier(**SMALL, backend=backend).fit(X, np.arange(90) % 2)
    model.predict(X)
    getattr(model, attribute)[1] = getattr(model, attribute)[1][:3]
    for _ in range(2):
        with pytest.raises(ValueError, match="must fit each other"):
            model.predict(X)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("coefs_", lambda coefs: None, "coefs_ must be a list of arrays as after fit, got None"),
        ("coefs_", lambda coefs: dict(enumerate(coefs)), "coefs_ must be a list of arrays as after fit, got {0: "),
        ("coefs_", lambda coefs: coefs[:1], "coefs_ holds 1 arrays, but the network has 2 dense layers"),
        ("coefs_", lambda coefs: [None, coefs[1]], r"coefs_\[0\]: expected an array of real numbers, got None"),
        ("coefs_", lambda coefs: ["a", coefs[1]], r"coefs_\[0\]: expected an array of real numbers, got 'a'"),
        ("coefs_", lambda coefs: [coefs[0] * 1j, coefs[1]], r"coefs_\[0\]: expected an array of real numbers"),
        ("coefs_", lambda coefs: [[[1, 2], [3]], coefs[1]], r"coefs_\[0\]: expected an array of real numbers"),
        ("coefs_", lambda coefs: [coefs[0].ravel(), coefs[1]], r"coefs_\[0\]: expected shape \(7, units\)"),
        ("coefs_", lambda coefs: [coefs[0][:2], coefs[1]], r"coefs_\[0\]: expected shape \(7, units\), got \(2, 4\)"),
        ("coefs_", lambda coefs: [coefs[0], coefs[1][:, [0, 0]]], r"coefs_\[1\]: expected shape \(inputs, 1\)"),
        ("coefs_", lambda coefs: [coefs[0][:, :0], coefs[1][:0]], r"coefs_\[0\]: expected shape .* got \(7, 0\)"),
        ("intercepts_", lambda given: None, "intercepts_ must be a list of arrays as after fit, got None"),
        ("intercepts_", lambda given: [None, given[1]], r"intercepts_\[0\]: expected shape \(4,\), got nothing"),
    ],
)
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_what_is_no_list_of_fitting_arrays_is_named(Estimator, attribute, value, message, backend):
    model = Estimator(hidden_layer_sizes=(4,), max_iter=2, warm_start=True, backend=backend)
    model.fit(X, np.arange(90) % 2).predict(X)
    setattr(model, attribute, value(getattr(model, attribute)))
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            model.predict(X)
    for train in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"{attribute}.* (must be|expected|should have)"):
            train(X, np.arange(90) % 2)


def test_convolutions_name_what_is_no_list_of_arrays(backend):
    model = convnet(backend)
    model.coefs_ = None
    for call in (lambda: model.predict(IMAGES), model.summary):
        with pytest.raises(ValueError, match="ConvNet: coefs_ must be a list of arrays as after fit, got None"):
            call()


@pytest.mark.parametrize("attribute, place", [("intercepts_", 0), ("running_means_", 1)])
def test_an_array_where_a_layer_has_none_is_named(attribute, place, backend):
    model = ConvNet([Conv2D(2, 3, bias=False), BatchNorm(), LayerNorm()], max_iter=1, warm_start=True, backend=backend)
    labels = np.arange(len(IMAGES)) % 2
    expected = model.fit(IMAGES, labels).predict_proba(IMAGES)
    getattr(model, attribute)[place] = np.ones(2, np.float32)
    for call in (model.predict, model.predict, model.transform, lambda X: model.fit(X, labels)):
        with pytest.raises(ValueError, match=rf"^{attribute}\[{place}\]: expected None, got array\(\[1., 1.\]"):
            call(IMAGES)
    if place == 1:  # of a layer that this part of the network does not reach
        model.transform(IMAGES, 1)
    getattr(model, attribute)[place] = None
    np.testing.assert_array_equal(model.predict_proba(IMAGES), expected)


@pytest.mark.parametrize("kind", [np.float16, np.int64, object, ">f8", np.longdouble, list])
def test_any_real_numbers_may_stand_for_weights(kind, backend):
    model = MLPClassifier(**SMALL, backend=backend).fit(X.astype(np.float64), np.arange(90) % 2)
    model.coefs_ = [np.round(coef * 8) for coef in model.coefs_]
    expected = model.predict_proba(X)
    model.coefs_ = [coef.tolist() if kind is list else coef.astype(kind) for coef in model.coefs_]
    for _ in range(2):
        np.testing.assert_array_equal(model.predict_proba(X), expected)


@pytest.mark.skipif("FASTNN_ISA" in os.environ, reason="an instruction set is forced for all tests")
def test_another_instruction_set_is_respected(monkeypatch):
    _machine = pytest.importorskip("fastnn.native._machine", reason="the compiled core is not built")
    model = MLPClassifier(**SMALL).fit(X, np.arange(90) % 2)
    for isa in _machine.isa_names():
        model.predict(X)
        monkeypatch.setenv("FASTNN_ISA", isa)
        model.predict(X)
        assert model._kept[None].runner.isa == isa
        assert_same(outputs(model, X), outputs(unknown(model), X))
    monkeypatch.setenv("FASTNN_ISA", "none")
    with pytest.raises(ValueError, match="FASTNN_ISA"):
        model.predict(X)


def hostile(X):
    """Input that is not plainly right."""
    raw = np.zeros(X.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(X.dtype).reshape(X.shape)
    misaligned[:] = X
    values = {}
    for name, value in (("nan", np.nan), ("inf", np.inf), ("minus inf", -np.inf)):
        values[name] = X.copy()
        values[name][-1, -1] = value
    return {
        **values,
        "row": X[0],
        "no rows": X[:0],
        "no columns": X[:, :0],
        "narrow": X[:, :-1],
        "narrow copy": X[:, :-1].copy(),
        "wide": np.hstack([X, X]),
        "three axes": X[..., np.newaxis],
        "scalar": np.array(1.0),
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "reversed": X[::-1],
        "column major": np.asfortranarray(X),
        "misaligned": misaligned,
        "swapped": X.astype(X.dtype.newbyteorder()),
        "float16": X.astype(np.float16),
        "int64": X.astype(np.int64),
        "bool": X > 0,
        "complex": X + 1j,
        "object": X.astype(object),
        "text": X.astype(str),
        "dates": np.zeros(X.shape, "M8[s]"),
        "matrix": np.asarray(X).view(np.matrix),
        "masked": np.ma.masked_array(X),
        "list": X.tolist(),
        "csr": sparse.csr_array(X),
        "wide csr": sparse.csr_array(np.hstack([X, X])),
        "none": None,
    }


def outcome(model, method, *arguments):
    """What a call gives: its result, or its error, with the warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            result = getattr(model, method)(*arguments)
        except Exception as error:
            result = type(error), str(error)
    return result, [(note.category, str(note.message)) for note in said]


def assert_same_outcome(model, method, rows):
    result, said = outcome(model, method, rows)
    expected, expected_said = outcome(unknown(model), method, rows)
    assert type(result) is type(expected) and said == expected_said
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("form", hostile(X))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_errors_and_warnings_are_those_of_the_first_prediction(form, dtype, backend):
    model = MLPClassifier(**SMALL, backend=backend).fit(X, np.arange(90) % 2)
    rows = hostile(X.astype(dtype))[form]
    for method in METHODS:
        getattr(model, method)(X.astype(dtype))
        assert_same_outcome(model, method, rows)


def test_a_value_that_is_not_finite_in_any_place(backend):
    rows = np.tile(X, (40, 1))
    model = MLPClassifier(**SMALL, backend=backend).fit(X, np.arange(90) % 2)
    model.predict(rows)
    for place in range(0, rows.size, 1237):
        wrong = rows.copy()
        wrong.flat[place] = np.nan
        with pytest.raises(ValueError, match="Input X contains NaN"):
            model.predict(wrong)


def test_largest_and_smallest_numbers_are_finite(backend):
    for dtype in (np.float32, np.float64):
        model = MLPRegressor(**SMALL, backend=backend).fit(X.astype(dtype), X[:, 0])
        ends = np.finfo(dtype)
        rows = np.full((2, 7), ends.smallest_subnormal, dtype)
        rows[1] = ends.max, ends.min, ends.tiny, -ends.tiny, 0, -0.0, -ends.smallest_subnormal
        model.predict(rows)
        assert_same_outcome(model, "predict", rows)


def test_names_of_features(backend):
    pandas = pytest.importorskip("pandas", reason="extra: test")
    table = pandas.DataFrame(X, columns=list("abcdefg"))
    y = np.arange(90) % 2
    named, plain = (MLPClassifier(**SMALL, backend=backend).fit(data, y) for data in (table, X))
    for method in METHODS:
        for rows in (X, table, table[list("gfedcba")], table[["a"]]):
            for model in (named, plain):
                assert_same_outcome(model, method, rows)
                assert_same_outcome(model, method, rows)
    named.predict(table)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but"):
        named.predict(X)


FRAMES = {  # columns of a data frame from a table of numbers
    "float64": lambda table: table.astype("float64"),
    "float32": lambda table: table.astype("float32"),
    "two types": lambda table: table.astype({"a": "float32", "b": "float64"}),
    "whole numbers": lambda table: table.astype({"a": "int32", "c": "uint8"}),
    "only whole numbers": lambda table: table.round().astype("int64"),
    "logical": lambda table: table.assign(a=table.a > 0),
    "nullable": lambda table: table.astype("Float64"),
    "sparse": lambda table: table.astype("Sparse[float64]"),
    "objects": lambda table: table.astype(object),
    "text": lambda table: table.astype(str),
    "missing": lambda table: table.assign(b=np.nan),
    "huge": lambda table: table.assign(c=1e39),
    "twice": lambda table: table[list("abcdeff")],
    "none": lambda table: table[[]],
    "no rows": lambda table: table[:0],
    "numbers for names": lambda table: table.set_axis(range(7), axis=1),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("columns", FRAMES)
def test_a_data_frame_is_what_scikit_learn_makes_of_it(monkeypatch, columns, backend):
    pandas = pytest.importorskip("pandas", reason="extra: test")
    table = pandas.DataFrame(np.abs(X), columns=list("abcdefg"))
    frame, y = FRAMES[columns](table), np.arange(90) % 2

    def outcomes():
        models = [MLPClassifier(**SMALL, backend=backend) for _ in range(3)]
        fits = [outcome(models[0], "fit", frame, y), outcome(models[1], "fit", frame, pandas.Series(y))]
        fits = [(getattr(result, "coefs_", [result])[0], said) for result, said in fits]
        models[2].fit(table, y)
        return *fits, outcome(models[2], "predict_proba", frame), outcome(models[2], "predict_proba", frame[:1])

    short = outcomes()
    monkeypatch.setattr(validation, "numbers_of_frame", lambda X, types: None)
    for (result, said), (expected, expected_said) in zip(short, outcomes(), strict=True):
        assert said == expected_said
        np.testing.assert_array_equal(result, expected)


def test_before_fit(backend):
    for method in METHODS:
        assert_same_outcome(MLPClassifier(backend=backend), method, X)


def test_no_copy_takes_along_what_is_kept(backend):
    model = MLPClassifier(**SMALL, backend=backend).fit(X, np.arange(90) % 2)
    before = pickle.dumps(model)
    state = dict(vars(model))
    outputs(model, X)
    assert bool(model._kept) == (backend == "native") and vars(model) == state
    assert pickle.dumps(model) == before
    for twin in (copy.deepcopy(model), unknown(model)):
        assert not twin._kept
        assert_same(outputs(twin, X), outputs(model, X))
    assert not hasattr(clone(model), "_kept")
    twin = copy.copy(model)
    twin.coefs_ = [2 * W for W in model.coefs_]
    for each in (twin, model) * 2:
        assert_same(outputs(each, X), outputs(unknown(each), X))


def test_what_is_kept_has_a_limit(monkeypatch):
    model = convnet("native")
    for layer in range(-1, 5):
        model.transform(IMAGES, layer)
    assert len(model._kept) == 6
    monkeypatch.setattr(prediction, "KEPT_BYTES", 1)
    model.decision_function(IMAGES)
    assert list(model._kept) == ["raw"]


def test_threads_that_predict_at_once(backend):
    rows = [RANDOM.normal(size=(n, 7)).astype(np.float32) for n in (1, 1, 2, 3, 40, 300)] * 10
    model = MLPClassifier(**SMALL, backend=backend).fit(X, np.arange(90) % 2)
    expected = [unknown(model).predict_proba(x) for x in rows]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for actual, right in zip(pool.map(model.predict_proba, rows), expected, strict=True):
                np.testing.assert_array_equal(actual, right)


def test_large_predictions_at_once_while_weights_are_replaced():
    wide = {**SMALL, "hidden_layer_sizes": (300,)}
    model, other = (MLPRegressor(**wide, alpha=alpha).fit(X, X[:, 0]) for alpha in (0.0, 9.0))
    rows = np.tile(X, (30, 1))
    right = [each.predict(rows) for each in (model, other)]
    lists = [model.coefs_, other.coefs_]
    other.intercepts_ = model.intercepts_
    right[1] = other.predict(rows)

    def predict(i):
        if i % 5 == 0:
            model.coefs_ = lists[i // 5 % 2]
        return model.predict(rows)

    with ThreadPoolExecutor(4) as pool:
        for actual in pool.map(predict, range(60)):
            assert any(np.array_equal(actual, each) for each in right)


@pytest.mark.parametrize("name", ["binary", "convnet"])
def test_bits_do_not_depend_on_threads(name):
    estimator, rows, y = MODELS[name]
    model = clone(estimator).fit(rows, y)
    work = 2 * sum(line.multiply_adds for line in model.summary())
    for n in (12_000_000 // work + 1, 36_000_000 // work + 7):
        many = np.resize(rows, (n, *rows.shape[1:]))
        expected = model.set_params(n_jobs=1).predict_proba(many)
        for n_jobs in (2, 3, 5):
            for _ in range(2):
                np.testing.assert_array_equal(model.set_params(n_jobs=n_jobs).predict_proba(many), expected)


def _predict_into(pipe, model, rows):
    pipe.send([model.predict_proba(rows), model.predict_proba(rows[:1])])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork(backend):
    rows = np.tile(X, (100, 1))
    model = MLPClassifier(**{**SMALL, "hidden_layer_sizes": (100, 60)}, backend=backend).fit(X, np.arange(90) % 2)
    expected = [model.predict_proba(rows), model.predict_proba(rows[:1])]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_predict_into, args=(sender, model, rows))
    child.start()
    assert receiver.poll(60)
    for actual, right in zip(receiver.recv(), expected, strict=True):
        np.testing.assert_array_equal(actual, right)
    child.join(60)
    assert child.exitcode == 0
