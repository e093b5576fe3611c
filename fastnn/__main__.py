"""``python -m fastnn``: trains on data that scikit-learn bundles, and shows how well and how fast.

Each network is fitted in turn by fastnn and, convolutions apart, by scikit-learn's own estimator, with the same
parameters on the same split. Times are medians over interleaved rounds. An echo state network then forecasts a chaotic
series. The exit code is 1 if a held-out score, the forecast or a gradient is not what it should be.
"""

import argparse
import statistics
import sys
import warnings
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn.config import show_config
from fastnn.datasets import mackey_glass
from fastnn.layers import BatchNorm, Conv2D, MaxPool2D

PLOT = "fastnn-loss-curves.png"
GRADIENT_LIMIT = 1e-6  # relative error in float64
FORECAST_LIMIT = 0.08  # root mean squared error over standard deviation
SHORTFALL = 0.05  # how far below scikit-learn's score chance alone may put a sound fit on so few held-out rows


@dataclass(frozen=True)
class Task:
    """A data set, a network for it, and the score below which something must be wrong.

    The patience is as long as the fit, so that both libraries run the same number of epochs.
    """

    name: str
    load: object
    estimator: str
    least: float
    epochs: int
    parameters: dict

    @property
    def score_name(self):
        return "R2" if self.estimator == "MLPRegressor" else "accuracy"

    @property
    def libraries(self):
        """Those that have such an estimator."""
        return [name for name, library in LIBRARIES.items() if hasattr(library, self.estimator)]

    def split(self):
        """X_train, X_test, y_train, y_test; a numeric target in units of its standard deviation."""
        X, y = self.load(return_X_y=True)
        classes = None if self.estimator == "MLPRegressor" else y
        if classes is None:
            y = (y - y.mean()) / y.std()
        return train_test_split(X, y, test_size=0.25, random_state=0, stratify=classes)

    def network(self, library, **options):
        """The estimator of a library, with this task's parameters."""
        length = {"max_iter": self.epochs, "n_iter_no_change": self.epochs}
        return getattr(library, self.estimator)(random_state=0, **self.parameters, **length, **options)


LIBRARIES = {"fastnn": fastnn, "scikit-learn": neural_network}
CONVOLUTIONS = [
    Conv2D(16, 3, padding="same", activation="relu"), MaxPool2D(), BatchNorm(), Conv2D(32, 3, activation="relu")
]  # fmt: skip
TASKS = (
    Task("digits", datasets.load_digits, "MLPClassifier", 0.94, 40, {"hidden_layer_sizes": (64, 32)}),
    Task("digits, images", datasets.load_digits, "ConvNet", 0.97, 20,
         {"layers": CONVOLUTIONS, "input_shape": (8, 8), "batch_size": 32}),
    Task("breast cancer", datasets.load_breast_cancer, "MLPClassifier", 0.92, 60,
         {"hidden_layer_sizes": (100,), "batch_size": 32}),
    Task("diabetes", datasets.load_diabetes, "MLPRegressor", 0.25, 100,
         {"hidden_layer_sizes": (32,), "batch_size": 32, "alpha": 10.0}),
)  # fmt: skip


