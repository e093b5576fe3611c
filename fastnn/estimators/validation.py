"""Checks of what users pass, and the rows of a fit: training part and held-out part."""

import copy
import math
import sys
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastnn import training
from fastnn.estimators import network as networks
from fastnn.spec import is_number


class Range(Interval):
    """scikit-learn's Interval without whole numbers beyond all floats."""

    def __init__(self, kind, low, high, closed="left"):
        super().__init__(kind, low, high, closed=closed)

    def __contains__(self, value):
        return (isinstance(value, bool) or is_number(value)) and super().__contains__(value)


def check_combination(estimator, network):
    """Refuses parameters that contradict each other."""
    name = type(estimator).__name__
    if estimator.solver == "lbfgs":
        if networks.is_random(network):
            raise ValueError(
                f"{name}: solver='lbfgs' needs the same loss in every evaluation, but dropout, rrelu and augment are "
                "random; choose solver='adam', or leave the randomness out"
            )
        inexact = networks.inexact_gradient(network)
        if inexact:
            what, instead = inexact
            raise ValueError(
                f"{name}: solver='lbfgs' searches along the gradient of the loss, but {what}; choose solver='adam', or "
                f"{instead}"
            )
        if estimator.clip_norm not in (None, estimator._usual_clip_norm) or estimator.clip_value is not None:
            raise ValueError(
                f"{name}: solver='lbfgs' chooses its own step length; leave out clip_norm and clip_value, which "
                "belong to the other solvers"
            )


# How scikit-learn shall check X: the two real types the backends read, dense rows one after the other.
X_OPTIONS = {"accept_sparse": ["csr", "csc"], "dtype": (np.float64, np.float32), "order": "C"}
PLAIN_TARGETS = (np.int64, np.int32, np.uint8, np.bool_, np.float64, np.float32)


def checked(estimator, X, *, options=X_OPTIONS, reset, **y):
    """scikit-learn's validate_data. What it would hand back as it is goes a short way to the same result: its own takes
    as long as 100 steps of a small network, and looks for NaN on one thread."""
    known, target, given = vars(estimator), y.get("y"), X
    short = not y or (is_plain(target, 1, 2) and target.dtype in PLAIN_TARGETS)
    frame = numbers_of_frame(X, options["dtype"]) if short else None
    X = given if frame is None else frame
    arrays = (X, target) if y else (X,)
    plain = (
        short
        and (is_plain(X, 2) or ("accept_sparse" in options and is_csr(X)))
        and X.dtype in options["dtype"]
        and (not y or len(target) == X.shape[0])
        and (reset or known.get("n_features_in_") == X.shape[1])
        and (frame is not None or "feature_names_in_" not in known)
        and all(training.all_finite(stored(array), estimator.backend, estimator.n_jobs) for array in arrays)
    )
    if not plain:
        return validate_data(estimator, given, **y, **options, reset=reset)
    if frame is not None:  # whose columns have names
        validate_data(estimator, given, reset=reset, skip_check_array=True)
    estimator.n_features_in_ = X.shape[1]
    return arrays if y else X


def refuse_sparse(y):
    """Refuses sparse targets, which scikit-learn's check of several outputs lets pass, in its own words."""
    if sparse.issparse(y):
        check_array(y, input_name="y")


def check_numbers(estimator, y):
    """Refuses dates and text as targets of a regressor, which NumPy would turn into numbers, NaT among them."""
    if y.dtype.kind in "mMSU":
        raise ValueError(
            f"{type(estimator).__name__}: expected numbers as y, got {y.dtype}; convert dates and text to numbers first"
        )


def check_range(estimator, X, dtype):
    """Refuses X whose numbers are too large for the type of the fitted weights."""
    values = stored(X)
    if values.dtype.itemsize <= dtype.itemsize or get_config()["assume_finite"]:
        return
    if not training.all_finite(values, estimator.backend, estimator.n_jobs, dtype):
        raise ValueError(
            f"{type(estimator).__name__}: X has a value too large for {dtype}, the type of the fitted weights: the "
            f"largest |X| is {largest(X):.3g}; scale X, for instance with StandardScaler, or fit with "
            "precision='float64'"
        )


