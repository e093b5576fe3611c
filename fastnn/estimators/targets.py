"""What targets mean: classes, labels or numbers, their losses and scores, and the methods that take or return them."""

from numbers import Real

import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_class_weight, compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from fastnn.estimators.fitting import parameters_checked, unchanged_on_failure
from fastnn.estimators.validation import Range, check_numbers, refuse_sparse
from fastnn.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, LogLoss, Loss, Poisson
from fastnn.spec import shown

COUNTED = 1024  # classes at most that are found by counting where there are fewer rows


def has_probabilities(estimator):
    """True, or AttributeError where the loss of the last fit, before it the parameter, has none."""
    activation = vars(estimator).get("out_activation_")
    to_come = estimator.loss == "log_loss" or isinstance(estimator.loss, LogLoss)
    if to_come if activation is None else activation != "identity":
        return True
    raise AttributeError(
        f"probabilities are only available where loss='log_loss' was fitted, got loss={estimator.loss!r}; see "
        "decision_function"
    )


def _distinct(y):
    """np.unique; small whole numbers are counted, which takes a tenth of sorting them."""
    counted = y.dtype.kind in "iu" and np.can_cast(y.dtype, np.int64) and len(y) > 0
    if counted and y.min() >= 0 and y.max() < max(COUNTED, len(y)):
        return np.flatnonzero(np.bincount(y)).astype(y.dtype)
    return np.unique(y)


def _is_plain(y):
    """Whether y is one axis of whole numbers or text, whose labels anyone can tell; scikit-learn takes 20 times as long
    to look into what else it might be."""
    return y.ndim == 1 and y.dtype.kind in "biuU"


def _are_columns(y):
    """Whether y is a 0/1 column for each of several labels, which scikit-learn asks of all numbers five times in a fit,
    by sorting or hashing (5000 x 500: 200 milliseconds)."""
    numbers = isinstance(y, np.ndarray) and y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in "biuf"
    return numbers and bool(((y == 0) | (y == 1)).all())


def labels_in(y):
    """The sorted labels in y."""
    return _distinct(y) if _is_plain(y) else unique_labels(y)


def _are_places(classes, y):
    """Whether sorted classes are 0, 1, 2, ..., and y are whole numbers, too."""
    whole = classes.dtype.kind in "biu" and y.dtype.kind in "biu"
    return whole and classes[0] == 0 and classes[-1] == len(classes) - 1


def are_known(labels, classes):
    """Whether sorted labels are among sorted classes."""
    if _are_places(classes, labels) and len(labels):
        return labels[0] >= 0 and labels[-1] < len(classes)
    return not len(np.setdiff1d(labels, classes, assume_unique=True))


def _places(classes, y):
    """The place of each label among the sorted classes it is one of."""
    return (y if _are_places(classes, y) else np.searchsorted(classes, y)).astype(np.int64)


def _of_classes(class_weight, classes):
    """The factor of each of all classes."""
    return compute_class_weight(class_weight, classes=classes, y=classes)