def main(arguments=None):
    """Runs the demonstration; returns the exit code."""
    options = _parser().parse_args(arguments)
    print("fastnn beside scikit-learn: same parameters, same split, standardised columns\n")
    results = race(options.rounds or (1 if options.quick else 5), options.backend)
    failures = report(results)
    failures += forecast_series(options.backend)
    failures += check_gradients(options.backend)
    if not options.no_plot:
        print(plot(results, options.plot))
    print("\nConfiguration")
    show_config()
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _parser():
    parser = argparse.ArgumentParser(prog="python -m fastnn", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of fits instead of five")
    parser.add_argument("--rounds", type=int, help="rounds of fits; their median time is shown")
    parser.add_argument("--backend", choices=("native", "numpy"), default="native", help="what fastnn computes with")
    parser.add_argument("--plot", metavar="PATH", default=PLOT, help="where the loss curves go (default: %(default)s)")
    parser.add_argument("--no-plot", action="store_true", help="draw no loss curves")
    return parser


def race(rounds, backend):
    """Fits every task with both libraries, in turn, `rounds` times: a list of (task, score, seconds, loss curves), the
    last three by library."""
    options = {"fastnn": {"backend": backend}, "scikit-learn": {}}
    runs = [(task, turn, library) for task in TASKS for turn in range(rounds) for library in task.libraries]
    results = [(task, {}, {library: [] for library in task.libraries}, {}) for task in TASKS]
    splits = {task.name: task.split() for task in TASKS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed on purpose
        for task, _, library in _progress(runs, lambda run: f"{run[0].name}, {run[2]}, round {run[1] + 1}"):
            X_train, X_test, y_train, y_test = splits[task.name]
            model = make_pipeline(StandardScaler(), task.network(LIBRARIES[library], **options[library]))
            start = perf_counter()
            model.fit(X_train, y_train)
            seconds = perf_counter() - start
            _, scores, times, curves = results[TASKS.index(task)]
            times[library].append(seconds)
            scores[library] = model.score(X_test, y_test)
            curves[library] = model[-1].loss_curve_
    return results


def _progress(items, label, width=30):
    """Yields the items behind a bar on standard error, where that is a terminal."""
    shown = sys.stderr.isatty()
    for i, item in enumerate(items):
        if shown:
            bar = "=" * (width * i // len(items))
            print(f"\r[{bar:<{width}}] {i}/{len(items)}  {label(item)}\033[K", end="", file=sys.stderr, flush=True)
        yield item
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def report(results):
    """Prints the table; returns what is implausible in it."""
    print(f"{'':<15}{'score':<10}{'fastnn':>10}{'sklearn':>10}   {'fit: fastnn':>12}{'sklearn':>12}{'ratio':>8}")
    failures = []
    for task, scores, times, _ in results:
        ours, theirs = scores["fastnn"], scores.get("scikit-learn")
        seconds = {name: 1000 * statistics.median(values) for name, values in times.items()}
        line = f"{task.name:<15}{task.score_name:<10}{ours:>10.3f}"
        if theirs is None:
            print(f"{line}{'-':>10}   {seconds['fastnn']:>9.1f} ms{'-':>12}{'-':>8}")
        else:
            ratio = seconds["scikit-learn"] / seconds["fastnn"]
            times_shown = f"{seconds['fastnn']:>9.1f} ms{seconds['scikit-learn']:>9.1f} ms{ratio:>7.1f}x"
            print(f"{line}{theirs:>10.3f}   {times_shown}")
        least = task.least if theirs is None else max(task.least, theirs - SHORTFALL)
        # Not ours < ...: a score that is not a number fails too.
        if not ours >= least:
            beside = "" if theirs is None else f" and scikit-learn's {theirs:.3f} - {SHORTFALL}"
            expected = f"at least {task.least}{beside}"
            failures.append(f"{task.name}: held-out {task.score_name} {ours:.3f}, expected {expected}")
    return failures


def forecast_series(backend):
    """Fits an echo state network to the next step of the Mackey-Glass series and lets it go on by itself; returns what
    is wrong."""
    x = np.tanh(mackey_glass(2084, random_state=0) - 1)[:, np.newaxis]
    features = ("bias", "input", "state", "squared_state")
    esn = fastnn.ESNRegressor(300, spectral_radius=1.1, washout=100, features=features, alpha=1e-8, random_state=0)
    start = perf_counter()
    esn.set_params(backend=backend).fit([x[:1999]], [x[1:2000]])
    seconds = perf_counter() - start
    error = float(np.sqrt(np.mean((esn.forecast(84) - x[2000:]) ** 2)) / x.std())
    print(f"\nMackey-Glass series, 2000 steps: ESNRegressor with 300 units, fit {1000 * seconds:.1f} ms")
    print(f"its own forecast of the next 84 steps: NRMSE {error:.1e} (limit {FORECAST_LIMIT:g})")
    return [] if error <= FORECAST_LIMIT else [f"Mackey-Glass: forecast is off by {error:.3f}"]


def check_gradients(backend):
    """Holds backpropagation against finite differences on some rows of every task; returns what is wrong."""
    print(f"\nGradient against finite differences in float64, worst relative error (limit {GRADIENT_LIMIT:g})")
    failures = []
    for task in TASKS:
        X, _, y, _ = task.split()
        X = StandardScaler().fit_transform(X)[:64]
        errors = fastnn.check_gradient(task.network(fastnn, backend=backend), X, y[:64])
        print(f"{task.name:<15}{errors.worst:.1e}")
        if not errors.worst <= GRADIENT_LIMIT:
            failures.append(f"{task.name}: backpropagation and finite differences differ\n{errors!r}")
    return failures


def plot(results, path):
    """Saves the loss curves of the last round; returns a line about where they are."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "\nLoss curves: not drawn, matplotlib is not installed (extra: plot)"
    figure = Figure(figsize=(4 * len(results), 3.2), layout="constrained")
    for axes, (task, _, _, curves) in zip(figure.subplots(1, len(results)), results, strict=True):
        for (library, curve), style in zip(curves.items(), ("-", "--"), strict=False):
            axes.plot(range(1, len(curve) + 1), curve, style, label=library)
        axes.set(title=task.name, xlabel="epoch", yscale="log")
    axes.legend()
    figure.axes[0].set_ylabel("training loss")
    figure.savefig(path, dpi=120)
    return f"\nLoss curves: {path}"


if __name__ == "__main__":
    sys.exit(main())
