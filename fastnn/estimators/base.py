"""What all estimators share: the parameters of training, the course of `fit`, prediction."""

from dataclasses import replace
from functools import cache, partial
from inspect import signature
from numbers import Integral, Real
from threading import local

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import NotFittedError
from sklearn.metrics import get_scorer_names
from sklearn.utils import _safe_indexing, check_array, check_random_state
from sklearn.utils._param_validation import Options, StrOptions, make_constraint
from sklearn.utils.validation import check_is_fitted

from fastnn import initializers, schedules, training
from fastnn.estimators import network as networks
from fastnn.estimators import validation
from fastnn.estimators.fitting import Fit, curves_of, digest, unchanged_on_failure
from fastnn.estimators.prediction import Ready, real_type
from fastnn.estimators.summary import summarize
from fastnn.estimators.transform import LayerTransformer
from fastnn.estimators.validation import Range, Rows
from fastnn.initializers import get_initializer
from fastnn.layers import ShapeError

SOLVERS = ("lbfgs", "gd", "sgd", "adagrad", "rmsprop", "adam", "adamw")


class _Generator(local):
    """A thread's own generator, for seeds that are numbers: a new one takes 100 microseconds to seed itself from the
    system, which is for nothing."""

    def __init__(self):
        self.state = np.random.RandomState()

    def seeded(self, random_state):
        """scikit-learn's check_random_state."""
        if not isinstance(random_state, Integral):
            return check_random_state(random_state)
        self.state.seed(random_state)
        return self.state


_generator = _Generator()


