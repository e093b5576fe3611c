"""Reservoirs of echo state networks: drawing them, and running them over sequences block by block.

A sequence is cut into blocks of time whose length depends on the number of units alone; what is carried from block to
block is the state. Sequences of about the same length run side by side.
"""

import os
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

from fastnn import ops
from fastnn.initializers import Orthogonal
from fastnn.ops.reservoir import Links
from fastnn.plan import Builder
from fastnn.training import runner_class, thread_limit

TOPOLOGIES = ("random", "ring", "orthogonal")
LINKS = 10  # that a unit of a random reservoir hears unless a density is given
SPARSE = 2  # a matrix with at most 1 / SPARSE of its elements is run link by link: beyond, whole products are faster

POWER = 8  # of a matrix whose spectral radius is found

BLOCK = 2**16  # states in a block of time of one sequence: they stay in the second cache
GROUP = 2**21  # states in a block of time of all sequences that run side by side
LANES = 16  # sequences in a vector at most: a thread gets a multiple of them

RUNNERS = 32  # for so many pairs of rows and steps, each with a copy of the weights,
RUNNERS_STATES = 2**22  # or with room for so many states: the latest ones


@dataclass(frozen=True, eq=False)
class Reservoir:
    """Weights that are drawn and stay: s[t] = (1 - leak) s[t - 1] + leak f(u[t] W_in + s[t - 1] W + b).

    Attributes
    ----------
    input_weights : ndarray of shape (channels, units)
    recurrent_weights : ndarray or csc_array of shape (units, units)
        From row to column.
    bias : ndarray of shape (units,)
    activation : tuple
        Kernel of f: (name, *parameters).
    leak : float
    """

    input_weights: np.ndarray
    recurrent_weights: object
    bias: np.ndarray
    activation: tuple
    leak: float

    @property
    def channels(self):
        return self.input_weights.shape[0]

    @property
    def units(self):
        return self.input_weights.shape[1]

    @property
    def block(self):
        """Steps in a block of time."""
        return max(8, BLOCK // self.units // 8 * 8)

    def arrays(self):
        """All weights; of a sparse matrix its values and their places."""
        W = self.recurrent_weights.tocsc() if sparse.issparse(self.recurrent_weights) else None
        between = (self.recurrent_weights,) if W is None else (W.data, W.indices, W.indptr)
        return self.input_weights, self.bias, *between

    def copy(self):
        """The same with arrays of its own."""
        arrays = {name: getattr(self, name).copy() for name in ("input_weights", "recurrent_weights", "bias")}
        return replace(self, **arrays)

    def equals(self, other):
        """Whether both leave the same states."""
        ours, theirs = self.arrays(), other.arrays()
        same = (self.activation, self.leak, len(ours)) == (other.activation, other.leak, len(theirs))
        return same and all(map(np.array_equal, ours, theirs))

    def links(self):
        """(Links, their weights (links, units)), or (None, matrix) where these would be as many."""
        W = self.recurrent_weights
        if not sparse.issparse(W):
            return None, np.asarray(W)
        W = W.tocoo()
        shift, link = np.unique((W.row - W.col) % self.units, return_inverse=True)
        if len(shift) * SPARSE > self.units:
            return None, W.toarray()
        weights = np.zeros((len(shift), self.units))
        np.add.at(weights, (link, W.col), W.data)
        return Links(shift.astype(np.int32)), weights


def recurrent_weights(random_state, units, topology, density, radius):
    """Random weights between units with a given spectral radius, the largest absolute eigenvalue.

    Parameters
    ----------
    random_state : RandomState
    units : int
    topology : {"random", "ring", "orthogonal"}
        "random": every unit hears, and is heard by, the same number of others, at distances (i + shift) % units drawn
        at random and with weights of its own. "ring": unit i hears unit i - 1 alone, all with one weight (Rodan and
        Tino, 2011, Minimum complexity echo state network). "orthogonal": a random rotation. The last two have their
        radius in closed form.
    density : float or None
        Share of the units that each hears in a random reservoir; None means min(units, 10) of them.
    radius : float

    Returns
    -------
    ndarray or csc_array of shape (units, units)
    """
    if topology == "orthogonal":
        return Orthogonal(radius).draw(random_state, units, units)[0]
    if topology == "ring":
        return _csc(np.array([units - 1]), np.full((units, 1), float(radius)))
    links = min(units, LINKS) if density is None else max(1, round(density * units))
    W = _csc(random_state.permutation(units)[:links], random_state.standard_normal((units, links)))
    W = W * (radius / (_spectral_radius(W) or 1.0))
    return W if links * SPARSE <= units else W.toarray()


def _csc(shift, weights):
    units, links = weights.shape
    source = (np.arange(units)[:, np.newaxis] + shift) % units
    return sparse.csc_array((weights.ravel(), source.ravel(), np.arange(units + 1) * links), shape=(units, units))


def _spectral_radius(W):
    """Largest absolute eigenvalue, within 1e-5 of itself.

    Eigenvalues of random matrices crowd near the largest. Asked for that of W alone, ARPACK found another one for one
    matrix in seven, up to 2 % below; of W^POWER it found the right one for each of 106, in half the time: their sizes
    lie further apart, and an error of it is one of W divided by POWER. With ncv of 16 its vectors are small enough for
    BLAS to work without threads, which would go on spinning beside ours (ncv of 20: a fit takes up to a quarter more).
    """
    units = W.shape[0]
    if units > 100:
        rows = W.T  # compressed rows, and the same eigenvalues
        power = LinearOperator(W.shape, lambda x: reduce(lambda x, _: rows @ x, range(POWER), x), dtype=float)
        try:  # a start of its own would draw from NumPy's global generator
            found = eigs(power, 4, v0=np.ones(units), ncv=16, tol=1e-4, return_eigenvectors=False)
            return float(np.abs(found).max() ** (1 / POWER))
        except ArpackError:
            pass
    return float(np.abs(linalg.eigvals(W.toarray())).max())


class Echo:
    """Runs a reservoir over sequences.

    Parameters
    ----------
    reservoir : Reservoir
    dtype : dtype
        float32 or float64.
    backend : {"native", "numpy"}
    n_jobs : int or None
    """

    def __init__(self, reservoir, dtype, backend, n_jobs):
        self.reservoir, self.dtype, self.backend = reservoir, np.dtype(dtype), backend
        self.limit, self.asked = partial(thread_limit, backend, n_jobs), self._asked(dtype, backend, n_jobs)
        self.links, self.weights = reservoir.links()
        self.runners = {}

    @staticmethod
    def _asked(dtype, backend, n_jobs):
        return np.dtype(dtype), backend, n_jobs, os.environ.get("FASTNN_ISA")

    def serves(self, reservoir, dtype, backend, n_jobs):
        """Whether one made of these would do the same."""
        return self.asked == self._asked(dtype, backend, n_jobs) and self.reservoir.equals(reservoir)

    def states(self, u, start):
        """States after each step of u, (n, time, units), from the states `start` (n, units)."""
        n, time, channels = u.shape
        runner = self._runner(n, time)
        X = np.concatenate([start, u.reshape(n, time * channels)], axis=1, dtype=self.dtype)
        return runner.forward(X)

    def _runner(self, n, time):
        rows = -(-n // self.limit())
        rows = rows if rows == 1 else -(-rows // LANES) * LANES
        runner = self.runners.get((rows, time))
        if runner is None:
            plan = self._plan(time)
            runner = runner_class(self.backend)(plan, dtype=self.dtype, rows=rows, n_threads=self.limit)
            runner.set("reservoir.W_in", self.reservoir.input_weights)
            runner.set("reservoir.b", self.reservoir.bias)
            runner.set("reservoir.W", self.weights)
            self.runners[rows, time] = runner
            self._drop_oldest()
        return runner

    def _drop_oldest(self):
        """Keeps the latest runner and, of those before it, as many as there is room for."""
        states = 0
        for place, (rows, time) in enumerate(reversed(list(self.runners))):
            states += rows * time * self.reservoir.units
            if place >= RUNNERS or (place and states > RUNNERS_STATES):
                self.runners.pop((rows, time), None)  # other threads may add and drop meanwhile

    def _plan(self, time):
        """Rows of X are the state to start from, then `time` steps of all channels."""
        units, channels = self.reservoir.units, self.reservoir.channels
        builder = Builder("predict")
        builder.buffer("X", (units + time * channels,), "source")
        start = ops.gather.gather(builder, (units,))
        u = ops.gather.gather(builder, (time, channels), first=units)
        leak, activation = self.reservoir.leak, self.reservoir.activation
        s = ops.reservoir.reservoir(builder, u, start, units, activation, leak, self.links)
        ops.gather.store(builder, s)
        return builder.plan(output="output")

    def groups(self, lengths):
        """Index arrays of sequences that run side by side: of about the same length, and not too many."""
        order = np.argsort(lengths, kind="stable")[::-1]
        first = 0
        while first < len(order):
            time = min(self.reservoir.block, lengths[order[first]])
            rows = max(LANES, GROUP // (time * self.reservoir.units) // LANES * LANES)
            yield order[first : first + rows]
            first += rows

    def run(self, sequences, start=None):
        """Runs some sequences side by side, the longest first.

        Parameters
        ----------
        sequences : list of ndarray of shape (time, channels)
            In order of falling length.
        start : ndarray of shape (n, units), optional
            Zeros by default.

        Yields
        ------
        i : int
            Number of a sequence.
        t : int
            Its first step in this block.
        states : ndarray of shape (steps, units)
            Blocks of a sequence come in order.
        """
        lengths = np.array([len(u) for u in sequences])
        s = np.zeros((len(sequences), self.reservoir.units), self.dtype) if start is None else start
        block = self.reservoir.block
        for t in range(0, lengths[0], block):
            alive = int((lengths > t).sum())
            time = min(block, lengths[0] - t)
            time = time if time == 1 else -(-time // 8) * 8  # few plans serve all lengths
            u = np.zeros((alive, time, self.reservoir.channels), self.dtype)
            for i in range(alive):
                part = sequences[i][t : t + time]
                u[i, : len(part)] = part
            states = self.states(u, s[:alive])
            s = states[:, -1]
            for i in range(alive):
                yield i, t, states[i, : lengths[i] - t]
