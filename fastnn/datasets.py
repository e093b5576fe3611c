"""Time series to try networks on, generated on the spot."""

import numpy as np
from sklearn.utils import check_random_state

SUBSTEPS = 10  # of the Runge-Kutta integration in one unit of time


def mackey_glass(n_steps, *, tau=17, n_series=1, washout=1000, random_state=None):
    """Chaotic series x' = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x, one value each unit of time.

    Integrated by the Runge-Kutta method of fourth order with steps of 0.1; halfway between two steps the delayed value is
    the cubic through the four around it. Each series starts from its own constant past, 1.2 plus or minus 0.2.

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
    past, h = tau * SUBSTEPS, 1.0 / SUBSTEPS
    x = np.empty((past + (washout + n_steps) * SUBSTEPS, n_series))
    x[: past + 1] = 1.2 + check_random_state(random_state).uniform(-0.2, 0.2, n_series)

    def slope(now, delayed):
        return 0.2 * delayed / (1.0 + delayed**10) - 0.1 * now

    for i in range(past, len(x) - 1):
        now, delayed, later = x[i], x[i - past], x[i - past + 1]
        before = x[max(i - past - 1, 0)]
        between = (9.0 * (delayed + later) - before - x[i - past + 2]) / 16.0
        k1 = slope(now, delayed)
        k2 = slope(now + 0.5 * h * k1, between)
        k3 = slope(now + 0.5 * h * k2, between)
        k4 = slope(now + h * k3, later)
        x[i + 1] = now + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    series = x[past + washout * SUBSTEPS :: SUBSTEPS].T
    return series[0].copy() if n_series == 1 else np.ascontiguousarray(series)


def narma(n_steps, *, order=10, random_state=None):
    """Input u, uniform in [0, 0.5), and the series that a nonlinear autoregressive moving average makes of it:
    y(t + 1) = 0.3 y(t) + 0.05 y(t) sum_{i < order} y(t - i) + 1.5 u(t - order + 1) u(t) + 0.1.

    Parameters
    ----------
    n_steps : int
    order : int, default=10
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
    return u, y
