"""What both echo state networks share: a reservoir with fixed random weights, and a linear readout that is all that is
trained."""

from copy import deepcopy
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from fastnn import memory
from fastnn.activations import ACTIVATIONS, Activation, get_activation
from fastnn.estimators import network as networks
from fastnn.estimators import sequences
from fastnn.estimators.fitting import unchanged_on_failure
from fastnn.estimators.prediction import Kept
from fastnn.estimators.validation import Range
from fastnn.features import FEATURES, POOLING, Features
from fastnn.readout import RecursiveLeastSquares, Ridge
from fastnn.reservoir import TOPOLOGIES, Echo, Reservoir, recurrent_weights
from fastnn.spec import shown

# Parameters that a first call of fit or partial_fit settles for predictions and for further calls.
SETTLED = (
    "units", "spectral_radius", "leak", "input_scaling", "bias_scaling", "topology", "density", "activation",
    "features", "pooling", "washout", "bidirectional", "feedback", "feedback_scaling", "standardize", "solver",
    "forgetting", "precision",
)  # fmt: skip


KEPT_BYTES = 1 << 20  # of the weights of a reservoir that is kept from call to call


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
        Recurrent weights: "random", where each unit hears units at distances (i - j) % units drawn at random, with
        weights of its own; a "ring" in which each unit hears its neighbour alone; or an "orthogonal" matrix.

    density : float or None, default=None
        Share of the units that each unit of a random reservoir hears, in (0, 1]; None means 10 units.

    activation : str or activation spec, default="tanh"
        One without random numbers: any of the networks' other activations.

    features : tuple of str, default=("bias", "input", "state")
        What the readout sees of each step: "bias" (a constant 1, whose weight is not penalised), "input", "state",
        "squared_state".

    washout : int, default=0
        Steps at the start of each sequence that training leaves out, and scores too.

    pooling : tuple of str, default=("mean", "last")
        What the readout sees of a sequence that has one target: the "mean" over its steps after the washout, the "last"
        step.

    bidirectional : bool, default=False
        Whether the reservoir also runs backwards over each sequence, and the readout sees both.

    feedback : bool, default=False
        Whether the outputs of the last step drive the reservoir too: in training the targets (teacher forcing), in
        prediction what was predicted. For targets at every step.

    feedback_scaling : float, default=1.0
        Feedback weights are uniform in [-feedback_scaling, feedback_scaling].

    standardize : bool, default=False
        Whether channels are brought to mean 0 and variance 1, as all steps of the first call of `fit` or `partial_fit`
        have them.

    alpha : float or array-like of float, default=1e-6
        Strength of the ridge penalty alpha |W|^2 beside the sum of squared errors. Of several, that with the smallest
        leave-one-out error is taken (closed form; a row, with all its weight, is a sequence or a step).

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
        Most threads for the reservoir, which share sequences; None and -1 mean all cores, -2 all but one, and so
        on. Results do not depend on it.

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

    each_step_ : bool
        Whether there is a target for every step, or one for a sequence.

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

    The normal equations stay with the estimator, so that `partial_fit` can go on after `fit`. Parameters that shape the
    reservoir, its features and the readout are settled by the first call: changed later, they wait for the next `fit`,
    and `partial_fit` refuses to go on.

    References
    ----------
    Jaeger (2001), The "echo state" approach to analysing and training recurrent neural networks.
    Lukoševičius (2012), A practical guide to applying echo state networks.
    """

    _parameter_constraints: dict = {
        "units": [Range(Integral, 1, None)],
        "spectral_radius": [Range(Real, 0, None)],
        "leak": [Range(Real, 0, 1, "right")],
        "input_scaling": [Range(Real, 0, None), "array-like"],
        "bias_scaling": [Range(Real, 0, None)],
        "topology": [StrOptions(set(TOPOLOGIES))],
        "density": [Range(Real, 0, 1, "right"), None],
        "activation": [StrOptions(set(ACTIVATIONS)), Activation],
        "features": [list, tuple],
        "pooling": [list, tuple],
        "washout": [Range(Integral, 0, None)],
        "bidirectional": ["boolean"],
        "feedback": ["boolean"],
        "feedback_scaling": [Range(Real, 0, None)],
        "standardize": ["boolean"],
        "alpha": [Range(Real, 0, None), "array-like"],
        "solver": [StrOptions({"ridge", "rls"})],
        "forgetting": [Range(Real, 0, 1, "right")],
        "random_state": ["random_state"],
        "precision": [StrOptions({"auto", "float32", "float64"})],
        "backend": [StrOptions({"native", "numpy"})],
        "n_jobs": [Range(Integral, None, -1, "right"), Range(Integral, 1, None), None],
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

    def _numbers(self, what):
        """A parameter that is a number or several, as float64."""
        given = getattr(self, what)
        try:
            return np.asarray(given, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{self._name}: {what} must be a number or several, got {shown(given)}") from None

    def _alphas(self):
        alphas = np.atleast_1d(self._numbers("alpha"))
        if alphas.ndim != 1 or not alphas.size or not (np.isfinite(alphas) & (alphas >= 0)).all():
            raise ValueError(f"{self._name}: alpha must be a number or several, none negative, got {shown(self.alpha)}")
        return alphas

    def _chosen(self, what, known):
        given = getattr(self, what)
        unknown = [name for name in given if name not in known]
        if unknown or not len(given):
            raise ValueError(f"{self._name}: {what} must name some of {known}, got {shown(given)}")
        return tuple(name for name in known if name in given)

    def _check_parameters(self, incremental, continued):
        """Refuses parameters that contradict each other."""
        if isinstance(self.units, bool):  # which scikit-learn takes for whole numbers
            raise ValueError(f"{self._name}: units must be a whole number, at least 1, got {self.units}")
        several = len(self._alphas()) > 1
        if several and (incremental or self.solver == "rls"):
            where = "partial_fit" if incremental else "solver='rls'"
            raise ValueError(
                f"{self._name}: choosing among several alphas needs all data at once and cannot be used with {where}; "
                "give one alpha"
            )
        if self.solver == "rls" and self._alphas()[0] <= 0:
            raise ValueError(f"{self._name}: solver='rls' starts from P = I / alpha and needs a positive alpha")
        if self._chosen("features", FEATURES) == ("bias",):
            raise ValueError(f"{self._name}: features={shown(self.features)} leaves nothing to read; add 'state'")
        self._chosen("pooling", POOLING)
        if self.feedback and self.bidirectional:
            raise ValueError(
                f"{self._name}: bidirectional=True sees the future, which feedback=True has yet to predict"
            )
        if continued and self.bidirectional:
            raise ValueError(f"{self._name}: continued=True goes on where bidirectional=True has begun at the end")

    def _check_continuation(self):
        """Refuses to go on from a first call that had other parameters."""
        for name, value in self._settled.items():
            if repr(getattr(self, name)) != repr(value):
                raise ValueError(
                    f"{self._name}: {name} was {shown(value)} in the first call and cannot become "
                    f"{shown(getattr(self, name))} in partial_fit; start anew with fit"
                )

    def _kernel(self):
        spec = get_activation(self.activation, where=f"{self._name}: activation")
        if spec.name == "rrelu":
            raise ValueError(f"{self._name}: activation 'rrelu' is random; use 'leaky_relu' or another one")
        return spec.kernel

    # ---- reservoir ----

    def _draw(self, channels, fed_back):
        """Sets the reservoir's weights."""
        random_state = check_random_state(self.random_state)
        scaling = self._numbers("input_scaling")
        if scaling.ndim and scaling.shape != (channels,):
            raise ValueError(
                f"{self._name}: input_scaling has shape {scaling.shape} for {channels} channels; give one number for "
                "each, or a single one"
            )
        if not np.isfinite(scaling).all():
            raise ValueError(f"{self._name}: input_scaling must be finite numbers, got {shown(self.input_scaling)}")
        feedback, units = np.full(fed_back, float(self.feedback_scaling)), int(self.units)
        scale = np.concatenate([np.broadcast_to(scaling, channels), feedback])[:, np.newaxis]
        self.input_weights_ = scale * random_state.uniform(-1, 1, (len(scale), units))
        self.bias_ = self.bias_scaling * random_state.uniform(-1, 1, units)
        self.recurrent_weights_ = recurrent_weights(
            random_state, units, self.topology, self.density, self.spectral_radius
        )

    def _echo(self):
        """The reservoir ready to run; a small one is kept for as long as the weights, which are the user's, stay the
        same: making it takes longer than 50 steps of 100 units."""
        units = int(self._settled["units"])
        inputs = self.n_channels_ + (self.n_outputs_ if self._settled["feedback"] else 0)
        reservoir = Reservoir(
            self._array("input_weights_", inputs, units),
            self._array("recurrent_weights_", units, units),
            self._array("bias_", units),
            self._activation,
            float(self._settled["leak"]),
        )
        asked, echo = (self._dtype, self.backend, self.n_jobs), self._kept.get("echo")
        if echo is None or not echo.serves(reservoir, *asked):
            small = sum(array.nbytes for array in reservoir.arrays()) <= KEPT_BYTES
            echo = Echo(reservoir.copy() if small else reservoir, *asked)
            if small:
                self._kept["echo"] = echo
        return echo

    def _array(self, name, *shape):
        """A fitted attribute as an array of this shape, in whose place a user may have put something else."""
        given = getattr(self, name)
        as_it_is = name == "recurrent_weights_" and sparse.issparse(given)
        array = given if as_it_is else networks.numbers(given, f"{self._name}: {name}")
        if array.shape != shape:
            raise ValueError(f"{self._name}: {name}: expected shape {shape}, got {array.shape}")
        return array

    def _check_readout(self):
        features = self._features.number(self.n_channels_, self._settled["units"], self.each_step_)
        self._array("coef_", features, self.n_outputs_)
        self._array("intercept_", self.n_outputs_)

    def _learn_scale(self, rows, weights):
        self.mean_ = self.scale_ = None
        if self.standardize:
            steps = np.concatenate(rows).astype(np.float64)
            if weights is not None and not self.each_step_:
                weights = np.repeat(weights, [len(row) for row in rows])
            elif weights is not None:
                weights = np.concatenate(weights)
            self.mean_ = np.average(steps, axis=0, weights=weights)
            scale = np.sqrt(np.average((steps - self.mean_) ** 2, axis=0, weights=weights))
            self.scale_ = np.where(scale > 0, scale, 1.0)

    def _inputs(self, rows):
        """What the reservoir and the readout see of sequences."""
        if self.mean_ is None:
            return [row.astype(self._dtype, copy=False) for row in rows]
        return [((row - self.mean_) / self.scale_).astype(self._dtype) for row in rows]

    def _fed_back(self, rows, targets, before=None):
        """Inputs beside the targets of the steps before; `before` the first step zeros by default."""
        before = np.zeros(targets[0].shape[1]) if before is None else before
        return [
            np.concatenate([u, np.vstack([before[np.newaxis], y[:-1]])], axis=1, dtype=self._dtype)
            for u, y in zip(rows, targets, strict=True)
        ]

    # ---- fit ----

    def _fit(self, X, y, lengths, sample_weight, incremental, continued=False):
        """fit and partial_fit; one that fails leaves the estimator as it was."""
        with unchanged_on_failure(self), np.errstate(over="ignore", invalid="ignore"):
            self._check_parameters(incremental, continued)
            first = not incremental or not self.__sklearn_is_fitted__()
            read = sequences.read(self, X, lengths, reset=first)
            if y is None:
                raise ValueError(f"{self._name} requires y to be passed, but the target y is None")
            each_step, targets = self._encode(read, y, incremental)
            weights = sequences.check_weight(self, read, sample_weight, each_step)
            if first:
                self._start(read, each_step, targets[0].shape[-1], weights)
            else:
                self._check_continuation()
                kinds = (each_step, targets[0].shape[-1]), (self.each_step_, self.n_outputs_)
                if kinds[0] != kinds[1]:
                    came, before = (f"{n} for each {'step' if steps else 'sequence'}" for steps, n in kinds)
                    raise ValueError(f"{self._name}: y has outputs other than in the first call: {came}, not {before}")
                self._equations = deepcopy(self._equations)
            if continued and (self._end is None or len(read) > 1):
                raise ValueError(
                    f"{self._name}: continued=True needs a single sequence with targets at every step, after one like "
                    "it"
                )
            (self._learn_steps if each_step else self._learn_sequences)(
                self._inputs(read.rows), targets, weights, continued
            )
        return self

    def _start(self, read, each_step, outputs, weights):
        """Everything that a first call of fit or partial_fit settles."""
        if self.feedback and not each_step:
            raise ValueError(f"{self._name}: feedback=True needs targets for every step; see the class's description")
        self.each_step_, self.n_outputs_ = each_step, outputs
        self._dtype = read.dtype if self.precision == "auto" else np.dtype(self.precision)
        settled = SETTLED + ("alpha",) * (self.solver == "rls")  # which begins with it
        self._settled = {name: getattr(self, name) for name in settled}
        self._activation = self._kernel()
        self._features = Features(
            self._chosen("features", FEATURES), self._chosen("pooling", POOLING), int(self.washout), self.bidirectional
        )
        self._check_room(read.channels)
        self._learn_scale(read.rows, weights)
        self._draw(read.channels, outputs if self.feedback else 0)
        self._equations = self._end = None
        self._kept = Kept()

    def _check_room(self, channels):
        """Refuses a reservoir or normal equations that have no room."""
        units = int(self.units)
        features = self._features.number(channels, units, self.each_step_)
        links = {"ring": 1, "orthogonal": units}.get(self.topology, (self.density or 0) * units)
        matrices = 1 if self.solver == "rls" else 2
        needed = 8 * (matrices * features**2 + int(links) * units)
        what = f"{self._name}: units={units:,} make {features:,} features, whose readout and reservoir take"
        memory.check(needed, what, "choose fewer units, or fewer of features and pooling")

    def _learn_sequences(self, rows, targets, weights, continued):
        """A target for each sequence."""
        self._check_washout([len(row) for row in rows])
        features = self._features.of_sequences(self._echo(), rows)
        self._add(features, targets, weights)
        self._solve(lambda: [(features, targets, weights)])

    def _learn_steps(self, rows, targets, weights, continued):
        """A target for each step; the end of the last sequence is kept, for forecasts and further chunks."""
        echo, begin = self._echo(), self._end if continued else {"output": None, "state": None}
        washout = 0 if continued else self._features.washout
        if not continued:
            self._check_washout([len(row) for row in rows])
        driven = self._fed_back(rows, targets, begin["output"]) if self.feedback else rows
        last = {}

        def blocks():
            for i, t, X, states in self._blocks(echo, rows, driven, begin["state"]):
                if i == len(rows) - 1:
                    last["state"] = states[-1].copy()
                skip, stop = max(0, washout - t), t + len(X)
                if skip < len(X):
                    yield (
                        X[skip:],
                        targets[i][t + skip : stop],
                        None if weights is None else weights[i][t + skip : stop],
                    )

        for block in blocks():
            self._add(*block, aside=len(rows) == 1)  # whose states one thread computes
        self._solve(blocks)
        self._end = {"output": targets[-1][-1], "state": last["state"]}

    def _blocks(self, echo, rows, driven, start):
        """The blocks of all sequences; where the readout forgets, of one sequence after another as they were given."""
        if self.solver == "rls" and self.forgetting < 1:
            for i in range(len(rows)):
                for _, *block in self._features.blocks(echo, rows[i : i + 1], driven[i : i + 1], start):
                    yield i, *block
        else:
            yield from self._features.blocks(echo, rows, driven, start)

    def _check_washout(self, lengths):
        washout = self._features.washout
        if washout >= min(lengths):
            raise ValueError(
                f"{self._name}: washout={washout} leaves nothing of a sequence of {min(lengths)} steps; lower it or "
                "leave short sequences out"
            )

    def _add(self, X, Y, weight, aside=False):
        if self._equations is None:
            shape = X.shape[1], Y.shape[1], "bias" in self._features.chosen
            if self.solver == "rls":
                self._equations = RecursiveLeastSquares(*shape, self._alphas()[0], self.forgetting)
            else:
                self._equations = Ridge(*shape, self.backend, self.n_jobs)
        self._equations.add(X, Y, weight, aside)

    def _solve(self, blocks):
        """Weights of the readout; `blocks()` yields all rows (X, Y, weight) once more."""
        if not self._equations.finite:
            raise ValueError(
                f"{self._name}: states, inputs or targets, or their squares, have grown beyond all numbers; scale X "
                "and y, lower spectral_radius or input_scaling, or choose an activation with bounds, such as 'tanh'"
            )
        alphas, self.loo_errors_ = self._alphas(), None
        if len(alphas) > 1:
            self.loo_errors_ = self._equations.leave_one_out(alphas, blocks())
            alphas = alphas[[np.nanargmin(self.loo_errors_)]]
        self.alpha_ = float(alphas[0])
        self.coef_, self.intercept_ = self._equations.solve(self.alpha_)

    # ---- prediction ----

    def _read_out(self, X):
        """Outputs for features (n, features): a scalar product for each, whose bits do not depend on n."""
        X = np.ascontiguousarray(X)
        return np.vecdot(X[:, np.newaxis], np.ascontiguousarray(np.asarray(self.coef_).T)) + self.intercept_

    def _outputs(self, X, lengths):
        """(Sequences, outputs): (n, outputs), or with targets for every step a list of (time_i, outputs)."""
        check_is_fitted(self)
        self._check_readout()
        read = sequences.read(self, X, lengths, reset=False)
        rows, echo = self._inputs(read.rows), self._echo()
        if not self.each_step_:
            self._check_washout(read.lengths)
            return read, self._read_out(self._features.of_sequences(echo, rows))
        values = [np.empty((len(row), self.n_outputs_)) for row in rows]
        if self._settled["feedback"]:
            self._run_fed_back(echo, rows, values)
        else:
            for i, t, features, _ in self._features.blocks(echo, rows, rows):
                values[i][t : t + len(features)] = self._read_out(features)
        return read, values

    def _run_fed_back(self, echo, rows, values):
        """Step by step, all sequences side by side."""
        for group in echo.groups([len(row) for row in rows]):
            lengths = np.array([len(rows[i]) for i in group])
            s, y = np.zeros((len(group), len(self.bias_)), self._dtype), np.zeros((len(group), self.n_outputs_))
            for t in range(lengths[0]):
                alive = int((lengths > t).sum())
                u = np.stack([rows[i][t] for i in group[:alive]])
                s, y = self._step(echo, u, s[:alive], y[:alive])
                for i, value in zip(group, y, strict=False):
                    values[i][t] = value

    def _step(self, echo, u, s, y):
        """(states, outputs) one step on."""
        driven = np.concatenate([u, y], axis=1, dtype=self._dtype) if self._settled["feedback"] else u
        s = echo.states(driven[:, np.newaxis], s)[:, 0]
        return s, self._read_out(self._features.of_steps(u, s))

    def _scored(self, read, truth, guess, sample_weight):
        """(truth, predictions, weights) of every step after the washout, one after another."""
        weights = sequences.check_weight(self, read, sample_weight, True)
        kept = slice(self._features.washout, None)

        def together(arrays):
            return None if arrays is None else np.concatenate([array[kept] for array in arrays])

        return together(truth), together(guess), together(weights)