class ClassifierTargets(ClassifierMixin):
    """Binary, multiclass and multilabel targets, for a class that derives from BaseNetwork too.

    Parameters
    ----------
    loss : {"log_loss", "squared_error", "hinge", "perceptron"} or loss spec, default="log_loss"
        "log_loss" is the cross-entropy, with softmax outputs for several classes and logistic ones for two classes or
        labels, exact also where scikit-learn clips it (at some 16 a row in float32, 36 in float64); the other three
        have linear outputs, targets -1 and 1, and no probabilities.

    class_weight : dict, "balanced", list of dicts (multilabel) or None, default=None
        Factors of the rows of each class in the training and validation loss; "balanced" means
        n_samples / (n_classes * count). Scores do not use it.

    label_smoothing : float, default=0.0
        Moves targets towards equal probabilities: (1 - s) t + s / K with K classes (2 for labels), s in [0, 1). For
        "log_loss" and "squared_error".

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; of multilabel targets the places of the labels, 0, 1, ...

    out_activation_ : str
        "softmax", "logistic" or "identity".
    """

    _kind = "classifier"

    _parameter_constraints: dict = {
        "loss": [StrOptions(set(CLASSIFIER_LOSSES)), Loss],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Range(Real, 0, 1)],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model to X and y.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Training data in any form that the class takes.

        y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or a 0/1 column for each label.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.

        X_val, y_val : as X and y, default=None
            Held-out rows whose loss and score `history_` records, and which early stopping goes by. In a Pipeline,
            ``transform_input=["X_val"]`` transforms X_val like X.

        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @available_if(lambda estimator: estimator._check_solver())
    @parameters_checked
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch on these rows, going on from the last call.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_labels)

        sample_weight : array-like of shape (n_samples,), default=None

        classes : array-like of shape (n_classes,), default=None
            All class labels there will ever be; needed in the first call only.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with unchanged_on_failure(self):
            self._refuse_balanced()
            _check_partial_fit_first_call(self, classes)
            return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        """Predict classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
            A sparse matrix where the labels in `fit` were one.
        """
        return self._labels(self._outputs(X))

    @available_if(has_probabilities)
    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        P : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; for multilabel targets the probability of each label.
        """
        return self._outputs(X, both=True)

    @available_if(has_probabilities)
    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of each class.

        The logarithm of `predict_proba`, except that it stays finite where a probability rounds to 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        log_P : ndarray of shape (n_samples, n_classes)
        """
        P = self.predict_proba(X)
        zero = P == 0
        with np.errstate(divide="ignore"):
            log_P = np.log(P)
        if zero.any():
            z = self._outputs(X, "raw")
            if self.out_activation_ == "softmax":
                exact = log_softmax(z, axis=1)
            else:
                exact = log_expit(z) if self.n_outputs_ > 1 else np.hstack([log_expit(-z), log_expit(z)])
            log_P[zero] = exact[zero]
        return log_P

    def decision_function(self, X):
        """Outputs of the last layer before softmax or logistic function.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        z : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            One column for two classes, positive for ``classes_[1]``; else one a class or label.
        """
        z = self._outputs(X, "raw")
        return z if self.n_outputs_ > 1 else z.ravel()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # ---- targets ----

    @property
    def _is_multilabel(self):
        return self._label_binarizer is not None

    def _encode(self, y, reset, incremental):
        """(y, target): class indices (n,), or 0/1 columns (n, n_labels) for multilabel y."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        columns = _are_columns(y)
        sample = y[:1] if columns else y  # which tells as much
        first = not hasattr(self, "_label_binarizer")
        if first and incremental and hasattr(self, "classes_"):  # which the first call of partial_fit was told
            multilabel = type_of_target(sample).startswith("multilabel")
            self._label_binarizer, first = LabelBinarizer().fit(sample) if multilabel else None, False
        if first or (reset and not incremental):
            self._learn_classes(sample)
        else:
            self._check_classes(labels_in(sample), incremental)
        if self._is_multilabel:
            same = columns and y.shape[1] == len(self.classes_)
            return y, np.ascontiguousarray(y if same else self._label_binarizer.transform(y), dtype=np.float32)
        if y.ndim != 1:
            raise ValueError(
                f"{type(self).__name__}: expected y of shape (n_samples,) as in the last fit, got shape {y.shape}"
            )
        return y, _places(self.classes_, y)

    def _learn_classes(self, y):
        if _is_plain(y):
            classes = _distinct(y)
            if 2 * len(classes) <= len(y):  # more make type_of_target warn that these may be no classes
                self._label_binarizer, self.classes_ = None, classes
                return
        if y.dtype != object and type_of_target(y, input_name="y") in ("binary", "multiclass"):
            self._label_binarizer, self.classes_ = None, np.unique(y)
            return
        # Labels, Python objects and what is no target at all; errors on the latter are scikit-learn's own.
        binarizer = LabelBinarizer().fit(y)
        self._label_binarizer = binarizer if binarizer.y_type_.startswith("multilabel") else None
        self.classes_ = binarizer.classes_

    def _check_classes(self, classes, incremental):
        if incremental:
            if not are_known(classes, self.classes_):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        elif set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )

    def _n_outputs(self, target):
        """(units of the output layer, whether exactly one of them is right)."""
        if self._is_multilabel:
            return target.shape[-1], False
        n_classes = len(self.classes_)
        return (n_classes, True) if n_classes > 2 else (1, False)

    def _target_options(self, network):
        loss, s = network.loss, self.label_smoothing
        if s and loss.name in ("hinge", "perceptron"):
            raise ValueError(
                f"{type(self).__name__}: label_smoothing={s} needs a loss with targets to come close to, but "
                f"{loss.name!r} only asks for the right side; use loss='log_loss' or 'squared_error', or "
                "label_smoothing=0"
            )
        units = network.layers[-1].units
        n_classes = units if units > 1 and not self._is_multilabel else 2
        off, on = loss.target_values
        return {
            "one_hot": not self._is_multilabel,
            "off": off + (on - off) * s / n_classes,
            "on": off + (on - off) * (1 - s + s / n_classes),
        }

    def _refuse_balanced(self):
        given = self.class_weight
        if "balanced" in (given if isinstance(given, list) else [given]):
            raise ValueError(
                f"{type(self).__name__}: class_weight={shown(given)} needs all data at once and cannot be used with "
                "partial_fit; compute the weights with sklearn.utils.class_weight.compute_class_weight and pass them "
                "as a dict"
            )

    def _loss_weight(self, y, weight):
        if self.class_weight is None:
            return weight
        factors = self._class_factors(y)
        return factors if weight is None else factors * weight

    def _class_factors(self, y):
        """The factor of each row, also where `class_weight` names classes that these rows do not hold."""
        given = self.class_weight
        if isinstance(given, dict) and not self._is_multilabel:
            return _of_classes(given, self.classes_)[_places(self.classes_, y)]
        if isinstance(given, list):
            # scikit-learn would take a class for a place in the list.
            if not self._is_multilabel or not all(w is None or isinstance(w, dict) or w == "balanced" for w in given):
                raise ValueError(
                    f"{type(self).__name__}: class_weight={shown(given)}: a list holds a dict for each label of "
                    "multilabel targets; for classes give one dict, {class: weight}"
                )
            given = [dict(enumerate(_of_classes(w, np.arange(2)))) if isinstance(w, dict) else w for w in given]
        return compute_sample_weight(given, y)

    def _stratify(self, target):
        if self._is_multilabel:
            return None, False
        binary = len(self.classes_) <= 2
        # Text, as in scikit-learn, whose message on a class that is too rare shows these labels.
        return (target.astype(bool).astype(str) if binary else target), binary

    # ---- outputs ----

    def _labels(self, outputs):
        threshold = _threshold(self.out_activation_)
        if self._is_multilabel:
            return self._label_binarizer.inverse_transform(outputs, threshold=threshold)
        return self.classes_[self._chosen(outputs, threshold)]

    def _chosen(self, outputs, threshold):
        """The place in `classes_` of the class that each row's outputs choose."""
        if outputs.shape[1] > 1:
            return outputs.argmax(axis=1)
        # A single class is class 0 of 1, wherever the output lies.
        return np.minimum(outputs[:, 0] > threshold, len(self.classes_) - 1)

    def _score_outputs(self, outputs, rows, network):
        """Accuracy of outputs on rows."""
        threshold = _threshold(network.output_activation)
        if self._is_multilabel:
            hits = ((outputs > threshold) == (rows.target > 0.5)).all(axis=1)
        else:
            hits = self._chosen(outputs, threshold) == rows.target
        return np.average(hits, weights=rows.weight)


