"""What the classifier and the regressor share: parameters, the course of `fit`, prediction."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.metrics import get_scorer_names
from sklearn.utils import _safe_indexing, check_array, check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn import activations, initializers, schedules, training
from fastnn.estimators import network as networks
from fastnn.estimators import validation
from fastnn.estimators.fitting import Fit, digest
from fastnn.estimators.validation import Rows

_SET_BY_CHECKS = ("n_features_in_", "feature_names_in_", "classes_", "_label_binarizer")
SOLVERS = ("lbfgs", "gd", "sgd", "adagrad", "rmsprop", "adam", "adamw")


def _closed(kind, low, high, closed="left"):
    return Interval(kind, low, high, closed=closed)


class BaseMLP(CallbackSupportMixin, BaseEstimator):
    """Base of MLPClassifier and MLPRegressor; not for direct use.

    A subclass says what its targets mean: `_kind`, `_encode`, `_n_outputs`, `_score_outputs` and, where it differs,
    `_target_options`, `_loss_weight`, `_stratify`.
    """

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", _closed(Integral, 1, None)],
        "activation": [StrOptions(set(activations.ACTIVATIONS)), activations.Activation, list, tuple],
        "solver": [StrOptions(set(SOLVERS))],
        "alpha": [_closed(Real, 0, None)],
        "batch_size": [StrOptions({"auto"}), _closed(Integral, 1, None)],
        "learning_rate": [StrOptions(set(schedules.SCHEDULES)), schedules.Schedule],
        "learning_rate_init": [_closed(Real, 0, None, "neither")],
        "power_t": [_closed(Real, 0, None)],
        "max_iter": [_closed(Integral, 1, None)],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [_closed(Real, 0, None)],
        "verbose": ["verbose", StrOptions({"bar"})],
        "warm_start": ["boolean"],
        "momentum": [_closed(Real, 0, 1, "both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [_closed(Real, 0, 1)],
        "beta_1": [_closed(Real, 0, 1)],
        "beta_2": [_closed(Real, 0, 1)],
        "epsilon": [_closed(Real, 0, None, "neither")],
        "n_iter_no_change": [_closed(Integral, 1, None), Options(Real, {np.inf})],
        "max_fun": [_closed(Integral, 1, None)],
        "l1_ratio": [_closed(Real, 0, 1, "both")],
        "dropout": [_closed(Real, 0, 1), "array-like"],
        "input_dropout": [_closed(Real, 0, 1)],
        "normalization": [StrOptions({"batch", "layer"}), None],
        "init": [StrOptions(set(initializers.INITIALIZERS)), initializers.Initializer],
        "clip_norm": [_closed(Real, 0, None, "neither"), None],
        "clip_value": [_closed(Real, 0, None, "neither"), None],
        "weight_decay": [_closed(Real, 0, None)],
        "rho": [_closed(Real, 0, 1)],
        "precision": [StrOptions({"auto", "float32", "float64"})],
        "backend": [StrOptions({"native", "numpy"})],
        "n_jobs": [_closed(Integral, None, -1, "right"), _closed(Integral, 1, None), None],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "epoch_callback": [callable, None],
    }

    def __sklearn_is_fitted__(self):
        return hasattr(self, "coefs_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- fit ----

    def _fit(self, X, y, sample_weight=None, validation_data=(None, None, None), incremental=False):
        """fit and partial_fit: checks, then training, then the fitted attributes in one go.

        A fit that fails leaves the estimator as it was: checks set some attributes on their way, which go back then.
        """
        before = {name: vars(self)[name] for name in _SET_BY_CHECKS if name in vars(self)}
        try:
            self._checked_fit(X, y, sample_weight, validation_data, incremental)
        except BaseException:
            for name in _SET_BY_CHECKS:
                if name in before:
                    setattr(self, name, before[name])
                else:
                    vars(self).pop(name, None)
            raise
        return self

    def _checked_fit(self, X, y, sample_weight, validation_data, incremental):
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        rows, network, progress, weights, dtype = self._prepare(X, y, sample_weight, first, incremental)
        given = validation.check_validation_data(self, *validation_data)
        data = {"X": X, "y": y}
        held_out = None
        if given is not None:
            held_out = self._encode_held_out(rows.target.shape[1:], *given)
        elif self.early_stopping and self.solver != "lbfgs":
            labels, strict = self._stratify(rows.target)
            index, aside = validation.split(rows.X.shape[0], self.validation_fraction, labels, strict, progress.seed)
            held_out, rows = rows.take(aside), rows.take(index)
            # Callbacks get the rows in the caller's own containers, and only if one asks.
            data = {"X": partial(_safe_indexing, X, index), "y": partial(_safe_indexing, y, index)}
        Fit(self, network, progress, weights, dtype, rows, held_out, incremental).run(
            {**data, "sample_weight": rows.weight}
        )

    def _prepare(self, X, y, sample_weight, first, incremental):
        """What a fit starts from: (Rows, Network, Progress, weights by name, dtype)."""
        hidden = validation.check_hidden_layer_sizes(self)
        rows = self._check_rows(X, y, sample_weight, first, incremental)
        network = networks.build(self, rows.X.shape[1], hidden, *self._n_outputs(rows.target))
        validation.check_combination(self, networks.is_random(network))
        return rows, network, *self._start(network, rows.X.dtype, first)

    def _encode_held_out(self, shape, X, y, weight):
        """The user's validation rows as Rows; labels must be known from training."""
        y, target = self._encode(self._check_y(y), reset=False, incremental=True)
        if target.shape[1:] != shape:
            raise ValueError(f"{type(self).__name__}.fit: y_val has shape {y.shape}, y has {shape[0]} columns")
        return Rows(X, y, target, weight, self._loss_weight(y, weight, incremental=False))

    def _check_rows(self, X, y, sample_weight, first, incremental):
        """Validated X, y and weights as Rows; sets `n_features_in_` and, for a classifier, `classes_`."""
        X, y = validate_data(
            self,
            X,
            y,
            **validation.X_OPTIONS,
            multi_output=True,
            y_numeric=self._kind == "regressor",
            reset=first,
        )
        X = validation.as_rows(X)
        weight = validation.check_weight(sample_weight, X)
        y, target = self._encode(y, reset=first, incremental=incremental)
        return Rows(X, y, target, weight, self._loss_weight(y, weight, incremental))

    def _start(self, network, dtype, first):
        """Where training starts: (Progress, weights by name, dtype)."""
        if self.precision != "auto":
            dtype = np.dtype(self.precision)
        random_state = check_random_state(self.random_state)
        if first:
            weights = networks.initial_weights(self, network, random_state)
            return self._new_progress(random_state), weights, dtype
        weights = networks.from_attributes(self)
        self._check_continuation(network, weights)
        if self.precision == "auto":
            dtype = _dtype(self.coefs_)
        kept = getattr(self, "_progress", None)
        progress = kept.copy() if kept else self._new_progress(random_state)
        if self.early_stopping and progress.best_score > -np.inf:
            if progress.last is None or digest(weights) == progress.shown:
                progress.best, weights = weights, progress.last or weights
            else:
                progress.best_score = -np.inf
        return progress, weights, dtype

    def _check_continuation(self, network, weights):
        lowered = networks.plan(network, "predict")
        for name in lowered.parameters + lowered.statistics:
            expected = lowered.buffers[name].shape
            if name not in weights or weights[name].shape != expected:
                came = f"has shape {weights[name].shape}" if name in weights else "is missing"
                raise ValueError(
                    f"{type(self).__name__}: training cannot go on from the fitted weights: "
                    f"{networks.public_name(name)} should have shape {expected} but {came}; keep to the parameters and "
                    "the kind of data of the last fit, or start anew with fit and warm_start=False"
                )

    @staticmethod
    def _new_progress(random_state):
        return training.Progress(int(random_state.randint(0, 2**64, dtype=np.uint64)))

    def _target_options(self, network):
        """How `lower` codes the targets."""
        return {}

    def _loss_weight(self, y, weight, incremental):
        """Weight of each row in the loss, or None."""
        return weight

    def _stratify(self, target):
        """(labels to stratify a split by or None, whether a split that cannot be stratified is an error)."""
        return None, False

    def _check_y(self, y):
        """y of validation data, checked like y of the training data."""
        return check_array(
            y, accept_sparse="csr", ensure_2d=False, dtype="numeric" if self._kind == "regressor" else None
        )

    def _check_solver(self):
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
        return True

    # ---- prediction ----

    def _outputs(self, X, raw=False):
        """Outputs of the network for X, before the output activation if `raw`."""
        check_is_fitted(self)
        X = validation.check_X(self, X)
        weights = networks.from_attributes(self)
        units = [coef.shape[1] for coef in self.coefs_]
        network = networks.resized(self._network, np.shape(self.coefs_[0])[0], units)
        if raw:
            network = networks.linear_output(network)
        lowered = networks.plan(network, "predict")
        runner = training.runner_class(self.backend)(
            lowered,
            dtype=_dtype(self.coefs_),
            rows=networks.prediction_capacity(X.shape[0]),
            n_threads=training.thread_limit(self.backend, self.n_jobs),
        )
        networks.load(runner, lowered, weights)
        return runner.forward(X)


def _dtype(arrays):
    """The real type of weights that a user may have replaced."""
    return np.dtype(np.float32 if all(np.asarray(a).dtype == np.float32 for a in arrays) else np.float64)
