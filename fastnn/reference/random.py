"""Counter-based random numbers and the ops that draw them: dropout, the randomised leaky ReLU, the
shuffle.

Every number is a function of (seed, stream, step, row, column) alone, so it does not depend on the
backend, on threads or on where a fit was interrupted.
"""

from math import prod

import numpy as np

_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


def philox(seed, c0, c1, c2, c3):
    """Philox4x32-10: four random 32-bit words for each counter.

    Parameters
    ----------
    seed : int
        The 64-bit key, low word first.
    c0, c1, c2, c3 : array_like of unsigned int
        The counter's words, each below 2^32; they are broadcast against each other.

    Returns
    -------
    ndarray of shape (..., 4), uint64
        Words below 2^32.

    References
    ----------
    Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as easy as 1, 2, 3.
    """
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(c, dtype=np.uint64) for c in (c0, c1, c2, c3)))
    for turn in range(10):
        key = [
            np.uint64(((seed >> shift) + turn * bump) & 0xFFFFFFFF)
            for shift, bump in zip((0, 32), _KEY_STEPS, strict=True)
        ]
        first, second = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (second >> _SHIFT) ^ c1 ^ key[0],
            second & _MASK,
            (first >> _SHIFT) ^ c3 ^ key[1],
            first & _MASK,
        )
    return np.stack([c0, c1, c2, c3], axis=-1)


def element_words(seed, stream, t, first_row, rows, columns):
    """One random 32-bit word for each element of a chunk, (rows, columns) uint64.

    Element (r, j) has word j % 4 of the counter (j // 4, first_row + r, t mod 2^32, stream).
    """
    quads = np.arange(-(-columns // 4))
    row = np.arange(first_row, first_row + rows)[:, np.newaxis]
    words = philox(seed, quads, row, t & 0xFFFFFFFF, stream)
    return words.reshape(rows, -1)[:, :columns]


def shuffle(n, seed, epoch):
    """The order of n rows in an epoch: a uniform permutation, (n,) int64.

    Goes from the last place i down to the first and swaps place i with place (word * (i + 1)) >>
    32, the word being word i % 4 of the counter (i // 4, i // 4 >> 32, epoch, 0). A place's
    probability is off by less than n / 2^32.

    References
    ----------
    Durstenfeld (1964), Algorithm 235: random permutation.
    """
    quads = np.arange(-(-n // 4), dtype=np.uint64)
    words = philox(seed, quads & _MASK, quads >> _SHIFT, epoch & 0xFFFFFFFF, 0).reshape(-1)[:n]
    places = ((words * np.arange(1, n + 1, dtype=np.uint64)) >> _SHIFT).tolist()
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        j = places[i]
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int64)


def _words(op, x, step):
    """Words for the elements of x (n, ..., c): every position of a row counts as a row of its own."""
    positions, channels = prod(x.shape[1:-1]), x.shape[-1]
    stream = op.attributes["stream"]
    if op.attributes.get("channels", False):
        words = element_words(step.seed, stream, step.t, step.row, len(x), channels)
        return words.reshape(len(x), *[1] * (x.ndim - 2), channels)
    words = element_words(step.seed, stream, step.t, step.row * positions, len(x) * positions, channels)
    return words.reshape(x.shape)


def _dropout(op, buffers, step):
    x = buffers[op.inputs[0]]
    rate = op.attributes["rate"]
    keep = _words(op, x, step) >= np.uint64(int(rate * 2**32))
    buffers[op.outputs[0]] = np.where(keep, x * (1 / (1 - rate)), x.dtype.type(0))


def _state_mask(op, buffers, step):
    empty = buffers[op.outputs[0]]
    buffers[op.outputs[0]] = np.ones((step.n, *empty.shape[1:]), empty.dtype)
    _dropout(op.with_(inputs=op.outputs), buffers, step)


def _slopes(op, z, step):
    lower, upper = op.attributes["lower"], op.attributes["upper"]
    drawn = lower + (upper - lower) * (_words(op, z, step) * 2.0**-32)
    return np.where(z < 0, drawn, 1.0).astype(z.dtype)


def _rrelu(op, buffers, step):
    z = buffers[op.inputs[0]]
    buffers[op.outputs[0]] = z * _slopes(op, z, step)


def _rrelu_grad(op, buffers, step):
    dy, z = (buffers[name] for name in op.inputs)
    buffers[op.outputs[0]] = dy * _slopes(op, z, step)


def _beta(op, rows, step):
    """One number of Beta(alpha, alpha), 0 < alpha <= 1, for each row of a chunk, (rows,) float64.

    Row r tries k = 0, 1, 2, ... with u, v uniform from words 0 and 1 of the counter (k, row + r, t, stream):
    a = u^(1/alpha) and b = v^(1/alpha) give a / (a + b) as soon as 0 < a + b <= 1.

    References
    ----------
    Johnk (1964), Erzeugung von betaverteilten und gammaverteilten Zufallszahlen.
    """
    lam, left, trial = np.empty(rows), np.arange(rows), 0
    while len(left):
        words = philox(step.seed, trial, step.row + left, step.t & 0xFFFFFFFF, op.attributes["stream"])
        a, b = ((words[:, i] + 0.5) * 2.0**-32 for i in range(2))
        a, b = a ** (1 / op.attributes["alpha"]), b ** (1 / op.attributes["alpha"])
        accepted = (a + b > 0) & (a + b <= 1)
        lam[left[accepted]] = a[accepted] / (a + b)[accepted]
        left, trial = left[~accepted], trial + 1
    return lam


def _mix(op, buffers, step):
    a, b = (buffers[name] for name in op.inputs)
    lam = _beta(op, len(a), step).astype(a.dtype).reshape(-1, *[1] * (a.ndim - 1))
    buffers[op.outputs[0]] = lam * a + (1 - lam) * b


OPS = {
    "dropout": _dropout,
    "dropout_grad": _dropout,
    "state_mask": _state_mask,
    "rrelu": _rrelu,
    "rrelu_grad": _rrelu_grad,
    "mix": _mix,
}
