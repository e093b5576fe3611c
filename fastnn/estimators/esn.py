"""Echo state networks: a reservoir with fixed random weights, and a linear readout that is all that is trained."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets, unique_labels
from sklearn.utils.validation import _check_y, check_is_fitted

from fastnn.activations import ACTIVATIONS, Activation, get_activation
from fastnn.estimators import sequences
from fastnn.estimators.documentation import documented
from fastnn.readout import RecursiveLeastSquares, Ridge
from fastnn.reservoir import TOPOLOGIES, Echo, Reservoir, recurrent_weights

FEATURES = ("bias", "input", "state", "squared_state")
POOLING = ("mean", "last")


class BaseESN(BaseEstimator):
    """Parameters, reservoir, features and readout of both echo state networks; not for direct use.

    Parameters
    ----------
    units : int, default=200
        Size of the reservoir.

    spectral_radius : float, default=0.9
        Largest absolute eigenvalue of the recurrent weights: how long the past echoes.

    leak : float, default=0.3
        Leaking rate in (0, 1]: share of the state that each step renews.

    input_scaling : float or array-like of shape (n_channels,), default=1.0
        Input weights are uniform in [-input_scaling, input_scaling], for all channels or for each.

    bias_scaling : float, default=0.2
        Biases of the units are uniform in [-bias_scaling, bias_scaling].

    topology : {"random", "ring", "orthogonal"}, default="random"
        Recurrent weights: "random" ones between units chosen at random, a "ring" in which each unit hears its neighbour
        alone, or an "orthogonal" matrix.

    density : float or None, default=None
        Share of the units that each unit of a random reservoir hears, in (0, 1]; None means 10 units.

    activation : str or activation spec, default="tanh"
        One without random numbers: any of the networks' other activations.

    features : tuple of str, default=("bias", "input", "state")
        What the readout sees of each step: "bias" (a constant 1, whose weight is not penalised), "input", "state",
        "squared_state".

    washout : int, default=0
        Steps at the start of each sequence that training leaves out, and scores too.

    bidirectional : bool, default=False
        Whether the reservoir also runs backwards over each sequence, and the readout sees both.

    standardize : bool, default=False
        Whether channels are brought to mean 0 and variance 1, as all steps of the first call of `fit` or `partial_fit`
        have them.

    alpha : float or array-like of float, default=1e-6
        Strength of the ridge penalty alpha |W|^2 beside the sum of squared errors. Of several, that with the smallest
        leave-one-out error is taken (closed form).

    solver : {"ridge", "rls"}, default="ridge"
        "ridge" solves the normal equations by Cholesky decomposition, in float64. "rls" is recursive least squares: it
        follows the rows one by one, and may forget; it needs a positive alpha and penalises the bias too.

    forgetting : float, default=1.0
        Of "rls": what a row counts for after each further row, in (0, 1].

    random_state : int, RandomState instance or None, default=None
        Draws the reservoir.

    precision : {"auto", "float32", "float64"}, default="auto"
        Type of states and predictions; "auto" takes that of X in the first fit (float64 unless X is float32).

    backend : {"native", "numpy"}, default="native"
        Compiled kernels, or the same plan in NumPy.

    n_jobs : int or None, default=None
        Most threads for the reservoir, which share sequences; None and -1 mean all cores. Results do not depend on it.

    Attributes
    ----------
    input_weights_ : ndarray of shape (n_channels, units)
        With feedback, one more row for each output.

    recurrent_weights_ : ndarray or csc_array of shape (units, units)
        From unit (row) to unit (column).

    bias_ : ndarray of shape (units,)
        Biases of the units.

    coef_ : ndarray of shape (n_readout_features, n_outputs)
        Weights of the readout, without those of the bias. Predictions use what is in this array and the next.

    intercept_ : ndarray of shape (n_outputs,)
        Weights of the readout's bias, zeros without one.

    alpha_ : float
        The penalty in use.

    loo_errors_ : ndarray of shape (n_alphas,) or None
        Leave-one-out mean squared error of each alpha, where there are several.

    mean_, scale_ : ndarray of shape (n_channels,) or None
        What standardised channels were shifted and divided by.

    n_outputs_ : int
        Outputs of the readout.

    n_channels_ : int
        Channels of a sequence.

    n_features_in_ : int
        Columns of X in `fit` if it was a table, else channels.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, if X was a table with string names for all.

    Notes
    -----
    X is a list of (time_i, channels) arrays of different lengths, an array (n, time, channels), with `lengths` where it
    is padded, or a table (n, time) whose rows are series of one channel.

    A sequence's prediction has the same bits alone, among others and on any number of threads.

    References
    ----------
    Jaeger (2001), The "echo state" approach to analysing and training recurrent neural networks.
    Lukoševičius (2012), A practical guide to applying echo state networks.
    """

    _parameter_constraints: dict = {
        "units": [Interval(Integral, 1, None, closed="left")],
        "spectral_radius": [Interval(Real, 0, None, closed="left")],
        "leak": [Interval(Real, 0, 1, closed="right")],
        "input_scaling": [Interval(Real, 0, None, closed="left"), "array-like"],
        "bias_scaling": [Interval(Real, 0, None, closed="left")],
        "topology": [StrOptions(set(TOPOLOGIES))],
        "density": [Interval(Real, 0, 1, closed="right"), None],
        "activation": [StrOptions(set(ACTIVATIONS)), Activation],
        "features": [list, tuple],
        "washout": [Interval(Integral, 0, None, closed="left")],
        "bidirectional": ["boolean"],
        "standardize": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left"), "array-like"],
        "solver": [StrOptions({"ridge", "rls"})],
        "forgetting": [Interval(Real, 0, 1, closed="right")],
        "random_state": ["random_state"],
        "precision": [StrOptions({"auto", "float32", "float64"})],
        "backend": [StrOptions({"native", "numpy"})],
        "n_jobs": [Interval(Integral, None, -1, closed="right"), Interval(Integral, 1, None, closed="left"), None],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "coef_")

    # ---- parameters ----

    @property
    def _name(self):
        return type(self).__name__

    def _alphas(self):
        alphas = np.atleast_1d(np.asarray(self.alpha, np.float64))
        if alphas.ndim != 1 or not alphas.size or not (np.isfinite(alphas) & (alphas >= 0)).all():
            raise ValueError(f"{self._name}: alpha must be a number or several, none negative, got {self.alpha!r}")
        return alphas

    def _chosen(self, given, known, what):
        unknown = [name for name in given if name not in known]
        if unknown or not len(given):
            raise ValueError(f"{self._name}: {what} must name some of {known}, got {given!r}")
        return [name for name in known if name in given]

    def _check_parameters(self, incremental):
        """Refuses parameters that contradict each other."""
        several = len(self._alphas()) > 1
        if several and (incremental or self.solver == "rls"):
            where = "partial_fit" if incremental else "solver='rls'"
            raise ValueError(
                f"{self._name}: choosing among several alphas needs all data at once and cannot be used with {where}; "
                "give one alpha"
            )
        if self.solver == "rls" and self._alphas()[0] <= 0:
            raise ValueError(f"{self._name}: solver='rls' starts from P = I / alpha and needs a positive alpha")
        if set(self._chosen(self.features, FEATURES, "features")) == {"bias"}:
            raise ValueError(f"{self._name}: features={self.features!r} leaves nothing to read; add 'state'")

    def _activation_kernel(self):
        spec = get_activation(self.activation, where=f"{self._name}: activation")
        if spec.name == "rrelu":
            raise ValueError(f"{self._name}: activation 'rrelu' is random; use 'leaky_relu' or another one")
        return spec.kernel

    # ---- reservoir ----

    def _draw(self, channels, feedback):
        """Sets the reservoir's weights."""
        random_state = check_random_state(self.random_state)
        scaling = np.asarray(self.input_scaling, np.float64)
        if scaling.ndim and scaling.shape != (channels,):
            raise ValueError(
                f"{self._name}: input_scaling has shape {scaling.shape} for {channels} channels; give one number for "
                "each, or a single one"
            )
        scale = np.concatenate([np.broadcast_to(scaling, channels), feedback])[:, np.newaxis]
        self.input_weights_ = scale * random_state.uniform(-1, 1, (len(scale), self.units))
        self.bias_ = self.bias_scaling * random_state.uniform(-1, 1, self.units)
        self.recurrent_weights_ = recurrent_weights(
            random_state, self.units, self.topology, self.density, self.spectral_radius
        )

    def _echo(self):
        """The reservoir ready to run; only as long as one call, because the weights are the user's."""
        kernel, leak = self._activation_kernel(), float(self.leak)
        reservoir = Reservoir(self.input_weights_, self.recurrent_weights_, self.bias_, kernel, leak)
        return Echo(reservoir, self._dtype, self.backend, self.n_jobs)

    def _learn_scale(self, rows):
        self.mean_ = self.scale_ = None
        if self.standardize:
            steps = np.concatenate(rows).astype(np.float64)
            scale = steps.std(axis=0)
            self.mean_, self.scale_ = steps.mean(axis=0), np.where(scale > 0, scale, 1.0)

    def _inputs(self, rows):
        """What the reservoir and the readout see of sequences."""
        if self.mean_ is None:
            return [row.astype(self._dtype, copy=False) for row in rows]
        return [((row - self.mean_) / self.scale_).astype(self._dtype) for row in rows]

    # ---- features ----

    def _step_features(self, u, *states):
        """What the readout sees of each step but the bias: (time, features) in float64."""
        chosen, parts = self._chosen(self.features, FEATURES, "features"), []
        if "input" in chosen:
            parts.append(u)
        if "state" in chosen:
            parts += states
        if "squared_state" in chosen:
            parts += [np.square(s, dtype=np.float64) for s in states]
        if len(parts) == 1:
            return parts[0].astype(np.float64, copy=False)
        return np.concatenate(parts, axis=1, dtype=np.float64)

    @property
    def _has_bias(self):
        return "bias" in self.features

    @staticmethod
    def _backward(echo, rows):
        """States of each step in a run from the end to the start, kept whole."""
        states = [np.empty((len(row), echo.reservoir.units), echo.dtype) for row in rows]
        for place, t, block in echo.run([row[::-1] for row in rows]):
            states[place][::-1][t : t + len(block)] = block
        return states

    def _each_sequence(self, echo, rows):
        """Features of each sequence, (n, features): mean and last of those of its steps after the washout, forwards
        and, where the reservoir runs backwards too, backwards."""
        both = [rows, [row[::-1] for row in rows]] if self.bidirectional else [rows]
        return np.hstack([self._pooled(echo, direction) for direction in both])

    def _pooled(self, echo, rows):
        pooling = self._chosen(self.pooling, POOLING, "pooling")
        sums, last = [0.0] * len(rows), [None] * len(rows)
        for group in echo.groups([len(row) for row in rows]):
            for place, t, states in echo.run([rows[i] for i in group]):
                i = group[place]
                X = self._step_features(rows[i][t : t + len(states)], states)
                sums[i] = sums[i] + X[max(0, self.washout - t) :].sum(axis=0)
                last[i] = X[-1]
        means = [total / (len(row) - self.washout) for total, row in zip(sums, rows, strict=True)]
        return np.hstack([{"mean": means, "last": last}[name] for name in pooling])

    def _check_washout(self, lengths):
        if self.washout >= lengths.min():
            raise ValueError(
                f"{self._name}: washout={self.washout} leaves nothing of a sequence of {lengths.min()} steps; lower it "
                "or leave short sequences out"
            )

    # ---- fit ----

    def _guarded(self, fit, *arguments):
        """Runs a fit; one that fails leaves the estimator as it was."""
        before = dict(vars(self))
        try:
            fit(*arguments)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _start(self, read, feedback=()):
        """Everything that a first call of fit or partial_fit settles."""
        self._dtype = read.dtype if self.precision == "auto" else np.dtype(self.precision)
        self._learn_scale(read.rows)
        self._draw(read.channels, np.asarray(feedback, np.float64))
        self._equations = None

    def _add(self, X, Y):
        if self._equations is None:
            shape = X.shape[1], Y.shape[1], self._has_bias
            if self.solver == "rls":
                self._equations = RecursiveLeastSquares(*shape, self._alphas()[0], self.forgetting)
            else:
                self._equations = Ridge(*shape)
        self._equations.add(X, Y)

    def _solve(self, blocks, keep):
        """Weights of the readout; `blocks()` yields all rows (X, Y) once more."""
        alphas, self.loo_errors_ = self._alphas(), None
        if len(alphas) > 1:
            self.loo_errors_ = self._equations.leave_one_out(alphas, blocks())
            alphas = alphas[[np.nanargmin(self.loo_errors_)]]
        self.alpha_ = float(alphas[0])
        self.coef_, self.intercept_ = self._equations.solve(self.alpha_)
        self.n_outputs_ = len(self.intercept_)
        if not keep:
            self._equations = None

    def _read_out(self, X):
        """Outputs for features (n, features): a scalar product for each, whose bits do not depend on n."""
        X = np.ascontiguousarray(X)
        return np.vecdot(X[:, np.newaxis], np.ascontiguousarray(np.asarray(self.coef_).T)) + self.intercept_


