"""The states of an echo state network (Jaeger, 2001; with leaky units: Jaeger, Lukoševičius, Popovici and Siewert,
2007). The weights are drawn once and never trained, so there is no gradient rule."""

from dataclasses import dataclass

import numpy as np

from fastnn.plan import Op


@dataclass(frozen=True, eq=False)
class Links:
    """Who sends to whom in a sparse reservoir, in which every unit hears equally many others.

    Attributes
    ----------
    source : ndarray of shape (units, links), int32
        The units that each unit hears.
    """

    source: np.ndarray

    def __repr__(self):
        return "Links({}, {})".format(*self.source.shape)


def reservoir(builder, u, start, units, activation, leak, links=None):
    """s[t] = (1 - leak) s[t - 1] + leak f(u[t] W_in + s[t - 1] W + b) with s[-1] = start; s is (n, time, units).

    Parameters
    ----------
    u : (n, time, channels) buffer, row by row
    start : (n, units) buffer
    activation : tuple
        Kernel of the activation f: (name, *parameters).
    leak : float
        In (0, 1].
    links : Links or None
        Sparse W: the statistic ``reservoir.W`` then holds one weight for each link, (units * links,), in place of
        (units, units).
    """
    time, channels = builder.shape(u)
    W_in = builder.buffer("reservoir.W_in", (channels, units), "statistic")
    b = builder.buffer("reservoir.b", (units,), "statistic")
    shape = (units, units) if links is None else (links.source.size,)
    W = builder.buffer("reservoir.W", shape, "statistic")
    s = builder.batch("reservoir.s", (time, units))
    attributes = {"activation": activation, "leak": float(leak), "links": links}
    work = time * (channels * units + builder.buffers[W].size)
    builder.emit(Op("reservoir", (u, start, W_in, b, W), (s,), attributes, multiply_adds=work))
    return s
