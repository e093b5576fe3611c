"""The caller's arrays for the executor, which reads them without looking: so this is where they are looked at."""

from math import prod

import numpy as np
from scipy import sparse

from fastnn.native import _executor, _gather


def source_of(plan, X, y=None, sample_weight=None):
    """The arrays as a plan reads them; see ``Runner.bind``."""
    n, expected = X.shape[0], plan.buffers["X"]
    features = prod(X.shape[1:])
    if features != expected.size:
        raise ValueError(f"X: expected {expected.size} features, got {features}")
    if sparse.issparse(X):
        if len(expected.shape) > 1:
            raise ValueError(f"X: images and signals of shape {expected.shape} must be dense, got a sparse matrix")
        X = _csr(X, X.data, X.indices, X.indptr)
    elif any(buffer.layout == "entries" for buffer in plan.buffers.values()):
        raise ValueError("X: this plan multiplies the entries of a sparse matrix, got a dense one")
    elif X.dtype == np.uint8:
        X = np.require(X, requirements=["C", "A"]).reshape(n, features)
    else:
        X = _real("X", X).reshape(n, features)
    if y is not None:
        target = plan.buffers["y"].shape
        if y.shape != (n, *target):
            raise ValueError(f"y: expected shape {(n, *target)}, got {y.shape}")
        classes = any(op.attributes.get("one_hot") for op in plan.step) or not target
        y = np.ascontiguousarray(y, np.int64) if classes else _real("y", y)
    if sample_weight is not None:
        sample_weight = np.ascontiguousarray(sample_weight, np.float64)
        if sample_weight.shape != (n,):
            raise ValueError(f"sample_weight: expected shape {(n,)}, got {sample_weight.shape}")
    return _executor.Source(X, y, sample_weight, _partners(sample_weight))


def _partners(sample_weight):
    """The rows of positive weight, which others may be mixed with; None for all, also where no row has weight."""
    if sample_weight is None or (sample_weight > 0).all() or not (sample_weight > 0).any():
        return None
    return np.flatnonzero(sample_weight > 0).astype(np.int64, copy=False)


def _real(name, array):
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name}: expected float32 or float64, got {array.dtype}")
    return np.require(array, requirements=["C", "A"])


def _csr(X, data, columns, starts):
    """(values, columns, starts of the rows) of a CSR matrix of X's shape, with the entries of each row in the order of
    their columns. The places are copies, so that nobody changes them once they have been looked at."""
    data, columns, starts = _real("X.data", data), np.array(columns, np.int64), np.array(starts, np.int64)
    rising = None
    if len(starts) == X.shape[0] + 1 and starts[-1] <= min(len(data), len(columns)):
        rising = _gather.columns_rise(starts, columns, X.shape[1])
    if rising is None:
        raise ValueError("X: the CSR matrix points outside itself; see its check_format(full_check=True)")
    if not rising:
        rows = sparse.csr_array((data.copy(), columns, starts), shape=X.shape)
        rows.sum_duplicates()
        return _csr(X, rows.data, rows.indices, rows.indptr)
    return data, columns, starts
