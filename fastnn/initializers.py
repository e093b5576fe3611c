"""Initialisers as specs: `draw` returns a dense layer's starting weights and biases.

Numbers are drawn in float64 with NumPy's RandomState and rounded later, so a seed gives the same
network in both real types and on both backends.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn.spec import check_number, look_up

SMALL = 8192  # numbers of a matrix whose product with a vector OpenBLAS does not thread
PIECE = 8192  # numbers that are drawn at a time: 64 KB, which come from memory that was freed just before


@dataclass(frozen=True)
class Initializer:
    """Base of all initialiser specs: weights by `_weights`, biases zero."""

    name: ClassVar[str] = ""

    def draw(self, random_state, n_in, n_out, activation_name="identity", fan_out=None):
        """Starting weights and biases of one dense or convolution layer.

        Parameters
        ----------
        random_state : numpy.random.RandomState
            Advanced by the draw.
        n_in, n_out : int
            Inputs and outputs of the layer, both >= 1; of a convolution, the numbers a window holds and the filters.
        activation_name : str, default="identity"
            Name of the hidden layers' activation; only `Auto` looks at it.
        fan_out : int, default=None
            How many numbers an input feeds; None means n_out. Of a convolution, places of the window times filters.

        Returns
        -------
        W : ndarray of shape (n_in, n_out), float64
        b : ndarray of shape (n_out,), float64
        """
        return self._weights(random_state, n_in, n_out, fan_out or n_out), np.zeros(n_out)

    def _weights(self, random_state, n_in, n_out, fan_out):
        raise NotImplementedError


@dataclass(frozen=True)
class Zeros(Initializer):
    """All weights zero: right for a network without hidden layers, untrainable with them."""

    name: ClassVar[str] = "zeros"

    def _weights(self, random_state, n_in, n_out, fan_out):
        return np.zeros((n_in, n_out))


@dataclass(frozen=True)
class Normal(Initializer):
    """Weights from a normal distribution with mean 0.

    Parameters
    ----------
    std : float, default=0.01
        Standard deviation, in [0, inf).

    References
    ----------
    Krizhevsky, Sutskever and Hinton (2012), ImageNet classification (the default's source).
    """

    std: float = 0.01
    name: ClassVar[str] = "normal"

    def __post_init__(self):
        check_number(self, "std", "[0, inf)")

    def _weights(self, random_state, n_in, n_out, fan_out):
        return random_state.normal(0.0, self.std, (n_in, n_out))


@dataclass(frozen=True)
class Uniform(Initializer):
    """Weights uniform in [-bound, bound).

    Parameters
    ----------
    bound : float, default=0.05
        In [0, 1e300].
    """

    bound: float = 0.05
    name: ClassVar[str] = "uniform"

    def __post_init__(self):
        check_number(self, "bound", "[0, 1e300]")  # of which twice is a number

    def _weights(self, random_state, n_in, n_out, fan_out):
        bound = float(self.bound)
        return random_state.uniform(-bound, bound, (n_in, n_out))


@dataclass(frozen=True)
class _ScaledUniform(Initializer):
    """Weights uniform with variance v: bound sqrt(3 v)."""

    def _weights(self, random_state, n_in, n_out, fan_out):
        bound = math.sqrt(3.0 * self._variance(n_in, fan_out))
        return random_state.uniform(-bound, bound, (n_in, n_out))


@dataclass(frozen=True)
class _ScaledNormal(Initializer):
    """Weights normal with variance v, not truncated."""

    def _weights(self, random_state, n_in, n_out, fan_out):
        return random_state.normal(0.0, math.sqrt(self._variance(n_in, fan_out)), (n_in, n_out))


class _Glorot:
    @staticmethod
    def _variance(n_in, fan_out):
        return 2.0 / (n_in + fan_out)


class _LeCun:
    @staticmethod
    def _variance(n_in, fan_out):
        return 1.0 / n_in


class _He:
    @staticmethod
    def _variance(n_in, fan_out):
        return 2.0 / n_in


@dataclass(frozen=True)
class GlorotUniform(_Glorot, _ScaledUniform):
    """Uniform with variance 2 / (n_in + fan_out), bound sqrt(6 / (n_in + fan_out)).

    For tanh and logistic layers.

    References
    ----------
    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks.
    """

    name: ClassVar[str] = "glorot_uniform"


@dataclass(frozen=True)
class GlorotNormal(_Glorot, _ScaledNormal):
    """Normal with variance 2 / (n_in + fan_out); for tanh and logistic layers.

    References
    ----------
    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks.
    """

    name: ClassVar[str] = "glorot_normal"


@dataclass(frozen=True)
class LeCunUniform(_LeCun, _ScaledUniform):
    """Uniform with variance 1 / n_in, bound sqrt(3 / n_in).

    References
    ----------
    LeCun, Bottou, Orr and Mueller (1998), Efficient BackProp.
    """

    name: ClassVar[str] = "lecun_uniform"


@dataclass(frozen=True)
class LeCunNormal(_LeCun, _ScaledNormal):
    """Normal with variance 1 / n_in; the one SELU networks ask for.

    References
    ----------
    LeCun, Bottou, Orr and Mueller (1998), Efficient BackProp.
    Klambauer, Unterthiner, Mayr and Hochreiter (2017), Self-normalizing neural networks.
    """

    name: ClassVar[str] = "lecun_normal"


@dataclass(frozen=True)
class HeUniform(_He, _ScaledUniform):
    """Uniform with variance 2 / n_in, bound sqrt(6 / n_in); for rectifiers.

    References
    ----------
    He, Zhang, Ren and Sun (2015), Delving deep into rectifiers.
    """

    name: ClassVar[str] = "he_uniform"


@dataclass(frozen=True)
class HeNormal(_He, _ScaledNormal):
    """Normal with variance 2 / n_in; for rectifiers.

    References
    ----------
    He, Zhang, Ren and Sun (2015), Delving deep into rectifiers.
    """

    name: ClassVar[str] = "he_normal"


def _orthonormal_rows(a):
    """Q^T of a^T = Q R, R's diagonal positive, by modified Gram-Schmidt in blocks of 32 rows, and inside these by
    LAPACK's QR of a few.

    It calls a product for every column: where a threaded one is worth it and other programs keep
    the cores busy, waiting for the threads took 0.6 s of a 128 x 128 matrix, here 1 ms.
    """
    q, block = np.array(a, order="C"), 32
    few = max(1, min(block, SMALL // q.shape[1]))
    for first in range(0, len(q), block):
        rows = q[first : first + block]
        for i in range(0, len(rows), few):
            part = rows[i : i + few]
            columns, r = np.linalg.qr(part.T)
            part[:] = (columns * np.copysign(1.0, np.diagonal(r))).T
            rows[i + few :] -= rows[i + few :] @ part.T @ part
        q[first + block :] -= q[first + block :] @ rows.T @ rows
    return q


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """gain times a random matrix with orthonormal rows or columns, whichever are fewer.

    The Q of a normal matrix's QR decomposition with a positive diagonal of R: uniform over all
    such Q.

    Parameters
    ----------
    gain : float, default=1.0
        In [0, inf).

    References
    ----------
    Saxe, McClelland and Ganguli (2014), Exact solutions to the nonlinear dynamics of learning.
    Mezzadri (2007), How to generate random matrices from the classical compact groups (the signs).
    """

    gain: float = 1.0
    name: ClassVar[str] = "orthogonal"

    def __post_init__(self):
        check_number(self, "gain", "[0, inf)")

    def _weights(self, random_state, n_in, n_out, fan_out):
        tall = random_state.normal(0.0, 1.0, (max(n_in, n_out), min(n_in, n_out)))
        rows = _orthonormal_rows(tall.T)
        return np.ascontiguousarray(self.gain * (rows.T if n_in >= n_out else rows))


@dataclass(frozen=True)
class Auto(Initializer):
    """scikit-learn's rule: weights, then biases, uniform within sqrt(f / (n_in + fan_out)).

    f is 2 when the hidden activation is logistic, else 6. Drawn layer by layer from one
    RandomState, this gives exactly the starting weights of scikit-learn's MLPClassifier and
    MLPRegressor with that seed; there every layer, the output layer too, goes by the hidden
    activation.

    Parameters
    ----------
    dtype : float64 or float32, default=float64
        What the numbers are rounded to as they are drawn: an array of all of them in float64 would be twice as large
        as the weights, in memory that is fresh from the system, which takes as long as the drawing.

    References
    ----------
    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks.
    """

    dtype: Any = np.float64
    name: ClassVar[str] = "auto"

    def draw(self, random_state, n_in, n_out, activation_name="identity", fan_out=None):
        factor = 2.0 if activation_name == "logistic" else 6.0
        bound = np.sqrt(factor / (n_in + (fan_out or n_out)))
        W, b = np.empty((n_in, n_out), self.dtype), np.empty(n_out, self.dtype)
        for numbers in (W.reshape(-1), b):
            for first in range(0, len(numbers), PIECE):
                piece = numbers[first : first + PIECE]
                piece[:] = random_state.uniform(-bound, bound, len(piece))
        return W, b


INITIALIZERS = {
    spec.name: spec
    for spec in (
        Auto, Zeros, Normal, Uniform, GlorotUniform, GlorotNormal, LeCunUniform, LeCunNormal,
        HeUniform, HeNormal, Orthogonal,
    )
}  # fmt: skip


def get_initializer(spec_or_name, where="init"):
    """The initialiser spec for a name (with its default numbers), or the given spec itself.

    Raises
    ------
    ValueError
        For anything else, with the list of names; `where` is the place the message names.
    """
    if isinstance(spec_or_name, Initializer):  # also one of the user's own
        return spec_or_name
    way_out = "for other numbers than the defaults pass a spec, such as Normal(std=0.1)"
    return look_up(spec_or_name, INITIALIZERS, Initializer, where, "an initialiser", way_out)
