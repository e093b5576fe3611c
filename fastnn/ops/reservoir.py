"""The states of an echo state network (Jaeger, 2001; with leaky units: Jaeger, Lukoševičius, Popovici and Siewert,
2007). The weights are drawn once and never trained, so there is no gradient rule."""

from dataclasses import dataclass

import numpy as np

from fastnn.plan import Op


@dataclass(frozen=True, eq=False)
class Links:
    """Who sends to whom in a sparse reservoir: unit i hears the units (i + shift) % units, for each shift.

    All units hearing across the same distances is what lets a kernel compute many at once; the weights are their own.

    Attributes
    ----------
    shift : ndarray of shape (links,), int32
        From 0 to units - 1.
    """

    shift: np.ndarray

    def __repr__(self):
        return f"Links({len(self.shift)})"


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
        Sparse W: the statistic ``reservoir.W`` is then (links, units), the weight of each link of each unit, in place
        of (units, units).
    """
    time, channels = builder.shape(u)
    W_in = builder.buffer("reservoir.W_in", (channels, units), "statistic")
    b = builder.buffer("reservoir.b", (units,), "statistic")
    W = builder.buffer("reservoir.W", (units if links is None else len(links.shift), units), "statistic")
    s = builder.batch("reservoir.s", (time, units))
    attributes = {"activation": activation, "leak": float(leak), "links": links}
    work = time * (channels * units + builder.buffers[W].size)
    builder.emit(Op("reservoir", (u, start, W_in, b, W), (s,), attributes, multiply_adds=work))
    return s