class RegressorTargets(RegressorMixin):
    """One or several numbers as targets, for a class that derives from BaseNetwork too.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "huber", "poisson", "quantile"} or loss spec, default="squared_error"
        Summed over outputs and averaged over rows. "squared_error" is half the squared error, "poisson" half the
        Poisson deviance with outputs exp(z) and y >= 0, "huber" has delta=1 and "quantile" q=0.5; for other numbers
        pass a spec such as ``fastnn.losses.Quantile(0.9)``.

    Attributes
    ----------
    out_activation_ : str
        "identity", or "exp" for the Poisson loss.

    Notes
    -----
    With several outputs the squared error is summed over them, in the gradient (as in scikit-learn) and in the reported
    loss, where scikit-learn reports the mean.
    """

    _kind = "regressor"

    _parameter_constraints: dict = {"loss": [StrOptions(set(REGRESSOR_LOSSES)), Loss]}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model to X and y.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Training data in any form that the class takes.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target values.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.

        X_val, y_val : as X and y, default=None
            Held-out rows whose loss and score `history_` records, and which early stopping goes by. In a Pipeline,
            ``transform_input=["X_val"]`` transforms X_val like X.

        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @available_if(lambda estimator: estimator._check_solver())
    @parameters_checked
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on these rows, going on from the last call.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)

        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        """Predict target values.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        y = self._outputs(X)
        return y if self.n_outputs_ > 1 else y.ravel()

    # ---- targets ----

    def _encode(self, y, reset, incremental):
        """(y, target): target values (n, n_outputs) in floating point."""
        refuse_sparse(y)
        check_numbers(self, y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        dtype = y.dtype if y.dtype in (np.float32, np.float64) else np.float64
        target = np.ascontiguousarray(y, dtype=dtype).reshape(len(y), -1)
        poisson = self.loss == "poisson" or isinstance(self.loss, Poisson)
        if poisson and (target < 0).any():
            raise ValueError(
                f"{type(self).__name__}: loss='poisson' expects y >= 0, got a minimum of {target.min():g}; "
                "choose another loss, such as 'squared_error'"
            )
        return y, target

    def _n_outputs(self, target):
        """(units of the output layer, whether exactly one of them is right)."""
        return target.shape[-1], False

    def _score_outputs(self, outputs, rows, network):
        """R^2 of outputs on rows."""
        return r2_score(rows.target, outputs, sample_weight=rows.weight)


def _threshold(output_activation):
    """The output above which a class or label is predicted."""
    return 0.5 if output_activation == "logistic" else 0.0
