"""How the time of `fit` grows: with rows, width, depth, batch and threads, and with fits that run side by side.

Each sweep changes one number of an MLP that classifies random rows, and takes an exponent from its larger half: seconds
~ number ^ exponent. Rounds go through the whole sweep. Threads: the same width on one thread and on all, and from which
width on the second pays. Fits side by side: GridSearchCV with joblib's threads.

    python benchmarks/scaling.py
    python benchmarks/scaling.py width threads --rounds 9
"""

import statistics
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import data
import joblib
import machine
import numpy as np
import report
from machine import CORES
from peers import quietly
from sklearn.model_selection import GridSearchCV

from fastnn import MLPClassifier

FEATURES, CLASSES = 64, 10
PAYS = 0.95  # seconds on all threads over seconds on one, from which on the second is said to pay
FITS = 8  # of a grid search
SIDE_BY_SIDE = "fits side by side"


@dataclass(frozen=True)
class Sweep:
    """Values of one number, and what makes the estimator and the rows for a value: the times of `fit` are taken."""

    values: tuple
    setting: object

    def seconds(self, value):
        estimator, rows = self.setting(value)
        X, y = data.synthetic(rows, (FEATURES,), CLASSES)
        start = perf_counter()
        quietly(estimator.fit, X, y)
        return perf_counter() - start


def _network(hidden=(128,), batch=128, epochs=1, threads=None):
    return MLPClassifier(
        hidden, batch_size=batch, max_iter=epochs, n_iter_no_change=np.inf, n_jobs=threads, random_state=0
    )


def _widths(threads, width):
    return _network((width,), threads=threads), 4096


def _concurrent(n):
    """A grid search over FITS networks, n of them at a time, each on one thread."""
    cv = [(range(4096), range(4096, 5120))]
    network = _network((64,), epochs=5, threads=1)
    search = GridSearchCV(network, {"alpha": np.logspace(-6, -2, FITS)}, cv=cv, n_jobs=n, refit=False)
    return _InThreads(search), 5120


@dataclass(frozen=True)
class _InThreads:
    """A search whose jobs are joblib's threads."""

    search: GridSearchCV

    def fit(self, X, y):
        with joblib.parallel_backend("threading"):
            self.search.fit(X, y)


WIDTHS = tuple(2**n for n in range(4, 13))
SWEEPS = {
    "rows": Sweep((1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000), lambda rows: (_network(), rows)),
    "width": Sweep(WIDTHS, partial(_widths, None)),
    "depth": Sweep((1, 2, 4, 8, 16, 32), lambda depth: (_network((128,) * depth), 4096)),
    "batch": Sweep((1, 4, 16, 64, 256, 1024, 4096), lambda batch: (_network(batch=batch), 4096)),
    **{f"width, {n} thread{'s' * (n > 1)}": Sweep(WIDTHS, partial(_widths, n)) for n in range(1, CORES + 1)},
    SIDE_BY_SIDE: Sweep(tuple(range(1, 2 * CORES + 1)), _concurrent),
}
GROUPS = {name: [sweep for sweep in SWEEPS if sweep == name] for name in ("rows", "width", "depth", "batch")} | {
    "threads": [sweep for sweep in SWEEPS if sweep.startswith("width, ")],
    "concurrent": [SIDE_BY_SIDE],
}


def main(arguments=None):
    parser = report.parser(__doc__, rounds=5)
    parser.add_argument("groups", nargs="*", default=list(GROUPS), metavar="group", help=f"any of {', '.join(GROUPS)}")
    options = report.parse(parser, arguments)
    results = {}
    for group in options.groups:
        results |= measure(GROUPS[group], options)
    lines = [f"Medians of {options.rounds} rounds of `fit`, float32. {machine.text()}", "", *table(results)]
    lines += ["", *sentences(results)]
    report.save("scaling", options, lines, results, lambda figure: chart(figure, results))


def measure(names, options):
    """Seconds by sweep and value; the sweeps of a group take turns."""
    values = {name: SWEEPS[name].values[: 2 if options.tiny else None] for name in names}
    times = {name: {value: [] for value in values[name]} for name in names}
    for number in range(options.rounds):
        for name in names:
            for value in values[name]:
                times[name][value].append(SWEEPS[name].seconds(value))
        print(f"{', '.join(names)}: round {number + 1}", flush=True)
    return times


def exponent(times):
    """Slope of log seconds over log value in the larger half of a sweep."""
    values = sorted(times)[(len(times) - 1) // 2 :]
    seconds = [statistics.median(times[value]) for value in values]
    return np.polyfit(np.log(values), np.log(seconds), 1)[0]


def table(results):
    cells = [["", "from", "to", "milliseconds", "exponent"]]
    for name, times in results.items():
        first, *_, last = times
        ends = [report.digits(1000 * statistics.median(times[value])) for value in (first, last)]
        slope = "" if name == SIDE_BY_SIDE else f"{exponent(times):.2f}"
        cells.append([name, str(first), str(last), " to ".join(ends), slope])
    return report.table(cells)


def sentences(results):
    """From which width on more threads than one pay, and what fits side by side gain."""
    medians = {name: {value: statistics.median(t) for value, t in times.items()} for name, times in results.items()}
    alone = medians.get("width, 1 thread", {})
    for n in range(2, CORES + 1):
        together = medians.get(f"width, {n} threads", {})
        pays = [seconds < PAYS * alone[width] for width, seconds in together.items()]
        first = next((width for i, width in enumerate(together) if all(pays[i:])), None)
        if together:
            yield f"{n} threads pay from width {first} on." if first else f"{n} threads pay nowhere."
    for n, seconds in medians.get(SIDE_BY_SIDE, {}).items():
        gain = medians[SIDE_BY_SIDE][1] / seconds
        yield f"{FITS} fits, {n} at a time: {gain:.2f} times as fast as one after another."


def chart(figure, results):
    """Seconds over each number on logarithmic axes."""
    groups = [[name for name in names if name in results] for names in GROUPS.values()]
    groups = [names for names in groups if names]
    figure.set_size_inches(12, 7)
    for axes, names in zip(figure.subplots(2, -(-len(groups) // 2), squeeze=False).flat, groups, strict=False):
        for name in names:
            times = results[name]
            seconds = [statistics.median(values) for values in times.values()]
            label = name if name == SIDE_BY_SIDE else f"{name}: exponent {exponent(times):.2f}"
            axes.loglog(list(times), seconds, marker="o", label=label)
        axes.set(xlabel=names[0].split(",")[0], ylabel="seconds")
        axes.legend(fontsize="small")


if __name__ == "__main__":
    main()
