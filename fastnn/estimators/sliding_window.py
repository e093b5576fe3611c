"""Series cut into windows, so that any regressor can forecast."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn.estimators.validation import Range
from fastnn.spec import MOST, an_int, is_whole, shown


class SlidingWindow(TransformerMixin, BaseEstimator):
    """Windows of a series: row t of the result holds the steps t - window + 1, ..., t of all channels.

    X is a single series, one row a step. The first rows, for which there are not enough steps yet, repeat the first
    step in place of the missing ones: so there is a row for every step, and the windows fit a target of as many rows in
    a pipeline. To forecast h steps ahead, fit such a pipeline on ``X[:-h]`` and ``X[h:]``; `supervised` makes both.

    Parameters
    ----------
    window : int, default=10
        Steps in a window.

    stride : int, default=1
        Distance of the steps in a window.

    Attributes
    ----------
    n_features_in_ : int
        Channels of the series.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen in fit, if X had string names for all.

    See Also
    --------
    ESNRegressor : Takes the series as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import SlidingWindow
    >>> SlidingWindow(3).fit_transform(np.arange(1.0, 6.0)[:, np.newaxis])
    array([[1., 1., 1.],
           [1., 1., 2.],
           [1., 2., 3.],
           [2., 3., 4.],
           [3., 4., 5.]])
    """

    _parameter_constraints: dict = {
        "window": [Range(Integral, 1, MOST, "both")],
        "stride": [Range(Integral, 1, MOST, "both")],
    }

    def __init__(self, window=10, *, stride=1):
        self.window = window
        self.stride = stride

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the number of channels.

        Parameters
        ----------
        X : array-like of shape (time, channels)

        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        validate_data(self, X, dtype=(np.float64, np.float32))
        return self

    def transform(self, X):
        """Cut a series into windows.

        Parameters
        ----------
        X : array-like of shape (time, channels)

        Returns
        -------
        windows : ndarray of shape (time, window * channels)
            The oldest step of a window first, the channels of a step side by side.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        step = np.maximum(np.arange(len(X))[:, np.newaxis] - self._ages(), 0)
        return X[step].reshape(len(X), -1)

    def _ages(self):
        """How many steps ago each step of a window was."""
        return int(self.stride) * np.arange(int(self.window) - 1, -1, -1)

    def supervised(self, X, horizon=1):
        """Whole windows of a series, and the steps `horizon` after their last.

        Parameters
        ----------
        X : array-like of shape (time, channels)

        horizon : int, default=1

        Returns
        -------
        windows : ndarray of shape (n, window * channels)

        targets : ndarray of shape (n, channels)
        """
        if not is_whole(horizon):
            raise ValueError(f"SlidingWindow: horizon must be {an_int(horizon)}, got {shown(horizon)}")
        windows = self.fit(X).transform(X)
        X = np.asarray(X, windows.dtype)
        first, horizon = int(self.stride) * (int(self.window) - 1), int(horizon)
        if len(X) <= first + horizon:
            raise ValueError(
                f"SlidingWindow: {len(X)} steps hold no window of {first + 1} with a target {horizon} steps later"
            )
        return windows[first : len(X) - horizon], X[first + horizon :]

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of `transform`: "x0[t-2]", "x0[t-1]", "x0[t]".

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the channels; those seen in fit, or x0, x1, ... by default.

        Returns
        -------
        names : ndarray of str
        """
        from sklearn.utils.validation import _check_feature_names_in

        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        columns = [f"{name}[t-{age}]" if age else f"{name}[t]" for age in self._ages() for name in names]
        return np.array(columns, dtype=object)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_features_in_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
