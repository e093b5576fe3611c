"""The multi-layer perceptron that predicts classes."""

import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from numbers import Real  # isort: skip

from fastnn.estimators.base import BaseMLP
from fastnn.losses import CLASSIFIER_LOSSES, LogLoss, Loss


def _has_probabilities(estimator):
    if estimator.loss != "log_loss" and not isinstance(estimator.loss, LogLoss):
        raise AttributeError(
            f"probabilities are only available with loss='log_loss', got loss={estimator.loss!r}; see decision_function"
        )
    return True


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier.

    Takes the parameters of scikit-learn's class of the same name with the same meaning, then its own. Trains on dense
    and CSR data, on binary, multiclass and multilabel targets.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, or int, default=(100,)
        Units of each hidden layer, from input to output. An empty list means no hidden layer: softmax regression, the
        perceptron or Adaline, depending on the loss.

    activation : str, activation spec or list of them, default="relu"
        Activation of the hidden layers, or one for each: "identity", "unit_step", "sign", "piecewise_linear",
        "logistic", "tanh", "relu", "leaky_relu", "rrelu", "softplus", "elu", "selu", "gelu", "silu", "mish",
        "hard_tanh", or a spec with numbers of its own such as ``fastnn.activations.LeakyReLU(0.1)``. "unit_step" and
        "sign" are flat; they are trained with the straight-through derivative (1 where abs(z) <= 1, else 0).

    solver : {"lbfgs", "gd", "sgd", "adagrad", "rmsprop", "adam", "adamw"}, default="adam"
        "gd" takes all rows in one step, "sgd" has momentum, "lbfgs" is the quasi-Newton method of
        :func:`scipy.optimize.minimize`, good for small data; it works in float64 inside.

    alpha : float, default=0.0001
        Strength of the penalty alpha * (l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2) / s on weights, not biases,
        where s is the sum of the sample weights of the batch (its number of rows without weights).

    batch_size : int or "auto", default="auto"
        Rows of a step; "auto" is min(200, n_samples). Not used by "gd" and "lbfgs".

    learning_rate : str or schedule spec, default="constant"
        "constant"; "invscaling": learning_rate_init / (rows seen by the last epoch's end + 1) ** power_t; "adaptive":
        divided by 5 whenever n_iter_no_change epochs pass without progress, until it is 1e-6 or less; "step",
        "exponential", "cosine", "one_cycle", "warm_up", or a spec from ``fastnn.schedules``. Works with every solver
        but "lbfgs". Schedules with an end ("cosine", "one_cycle") span max_iter epochs and start anew with each fit.

    learning_rate_init : float, default=0.001
        The rate the schedule scales.

    power_t : float, default=0.5
        Exponent of "invscaling".

    max_iter : int, default=200
        Most epochs (passes over the data); most iterations for "lbfgs".

    shuffle : bool, default=True
        Whether rows are reordered in each epoch. Has no effect where one batch holds all rows.

    random_state : int, RandomState instance or None, default=None
        Draws the initial weights (the same as scikit-learn's for the same seed) and a 64-bit seed, from which shuffles,
        masks and the validation split come. The seed is kept, so training that is continued goes on with its stream.

    tol : float, default=1e-4
        Least improvement of the training loss (of the validation score with early stopping) that counts as progress;
        for "lbfgs", the largest gradient component at which it stops.

    verbose : bool, int or "bar", default=False
        True prints a line an epoch. "bar" shows a progress bar on standard error, if that is a terminal, in fits that
        take more than a second.

    warm_start : bool, default=False
        Whether `fit` goes on from the last fit's weights. The optimiser's state is then kept, also in pickles, and a
        fit that is continued equals one that never stopped, bit for bit.

    momentum : float, default=0.9
        Of "sgd", in [0, 1].

    nesterovs_momentum : bool, default=True
        Whether "sgd" looks ahead.

    early_stopping : bool, default=False
        Whether to stop when the score on held-out rows makes no progress, and to keep the weights of the best score.
        The rows are `X_val` where given to `fit`, else `validation_fraction` of the data,
        stratified by class where every class is frequent enough (never for multilabel targets).
        Not used by "lbfgs".

    validation_fraction : float, default=0.1
        Share of rows set aside by early_stopping.

    beta_1, beta_2 : float, default=0.9 and 0.999
        Memories of "adam" and "adamw", in [0, 1).

    epsilon : float, default=1e-8
        Keeps the quotients of "adagrad", "rmsprop", "adam" and "adamw" finite.

    n_iter_no_change : int or inf, default=10
        Training stops when more than this many epochs in a row bring no progress.

    max_fun : int, default=15000
        Most loss evaluations of "lbfgs".

    loss : {"log_loss", "squared_error", "hinge", "perceptron"} or loss spec, default="log_loss"
        "log_loss" is the cross-entropy, with softmax outputs for several classes and logistic ones for two classes or
        labels; the other three have linear outputs, targets -1 and 1, and no probabilities.

    class_weight : dict, "balanced", list of dicts (multilabel) or None, default=None
        Factors of the rows of each class in the training and validation loss; "balanced" means
        n_samples / (n_classes * count). Scores do not use it.

    label_smoothing : float, default=0.0
        Moves targets towards equal probabilities: (1 - s) t + s / K with K classes (2 for labels), s in [0, 1). For
        "log_loss" and "squared_error".

    l1_ratio : float, default=0.0
        Share of the 1-norm in the penalty, in [0, 1].

    dropout : float or list of float, default=0.0
        Share of hidden units dropped in training, for all hidden layers or for each.

    input_dropout : float, default=0.0
        Share of inputs dropped in training.

    normalization : {"batch", "layer"} or None, default=None
        Normalises the output of each hidden layer's activation over the batch or over the layer's units.

    init : str or initialiser spec, default="auto"
        Initial weights: "auto" (scikit-learn's), "zeros", "normal", "uniform", "glorot_uniform", "glorot_normal",
        "lecun_uniform", "lecun_normal", "he_uniform", "he_normal", "orthogonal" or a spec from
        ``fastnn.initializers``. All but "auto" start with zero biases.

    clip_norm : float or None, default=None
        Largest Euclidean norm of the gradient of all parameters together; longer ones are scaled down.

    clip_value : float or None, default=None
        Largest absolute value of each element of the gradient, after `clip_norm`.

    weight_decay : float, default=0.01
        Decoupled weight decay of "adamw".

    rho : float, default=0.9
        Memory of "rmsprop", in [0, 1).

    precision : {"auto", "float32", "float64"}, default="auto"
        Type of weights and predictions; "auto" takes that of X in the first fit (float64 unless X is float32).

    backend : {"native", "numpy"}, default="native"
        Compiled kernels, or the same plan in NumPy.

    n_jobs : int or None, default=None
        Most threads; None and -1 mean all cores. Small nets use fewer. Results do not depend on it.

    scoring : str, callable or None, default=None
        Score of the held-out rows, any scorer of scikit-learn; None means accuracy.

    epoch_callback : callable or None, default=None
        Called after each epoch with a ``fastnn.estimators.callbacks.Epoch`` (number, loss, learning_rate, seconds,
        validation_loss, validation_score, and estimator, a fitted copy made on demand); training stops if it returns
        True. For scikit-learn's callbacks see `set_callbacks`.

    Attributes
    ----------
    classes_ : ndarray or list of ndarray of shape (n_classes,)
        Class labels.

    coefs_ : list of ndarray of shape (n_inputs, n_units)
        Weights of each layer. Predictions use what is in these arrays, also after you change them.

    intercepts_ : list of ndarray of shape (n_units,)
        Biases of each layer.

    scales_, shifts_ : list of ndarray of shape (n_units,)
        With normalization: what the normalised values of each hidden layer are multiplied with, and what is added.

    running_means_, running_variances_ : list of ndarray of shape (n_units,)
        With normalization="batch": the statistics that predictions use.

    loss_ : float
        Training loss, penalty included, of the last epoch.

    best_loss_ : float or None
        Lowest training loss; None with early stopping.

    loss_curve_ : list of float
        Training loss of each epoch, for every solver. Continued by warm starts and partial_fit.

    history_ : dict of str to list
        One entry an epoch: "loss", "seconds", "learning_rate" (of its last batch; not for "lbfgs") and, where rows are
        held out, "validation_loss" (without penalty) and "validation_score".

    validation_scores_ : list of float or None
        Scores of the held-out rows with early stopping.

    best_validation_score_ : float or None
        Their maximum.

    t_ : int
        Rows seen in training.

    n_iter_ : int
        Epochs (iterations) of the last fit.

    n_layers_ : int
        Layers, input and output included.

    n_outputs_ : int
        Units of the output layer.

    out_activation_ : str
        "softmax", "logistic" or "identity".

    n_features_in_ : int
        Number of features seen in fit.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, if X had string names for all.

    See Also
    --------
    MLPRegressor : The same network for numbers.
    fastnn.check_gradient : Compares backpropagation with finite differences.

    Notes
    -----
    Without `warm_start` the optimiser's state is dropped after `fit`, so that a pickle is little larger than the
    weights; `partial_fit` on such an estimator starts with a fresh optimiser. After `partial_fit` the state is kept.

    Sample weights enter the loss and the validation score, not the statistics of normalization="batch".

    Ctrl-C ends a fit with a warning and leaves an estimator with the weights so far.

    References
    ----------
    Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors.
    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural networks.
    Kingma and Ba (2015), Adam: a method for stochastic optimization.

    Examples
    --------
    >>> from fastnn import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier((10,), solver="lbfgs", alpha=1.0, max_iter=1000, random_state=0).fit(X, y)
    >>> clf.predict(X[:2])
    array([0, 0])
    >>> clf.score(X, y) > 0.95
    True
    """

    _kind = "classifier"

    _parameter_constraints: dict = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(CLASSIFIER_LOSSES)), Loss],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        loss="log_loss",
        class_weight=None,
        label_smoothing=0.0,
        l1_ratio=0.0,
        dropout=0.0,
        input_dropout=0.0,
        normalization=None,
        init="auto",
        clip_norm=None,
        clip_value=None,
        weight_decay=0.01,
        rho=0.9,
        precision="auto",
        backend="native",
        n_jobs=None,
        scoring=None,
        epoch_callback=None,
    ):
        parameters = locals()
        del parameters["self"]
        vars(self).update(parameters)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data; sparse data is read as CSR and never made dense.

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
        self : MLPClassifier
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch on these rows, going on from the last call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_labels)

        sample_weight : array-like of shape (n_samples,), default=None

        classes : array-like of shape (n_classes,), default=None
            All class labels there will ever be; needed in the first call only.

        Returns
        -------
        self : MLPClassifier
        """
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y) if multilabel else None
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        """Predict classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        return self._labels(self._outputs(X))

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        P : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; for multilabel targets the probability of each label.
        """
        P = self._outputs(X)
        return P if self.n_outputs_ > 1 else np.hstack([1 - P, P])

    @available_if(_has_probabilities)
    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of each class.

        The logarithm of `predict_proba`, except that it stays finite where a probability rounds to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_P : ndarray of shape (n_samples, n_classes)
        """
        P = self.predict_proba(X)
        zero = P == 0
        with np.errstate(divide="ignore"):
            log_P = np.log(P)
        if zero.any():
            z = self._outputs(X, raw=True)
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
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        z : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            One column for two classes, positive for ``classes_[1]``; else one a class or label.
        """
        z = self._outputs(X, raw=True)
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
        if not hasattr(self, "_label_binarizer") or (reset and not incremental):
            self._learn_classes(y)
        else:
            self._check_classes(unique_labels(y), incremental)
        if self._is_multilabel:
            return y, np.ascontiguousarray(self._label_binarizer.transform(y), dtype=np.float32)
        if y.ndim != 1:
            raise ValueError(f"MLPClassifier: expected y of shape (n_samples,) as in the last fit, got shape {y.shape}")
        return y, np.searchsorted(self.classes_, y).astype(np.int64)

    def _learn_classes(self, y):
        if y.dtype != object and type_of_target(y, input_name="y") in ("binary", "multiclass"):
            self._label_binarizer, self.classes_ = None, np.unique(y)
            return
        # Labels, Python objects and what is no target at all; errors on the latter are scikit-learn's own.
        binarizer = LabelBinarizer().fit(y)
        self._label_binarizer = binarizer if binarizer.y_type_.startswith("multilabel") else None
        self.classes_ = binarizer.classes_

    def _check_classes(self, classes, incremental):
        if incremental:
            if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
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
            return target.shape[1], False
        n_classes = len(self.classes_)
        return (n_classes, True) if n_classes > 2 else (1, False)

    def _target_options(self, network):
        loss, s = network.loss, self.label_smoothing
        if s and loss.name in ("hinge", "perceptron"):
            raise ValueError(
                f"MLPClassifier: label_smoothing={s} needs a loss with targets to come close to, but {loss.name!r} "
                "only asks for the right side; use loss='log_loss' or 'squared_error', or label_smoothing=0"
            )
        units = network.layers[-1].units
        n_classes = units if units > 1 and not self._is_multilabel else 2
        off, on = loss.target_values
        return {
            "one_hot": not self._is_multilabel,
            "off": off + (on - off) * s / n_classes,
            "on": off + (on - off) * (1 - s + s / n_classes),
        }

    def _loss_weight(self, y, weight, incremental):
        if self.class_weight is None:
            return weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "MLPClassifier: class_weight='balanced' needs all data at once and cannot be used with partial_fit; "
                "compute the weights with sklearn.utils.class_weight.compute_class_weight and pass them as a dict"
            )
        factors = compute_sample_weight(self.class_weight, y)
        return factors if weight is None else factors * weight

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
        if self.n_outputs_ > 1:
            return self.classes_[outputs.argmax(axis=1)]
        # A single class is class 0 of 1, wherever the output lies.
        return self.classes_[np.minimum(outputs[:, 0] > threshold, len(self.classes_) - 1)]

    def _score_outputs(self, outputs, rows, network):
        """Accuracy of outputs on rows."""
        threshold = _threshold(network.output_activation)
        if self._is_multilabel:
            hits = ((outputs > threshold) == (rows.target > 0.5)).all(axis=1)
        elif outputs.shape[1] == 1:
            hits = (outputs[:, 0] > threshold) == (rows.target == 1)
        else:
            hits = outputs.argmax(axis=1) == rows.target
        return np.average(hits, weights=rows.weight)


def _threshold(output_activation):
    """The output above which a class or label is predicted."""
    return 0.5 if output_activation == "logistic" else 0.0