def stored(X):
    """The numbers that X stores: all of an array, the entries of a sparse matrix."""
    return X.data if sparse.issparse(X) else X


def is_csr(X):
    """Whether it is a CSR matrix with rows and columns, whose entries, if any, lie one after the other."""
    form = sparse.issparse(X) and X.format == "csr" and X.ndim == 2
    return form and min(X.shape) > 0 and X.data.flags.c_contiguous


def is_of_pandas(X, name):
    """Whether it is of the class of pandas with that name, without importing pandas."""
    return type(X) is getattr(sys.modules.get("pandas"), name, None)


def numbers_of_frame(X, types):
    """The numbers of a DataFrame of pandas as a C-contiguous array, if all columns are real ones of NumPy's and have a
    common type among these; or None."""
    if not is_of_pandas(X, "DataFrame"):
        return None
    found = set(X.dtypes)
    real = all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in found)
    return np.ascontiguousarray(X.to_numpy()) if real and found and np.result_type(*found) in types else None


def is_plain(array, *axes):
    """Whether it is a C-contiguous array with so many axes that is not empty."""
    return type(array) is np.ndarray and array.ndim in axes and array.size > 0 and array.flags.c_contiguous


def as_rows(X):
    """Validated X as a backend reads it: C-ordered and aligned, or from `sparse_rows`."""
    return X if sparse.issparse(X) or (X.flags.aligned and X.flags.c_contiguous) else np.array(X, order="C")


def sparse_rows(X):
    """A sparse matrix that is not validated as CSR with each entry once. X stays as it is.

    A place outside would be written to, not only read, and that by SciPy's conversions, too, of which scikit-learn's
    checks make use. So this comes before them, and looks at copies, which nobody changes later.
    """
    if X.format == "coo":
        X = sparse.coo_array((X.data, tuple(map(np.array, X.coords))), shape=X.shape)
    elif X.format == "dia":
        X = sparse.dia_array((X.data, np.array(X.offsets)), shape=X.shape)
    elif X.format == "lil":
        lengths = [[len(row) for row in rows] for rows in (X.rows, X.data)]
        if lengths[0] != lengths[1] or len(lengths[0]) != X.shape[0]:
            raise ValueError(f"rows and data of a LIL matrix must have the same lengths, in each of {X.shape[0]} rows")
    if X.format not in ("csr", "csc", "bsr"):
        X = X.tocsr()
    make = getattr(sparse, f"{X.format}_array")
    rows = make((X.data, np.array(X.indices), np.array(X.indptr)), shape=X.shape)
    rows.check_format(full_check=True)
    if rows.nnz <= 0 and rows.indptr.any():  # which SciPy looks at only where there are entries
        raise ValueError("indptr must be a non-decreasing sequence")
    rows = rows.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def check_weight(sample_weight, X):
    """Sample weights as contiguous float64, or None."""
    if sample_weight is None:
        return None
    return np.ascontiguousarray(_check_sample_weight(sample_weight, X, dtype=np.float64))


SMALLEST = np.finfo(np.float64).tiny  # sum of weights: kernels take what is smaller for zero
SPLIT = ", without those that early_stopping holds out,"


def check_sum(estimator, rows, split):
    """Refuses rows whose weights do not have a positive sum: their loss is no mean, and there is nothing to learn."""
    if rows.loss_weight is None:
        return
    with np.errstate(over="ignore"):
        total = rows.loss_weight.sum()
    if not SMALLEST <= total < np.inf:
        raise ValueError(
            f"{type(estimator).__name__}: the weights of the training rows{SPLIT * split} sum to {total:g}, expected a "
            f"positive number; check sample_weight{' times class_weight' * (rows.loss_weight is not rows.weight)}"
        )


