"""Races ESNRegressor against reservoirpy: one series of 10 000 steps through 500 units, fitted and predicted.

Both have the same size, spectral radius, leak, density and ridge, readouts of bias and states, float64 throughout. The
competitors take turns, round after round. The errors of NARMA-10 and of forecasts of Mackey-Glass with the same
networks follow. Needs reservoirpy beside fastnn in one environment; without it fastnn runs alone.

    python benchmarks/race_reservoir.py --rounds 5
"""

import argparse
import statistics
from importlib import metadata
from importlib.util import find_spec
from time import perf_counter, sleep

import machine
import numpy as np

import fastnn
from fastnn.datasets import mackey_glass, narma

WASHOUT = 100
HORIZONS = (1, 10, 84)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--units", type=int, default=500, help="size of the reservoirs (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10_000, help="length of the series (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="reservoirs for the errors (default: %(default)s)")
    options = parser.parse_args(arguments)
    peers = {"fastnn": Fastnn}
    if find_spec("reservoirpy"):
        peers["reservoirpy"] = Reservoirpy
        print(f"reservoirpy {metadata.version('reservoirpy')}")
    race(peers, options)
    errors(peers, options.seeds)


class Fastnn:
    """ESNRegressor on single series (time, channels)."""

    def __init__(self, units, radius, leak, density, ridge, scaling=1.0, squared=False, seed=0):
        features = ("bias", "state", "squared_state") if squared else ("bias", "state")
        self.network = fastnn.ESNRegressor(
            units, spectral_radius=radius, leak=leak, density=density, alpha=ridge, input_scaling=scaling,
            features=features, washout=WASHOUT, random_state=seed,
        )  # fmt: skip

    def fit(self, u, y):
        self.network.fit([u], [y])

    def predict(self, u):
        return self.network.predict([u])[0]

    def forecast(self, steps, series):
        """What the network makes of the next steps of each series, (n, steps)."""
        return self.network.forecast(steps, series)[:, :, 0]


class Reservoirpy:
    """reservoirpy's Reservoir and Ridge; it has no squared states."""

    def __init__(self, units, radius, leak, density, ridge, scaling=1.0, squared=False, seed=0):
        from reservoirpy.nodes import Reservoir, Ridge

        reservoir = Reservoir(units, sr=radius, lr=leak, rc_connectivity=density, input_scaling=scaling, seed=seed)
        self.network = reservoir >> Ridge(ridge=ridge)

    def fit(self, u, y):
        self.network = self.network.fit(u, y, warmup=WASHOUT)

    def predict(self, u):
        return self.network.run(u)

    def forecast(self, steps, series):
        return np.array([list(self._forecast(steps, u)) for u in series])

    def _forecast(self, steps, u):
        self.network.reset()
        y = self.network.run(u)[-1]
        for _ in range(steps):
            yield y[0]
            y = self.network.step(y)


def race(peers, options):
    """Prints milliseconds of a fit and of a prediction, for the density of 10 links a unit and that of reservoirpy."""
    u = np.random.default_rng(0).uniform(-1, 1, (options.steps + 1, 1))
    for density in (10 / options.units, 0.1):
        times = {name: ([], []) for name in peers}
        for seed in range(options.rounds):
            for name, peer in peers.items():
                sleep(machine.PAUSE)
                start = perf_counter()
                model = peer(options.units, 0.9, 0.3, density, 1e-6, seed=seed)
                model.fit(u[:-1], u[1:])
                fitted = perf_counter()
                model.predict(u[:-1])
                for kept, seconds in zip(times[name], (fitted - start, perf_counter() - fitted), strict=True):
                    kept.append(1000 * seconds)
        print(f"\n{options.units} units, {options.steps} steps, density {density:g}: milliseconds, median (range)")
        for name, (fit, predict) in times.items():
            print(f"{name:<12} fit {_spread(fit)}   predict {_spread(predict)}")
        if len(peers) > 1:
            ratios = [
                statistics.median(theirs) / statistics.median(ours)
                for ours, theirs in zip(times["fastnn"], times["reservoirpy"], strict=True)
            ]
            print("ratio        fit {:.1f}x   predict {:.1f}x".format(*ratios))


def _spread(times):
    return f"{statistics.median(times):.0f} ({min(times):.0f}-{max(times):.0f})"


def errors(peers, seeds):
    """Prints root mean squared errors over the standard deviation, means over reservoirs; forecasts go on by themselves
    from 50 places of the test part, each after 1000 steps of the truth."""
    u, y = narma(4200, random_state=0)
    u = (2 * u - 0.5)[:, np.newaxis]
    x = np.tanh(mackey_glass(5600, random_state=0) - 1)[:, np.newaxis]
    starts = range(3000, 5500, 50)
    truth = np.stack([x[start : start + max(HORIZONS), 0] for start in starts])
    print("\nNRMSE, mean of seeds: NARMA-10, 3000 steps, 100 units; Mackey-Glass, 2000 steps, 300 units, forecasts")
    for name, peer in peers.items():
        found = []
        for seed in range(seeds):
            model = peer(100, 0.9, 1.0, 0.1, 1e-6, scaling=0.1, squared=True, seed=seed)
            model.fit(u[:3000], y[:3000, np.newaxis])
            first = _nrmse(model.predict(u)[3000:].ravel(), y[3000:])
            model = peer(300, 1.1, 0.3, 10 / 300, 1e-8, squared=True, seed=seed)
            model.fit(x[:1999], x[1:2000])
            guess = model.forecast(max(HORIZONS), [x[start - 1000 : start] for start in starts])
            scaled = np.sqrt(np.mean((guess - truth) ** 2, axis=0)) / x.std()
            found.append((first, *(scaled[horizon - 1] for horizon in HORIZONS)))
        first, *ahead = np.mean(found, axis=0)
        shown = ", ".join(f"{error:.1e} after {horizon}" for error, horizon in zip(ahead, HORIZONS, strict=True))
        print(f"{name:<12} NARMA-10 {first:.3f}   Mackey-Glass {shown}")


def _nrmse(guess, truth):
    return float(np.sqrt(np.mean((guess - truth) ** 2)) / truth.std())


if __name__ == "__main__":
    main()
