"""Sequences: what shapes of X and y mean, X as a list of (time, channels) arrays and as rows that a backend reads."""

import operator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight

from fastnn.estimators.validation import checked, is_of_pandas, is_plain
from fastnn.layers import Embedding
from fastnn.spec import shown

REAL = (np.float64, np.float32)
WEIGHTS = {"dtype": np.float64, "ensure_non_negative": True}


@dataclass(frozen=True)
class Padded:
    """An array X (n, time, channels) or (n, time) with the steps of each row that are no padding."""

    X: object
    lengths: object


def padded(X, lengths):
    """X, with its lengths where there are some."""
    return X if lengths is None else Padded(X, lengths)


@dataclass
class Sequences:
    """Sequences as they are computed with.

    Attributes
    ----------
    rows : list of ndarray of shape (time_i, channels)
        C-contiguous, all float32 or all float64, finite, none empty.
    shape : tuple or None
        (n, time) where they came as one array, padding included; None where they came as a list.
    array : ndarray of shape (n, time, channels), or None
        That array, where it has no padding.
    """

    rows: list
    shape: tuple | None
    array: np.ndarray | None = None

    def __len__(self):
        return len(self.rows)

    @property
    def lengths(self):
        return np.array([len(row) for row in self.rows], np.int64)

    @property
    def channels(self):
        return self.rows[0].shape[1]

    @property
    def dtype(self):
        return self.rows[0].dtype

    def together(self, values):
        """One array (n, time, ...) of values of each step, zeros in the padding, or the list as it is."""
        if self.shape is None:
            return values
        if self.array is not None:
            return np.stack(values)
        array = np.zeros((*self.shape, *values[0].shape[1:]), values[0].dtype)
        for row, value in zip(array, values, strict=True):
            row[: len(value)] = value
        return array

    def apart(self, values):
        """The values of each sequence in a list, of those of all steps one after another."""
        return np.split(values, np.cumsum(self.lengths)[:-1])

    def groups(self):
        """Index arrays of sequences that are best padded together: all of them, unless more than half would then be
        padding; else those whose lengths begin with the same power of two."""
        lengths = self.lengths
        if len(lengths) * lengths.max() <= 2 * lengths.sum():
            return [np.arange(len(lengths))]
        powers = np.frexp(lengths)[1]
        return [np.flatnonzero(powers == power) for power in np.unique(powers)]

    def packed(self, index=None):
        """X as a network reads it: (n, time, channels) where no step is padding, else (n, time * channels + 1) with
        zeros behind the steps of each row and, as the last number, how many these are; of all or of some rows."""
        if self.array is not None:
            return self.array if index is None else self.array[index]
        rows = self.rows if index is None else [self.rows[i] for i in index]
        lengths = np.array([len(row) for row in rows])
        if self.shape is None and (lengths == lengths[0]).all():
            return np.stack(rows)
        X = np.zeros((len(rows), lengths.max() * self.channels + 1), self.dtype)
        for x, row in zip(X, rows, strict=True):
            x[: row.size] = row.ravel()
        X[:, -1] = lengths
        return X


