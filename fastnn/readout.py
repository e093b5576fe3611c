"""Linear readouts of features: ridge regression from normal equations, its leave-one-out error, and recursive least
squares. Everything is float64: the normal equations square the condition number."""

import numpy as np
from scipy import linalg


class Ridge:
    """Normal equations G = sum of x x^T and R = sum of x y^T, filled block by block.

    Minimises sum |y - W^T x|^2 + alpha |W|^2; of features that start with a constant 1, its weights, the intercept, are
    not penalised.

    Parameters
    ----------
    features, outputs : int
    intercept : bool
        Whether the first feature is the constant 1.

    References
    ----------
    Hoerl and Kennard (1970), Ridge regression: biased estimation for nonorthogonal problems.
    """

    def __init__(self, features, outputs, intercept):
        self.gram, self.moments = np.zeros((features, features)), np.zeros((features, outputs))
        self.rows, self.intercept = 0, intercept

    def add(self, X, Y):
        """Adds rows: X (n, features), Y (n, outputs), float64."""
        self.gram += X.T @ X
        self.moments += X.T @ Y
        self.rows += len(X)

    def solve(self, alpha):
        """Weights (features, outputs) by Cholesky decomposition; of least norm where alpha = 0 leaves many."""
        penalty = np.full(len(self.gram), float(alpha))
        if self.intercept:
            penalty[0] = 0.0
        A = self.gram + np.diag(penalty)
        try:
            return linalg.cho_solve(linalg.cho_factor(A), self.moments)
        except linalg.LinAlgError:
            return linalg.lstsq(A, self.moments, cond=len(A) * np.finfo(float).eps)[0]

    def leave_one_out(self, alphas, blocks):
        """Mean squared error of each row predicted from all others, for each alpha.

        With the hat matrix H = X (G + alpha I)^-1 X^T it is the mean of ((y_i - y'_i) / (1 - H_ii))^2 (Allen, 1974; Golub,
        Heath and Wahba, 1979). One eigendecomposition of G serves all alphas.

        Parameters
        ----------
        alphas : array-like of float
        blocks : iterable of (X, Y)
            The rows that were added, once more.

        Returns
        -------
        ndarray of shape (n_alphas,)
        """
        first = int(self.intercept)
        mean, centre = np.zeros(len(self.gram) - first), np.zeros(self.moments.shape[1])
        if first:
            mean, centre = self.gram[0, 1:] / self.rows, self.moments[0] / self.rows
        values, Q = linalg.eigh(self.gram[first:, first:] - self.rows * np.outer(mean, mean))
        projected = Q.T @ (self.moments[first:] - self.rows * np.outer(mean, centre))
        # Noise of rounding must not pass for a direction of its own.
        floor = len(values) * np.finfo(float).eps * max(values[-1], np.finfo(float).tiny)
        inverse = [1.0 / (np.maximum(values, floor) + alpha) for alpha in alphas]
        errors = np.zeros(len(inverse))
        for X, Y in blocks:
            Z, Y = (X[:, first:] - mean) @ Q, Y - centre
            for a, scale in enumerate(inverse):
                leverage = first / self.rows + (Z * Z) @ scale
                residual = (Y - Z @ (scale[:, np.newaxis] * projected)) / np.maximum(1.0 - leverage, 1e-10)[:, np.newaxis]
                errors[a] += (residual**2).sum()
        return errors / (self.rows * self.moments.shape[1])


class RecursiveLeastSquares:
    """Weights that follow the rows one by one: W += k (y - W^T x)^T with k = P x / (forgetting + x^T P x) and
    P = (P - k x^T P) / forgetting, starting from P = I / alpha (Haykin, 2002, Adaptive filter theory; of echo state
    networks: Jaeger, 2003).

    Without forgetting (1.0) this is ridge regression, every weight penalised.

    Parameters
    ----------
    features, outputs : int
    alpha : float
        Positive.
    forgetting : float
        In (0, 1]: what a row counts for after each further one.
    """

    def __init__(self, features, outputs, alpha, forgetting):
        self.P, self.weights = np.eye(features) / alpha, np.zeros((features, outputs))
        self.forgetting, self.rows = forgetting, 0

    def add(self, X, Y):
        """Follows rows: X (n, features), Y (n, outputs), float64."""
        for x, y in zip(X, Y, strict=True):
            Px = self.P @ x
            scale = 1.0 / (self.forgetting + x @ Px)
            self.weights += np.outer(scale * Px, y - x @ self.weights)
            self.P -= np.outer(scale * Px, Px)
            self.P /= self.forgetting
        self.rows += len(X)

    def solve(self, alpha=None):
        """The weights now, (features, outputs)."""
        return self.weights.copy()
