"""Linear readouts of features: ridge regression from normal equations, its leave-one-out error, and recursive least
squares. Everything is float64: the normal equations square the condition number."""

import functools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
from scipy import linalg

from fastnn import ops
from fastnn.passes import place_barriers
from fastnn.plan import Builder
from fastnn.training import runner_class, thread_limit

ROWS = 256  # gathered before they are multiplied: a panel of their columns stays in the first cache
SUMS = 2  # that blocks of rows take turns at
MOST = 4  # blocks that wait
TILE = 64  # of a Cholesky decomposition: too little work for BLAS to start threads


class Ridge:
    """Normal equations, filled block by block: the products A^T A of rows a = sqrt(weight) (x, y, 1).

    Minimises sum weight |y - W^T x - b|^2 + alpha |W|^2; the intercept b is not penalised.

    Parameters
    ----------
    features, outputs : int
    intercept : bool
        Whether there is one.
    backend : {"native", "numpy"}
    n_jobs : int or None

    References
    ----------
    Hoerl and Kennard (1970), Ridge regression: biased estimation for nonorthogonal problems.
    """

    def __init__(self, features, outputs, intercept, backend="native", n_jobs=None):
        self.features, self.outputs, self.intercept = features, outputs, intercept
        self.backend, self.n_jobs = backend, n_jobs
        self.products = None  # (width, width), of no use below the diagonal
        self.adding = None

    def add(self, X, Y, weight=None, aside=False):
        """Adds rows: X (n, features), Y (n, outputs) and their weights (n,), None for ones.

        Until `finish` the arrays may be read. With `aside` another thread computes the products: for a caller that
        keeps one thread busy with the rows to come.
        """
        if self.adding is None:
            threads = thread_limit(self.backend, self.n_jobs)
            self.adding = _Adding(self.features, self.outputs, self.products, self.backend, threads, aside)
        for first in range(0, len(X), ROWS):
            part = slice(first, first + ROWS)
            self.adding.add(X[part], Y[part], None if weight is None else weight[part])

    def finish(self):
        """Adds what is still waiting; rows may follow."""
        if self.adding is not None:
            self.products = self.adding.finish()
            self.adding = None  # not for pickles

    @property
    def finite(self):
        """Whether everything added so far was."""
        self.finish()
        return bool(np.isfinite(self.products).all())

    def _centred(self):
        """(G, R, mean of x, mean of y, sum of weights), G and R about the means where there is an intercept."""
        self.finish()
        f, total = self.features, self.products[-1, -1]
        if not total > 0:
            raise ValueError("sample_weight leaves no row after the washout with a weight above 0")
        mean, centre = np.zeros(f), np.zeros(self.outputs)
        if self.intercept:
            mean, centre = self.products[:f, -1] / total, self.products[f:-1, -1] / total
        G, R = np.outer(total * mean, mean), np.outer(total * mean, centre)
        np.subtract(self.products[:f, :f], G, out=G)
        np.subtract(self.products[:f, f:-1], R, out=R)
        return G, R, mean, centre, total

    def solve(self, alpha):
        """(W, b) by Cholesky decomposition; W of least norm where alpha = 0 leaves many."""
        G, R, mean, centre, _ = self._centred()
        G[np.diag_indices_from(G)] += alpha
        try:
            W = cholesky_solve(G, R)
        except linalg.LinAlgError:
            W = linalg.lstsq(np.triu(G) + np.triu(G, 1).T, R, cond=len(G) * np.finfo(float).eps)[0]
        return W, centre - mean @ W

    def leave_one_out(self, alphas, blocks):
        """Weighted mean squared error of each row predicted from all others, for each alpha.

        With the hat matrix H = A (G + alpha I)^-1 A^T it is the mean of ((y_i - y'_i) / (1 - H_ii))^2 (Allen, 1974;
        Golub, Heath and Wahba, 1979). One eigendecomposition of G serves all alphas.

        Parameters
        ----------
        alphas : array-like of float
        blocks : iterable of (X, Y, weight)
            The rows that were added, once more.

        Returns
        -------
        ndarray of shape (n_alphas,)
        """
        G, R, mean, centre, total = self._centred()
        values, Q = linalg.eigh(G, lower=False)
        projected = Q.T @ R
        # Noise of rounding must not pass for a direction of its own.
        floor = len(values) * np.finfo(float).eps * max(values[-1], np.finfo(float).tiny)
        inverse = [1.0 / (np.maximum(values, floor) + alpha) for alpha in alphas]
        errors = np.zeros(len(inverse))
        for X, Y, weight in blocks:
            weight = np.ones(len(X)) if weight is None else weight
            Z, Y = (X - mean) @ Q, Y - centre
            for a, scale in enumerate(inverse):
                kept = 1.0 - weight * (self.intercept / total + (Z * Z) @ scale)
                residual = (Y - Z @ (scale[:, np.newaxis] * projected)) / np.maximum(kept, 1e-10)[:, np.newaxis]
                errors[a] += (weight[:, np.newaxis] * residual**2).sum()
        return errors / (total * self.outputs)