def form(X, channels):
    """((time, channels), whether rows say how many of their steps count) of packed X."""
    return (X.shape[1:], False) if X.ndim == 3 else (((X.shape[1] - 1) // channels, channels), True)


def steps(X):
    """The number of steps that count in each row of packed X."""
    return np.full(len(X), X.shape[1]) if X.ndim == 3 else X[:, -1].astype(np.int64)


def unpacked(X, channels):
    """The Sequences in packed X."""
    if X.ndim == 3:
        return Sequences(list(X), X.shape[:2], X)
    return Sequences([row[: n * channels].reshape(n, channels) for row, n in zip(X, steps(X), strict=True)], None)


def read(estimator, X, lengths=None, *, reset):
    """X as Sequences.

    A list (or tuple, object array or Series) of (time_i, channels) arrays; an array (n, time, channels); a table
    (n, time) whose rows are series of one channel. `lengths` says how many steps of each row of an array are no
    padding.

    With `reset` sets `n_channels_` and `n_features_in_` (the columns of a table, else the channels), otherwise holds X
    against them.
    """
    name, X = type(estimator).__name__, _without_index(X)
    if is_list(X) and len(X) and all(np.ndim(x) == 1 and len(x) == len(X[0]) for x in X):
        X = np.stack(X)
    if is_list(X):
        if lengths is not None:
            raise ValueError(f"{name}: lengths belong to padded arrays, but X is a list; its arrays have their own")
        sequences = Sequences(_from_list(name, X), None)
    elif not sparse.issparse(X) and (lengths is not None or dimensions(X) > 2):
        sequences = _from_array(name, X, lengths)
    else:
        return _from_table(estimator, X, reset)
    if reset:
        estimator.n_channels_ = estimator.n_features_in_ = sequences.channels
        estimator._reads_table = False
        vars(estimator).pop("feature_names_in_", None)
    _check_channels(estimator, sequences.channels)
    return sequences


def of_steps(estimator, read, y, axes, what="y", alone=True):
    """Values for every step as a list of arrays (time_i, ...), one for each sequence of X; None where y, (n, ...), has
    them for whole sequences.

    A list of arrays, or a padded array of as many `axes`, has values for every step; so has a list of lists as long as
    the sequences, unless these lists may be the outputs of whole ones. Where X is a single sequence of more than one
    step, y may also be that sequence's values `alone`.
    """
    name, y, padded = type(estimator).__name__, _without_index(y), False
    if alone and len(read) == 1 and not is_list(y) and (steps := read.lengths[0]) > 1:
        values = np.asarray(y)
        if values.shape[:1] == (steps,) and values.ndim < axes:
            y = [values]
        elif values.shape == (1, steps):
            y = list(values)
    if _are_lists(y, read.lengths) and (axes == 2 or len(set(read.lengths)) > 1):
        y = [np.asarray(values) for values in y]
    if not is_list(y):
        padded = dimensions(y) == axes and (axes > 2 or np.shape(y) == read.shape)
        if not padded:
            return None
    return _each_step(name, y, read.lengths, axes, padded, what)


def _each_step(name, y, lengths, axes, padded, what="y"):
    """y as a list of arrays (time_i, ...) of fewer than `axes` axes; where it is `padded`, without the padding."""
    if len(y) != len(lengths):
        raise ValueError(f"{name}: {what} has {len(y)} sequences, X has {len(lengths)}")
    found = [np.asarray(values) for values in y]
    if padded:
        found = [values[:length] for values, length in zip(found, lengths, strict=True)]
    for i, (values, length) in enumerate(zip(found, lengths, strict=True)):
        if values.shape[:1] != (length,) or values.ndim >= axes or values.shape[1:] != found[0].shape[1:]:
            raise ValueError(
                f"{name}: {what}[{i}] has shape {values.shape}, expected values for each of the {length} steps of "
                f"X[{i}]{'' if i == 0 else f', of as many outputs as those of {what}[0]'}"
            )
    return found


def check_weight(estimator, read, sample_weight, each_step):
    """Weights (n,) of sequences, or with `each_step` a list of those of their steps, (time_i,); None as it is."""
    if sample_weight is None:
        return None
    weight = of_steps(estimator, read, sample_weight, 2, "sample_weight") if each_step else None
    if weight is not None:
        checked = _check_sample_weight(np.concatenate(weight), np.concatenate(read.rows), **WEIGHTS)
        return np.split(checked, np.cumsum(read.lengths)[:-1])
    weight = _check_sample_weight(sample_weight, read.lengths, **WEIGHTS)
    return [np.full(n, w) for n, w in zip(read.lengths, weight, strict=True)] if each_step else weight


def _without_index(X):
    """What a Series of pandas holds."""
    return X.to_numpy() if is_of_pandas(X, "Series") else X


def is_list(X):
    """Whether X holds arrays of its own rather than being one: a list, tuple or object array of them."""
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1 and any(map(_is_series, X))
    return isinstance(X, (list, tuple)) and (not X or any(map(_is_series, X)))


def _are_lists(y, lengths):
    """Whether y holds lists or tuples of these lengths."""
    listed = isinstance(y, (list, tuple)) and all(isinstance(values, (list, tuple)) for values in y)
    return listed and len(y) == len(lengths) and all(map(operator.eq, map(len, y), lengths))


def _is_series(x):
    nested = isinstance(x, (list, tuple)) and any(isinstance(step, (list, tuple)) for step in x)
    return nested or getattr(x, "ndim", 0) > 0


def dimensions(X):
    """Number of axes of anything that can become an array."""
    return X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim


def _from_list(name, X):
    if not len(X):
        raise ValueError(f"{name}: X is an empty list; expected at least one sequence")
    rows = []
    for i, x in enumerate(X):
        try:
            axes = np.ndim(x)
        except ValueError:
            raise ValueError(
                f"{name}: X[{i}] has steps of different numbers of channels; expected (time, channels)"
            ) from None
        if axes != 2:
            raise ValueError(
                f"{name}: X[{i}] has shape {np.shape(x)}, expected (time, channels); bring a series of one channel "
                "into that shape with x.reshape(-1, 1)"
            )
        if not np.shape(x)[0]:
            raise ValueError(f"{name}: X[{i}] is an empty sequence; leave it out")
        if np.shape(x)[1] != np.shape(X[0])[1]:
            raise ValueError(
                f"{name}: X[{i}] has {np.shape(x)[1]} channels, X[0] has {np.shape(X[0])[1]}; all sequences must have "
                "the same channels"
            )
        rows.append(_real(x, f"X[{i}]"))
    dtype = np.result_type(*rows)
    return [row.astype(dtype, copy=False) for row in rows]


def _real(x, name):
    """check_array, which takes 50 microseconds to hand back an array as it is."""
    with np.errstate(over="ignore", invalid="ignore"):
        if is_plain(x, 2, 3) and x.dtype in REAL and np.isfinite(x.sum()):
            return x
    return check_array(x, dtype=REAL, order="C", allow_nd=True, input_name=name)


def _from_array(name, X, lengths):
    X = np.asarray(X)
    if X.ndim == 2:
        X = X[..., np.newaxis]
    if X.ndim != 3:
        raise ValueError(f"{name}: expected X of shape (n, time, channels) or (n, time), got {X.shape}")
    n, time, _ = X.shape
    if not X.size:
        raise ValueError(f"{name}: X of shape {X.shape} holds no numbers; expected at least one sequence of one step")
    given = _lengths(name, lengths, n, time)
    if (given == time).all():
        X = _real(X, "X")
        return Sequences(list(X), (n, time), X)
    # What stands in the padding is nobody's business.
    rows = [row[:length] for row, length in zip(X, given, strict=True)]
    flat = _real(np.concatenate(rows), "X")
    return Sequences(np.split(flat, np.cumsum(given)[:-1]), (n, time))


def _lengths(name, lengths, n, time):
    if lengths is None:
        return np.full(n, time)
    lengths = np.asarray(lengths)
    if lengths.shape != (n,) or not np.issubdtype(lengths.dtype, np.integer):
        raise ValueError(
            f"{name}: lengths must be {n} whole numbers, one for each sequence, got {shown(lengths)}; if these are "
            "sample weights, pass them by name"
        )
    for wrong, what in (
        (lengths < 1, "at least 1"),
        (lengths > time, f"at most {time}, the steps that X has room for"),
    ):
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(f"{name}: lengths[{i}] is {lengths[i]}; a sequence has {what}")
    return lengths


def _from_table(estimator, X, reset):
    learnt = reset or getattr(estimator, "_reads_table", False)
    if learnt:
        X = checked(estimator, X, options={"dtype": REAL, "order": "C"}, reset=reset)
    else:
        X = _real(X, "X")
    if reset:
        estimator.n_channels_, estimator._reads_table = 1, True
    _check_channels(estimator, 1)
    array = X[:, :, np.newaxis]
    return Sequences(list(array), X.shape, array)


def _check_channels(estimator, channels):
    if channels != estimator.n_channels_:
        raise ValueError(
            f"{type(estimator).__name__}: X has {channels} channels, but the fit had {estimator.n_channels_}; expected "
            f"(n, time, {estimator.n_channels_}) or a list of (time, {estimator.n_channels_}) arrays"
        )


def step_values(name, y, lengths, time=None):
    """y of all steps that count, one sequence after another: (steps,) or (steps, outputs).

    y is a list of arrays (time_i,) or (time_i, outputs), or an array (n, time) or (n, time, outputs) whose padding is
    left out; `time` says how long it must be, None that of the longest or longer.
    """
    y = _without_index(y)
    n, listed = len(lengths), isinstance(y, (list, tuple)) or is_list(y)
    if not listed and np.shape(y)[:1] == (n,):
        y, expected = np.asarray(y), lengths.max() if time is None else time
        if y.ndim not in (2, 3) or y.shape[1] < expected or time not in (None, y.shape[1]):
            raise ValueError(
                f"{name}: y has shape {y.shape}, but the layers yield a sequence, so it must have a value for each of "
                f"{expected} steps: ({n}, {expected}) or ({n}, {expected}, outputs); for one value a sequence choose "
                "return_sequences=False in the last recurrent layer"
            )
    y = _each_step(name, np.atleast_1d(y) if not listed else y, lengths, 3, not listed)
    flat = np.concatenate(y)
    return flat[:, 0] if flat.shape[1:] == (1,) else flat


def read_tokens(estimator, X, lengths, known, *, reset):
    """X as Sequences of one channel, of whole numbers from 0 to `known` - 1 in float32: a list of (time_i,) arrays, or
    an array (n, time)."""
    X = _without_index(X)
    if is_list(X) or (isinstance(X, (list, tuple)) and np.ndim(X[0]) == 1):
        X = [np.reshape(x, (-1, 1)) if np.ndim(x) == 1 else x for x in X]
    elif dimensions(X) == 2 and not sparse.issparse(X):
        X = np.asarray(X)[:, :, np.newaxis]
    sequences = read(estimator, X, lengths, reset=reset)
    for row in sequences.rows if sequences.array is None else [sequences.array]:
        check_tokens(type(estimator).__name__, row, known)
    rows = [row.astype(np.float32) for row in sequences.rows]
    array = None if sequences.array is None else sequences.array.astype(np.float32)
    return Sequences(rows, sequences.shape, array)


def tokens(layers):
    """How many tokens the first layer knows, where it is an Embedding; else None."""
    return layers[0].tokens if layers and isinstance(layers[0], Embedding) else None


def check_tokens(name, X, known):
    """ValueError unless X holds nothing but whole numbers from 0 to `known` - 1."""
    wrong = ~((X >= 0) & (X < known) & (X == np.floor(X)))
    if wrong.any():
        raise ValueError(
            f"{name}: X holds the number {X[wrong].flat[0]:g}, but Embedding({known}, ...) takes whole numbers from 0 "
            f"to {known - 1}; number the tokens anew, or give the Embedding more of them"
        )
