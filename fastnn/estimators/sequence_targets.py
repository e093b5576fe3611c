"""Targets of sequences: one for each, or one at each of their steps; and the methods that take `lengths`."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import _check_y, check_is_fitted

from fastnn.estimators import sequences
from fastnn.estimators.sequences import Sequences, padded
from fastnn.estimators.validation import Rows, check_weight


@dataclass(frozen=True)
class StepTargets:
    """A target at each step: `values` of all steps that count, one sequence after another, and each one's `lengths`."""

    values: np.ndarray
    lengths: np.ndarray

    def padded(self, values):
        """An array (n, time, ...) of values of all these steps, zeros in the padding."""
        inside = np.arange(self.lengths.max()) < self.lengths[:, np.newaxis]
        array = np.zeros((*inside.shape, *values.shape[1:]), values.dtype)
        array[inside] = values
        return array


class SequenceTargets:
    """One target a sequence or one a step, for a class that derives from BaseRecurrent and, before it, from
    ClassifierTargets or RegressorTargets.

    The outputs of a network with targets at each step are those of all steps that count, one sequence after another:
    what a label or a probability is need not know of sequences. Public methods bring them into the form of X.
    """

    def fit(self, X, y, sample_weight=None, *, lengths=None, X_val=None, y_val=None, sample_weight_val=None,
            lengths_val=None):  # fmt: skip
        """Fit the model to sequences X and targets y.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)
            Sequences; whole numbers, (time_i,) or (n, time), where the first layer is an Embedding.

        y : array-like of shape (n,) or (n, n_outputs), or list of ndarray of shape (time_i,) or (time_i, n_outputs)
            Classes or values. Where the layers end with a sequence, one at each step: a list of arrays, or an array
            (n, time) or (n, time, n_outputs).

        sample_weight : array-like of shape (n,), default=None
            Weight of each sequence in the loss.

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        X_val, y_val : as X and y, default=None
            Held-out sequences whose loss and score `history_` records, and which early stopping goes by.

        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.

        lengths_val : array-like of shape (n_val,), default=None
            Their lengths, where X_val is a padded array.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        if X_val is None and lengths_val is not None:
            raise ValueError(f"{type(self).__name__}.fit: lengths_val is given without X_val")
        held_out = {"X_val": padded(X_val, lengths_val), "y_val": y_val, "sample_weight_val": sample_weight_val}
        return super().fit(padded(X, lengths), y, sample_weight, **held_out)

    def fit_transform(self, X, y, lengths=None, **options):
        """Fit the model, and transform X.

        Parameters
        ----------
        X, y, lengths, options
            As in `fit`.

        Returns
        -------
        activations : ndarray or list of ndarray
            Outputs of the network, see `transform`.
        """
        return self.fit(X, y, lengths=lengths, **options).transform(X, lengths=lengths)

    def predict(self, X, lengths=None):
        """Predict classes or values.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs)
            Where there is a target at each step, in the form of X: a list of arrays (time_i,) or (time_i, n_outputs),
            or an array (n, time) or (n, time, n_outputs) with zeros in the padding.
        """
        return self._in_form(super().predict, X, lengths)

    def transform(self, X, layer=-1, lengths=None):
        """Activations of a layer.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        layer : int, default=-1
            Which one of `layers_`; negative numbers count from the end. The last one gives the network's outputs, after
            the output activation.

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        activations : ndarray of shape (n, n_units)
            Of a layer that yields sequences, in the form of X: a list of arrays (time_i, n_units), or an array
            (n, time, n_units). After ``set_output(transform="pandas")`` (or "polars"), a data frame in place of
            (n, n_units).
        """
        check_is_fitted(self)
        part = self._part(layer)
        if not self._yields_sequences(part):
            return self._contained(self._outputs(padded(X, lengths), part), X, part)
        read = self._sequences(padded(X, lengths), reset=False)
        return read.together(self._each_output(read, part))

    def score(self, X, y, sample_weight=None, lengths=None):
        """Accuracy of a classifier, R^2 of a regressor; with targets at each step, over all steps that count.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        y : as in `fit`

        sample_weight : array-like of shape (n,), default=None
            Weights of sequences.

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        score : float
        """
        if not self._yields_sequences(None):
            return super().score(padded(X, lengths), y, sample_weight)
        read = self._sequences(padded(X, lengths), reset=False)
        y = sequences.step_values(type(self).__name__, y, read.lengths, None if read.shape is None else read.shape[1])
        weight = check_weight(sample_weight, read.lengths)
        return super().score(read, y, None if weight is None else np.repeat(weight, read.lengths))

    def _in_form(self, method, X, lengths):
        """method(X), whose results for all steps are brought into the form of X."""
        if not self._yields_sequences(None) or isinstance(X, Sequences):
            return method(padded(X, lengths))
        read = self._sequences(padded(X, lengths), reset=False)
        return read.together(read.apart(method(read)))

    # ---- targets ----

    def _check_y(self, y, X):
        """y as an array, or as StepTargets where the layers end with a sequence; X is packed."""
        name, numeric = type(self).__name__, self._kind == "regressor"
        if y is None:
            raise ValueError(f"{name} requires y to be passed, but the target y is None")
        if self._ends_with_sequences(X):
            lengths = sequences.steps(X)
            values = sequences.step_values(name, y, lengths, X.shape[1] if X.ndim == 3 else None)
            dtype = "numeric" if numeric else None
            return StepTargets(check_array(values, ensure_2d=False, dtype=dtype, input_name="y"), lengths)
        ragged = isinstance(y, (list, tuple)) and len({np.shape(values) for values in y}) > 1
        if ragged or (sequences.is_list(y) and np.ndim(y[0]) == 2) or sequences.dimensions(y) == 3:
            raise ValueError(
                f"{name}: y holds a sequence of targets for each of X, but the layers yield one vector; choose "
                "return_sequences=True in the last recurrent layer, and no pool behind it"
            )
        y = _check_y(y, multi_output=True, y_numeric=numeric, estimator=self)
        check_consistent_length(X, y)
        return y

    def _encode(self, y, reset, incremental):
        """(y, target) as for tables; of targets at each step padded arrays (n, time, ...)."""
        if not isinstance(y, StepTargets):
            return super()._encode(y, reset, incremental)
        if getattr(self, "class_weight", None) is not None:
            raise ValueError(
                f"{type(self).__name__}: class_weight weighs sequences, but there is a class at each of their steps; "
                "leave it out, or give sequences a sample_weight"
            )
        return tuple(map(y.padded, super()._encode(y.values, reset, incremental)))

    def _stratify(self, target):
        return (None, False) if target.ndim > 1 else super()._stratify(target)

    def _score_outputs(self, outputs, rows, network):
        """Score of outputs on rows; of outputs at each step, over all steps that count."""
        if outputs.ndim < 3:
            return super()._score_outputs(outputs, rows, network)
        lengths = sequences.steps(rows.X)
        inside = np.arange(outputs.shape[1]) < lengths[:, np.newaxis]
        weight = None if rows.weight is None else np.repeat(rows.weight, lengths)
        return super()._score_outputs(outputs[inside], Rows(None, None, rows.target[inside], weight), network)

    def _scored(self, rows):
        """What scorers take: sequences as a caller gives them, or with targets at each step Sequences, whose
        predictions are those of all steps, as are y and weights."""
        read = sequences.unpacked(rows.X, self.n_channels_)
        if not self._yields_sequences(None):
            return (read.rows if read.array is None else read.array), rows.y, rows.weight
        lengths = read.lengths
        weight = None if rows.weight is None else np.repeat(rows.weight, lengths)
        return read, rows.y[np.arange(rows.y.shape[1]) < lengths[:, np.newaxis]], weight