class _Adding:
    """Adds the products of rows (x, y, 1) to a matrix, block by block.

    Blocks take turns at two sums, which lets two threads multiply at a time and leaves the order of each sum the same
    for any number of threads.

    Parameters
    ----------
    features, outputs : int
    products : ndarray of shape (width, width) or None
        Those of earlier rows.
    backend : {"native", "numpy"}
    threads : int
        At most so many.
    aside : bool
        Whether blocks are multiplied on a thread of their own while the caller goes on, who takes one when two are
        waiting.
    """

    def __init__(self, features, outputs, products, backend, threads, aside):
        width, self.features = features + outputs + 1, features
        self.pool = ThreadPoolExecutor(1) if aside and threads > 1 else None
        teams = 1 if self.pool is None else 2
        self.sums = [
            runner_class(backend)(_products_plan(width), dtype=float, rows=ROWS, n_threads=threads // teams)
            for _ in range(SUMS)
        ]
        if products is not None:
            self.sums[0].set("gram.G", products)
        self.rows = [np.empty((ROWS, width)) for _ in range(teams)]  # for the sums by turns
        self.waiting = [deque() for _ in range(SUMS)]  # blocks, as lists of parts
        self.locks = [Lock() for _ in range(SUMS)]
        self.tasks = []
        self.block, self.parts, self.gathered = 0, [], 0

    def add(self, X, Y, weight):
        """At most ROWS rows, which may be read until `finish`."""
        if self.gathered + len(X) > ROWS:
            self._next_block()
        self.parts.append((X, Y, weight))
        self.gathered += len(X)

    def _next_block(self):
        self.waiting[self.block % SUMS].append(self.parts)
        self.block, self.parts, self.gathered = self.block + 1, [], 0
        if self.pool is not None:
            self.tasks.append(self.pool.submit(self._take_all))
        most = 0 if self.pool is None else 1
        while sum(map(len, self.waiting)) > most and self._take():
            pass
        while sum(map(len, self.waiting)) > MOST:
            self._take(wait=True)

    def _take_all(self):
        while self._take():
            pass

    def _take(self, wait=False):
        """Multiplies the first block that waits for a sum which no other thread is at, or waits for that thread; False
        if there is none."""
        for turn in sorted(range(SUMS), key=lambda turn: -len(self.waiting[turn])):
            if self.waiting[turn] and self.locks[turn].acquire(blocking=wait):
                try:
                    if self.waiting[turn]:
                        self._multiply(turn, self.waiting[turn].popleft())
                        return True
                finally:
                    self.locks[turn].release()
        return False

    def _multiply(self, turn, parts):
        rows, stop = self.rows[turn % len(self.rows)], 0
        for X, Y, weight in parts:
            start, stop = stop, stop + len(X)
            part = rows[start:stop]
            part[:, : self.features], part[:, self.features : -1], part[:, -1] = X, Y, 1.0
            if weight is not None:
                part *= np.sqrt(weight)[:, np.newaxis]
        self.sums[turn].bind(rows[:stop])
        self.sums[turn].train(ROWS, 0, 1, 0, np.zeros(1), np.inf)

    def finish(self):
        """The matrix with the products of all rows."""
        if self.parts:
            self._next_block()
        while any(self.waiting):
            self._take(wait=True)
        if self.pool is not None:
            self.pool.shutdown()
        for task in self.tasks:
            task.result()
        products, rest = (runner.get("gram.G") for runner in self.sums)
        products += rest
        return products


def cholesky_solve(G, R):
    """W with G W = R by the Cholesky decomposition G = U^T U, tile by tile; G (n, n) is read on and above the diagonal.

    LAPACK's own is faster where all cores are idle, 2 ms for 500 columns instead of 3. But its threads wait for each
    other at every step: where another process held a core, it took up to 0.4 s, of 1000 columns 2 s.

    Raises
    ------
    LinAlgError
        Where G is not positive definite.
    """
    n = len(G)
    tiles = -(-n // TILE)
    U = np.zeros((tiles, tiles, TILE, TILE))
    U[-1, -1] = np.eye(TILE)
    for k, j in zip(*np.triu_indices(tiles), strict=True):
        tile = G[k * TILE : (k + 1) * TILE, j * TILE : (j + 1) * TILE]
        U[k, j, : tile.shape[0], : tile.shape[1]] = tile
    inverse = np.empty((tiles, TILE, TILE))  # of the diagonal's tiles, transposed
    for k in range(tiles):
        inverse[k] = linalg.lapack.dtrtri(np.linalg.cholesky(U[k, k].T), lower=1)[0]
        right = U[k, k + 1 :] = inverse[k] @ U[k, k + 1 :]
        for j, tile in enumerate(right):
            U[k + 1 + j, k + 1 + j :] -= tile.T @ right[j:]
    W = np.zeros((tiles, TILE, R.shape[1]))
    W.reshape(tiles * TILE, -1)[:n] = R
    for k in range(tiles):
        W[k] = inverse[k] @ W[k]
        W[k + 1 :] -= U[k, k + 1 :].swapaxes(1, 2) @ W[k]
    for k in reversed(range(tiles)):
        W[k] = inverse[k].T @ (W[k] - (U[k, k + 1 :] @ W[k + 1 :]).sum(axis=0))
    return W.reshape(tiles * TILE, -1)[:n].copy()


@functools.lru_cache(maxsize=16)
def _products_plan(width):
    """The plan that adds the products of rows (n, width)."""
    builder = Builder("gradient")
    ops.gram.gram(builder, ops.gather.gather(builder, (width,)))
    return place_barriers(builder.plan())


class RecursiveLeastSquares:
    """Weights that follow the rows one by one: W += k (y - W^T x)^T with k = P x / (forgetting + x^T P x) and
    P = (P - k x^T P) / forgetting, starting from P = I / alpha (Haykin, 2002, Adaptive filter theory; of echo state
    networks: Jaeger, 2003).

    Without forgetting (1.0) this is ridge regression, every weight and the intercept, that of a constant x_0 = 1,
    penalised. A row with a weight counts as sqrt(weight) (x, y), one of weight 0 not at all.

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
        self.intercept, self.forgetting = intercept, forgetting

    def add(self, X, Y, weight=None, aside=False):
        """Follows rows: X (n, features), Y (n, outputs) and their weights (n,), None for ones; `aside` changes nothing,
        because each row needs the one before."""
        X = np.hstack([np.ones((len(X), 1)), X]) if self.intercept else X
        if weight is not None:
            scale = np.sqrt(weight[weight > 0])[:, np.newaxis]
            X, Y = scale * X[weight > 0], scale * Y[weight > 0]
        for x, y in zip(X, Y, strict=True):
            Px = self.P @ x
            scale = 1.0 / (self.forgetting + x @ Px)
            self.weights += np.outer(scale * Px, y - x @ self.weights)
            self.P -= np.outer(scale * Px, Px)
            self.P /= self.forgetting

    @property
    def finite(self):
        """Whether the weights are."""
        return bool(np.isfinite(self.weights).all())

    def solve(self, alpha):
        """(W, b) as they are now; `alpha` has had its say at the start."""
        W = self.weights.copy()
        return (W[1:], W[0]) if self.intercept else (W, np.zeros(W.shape[1]))