class BaseNetwork(CallbackSupportMixin, LayerTransformer, BaseEstimator):
    """Training parameters, the course of `fit` and prediction of every network; not for direct use.

    A subclass says how X is read (`_read`) and which network its parameters describe (`_build`). What targets mean
    comes from ClassifierTargets or RegressorTargets: `_kind`, `_encode`, `_n_outputs`, `_score_outputs` and, where it
    differs, `_target_options`, `_loss_weight`, `_stratify`.

    Parameters
    ----------
    solver : {"lbfgs", "gd", "sgd", "adagrad", "rmsprop", "adam", "adamw"}, default="adam"
        "gd" takes all rows in one step, "sgd" has momentum, "lbfgs" is the quasi-Newton method of
        :func:`scipy.optimize.minimize`, good for small data; it works in float64 inside, and refuses what is random in
        training (dropout) and gradients that are not those of the loss (of "unit_step" and "sign", or truncated).

    alpha : float, default=0.0001
        Strength of the penalty alpha * (l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|_2^2) / s on weights, not biases,
        where s is the sum of the sample weights of the batch (its number of rows without weights).

    batch_size : int or "auto", default="auto"
        Rows of a step; "auto" is min(200, n_samples), and fewer, but at least 16, where batch normalisation, which
        needs a batch in one piece, would take more than 1 GiB for activations and gradients. Not used by "gd" and
        "lbfgs". A batch in one piece that needs more memory than there is raises a MemoryError.

    learning_rate : str or schedule spec, default="constant"
        "constant"; "invscaling": learning_rate_init / (rows seen by the last epoch's end + 1) ** power_t; "adaptive":
        divided by 5 whenever more than n_iter_no_change epochs pass without progress, until it is 1e-6 or less; "step",
        "exponential", "cosine", "one_cycle", "warm_up", or a spec from ``fastnn.schedules``. Works with every solver
        but "lbfgs"; in MLPClassifier and MLPRegressor solver="adam" ignores "invscaling" and "adaptive", as in
        scikit-learn, and takes the specs ``InverseScaling()`` and ``Adaptive()``. Schedules with an end ("cosine",
        "one_cycle") span max_iter epochs and start anew with each fit; of `partial_fit` they span max_iter calls after
        the last fit.

    learning_rate_init : float, default=0.001
        The rate the schedule scales.

    power_t : float, default=0.5
        Exponent of "invscaling".

    max_iter : int, default=200
        Most epochs (passes over the data); most iterations for "lbfgs".

    shuffle : bool, default=True
        Whether rows are reordered in each epoch. Has no effect where one batch holds all rows.

    random_state : int, RandomState instance or None, default=None
        Draws the initial weights and a 64-bit seed, from which shuffles, masks and the validation split come. The seed
        is kept, so training that is continued goes on with its stream.

    tol : float, default=1e-4
        Least improvement of the training loss (of the validation score with early stopping) that counts as progress;
        for "lbfgs", the largest gradient component at which it stops.

    verbose : bool, int or "bar", default=False
        True prints a line an epoch, two where rows are held out. "bar" shows a progress bar on standard error, if that
        is a terminal, in fits that take more than a second.

    warm_start : bool, default=False
        Whether `fit` goes on from the last fit's weights. The optimiser's state is then kept, also in pickles, and a
        fit that is continued equals one that never stopped, bit for bit.

    momentum : float, default=0.9
        Of "sgd", in [0, 1].

    nesterovs_momentum : bool, default=True
        Whether "sgd" looks ahead.

    early_stopping : bool, default=False
        Whether to stop when the score on held-out rows makes no progress, and to keep the weights of the best score.
        The rows are `X_val` where given to `fit`, else `validation_fraction` of the data, a classifier's stratified by
        class where every class is frequent enough (never for multilabel targets); of two classes one that is too rare
        is an error. Not used by "lbfgs".

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

    l1_ratio : float, default=0.0
        Share of the 1-norm in the penalty, in [0, 1].

    init : str or initialiser spec, default="auto"
        Initial weights: "auto" (scikit-learn's rule), "zeros", "normal", "uniform", "glorot_uniform", "glorot_normal",
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

    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Type of weights and predictions; "auto" takes that of X in the first fit (float64 unless X is float32).
        "bfloat16" is float32 but for matrix products, whose operands are rounded to 8 significant bits, in training and
        prediction; L-BFGS and :func:`check_gradient` do not round. Faster than float32 where the CPU has AMX or
        AVX512-BF16, elsewhere a little slower.

    backend : {"native", "numpy"}, default="native"
        Compiled kernels, or the same plan in NumPy.

    n_jobs : int or None, default=None
        Most threads; None and -1 mean all cores, -2 all but one, and so on. Small nets use fewer. Results do not depend
        on it.

    scoring : str, callable or None, default=None
        Score of the held-out rows, any scorer of scikit-learn; None means accuracy for a classifier and R^2 for a
        regressor, which of a single row is NaN, and with early stopping an error.

    epoch_callback : callable or None, default=None
        Called after each epoch with a ``fastnn.estimators.callbacks.Epoch`` (number, loss, learning_rate, seconds,
        validation_loss, validation_score, and estimator, a fitted copy made on demand); training stops if it returns
        True. For scikit-learn's callbacks see `set_callbacks`.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_inputs, n_units)
        Weights of each layer that has some. Predictions use what is in these arrays, also after you change them.

    intercepts_ : list of ndarray of shape (n_units,)
        Biases of each of these layers, None for one without.

    scales_, shifts_ : list of ndarray of shape (n_units,)
        With normalisation: what the normalised values of each such layer are multiplied with, and what is added.

    running_means_, running_variances_ : list of ndarray of shape (n_units,)
        With batch normalisation: the statistics that predictions use; None for a layer that normalises otherwise.

    loss_ : float
        Training loss, penalty included, of the last epoch.

    best_loss_ : float or None
        Lowest training loss; None with early stopping.

    loss_curve_ : list of float
        Training loss of each epoch, for every solver. Continued by warm starts and partial_fit.

    history_ : dict of str to list
        One entry an epoch: "loss", "seconds", "learning_rate" (of its last batch; not for "lbfgs") and, where rows are
        held out, "validation_loss" (without penalty) and "validation_score". Training that goes on records what its
        last fit has, NaN for epochs that did not have it.

    validation_scores_ : list of float or None
        Scores of the held-out rows with early stopping.

    best_validation_score_ : float or None
        Their maximum, of those by the scorer in use. NaN never is: where all are NaN it is -inf, with a warning, and
        the weights are those of the last epoch.

    t_ : int
        Rows seen in training; "lbfgs" does not count them.

    n_iter_ : int
        Epochs (iterations) of the last fit.

    layers_ : list of layers
        The network's layers, output layer included.

    n_layers_ : int
        Layers with weights, plus one for the input.

    n_outputs_ : int
        Units of the output layer.

    n_features_in_ : int
        Number of features seen in fit.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, if X had string names for all.

    Notes
    -----
    Without `warm_start` the optimiser's state is dropped after `fit`, so that a pickle is little larger than the
    weights; `partial_fit` on such an estimator starts with a fresh optimiser. After `partial_fit` the state is kept.

    Sample weights enter the loss and the validation score, not the statistics of batch normalisation. Their sum must be
    positive; single ones may be negative, as in scikit-learn. A batch whose weights sum to zero has a gradient of zero.

    Ctrl-C ends a fit with a warning and leaves an estimator with the weights so far.

    References
    ----------
    Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors.
    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural networks.
    Kingma and Ba (2015), Adam: a method for stochastic optimization.
    """

    _parameter_constraints: dict = {
        "solver": [StrOptions(set(SOLVERS))],
        "alpha": [Range(Real, 0, None)],
        "batch_size": [StrOptions({"auto"}), Range(Integral, 1, None)],
        "learning_rate": [StrOptions(set(schedules.SCHEDULES)), schedules.Schedule],
        "learning_rate_init": [Range(Real, 0, None, "neither")],
        "power_t": [Range(Real, 0, None)],
        "max_iter": [Range(Integral, 1, None)],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Range(Real, 0, None)],
        "verbose": ["verbose", StrOptions({"bar"})],
        "warm_start": ["boolean"],
        "momentum": [Range(Real, 0, 1, "both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Range(Real, 0, 1)],
        "beta_1": [Range(Real, 0, 1)],
        "beta_2": [Range(Real, 0, 1)],
        "epsilon": [Range(Real, 0, None, "neither")],
        "n_iter_no_change": [Range(Integral, 1, None), Options(Real, {np.inf})],
        "max_fun": [Range(Integral, 1, None)],
        "l1_ratio": [Range(Real, 0, 1, "both")],
        "init": [StrOptions(set(initializers.INITIALIZERS)), initializers.Initializer],
        "clip_norm": [Range(Real, 0, None, "neither"), None],
        "clip_value": [Range(Real, 0, None, "neither"), None],
        "weight_decay": [Range(Real, 0, None)],
        "rho": [Range(Real, 0, 1)],
        "precision": [StrOptions({"auto", "float32", "float64", "bfloat16"})],
        "backend": [StrOptions({"native", "numpy"})],
        "n_jobs": [Range(Integral, None, -1, "right"), Range(Integral, 1, None), None],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "epoch_callback": [callable, None],
    }

    _usual_clip_norm = None  # which solvers that do not clip may ignore
    _not_with_adam = ()  # names of learning rates that "adam" ignores

    # Read off the constructor's signature once for each class: every fit asks for them, and an eighth of a fit of a few
    # hundred rows went by with it.
    _get_param_names = classmethod(cache(BaseEstimator._get_param_names.__func__))

    @classmethod
    @cache
    def _made_constraints(cls):
        """(name, default, constraints as objects) of each parameter that has constraints."""
        known, defaults = cls._parameter_constraints, signature(cls.__init__).parameters
        return [
            (name, defaults[name].default, tuple(map(make_constraint, known[name])))
            for name in cls._get_param_names()
            if name in known and known[name] != "no_validation"
        ]

    def _validate_params(self):
        """scikit-learn's check, and its errors. It makes the constraints anew in every fit; a default needs no look."""
        for name, default, constraints in self._made_constraints():
            value = getattr(self, name)
            if value is not default and not any(constraint.is_satisfied_by(value) for constraint in constraints):
                super()._validate_params()

    def __sklearn_is_fitted__(self):
        return hasattr(self, "coefs_")

    def __copy__(self):
        """A shallow copy, but for the curves, which `partial_fit` lengthens."""
        twin = self.__class__.__new__(self.__class__)
        vars(twin).update(vars(self))
        if hasattr(self, "_progress"):
            twin._progress = self._progress.copy()
            vars(twin).update(curves_of(twin._progress, self.validation_scores_ is not None))
        return twin

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"] if self.precision == "auto" else []
        return tags

    # ---- fit ----

    def _fit(self, X, y, sample_weight=None, validation_data=(None, None, None), incremental=False):
        """fit and partial_fit: checks, then training, then the fitted attributes in one go.

        A fit that fails leaves the estimator as it was.
        """
        with unchanged_on_failure(self):
            self._checked_fit(X, y, sample_weight, validation_data, incremental)
        return self

    def _checked_fit(self, X, y, sample_weight, validation_data, incremental):
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        rows, network, progress, weights, dtype = self._prepare(X, y, sample_weight, first, incremental)
        given = validation.check_validation_data(self, *validation_data)
        data = self._as_given(X, y)
        held_out = None
        if given is not None:
            held_out = self._encode_held_out(rows.target, *given)
        elif self.early_stopping and self.solver != "lbfgs":
            labels, strict = self._stratify(rows.target)
            index, aside = validation.split(rows.X.shape[0], self.validation_fraction, labels, strict, progress.seed)
            held_out, rows = rows.take(aside), rows.take(index)
            # Callbacks get the rows in the caller's own containers, and only if one asks.
            data = {name: partial(_safe_indexing, array, index) for name, array in data.items()}
        if not incremental:
            validation.check_sum(self, rows, held_out is not None and given is None)
        drawn = first and networks.draws_anew(network, self.init)
        Fit(self, network, progress, weights, drawn, dtype, rows, held_out, incremental).run(
            {**data, "sample_weight": rows.weight}
        )

    def _prepare(self, X, y, sample_weight, first, incremental):
        """What a fit starts from: (Rows, Network, Progress, weights by name, dtype)."""
        rows = self._check_rows(X, y, sample_weight, first, incremental)
        network = self._build(rows.X, *self._n_outputs(rows.target))
        if self.precision == "bfloat16":
            network = replace(network, precision="bfloat16")
        if self.solver == "lbfgs":
            network = networks.remember_last_batch(network)
        validation.check_combination(self, network)
        return rows, network, *self._start(network, rows.X.dtype, first, incremental)

    def _encode_held_out(self, training, X, y, weight):
        """The user's validation rows as Rows; labels must be known from training, whose targets these are."""
        with validation.about(f"{type(self).__name__}.fit: y_val"):
            y, target = self._encode(self._check_y(y, X), reset=False, incremental=True)
        if self._columns(target) != self._columns(training):
            columns = self._columns(training)[0]
            raise ValueError(f"{type(self).__name__}.fit: y_val has shape {y.shape}, y has {columns} columns")
        return Rows(X, y, target, weight, self._loss_weight(y, weight))

    def _check_rows(self, X, y, sample_weight, first, incremental):
        """Validated X, y and weights as Rows; sets `n_features_in_` and, for a classifier, `classes_`."""
        X, y = self._read(X, y=y, multi_output=True, y_numeric=self._kind == "regressor", reset=first)
        weight = validation.check_weight(sample_weight, X)
        y, target = self._encode(y, reset=first, incremental=incremental)
        return Rows(X, y, target, weight, self._loss_weight(y, weight))

    def _start(self, network, dtype, first, incremental):
        """Where training starts: (Progress, weights by name, dtype)."""
        if self.precision != "auto":
            dtype = np.dtype("float32" if self.precision == "bfloat16" else self.precision)
        elif dtype == np.uint8:
            dtype = np.dtype(np.float32)
        random_state = _generator.seeded(self.random_state)
        if first:
            networks.check_room(self, network, dtype)
            init = get_initializer(self.init, where=f"{type(self).__name__}: init")
            if init.name == "auto" and self.solver != "lbfgs":  # which works in float64
                init = replace(init, dtype=dtype)
            weights = networks.initial_weights(network, random_state, init, self._auto_activation)
            return self._new_progress(random_state), weights, dtype
        weights = networks.from_attributes(self, network)
        self._check_continuation(network, weights)
        if self.precision == "auto":
            dtype = real_type(self.coefs_)
        kept = getattr(self, "_progress", None)
        progress = kept.copy(lists=not incremental) if kept else self._new_progress(random_state)
        if network.loss != self._network.loss:  # whose values no other loss can be held against
            progress.best_loss, progress.stalled = np.inf, 0
        if self.early_stopping and progress.best_score > -np.inf:
            if progress.last is None or digest(weights) == progress.shown:
                # A copy that an epoch_callback kept shows the weights of its epoch and has the best ones beside them.
                progress.best, weights = progress.best or weights, progress.last or weights
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
                    f"{networks.public_name(network, name)} should have shape {expected} but {came}; keep to the "
                    "parameters and the kind of data of the last fit, or start anew with fit and warm_start=False"
                )

    def _plan(self, network):
        """The network's plan for prediction, if its layers fit each other."""
        try:
            return networks.plan(network, "predict")
        except ShapeError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from None

    @property
    def _auto_activation(self):
        """The activation that init="auto" goes by where the output layer is the only one with weights."""
        return "relu"

    @staticmethod
    def _new_progress(random_state):
        return training.Progress(int(random_state.randint(0, 2**64, dtype=np.uint64)))

    def _target_options(self, network):
        """How `lower` codes the targets."""
        return {}

    @staticmethod
    def _as_given(X, y):
        """What callbacks are shown of X and y, by name."""
        return {"X": X, "y": y}

    @staticmethod
    def _columns(target):
        """(outputs,) that a target has, or () for class indices."""
        return () if target.dtype == np.int64 else target.shape[-1:]

    @staticmethod
    def _scored(rows):
        """X, y and sample weights of Rows as the caller's scorer takes them."""
        return rows.X, rows.y, rows.weight

    def _network_for(self, network, X):
        """The network, or where rows may have different shapes the same one for those of X."""
        return network

    def _loss_weight(self, y, weight):
        """Weight of each row in the loss, or None."""
        return weight

    def _stratify(self, target):
        """(labels to stratify a split by or None, whether a split that cannot be stratified is an error)."""
        return None, False

    def _check_y(self, y, X):
        """y of validation data X, checked like y of the training data."""
        return check_array(
            y, accept_sparse="csr", ensure_2d=False, dtype="numeric" if self._kind == "regressor" else None
        )

    def _check_solver(self):
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
        return True

    # ---- prediction ----

    def _outputs(self, X, part=None, both=False):
        """Outputs of the network, or of a part of it (see `_network_of`), for X.

        With `both`, a single output p comes as two columns, 1 - p and p.
        """
        known = vars(self)
        ready = known["_kept"].get(part) if "_kept" in known else None
        if ready is not None:
            outputs = ready.quick(known, X, both)
            if outputs is not None:
                return outputs
        check_is_fitted(self)
        return self._read_outputs(X, part, both)

    def _read_outputs(self, X, part, both):
        """`_outputs` for an X that has to be validated."""
        X = self._read(X, reset=False)
        return self._ready(part, X).outputs(X, both)

    def _ready(self, part, X):
        """The network, or a part of it, ready for rows that have been read; kept for the next prediction."""
        network = self._network_for(self._network_of(part), X)
        entries = validation.few_entries(X, network)
        kept_as = ("entries", part) if entries else part
        ready = self._kept.get(kept_as)
        if ready is None or not ready.belongs_to(self, network, X):
            ready = Ready(self, network, entries)
            self._kept.add(kept_as, ready)
        validation.check_range(self, X, ready.runner.dtype)
        return ready

    def _network_of(self, part):
        """The fitted network (None), its first layers (their number), or without the output activation ("raw")."""
        network = self._fitted_network()
        if part is None:
            return network
        return networks.linear_output(network) if part == "raw" else networks.first_layers(network, part)

    def _forms(self, network):
        """Shapes of a row in arrays that a network may use as they are; none where every X has to be validated."""
        return ()

    def _types(self):
        """Types of arrays that may be used as they are: float32, float64, uint8."""
        return b"fdB"

    def summary(self):
        """The network layer by layer: shape of the output, parameters, multiply-adds and bytes of activations of a row.

        Returns
        -------
        Summary
            A list of lines with the attributes `name`, `output`, `parameters`, `fixed`, `multiply_adds` and `bytes`,
            shown as a table. Before `fit` the output layer is missing.
        """
        if self.__sklearn_is_fitted__():
            return summarize(self._fitted_network(), real_type(networks.arrays(self, "coefs_")).itemsize)
        return summarize(self._unfitted_network(), 8 if self.precision == "float64" else 4)

    def _unfitted_network(self):
        """The network as far as it is known before `fit`."""
        raise NotFittedError(
            f"{type(self).__name__}.summary: the network is not known before fit, which tells the shape of X"
        )

    def _fitted_network(self):
        """The network that the fitted attributes belong to."""
        return self._network