@documented
class ESNClassifier(ClassifierMixin, BaseESN):
    """Echo state network that classifies sequences.

    A reservoir of fixed random units runs over each sequence, and ridge regression on the mean and the last of what it
    leaves tells the class. Targets are -1 and 1, one output a class (a single one for two).

    Parameters
    ----------
    features : tuple of str, default=("bias", "state")
        What the readout sees of each step: "bias" (a constant 1, whose weight is not penalised), "input", "state",
        "squared_state".

    pooling : tuple of str, default=("mean", "last")
        What the readout sees of a sequence: the "mean" over its steps after the washout, the "last" step.

    alpha : float or array-like of float, default=1.0
        Strength of the ridge penalty alpha |W|^2 beside the sum of squared errors. Of several, that with the smallest
        leave-one-out error is taken (closed form).

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

    _parameter_constraints: dict = {**BaseESN._parameter_constraints, "pooling": [list, tuple]}

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
    def fit(self, X, y, lengths=None):
        """Fit the model to sequences and their classes.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        y : array-like of shape (n,)

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._guarded(self._fit, X, y, lengths, None, False)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, lengths=None, classes=None):
        """Go on with further sequences; any chunks give what one `fit` on all would, but for what `standardize` learns.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        y : array-like of shape (n,)

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        classes : array-like of shape (n_classes,), default=None
            All class labels there will ever be; needed in the first call only.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._guarded(self._fit, X, y, lengths, classes, True)

    def _fit(self, X, y, lengths, classes, incremental):
        self._check_parameters(incremental)
        if incremental:
            _check_partial_fit_first_call(self, classes)
        first = not incremental or getattr(self, "_equations", None) is None
        read = sequences.read(self, X, lengths, reset=first)
        if y is None:
            raise ValueError(f"{self._name} requires y to be passed, but the target y is None")
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        check_consistent_length(read.rows, y)
        self._check_washout(read.lengths)
        if not incremental:
            self.classes_ = np.unique(y)
        elif len(np.setdiff1d(unique_labels(y), self.classes_)):
            raise ValueError(f"{self._name}: y has classes that are not among {self.classes_}, those of the first call")
        if first:
            self._start(read)
        Y = np.where(y[:, np.newaxis] == self.classes_, 1.0, -1.0)
        Y = Y if len(self.classes_) > 2 else Y[:, -1:]
        features = self._each_sequence(self._echo(), self._inputs(read.rows))
        self._add(features, Y)
        self._solve(lambda: [(features, Y)], incremental)

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
        """
        check_is_fitted(self)
        read = sequences.read(self, X, lengths, reset=False)
        self._check_washout(read.lengths)
        z = self._read_out(self._each_sequence(self._echo(), self._inputs(read.rows)))
        return z if self.n_outputs_ > 1 else z.ravel()

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
        """
        z = self.decision_function(X, lengths)
        if z.ndim == 2:
            return self.classes_[z.argmax(axis=1)]
        # A single class is class 0 of 1, wherever the output lies.
        return self.classes_[np.minimum(z > 0, len(self.classes_) - 1)]


@documented
class ESNRegressor(RegressorMixin, BaseESN):
    """Echo state network for numbers: one value for a sequence, or a sequence of them.

    y tells which. A list of arrays, or a 3-D array (n, time, outputs), has values for every step; anything else,
    (n,) or (n, outputs), has them for whole sequences, and the readout then sees mean and last step.

    A single long series is a list of one array, ``[u]`` with u of shape (time, channels), or ``u[np.newaxis]``: a 2-D X
    would be many series of one channel. Where X is a single sequence of more than one step, y of shape (time,) or
    (time, outputs), with or without an axis of length 1 before it, holds its values for every step.

    Parameters
    ----------
    pooling : tuple of str, default=("mean", "last")
        What the readout sees of a sequence that has one target: the "mean" over its steps after the washout, the "last"
        step.

    feedback : bool, default=False
        Whether the outputs of the last step drive the reservoir too: in training the targets (teacher forcing), in
        prediction what was predicted. For values at every step.

    feedback_scaling : float, default=1.0
        Feedback weights are uniform in [-feedback_scaling, feedback_scaling].

    See Also
    --------
    ESNClassifier : The same network for classes.
    SlidingWindow : Windows of a series, for any regressor.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import ESNRegressor
    >>> u = np.sin(np.arange(500) / 5)[:, np.newaxis]
    >>> esn = ESNRegressor(100, washout=50, random_state=0).fit([u[:-1]], [u[1:]])
    >>> np.allclose(esn.forecast(20)[:, 0], np.sin(np.arange(500, 520) / 5), atol=0.01)
    True
    """

    _parameter_constraints: dict = {
        **BaseESN._parameter_constraints,
        "pooling": [list, tuple],
        "feedback": ["boolean"],
        "feedback_scaling": [Interval(Real, 0, None, closed="left")],
    }

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
        features=("bias", "input", "state"),
        pooling=("mean", "last"),
        washout=0,
        bidirectional=False,
        feedback=False,
        feedback_scaling=1.0,
        standardize=False,
        alpha=1e-6,
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, lengths=None):
        """Fit the model to sequences and their targets.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        y : array-like of shape (n,), (n, outputs) or (n, time, outputs), or list of ndarray of shape (time_i,) or \
                (time_i, outputs)

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._guarded(self._fit, X, y, lengths, False, False)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, lengths=None, continued=False):
        """Go on with further sequences; any chunks give what one `fit` on all would, but for what `standardize` learns.

        Parameters
        ----------
        X, y, lengths
            As in `fit`.

        continued : bool, default=False
            Whether these are the next steps of the sequence that the last call ended with: state, feedback and washout
            then go on. For single sequences with values at every step.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._guarded(self._fit, X, y, lengths, True, continued)

    def _fit(self, X, y, lengths, incremental, continued):
        self._check_parameters(incremental)
        first = not incremental or getattr(self, "_equations", None) is None
        read = sequences.read(self, X, lengths, reset=first)
        each_step, flat, targets = self._targets(read, y)
        if first:
            self._each_step_, self._flat = each_step, flat
            self._check_kind()
            self._start(read, np.full(targets[0].shape[-1] if self.feedback else 0, float(self.feedback_scaling)))
            self._end = None
        elif (each_step, targets[0].shape[-1]) != (self._each_step_, self.n_outputs_):
            raise ValueError(f"{self._name}: y has other outputs than in the first call of partial_fit")
        if continued and (self._end is None or len(read) > 1):
            raise ValueError(
                f"{self._name}: continued=True needs a single sequence with values at every step, after one like it"
            )
        rows = self._inputs(read.rows)
        if each_step:
            self._fit_steps(rows, targets, continued, incremental)
        else:
            self._check_washout(read.lengths)
            features = self._each_sequence(self._echo(), rows)
            Y = np.stack(targets)
            self._add(features, Y)
            self._solve(lambda: [(features, Y)], incremental)

    def _check_kind(self):
        if not self._each_step_ and self.feedback:
            raise ValueError(f"{self._name}: feedback=True needs targets for every step; see the class's description")
        if self.feedback and self.bidirectional:
            raise ValueError(
                f"{self._name}: bidirectional=True sees the future, which feedback=True has yet to predict"
            )

    def _targets(self, read, y):
        """(whether there are values for every step, whether outputs are without an axis of their own, arrays)."""
        if y is None:
            raise ValueError(f"{self._name} requires y to be passed, but the target y is None")
        if len(read) == 1 and not sequences.is_list(y) and read.lengths[0] > 1:
            steps, y = read.lengths[0], np.asarray(y)
            if y.ndim in (1, 2) and len(y) == steps:
                y = [y]
            elif y.shape == (1, steps):
                y = list(y)
        if sequences.is_list(y) or sequences.dimensions(y) == 3:
            return True, *self._step_targets(read, y)
        y = _check_y(y, multi_output=True, y_numeric=True)
        check_consistent_length(read.rows, y)
        return False, y.ndim == 1, list(y.reshape(len(y), -1).astype(np.float64))

    def _step_targets(self, read, y):
        if len(y) != len(read):
            raise ValueError(f"{self._name}: y has {len(y)} sequences, X has {len(read)}")
        targets, padded = [], sequences.dimensions(y) == 3 if not isinstance(y, (list, tuple)) else False
        for i, (values, length) in enumerate(zip(y, read.lengths, strict=True)):
            values = np.asarray(values)[:length] if padded else values
            values = check_array(values, ensure_2d=False, dtype=np.float64, input_name=f"y[{i}]")
            if len(values) != length or values.ndim > 2 or values.shape[1:] != np.shape(y[0])[1:]:
                raise ValueError(
                    f"{self._name}: y[{i}] has shape {values.shape}, expected values for each of the {length} steps of "
                    f"X[{i}], of as many outputs as those of y[0]"
                )
            targets.append(values)
        return targets[0].ndim == 1, [values.reshape(len(values), -1) for values in targets]

    def _fit_steps(self, rows, targets, continued, incremental):
        """A target for each step; the end of the last sequence is kept, for forecasts and further chunks."""
        echo = self._echo()
        begin = self._end if continued else None
        done = begin["steps"] if continued else 0
        if done == 0:
            self._check_washout(np.array([len(row) for row in rows]))
        driven = rows
        if self.feedback:
            before = begin["output"] if continued else np.zeros(targets[0].shape[1])
            driven = [
                self._fed_back(u, np.vstack([before[np.newaxis], y[:-1]])) for u, y in zip(rows, targets, strict=True)
            ]
        last = {}

        def blocks():
            for i, t, X, states in self._blocks(echo, rows, driven, begin):
                if i == len(rows) - 1:
                    last["state"] = states[-1].copy()
                skip = max(0, self.washout - done - t)
                if skip < len(X):
                    yield X[skip:], targets[i][t + skip : t + len(X)]

        for X, Y in blocks():
            self._add(X, Y)
        if self._equations is None:
            raise ValueError(f"{self._name}: washout={self.washout} leaves nothing of the first chunk; make it longer")
        self._solve(blocks, incremental)
        self._end = {"steps": done + len(rows[-1]), "output": targets[-1][-1], "state": last["state"]}

    def _fed_back(self, u, y):
        return np.concatenate([u, y], axis=1, dtype=self._dtype)

    def _blocks(self, echo, rows, driven, begin=None):
        """Yields (sequence, first step, features, states) block by block."""
        for group in echo.groups([len(row) for row in rows]):
            backward = self._backward(echo, [driven[i] for i in group]) if self.bidirectional else None
            start = None if begin is None else begin["state"][np.newaxis]
            for place, t, states in echo.run([driven[i] for i in group], start):
                i, stop = group[place], t + len(states)
                also = () if backward is None else (backward[place][t:stop],)
                yield i, t, self._step_features(rows[i][t:stop], states, *also), states

    # ---- prediction ----

    def predict(self, X, lengths=None):
        """Predict values.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        lengths : array-like of shape (n,), default=None
            Steps of each sequence in a padded array.

        Returns
        -------
        y : ndarray of shape (n,) or (n, outputs), or with values for every step (n, time) or (n, time, outputs)
            Zeros in the padding; for a list X a list of ndarray of shape (time_i,) or (time_i, outputs).
        """
        check_is_fitted(self)
        read = sequences.read(self, X, lengths, reset=False)
        rows, echo = self._inputs(read.rows), self._echo()
        if not self._each_step_:
            self._check_washout(read.lengths)
            y = self._read_out(self._each_sequence(echo, rows)).astype(self._dtype, copy=False)
            return y.ravel() if self._flat else y
        values = [np.empty((len(row), self.n_outputs_), self._dtype) for row in rows]
        if self.feedback:
            self._predict_fed_back(echo, rows, values)
        else:
            for i, t, features, _ in self._blocks(echo, rows, rows):
                values[i][t : t + len(features)] = self._read_out(features)
        return read.together([value[:, 0] if self._flat else value for value in values])

    def _predict_fed_back(self, echo, rows, values):
        """Step by step, all sequences side by side."""
        for group in echo.groups([len(row) for row in rows]):
            lengths = np.array([len(rows[i]) for i in group])
            s, y = np.zeros((len(group), self.units), self._dtype), np.zeros((len(group), self.n_outputs_))
            for t in range(lengths[0]):
                alive = int((lengths > t).sum())
                u = np.stack([rows[i][t] for i in group[:alive]])
                s, y = self._step(echo, u, s[:alive], y[:alive])
                for i, value in zip(group, y, strict=False):
                    values[i][t] = value

    def _step(self, echo, u, s, y):
        """(states, outputs) one step on."""
        driven = self._fed_back(u, y) if self.feedback else u
        s = echo.states(driven[:, np.newaxis], s)[:, 0]
        return s, self._read_out(self._step_features(u, s))

    def forecast(self, n_steps, X=None, y=None, X_future=None):
        """Go on with a series by what was predicted for it.

        Without feedback the network must have been fitted to predict the next step of X, so that each output is the
        next input. With it the last outputs are fed back, and inputs come from `X_future`.

        Parameters
        ----------
        n_steps : int

        X : as in `fit`, default=None
            Series to go on from; the first forecast is the step after each one's last. None goes on after the last
            target of the last sequence in `fit` or `partial_fit`.

        y : list of ndarray of shape (time_i,) or (time_i, outputs), or array-like of such, default=None
            Outputs so far, which are fed back while the network runs over X. With feedback only.

        X_future : array-like of shape (n_steps, channels) or (n, n_steps, channels), default=None
            Inputs of the steps to come. With feedback only.

        Returns
        -------
        y : ndarray of shape (n_steps, outputs), for X given (n, n_steps, outputs)
        """
        check_is_fitted(self)
        self._check_forecast(n_steps, X, y, X_future)
        echo = self._echo()
        if X is None:
            states, outputs = self._end["state"][np.newaxis], self._end["output"][np.newaxis]
        else:
            states, outputs = self._warmed_up(echo, X, y)
        n = len(states)
        if self.feedback:
            future = check_array(X_future, dtype=self._dtype, allow_nd=True, input_name="X_future")
            try:
                future = np.broadcast_to(future, (n, n_steps, self.n_channels_))
            except ValueError:
                raise ValueError(
                    f"{self._name}.forecast: X_future has shape {future.shape}, expected {(n_steps, self.n_channels_)} "
                    f"or {(n, n_steps, self.n_channels_)}"
                ) from None
            future = np.stack(self._inputs(list(future)))
        forecasts = np.empty((n, n_steps, self.n_outputs_), self._dtype)
        for k in range(n_steps):
            if self.feedback:
                states, outputs = self._step(echo, future[:, k], states, outputs)
            elif k > 0 or X is None:
                u = np.concatenate(self._inputs([outputs]))
                states, outputs = self._step(echo, u, states, outputs)
            forecasts[:, k] = outputs
        return forecasts[0] if X is None else forecasts

    def _check_forecast(self, n_steps, X, y, X_future):
        if not isinstance(n_steps, Integral) or n_steps < 1:
            raise ValueError(f"{self._name}.forecast: n_steps must be a whole number, at least 1, got {n_steps!r}")
        if not self._each_step_ or self.bidirectional:
            raise ValueError(
                f"{self._name}.forecast needs a network with targets for every step, which does not run backwards"
            )
        if self.feedback and (X_future is None or (X is None) != (y is None)):
            raise ValueError(f"{self._name}.forecast: with feedback give X_future, and X and y together or neither")
        if not self.feedback and (y is not None or X_future is not None):
            raise ValueError(f"{self._name}.forecast: y and X_future are for feedback=True")
        if not self.feedback and self.n_outputs_ != self.n_channels_:
            raise ValueError(
                f"{self._name}.forecast: outputs are to be the next inputs, but there are {self.n_outputs_} outputs "
                f"and {self.n_channels_} channels; fit X[:-1] with X[1:] as target, or use feedback=True"
            )

    def _warmed_up(self, echo, X, y):
        """States and outputs after the last step of each sequence."""
        read = sequences.read(self, X, reset=False)
        rows = driven = self._inputs(read.rows)
        states = np.empty((len(rows), self.units), self._dtype)
        outputs = np.empty((len(rows), self.n_outputs_))
        if self.feedback:
            _, _, targets = self._targets(read, y)
            driven = [
                self._fed_back(u, np.vstack([np.zeros((1, self.n_outputs_)), values[:-1]]))
                for u, values in zip(rows, targets, strict=True)
            ]
        for i, t, features, block in self._blocks(echo, rows, driven):
            if t + len(block) == len(rows[i]):
                states[i] = block[-1]
                outputs[i] = targets[i][-1] if self.feedback else self._read_out(features[-1:])[0]
        return states, outputs

    def score(self, X, y, sample_weight=None, lengths=None):
        """Coefficient of determination R^2 of the predictions, of values for every step over all after the washout.

        Parameters
        ----------
        X, y, lengths
            As in `fit`.

        sample_weight : array-like of shape (n,), default=None
            Weights of sequences.

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        if not self._each_step_:
            return r2_score(y, self.predict(X, lengths), sample_weight=sample_weight)
        read = sequences.read(self, X, lengths, reset=False)
        _, _, targets = self._targets(read, y)
        predicted = self.predict(read.rows)
        kept = [slice(self.washout, None)] * len(targets)
        weight = None
        if sample_weight is not None:
            weight = np.repeat(sample_weight, np.maximum(read.lengths - self.washout, 0))
        truth = np.concatenate([values[k] for values, k in zip(targets, kept, strict=True)])
        guess = np.concatenate([values[k] for values, k in zip(predicted, kept, strict=True)])
        return r2_score(truth, guess.reshape(truth.shape), sample_weight=weight)
