"""ESNClassifier: echo state networks for classes of sequences, or of their steps."""

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.extmath import softmax
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets

from fastnn.estimators import sequences
from fastnn.estimators.documentation import documented
from fastnn.estimators.esn import BaseESN
from fastnn.estimators.fitting import parameters_checked, unchanged_on_failure
from fastnn.estimators.targets import are_known, labels_in


@documented
class ESNClassifier(ClassifierMixin, BaseESN):
    """Echo state network that classifies sequences.

    A reservoir of fixed random units runs over each sequence, and ridge regression on the mean and the last of what it
    leaves tells the class. Targets are -1 and 1, one output a class (a single one for two).

    Labels may also stand for every step: y is then a list of arrays of shape (time_i,), or padded like X an array (n,
    time). Where X is a single sequence of more than one step, y of shape (time,) or (1, time) holds its steps' labels.

    Parameters
    ----------
    features : tuple of str, default=("bias", "state")
        What the readout sees of each step: "bias" (a constant 1, whose weight is not penalised), "input", "state",
        "squared_state".

    alpha : float or array-like of float, default=1.0
        Strength of the ridge penalty alpha |W|^2 beside the sum of squared errors. Of several, that with the smallest
        leave-one-out error is taken (closed form; a row, with all its weight, is a sequence or a step).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    See Also
    --------
    ESNRegressor : The same network for numbers and for series.
    ConvNet : Convolutional networks for signals of one length.

    References
    ----------
    Bianchi, Scardapane, Løkse and Jenssen (2020), Reservoir computing approaches for representation and
    classification of multivariate time series.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import ESNClassifier
    >>> random = np.random.default_rng(0)
    >>> speed = random.integers(1, 4, 60)
    >>> X = [np.sin(v * np.arange(random.integers(30, 60)) / 5)[:, np.newaxis] for v in speed]
    >>> clf = ESNClassifier(features=("bias", "state", "squared_state"), random_state=0).fit(X[:40], speed[:40])
    >>> clf.score(X[40:], speed[40:])
    1.0
    """

    def __init__(
        self,
        units=200,
        *,
        spectral_radius=0.9,
        leak=0.3,
        input_scaling=1.0,
        bias_scaling=0.2,
        topology="random",
        density=None,
        activation="tanh",
        features=("bias", "state"),
        pooling=("mean", "last"),
        washout=0,
        bidirectional=False,
        feedback=False,
        feedback_scaling=1.0,
        standardize=False,
        alpha=1.0,
        solver="ridge",
        forgetting=1.0,
        random_state=None,
        precision="auto",
        backend="native",
        n_jobs=None,
    ):
        parameters = locals()
        del parameters["self"]
        vars(self).update(parameters)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, lengths=None, sample_weight=None):
        """Fit the model to sequences and their classes.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        y : array-like of shape (n,) or (n, time), or list of array-like of shape (time_i,)

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array. It comes before `sample_weight`: better pass both by name.

        sample_weight : array-like of shape (n,), default=None
            Weights of sequences; with targets for every step also those of steps, in the shapes that y may have.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y, lengths, sample_weight, False)

    @parameters_checked
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, lengths=None, classes=None, sample_weight=None, continued=False):
        """Go on with further sequences; any chunks give what one `fit` on all would, but for what `standardize` learns.

        Parameters
        ----------
        X, y, lengths
            As in `fit`.

        classes : array-like of shape (n_classes,), default=None
            All class labels there will ever be; needed in the first call only.

        sample_weight
            As in `fit`.

        continued : bool, default=False
            Whether these are the next steps of the sequence that the last call ended with: state and feedback then go
            on, and no step is left out as washout. For single sequences with labels at every step.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with unchanged_on_failure(self):
            _check_partial_fit_first_call(self, classes)
            return self._fit(X, y, lengths, sample_weight, True, continued)

    def _encode(self, read, y, incremental):
        """(whether there are labels for every step, targets of -1 and 1 for each sequence)."""
        each_step, labels, lengths = self._labels(read, y)
        if not incremental:
            self.classes_ = np.unique(labels)
        elif not are_known(labels_in(labels), self.classes_):
            raise ValueError(f"{self._name}: y has classes that are not among {self.classes_}, those of the first call")
        Y = np.where(labels[:, np.newaxis] == self.classes_, 1.0, -1.0)
        Y = Y if len(self.classes_) > 2 else Y[:, -1:]
        return each_step, np.split(Y, np.cumsum(lengths)[:-1]) if each_step else Y

    def _labels(self, read, y):
        """(whether they are of steps, all labels one after another, how many belong to each sequence)."""
        steps = sequences.of_steps(self, read, y, 2)
        labels = y if steps is None else np.concatenate(steps)
        check_classification_targets(labels)
        labels = column_or_1d(labels, warn=True)
        if steps is None:
            check_consistent_length(read.rows, labels)
        return steps is not None, labels, read.lengths

    def decision_function(self, X, lengths=None):
        """Outputs of the readout.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        z : ndarray of shape (n,) or (n, n_classes)
            One number for two classes, positive for ``classes_[1]``; else one a class, the largest for that predicted.
            With labels for every step an array (n, time, ...), zeros in the padding, or for a list X a list.
        """
        read, z = self._outputs(X, lengths)
        if self.n_outputs_ == 1:
            z = [values[:, 0] for values in z] if self.each_step_ else z[:, 0]
        return read.together(z) if self.each_step_ else z

    def predict(self, X, lengths=None):
        """Predict classes.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        y : ndarray of shape (n,)
            With labels for every step (n, time), whatever in the padding, or for a list X a list.
        """
        return self._of_outputs(X, lengths, lambda z: self.classes_[self._place(z)])

    def predict_proba(self, X, lengths=None):
        """Shares of the classes: softmax of the readout's outputs z, of two classes that of -z and z.

        They are positive, sum to 1 and are largest for the class predicted, but they are no calibrated probabilities:
        ridge regression aims its outputs at -1 and 1, whose softmax never comes near 0 or 1. For probabilities see
        :class:`sklearn.calibration.CalibratedClassifierCV`.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        P : ndarray of shape (n, n_classes)
            With labels for every step (n, time, n_classes), zeros in the padding, or for a list X a list.
        """
        return self._of_outputs(X, lengths, self._shares)

    def _of_outputs(self, X, lengths, function):
        """A function of the outputs (n, n_outputs), of all sequences or of each one's steps."""
        read, z = self._outputs(X, lengths)
        return read.together([function(values) for values in z]) if self.each_step_ else function(z)

    def _place(self, z):
        if z.shape[1] > 1:
            return z.argmax(axis=1)
        # A single class is class 0 of 1, wherever the output lies.
        return np.minimum(z[:, 0] > 0, len(self.classes_) - 1)

    def _shares(self, z):
        if len(self.classes_) == 1:
            return np.ones((len(z), 1))
        return softmax(z if z.shape[1] > 1 else np.hstack([-z, z]), copy=True)

    def score(self, X, y, sample_weight=None, lengths=None):
        """Share of the labels that are predicted, of labels for every step over all after the washout.

        Parameters
        ----------
        X, y
            As in `fit`.

        sample_weight
            As in `fit`.

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        score : float
        """
        if not self.__sklearn_is_fitted__() or not self.each_step_:
            return accuracy_score(y, self.predict(X, lengths), sample_weight=sample_weight)
        read = sequences.read(self, X, lengths, reset=False)
        _, labels, lengths = self._labels(read, y)
        truth = np.split(labels, np.cumsum(lengths)[:-1])
        truth, guess, weights = self._scored(read, truth, self.predict(read.rows), sample_weight)
        return accuracy_score(truth, guess, sample_weight=weights)
