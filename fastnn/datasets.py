"""Time series to try networks on, generated on the spot."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

HIGHEST = 10.0  # from which a NARMA series does not come back; bounded ones stay below 1.2
SUBSTEPS = 10  # of the Runge-Kutta integration in one unit of time


def _checked(**least):
    """Decorator: these arguments are whole numbers of at least so much."""
    known = {name: [Interval(Integral, low, None, closed="left")] for name, low in least.items()}
    return validate_params({**known, "random_state": ["random_state"]}, prefer_skip_nested_validation=True)


@_checked(n_steps=1, tau=1, n_series=1, washout=0)
def mackey_glass(n_steps, *, tau=17, n_series=1, washout=1000, random_state=None):
    """Chaotic series x' = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x, one value each unit of time.

    Integrated by the Runge-Kutta method of fourth order with steps of 0.1; halfway between two steps the delayed value
    is the cubic through the four around it. Each series starts from its own constant past, 1.2 plus or minus 0.2.

    Parameters
    ----------
    n_steps : int
    tau : int, default=17
        Delay; the series is chaotic from 17 on.
    n_series : int, default=1
    washout : int, default=1000
        Units of time thrown away at the start.
    random_state : int, RandomState instance or None, default=None
        Draws the starts.

    Returns
    -------
    x : ndarray of shape (n_steps,), or (n_series, n_steps) for several

    References
    ----------
    Mackey and Glass (1977), Oscillation and chaos in physiological control systems.
    Jaeger and Haas (2004), Harnessing nonlinearity.
    """
    starts = 1.2 + check_random_state(random_state).uniform(-0.2, 0.2, n_series)
    series = np.array([_mackey_glass(float(start), washout + n_steps, tau)[washout:] for start in starts])
    return series[0] if n_series == 1 else series


def _mackey_glass(start, n_steps, tau):
    past, h = tau * SUBSTEPS, 1.0 / SUBSTEPS
    x = [start] * (past + 1)
    for i in range(past, past + (n_steps - 1) * SUBSTEPS):
        now, delayed, later = x[i], x[i - past], x[i - past + 1]
        between = (9.0 * (delayed + later) - x[max(i - past - 1, 0)] - x[i - past + 2]) / 16.0
        first, middle, last = (0.2 * z / (1.0 + z**10) for z in (delayed, between, later))
        k1 = first - 0.1 * now
        k2 = middle - 0.1 * (now + 0.5 * h * k1)
        k3 = middle - 0.1 * (now + 0.5 * h * k2)
        k4 = last - 0.1 * (now + h * k3)
        x.append(now + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4))
    return x[past::SUBSTEPS]


@_checked(n_steps=1, order=1)
def narma(n_steps, *, order=10, random_state=None):
    """Input u, uniform in [0, 0.5), and the series that a nonlinear autoregressive moving average makes of it:
    y(t + 1) = 0.3 y(t) + 0.05 y(t) sum_{i < order} y(t - i) + 1.5 u(t - order + 1) u(t) + 0.1.

    Parameters
    ----------
    n_steps : int
    order : int, default=10
        One in 200 series of order 10 and 2000 steps grows without bounds, which is a ValueError; from 12 on all do.
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    u, y : ndarray of shape (n_steps,)
        y[t] depends on u[t - 1] and earlier inputs.

    References
    ----------
    Atiya and Parlos (2000), New results on recurrent network training.
    """
    u = check_random_state(random_state).uniform(0.0, 0.5, n_steps)
    y = np.zeros(n_steps)
    for t in range(order - 1, n_steps - 1):
        recent = y[t - order + 1 : t + 1].sum()
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * recent + 1.5 * u[t - order + 1] * u[t] + 0.1
        if y[t + 1] > HIGHEST:
            raise ValueError(
                f"narma: the series of order {order} grows beyond bounds at step {t + 1}; choose another random_state, "
                "fewer steps, or a smaller order: from 12 on all series grow like this"
            )
    return u, y


@_checked(n_sequences=1, n_steps=2)
def adding_problem(n_sequences, *, n_steps=100, random_state=None):
    """Sequences whose target is the sum of two of their numbers: the first channel is uniform in [0, 1), the second is
    1 at two steps, one in each half, and 0 at all others; y is the sum of the first channel at these two.

    To say 1 each time has a mean squared error of 1/6.

    Parameters
    ----------
    n_sequences : int
    n_steps : int, default=100
        At least 2.
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    X : ndarray of shape (n_sequences, n_steps, 2)
    y : ndarray of shape (n_sequences,)

    References
    ----------
    Hochreiter and Schmidhuber (1997), Long short-term memory, section 5.4; in this form Le, Jaitly and Hinton (2015), A
    simple way to initialize recurrent networks of rectified linear units.
    """
    random, rows = check_random_state(random_state), np.arange(n_sequences)
    X = np.zeros((n_sequences, n_steps, 2))
    X[:, :, 0] = random.uniform(0.0, 1.0, (n_sequences, n_steps))
    half = n_steps // 2
    first, second = random.randint(0, half, n_sequences), random.randint(half, n_steps, n_sequences)
    X[rows, first, 1] = X[rows, second, 1] = 1.0
    return X, X[rows, first, 0] + X[rows, second, 0]
