"""Linear readouts of features: ridge regression from normal equations, its leave-one-out error, and recursive least
squares. Everything is float64: the normal equations square the condition number."""

import numpy as np
from scipy import linalg


class Ridge:
    """Normal equations, filled block by block: the sums of x x^T, x y^T, x and y.

    Minimises sum |y - W^T x - b|^2 + alpha |W|^2; the intercept b is not penalised.

    Parameters
    ----------
    features, outputs : int
    intercept : bool
        Whether there is one.

    References
    ----------
    Hoerl and Kennard (1970), Ridge regression: biased estimation for nonorthogonal problems.
    """

    def __init__(self, features, outputs, intercept):
        self.gram, self.moments = np.zeros((features, features), order="F"), np.zeros((features, outputs))
        self.sums, self.totals = np.zeros(features), np.zeros(outputs)
        self.rows, self.intercept = 0, intercept

    def add(self, X, Y):
        """Adds rows: X (n, features), Y (n, outputs), float64."""
        # The upper triangle is all that is ever read.
        self.gram = linalg.blas.dsyrk(1.0, X.T, beta=1.0, c=self.gram, overwrite_c=True)
        self.moments += X.T @ Y
        self.rows += len(X)
        if self.intercept:
            self.sums += X.sum(axis=0)
            self.totals += Y.sum(axis=0)

    def _centred(self):
        """(G, R, mean of x, mean of y), each about the mean where there is an intercept."""
        mean, centre = self.sums / self.rows, self.totals / self.rows
        upper = linalg.blas.dsyr(-self.rows, mean, a=self.gram)
        return upper, self.moments - self.rows * np.outer(mean, centre), mean, centre

    def solve(self, alpha):
        """(W, b) by Cholesky decomposition; W of least norm where alpha = 0 leaves many."""
        G, R, mean, centre = self._centred()
        G[np.diag_indices_from(G)] += alpha
        try:
            W = linalg.cho_solve(linalg.cho_factor(G, check_finite=False), R)
        except linalg.LinAlgError:
            W = linalg.lstsq(np.triu(G) + np.triu(G, 1).T, R, cond=len(G) * np.finfo(float).eps)[0]
        return W, centre - mean @ W

    def leave_one_out(self, alphas, blocks):
        """Mean squared error of each row predicted from all others, for each alpha.

        With the hat matrix H = X (G + alpha I)^-1 X^T it is the mean of ((y_i - y'_i) / (1 - H_ii))^2 (Allen, 1974;
        Golub, Heath and Wahba, 1979). One eigendecomposition of G serves all alphas.

        Parameters
        ----------
        alphas : array-like of float
        blocks : iterable of (X, Y)
            The rows that were added, once more.

        Returns
        -------
        ndarray of shape (n_alphas,)
        """
        G, R, mean, centre = self._centred()
        values, Q = linalg.eigh(G, lower=False)
        projected = Q.T @ R
        # Noise of rounding must not pass for a direction of its own.
        floor = len(values) * np.finfo(float).eps * max(values[-1], np.finfo(float).tiny)
        inverse = [1.0 / (np.maximum(values, floor) + alpha) for alpha in alphas]
        errors = np.zeros(len(inverse))
        for X, Y in blocks:
            Z, Y = (X - mean) @ Q, Y - centre
            for a, scale in enumerate(inverse):
                kept = 1.0 - self.intercept / self.rows - (Z * Z) @ scale
                residual = (Y - Z @ (scale[:, np.newaxis] * projected)) / np.maximum(kept, 1e-10)[:, np.newaxis]
                errors[a] += (residual**2).sum()
        return errors / (self.rows * self.moments.shape[1])


class RecursiveLeastSquares:
    """Weights that follow the rows one by one: W += k (y - W^T x)^T with k = P x / (forgetting + x^T P x) and
    P = (P - k x^T P) / forgetting, starting from P = I / alpha (Haykin, 2002, Adaptive filter theory; of echo state
    networks: Jaeger, 2003).

    Without forgetting (1.0) this is ridge regression, every weight and the intercept, that of a constant x_0 = 1,
    penalised.

    Parameters
    ----------
    features, outputs : int
    intercept : bool
    alpha : float
        Positive.
    forgetting : float
        In (0, 1]: what a row counts for after each further one.
    """

    def __init__(self, features, outputs, intercept, alpha, forgetting):
        self.P, self.weights = np.eye(features + intercept) / alpha, np.zeros((features + intercept, outputs))
        self.intercept = intercept
        self.forgetting, self.rows = forgetting, 0

    def add(self, X, Y):
        """Follows rows: X (n, features), Y (n, outputs), float64."""
        X = np.hstack([np.ones((len(X), 1)), X]) if self.intercept else X
        for x, y in zip(X, Y, strict=True):
            Px = self.P @ x
            scale = 1.0 / (self.forgetting + x @ Px)
            self.weights += np.outer(scale * Px, y - x @ self.weights)
            self.P -= np.outer(scale * Px, Px)
            self.P /= self.forgetting
        self.rows += len(X)

    def solve(self, alpha):
        """(W, b) as they are now; `alpha` has had its say at the start."""
        W = self.weights.copy()
        return (W[1:], W[0]) if self.intercept else (W, np.zeros(W.shape[1]))
