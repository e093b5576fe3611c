"""ESNRegressor: echo state networks for numbers, one for a sequence or one for every step, and their forecasts."""

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import _check_y, check_is_fitted

from fastnn.estimators import sequences
from fastnn.estimators.documentation import documented
from fastnn.estimators.esn import BaseESN
from fastnn.estimators.fitting import parameters_checked
from fastnn.estimators.validation import check_numbers, refuse_sparse
from fastnn.spec import an_int, is_whole, shown


@documented
class ESNRegressor(RegressorMixin, BaseESN):
    """Echo state network for numbers: one value for a sequence, or a sequence of them.

    y tells which. A list of arrays, or a 3-D array (n, time, outputs), has values for every step; anything else,
    (n,) or (n, outputs), has them for whole sequences, and the readout then sees mean and last step.

    A single long series is a list of one array, ``[u]`` with u of shape (time, channels), or ``u[np.newaxis]``: a 2-D X
    would be many series of one channel. Where X is a single sequence of more than one step, y of shape (time,) or
    (time, outputs), with or without an axis of length 1 before it, holds its values for every step.

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
    def fit(self, X, y, lengths=None, sample_weight=None):
        """Fit the model to sequences and their targets.

        Parameters
        ----------
        X : list of ndarray of shape (time_i, channels), or array-like of shape (n, time, channels) or (n, time)

        y : array-like of shape (n,), (n, outputs) or (n, time, outputs), or list of ndarray of shape (time_i,) or \
                (time_i, outputs)

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
    def partial_fit(self, X, y, lengths=None, sample_weight=None, continued=False):
        """Go on with further sequences; any chunks give what one `fit` on all would, but for what `standardize` learns.

        Parameters
        ----------
        X, y, lengths, sample_weight
            As in `fit`.

        continued : bool, default=False
            Whether these are the next steps of the sequence that the last call ended with: state and feedback then go
            on, and no step is left out as washout. For single sequences with values at every step.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y, lengths, sample_weight, True, continued)

    def _encode(self, read, y, incremental):
        """(whether there are values for every step, arrays of them with an axis of outputs)."""
        first = not incremental or not self.__sklearn_is_fitted__()
        # In a chunk of one sequence after others, as many values as steps are its outputs.
        each_step, flat, targets = self._targets(read, y, alone=first or self.each_step_)
        if first:
            self._flat = flat
        return each_step, targets

    def _targets(self, read, y, alone=True):
        """(whether there are values for every step, whether outputs are without an axis of their own, arrays)."""
        refuse_sparse(y)
        steps = sequences.of_steps(self, read, y, 3, alone=alone)
        if steps is None:
            y = _check_y(y, multi_output=True, y_numeric=True)
            check_numbers(self, y)
            check_consistent_length(read.rows, y)
            return False, y.ndim == 1, y.reshape(len(y), -1).astype(np.float64)
        for values in steps:
            check_numbers(self, values)
        steps = [
            check_array(values, ensure_2d=False, dtype=np.float64, input_name=f"y[{i}]")
            for i, values in enumerate(steps)
        ]
        return True, steps[0].ndim == 1, [values.reshape(len(values), -1) for values in steps]

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
        read, outputs = self._outputs(X, lengths)
        if not self.each_step_:
            y = outputs.astype(self._dtype, copy=False)
            return y[:, 0] if self._flat else y
        values = [value.astype(self._dtype, copy=False) for value in outputs]
        return read.together([value[:, 0] if self._flat else value for value in values])

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
        self._check_readout()
        echo, feedback = self._echo(), self._settled["feedback"]
        if X is None:
            states, outputs = self._end["state"][np.newaxis], self._end["output"][np.newaxis]
        else:
            states, outputs = self._warmed_up(echo, X, y)
        n = len(states)
        if feedback:
            future = check_array(X_future, dtype=self._dtype, allow_nd=True, input_name="X_future")
            expected = (n_steps, self.n_channels_)
            if future.shape not in (expected, (n, *expected)):
                raise ValueError(
                    f"{self._name}.forecast: X_future has shape {future.shape}, expected {expected} or {(n, *expected)}"
                )
            future = np.broadcast_to(future, (n, *expected))
            future = np.stack(self._inputs(list(future)))
        forecasts = np.empty((n, n_steps, self.n_outputs_), self._dtype)
        for k in range(n_steps):
            if feedback:
                states, outputs = self._step(echo, future[:, k], states, outputs)
            elif k > 0 or X is None:
                u = np.concatenate(self._inputs([outputs]))
                states, outputs = self._step(echo, u, states, outputs)
            forecasts[:, k] = outputs
        return forecasts[0] if X is None else forecasts

    def _check_forecast(self, n_steps, X, y, X_future):
        if not is_whole(n_steps):
            raise ValueError(f"{self._name}.forecast: n_steps must be {an_int(n_steps)}, got {shown(n_steps)}")
        if not self.each_step_ or self._features.bidirectional:
            raise ValueError(
                f"{self._name}.forecast needs a network with targets for every step, which does not run backwards"
            )
        feedback = self._settled["feedback"]
        if feedback and (X_future is None or (X is None) != (y is None)):
            raise ValueError(f"{self._name}.forecast: with feedback give X_future, and X and y together or neither")
        if not feedback and (y is not None or X_future is not None):
            raise ValueError(f"{self._name}.forecast: y and X_future are for feedback=True")
        if not feedback and self.n_outputs_ != self.n_channels_:
            raise ValueError(
                f"{self._name}.forecast: outputs are to be the next inputs, but there are {self.n_outputs_} outputs "
                f"and {self.n_channels_} channels; fit X[:-1] with X[1:] as target, or use feedback=True"
            )

    def _warmed_up(self, echo, X, y):
        """States and outputs after the last step of each sequence."""
        read = sequences.read(self, X, reset=False)
        rows = driven = self._inputs(read.rows)
        states = np.empty((len(rows), len(self.bias_)), self._dtype)
        outputs = np.empty((len(rows), self.n_outputs_))
        if y is not None:
            each_step, _, targets = self._targets(read, y)
            if not each_step or targets[0].shape[1] != self.n_outputs_:
                raise ValueError(f"{self._name}.forecast: y must have {self.n_outputs_} outputs for every step of X")
            driven = self._fed_back(rows, targets)
        for i, t, features, block in self._features.blocks(echo, rows, driven):
            if t + len(block) == len(rows[i]):
                states[i] = block[-1]
                outputs[i] = self._read_out(features[-1:])[0] if y is None else targets[i][-1]
        return states, outputs

    def score(self, X, y, sample_weight=None, lengths=None):
        """Coefficient of determination R^2 of the predictions, of values for every step over all after the washout.

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
        check_is_fitted(self)
        if not self.each_step_:
            return r2_score(y, self.predict(X, lengths), sample_weight=sample_weight)
        read = sequences.read(self, X, lengths, reset=False)
        _, _, targets = self._targets(read, y)
        truth, guess, weights = self._scored(read, targets, self.predict(read.rows), sample_weight)
        return r2_score(truth, guess.reshape(truth.shape), sample_weight=weights)