@dataclass
class Rows:
    """Rows as a backend binds them, with what scores need.

    Attributes
    ----------
    X : ndarray or CSR
    y : ndarray
        As the user counts: labels or values.
    target : ndarray
        As the loss counts: class indices, 0/1 columns or values.
    weight : ndarray or None
        Sample weights.
    loss_weight : ndarray or None
        Sample weights times class weights.
    """

    X: object
    y: object
    target: np.ndarray
    weight: np.ndarray | None = None
    loss_weight: np.ndarray | None = None

    def take(self, index):
        """The rows of an index array."""

        def part(array):
            return None if array is None else array[index]

        return Rows(self.X[index], part(self.y), part(self.target), part(self.weight), part(self.loss_weight))

    @property
    def bound(self):
        """Arguments of ``Runner.bind``."""
        return self.X, self.target, self.loss_weight


def split(n_rows, fraction, labels, strict, seed):
    """Index arrays of a training and a validation part, stratified by `labels` if given.

    Labels that are too rare to be on both sides are an error if `strict`, else the split is not stratified.
    """
    index, options = np.arange(n_rows), {"test_size": fraction, "random_state": seed & 0xFFFFFFFF}
    try:
        train, held_out = train_test_split(index, stratify=labels, **options)
    except ValueError:
        if labels is None or strict:
            raise
        train, held_out = train_test_split(index, **options)
    if len(held_out) < 2:
        raise ValueError(
            f"The validation set is too small. Increase 'validation_fraction' or the size of your dataset: "
            f"{fraction:g} of {n_rows} rows leaves {len(held_out)}, and a score needs 2."
        )
    return train, held_out


def check_validation_data(estimator, X_val, y_val, sample_weight_val):
    """The user's own validation rows as (X, y, sample_weight) with X and weights checked, or None."""
    name = type(estimator).__name__
    if X_val is None and y_val is None:
        if sample_weight_val is not None:
            raise ValueError(f"{name}.fit: sample_weight_val is given without X_val and y_val")
        return None
    for given, missing, value in (("X_val", "y_val", y_val), ("y_val", "X_val", X_val)):
        if value is None:
            raise ValueError(f"{name}.fit: {given} is provided, but {missing} was not provided.")
    with about(f"{name}.fit: X_val"):
        X_val = estimator._read(X_val, reset=False)
    with about(f"{name}.fit: X_val and y_val"):
        check_consistent_length(X_val, y_val)
    with about(f"{name}.fit: sample_weight_val"):
        return X_val, y_val, check_weight(sample_weight_val, X_val)


@contextmanager
def about(what):
    """Puts `what` before the message of an error: checks that serve all rows call those for validation X and y, too."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


# Products leave out zeros in groups of four neighbours of a row; where they leave out none, they are slower by a fifth.
# 64 rows tell how many groups are zero.
GROUP, FULLEST, ENOUGH_ROWS = 4, 0.6, 64


def mostly_zeros(X):
    """Whether leaving out products with the zeros of X pays, by the groups of some of its rows, or by the entries of a
    sparse matrix.
    """
    n, features = X.shape[0], math.prod(X.shape[1:])
    if sparse.issparse(X):
        return X.nnz <= n * features / GROUP
    rows = X[:: -(-n // ENOUGH_ROWS)].reshape(-1, features)
    groups = (rows[:, : features // GROUP * GROUP] != 0).view(np.uint32)  # of four truth values
    return bool(np.count_nonzero(groups) < FULLEST * groups.size)


# Numbers of a sparse matrix to an entry, at least, by the precision of products: rows of more entries are faster dense.
FEW = {"full": GROUP, "bfloat16": 16}


def few_entries(X, network):
    """Whether X is a sparse matrix with so few entries that products entry by entry are the fastest."""
    return sparse.issparse(X) and X.nnz * FEW[network.precision] <= X.shape[0] * X.shape[1]


def largest(X):
    """Largest absolute value in X, for error messages."""
    return float(np.max(np.abs(stored(X)), initial=0.0))


def fitted_copy(estimator, attributes):
    """A shallow copy of the estimator with these fitted attributes."""
    twin = copy.copy(estimator)
    vars(twin).update(attributes)
    return twin
