"""How well recipes learn: accuracy, or a loss, on the test part of data sets, mean over seeds, against a target.

    python benchmarks/accuracy.py                 # every recipe whose data set is there
    python benchmarks/accuracy.py gunpoint mnist-convnet --seeds 1
    python benchmarks/accuracy.py mnist-mlp mnist-convnet --precisions float32 bfloat16

Data sets come from the folder that FASTNN_DATA names. The exit code is 1 where a mean misses its target.
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import data
import networks
import numpy as np
from peers import BFLOAT16, PRECISIONS
from sklearn.exceptions import ConvergenceWarning

from fastnn import ConvNet, ESNClassifier, MLPClassifier, RecurrentClassifier, RecurrentRegressor
from fastnn.augment import HorizontalFlip, Rotate, Shift, Zoom
from fastnn.datasets import adding_problem
from fastnn.layers import (
    GRU,
    LSTM,
    BatchNorm,
    Bidirectional,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    GlobalAvgPool,
    MaxPool2D,
)


@dataclass(frozen=True)
class Metric:
    """What is measured on the test part: a function of (network, X, y), and whether less of it is better."""

    name: str
    measure: Callable
    less: bool = False

    def reaches(self, value, target):
        return value <= target if self.less else value >= target


def mean_squared_error(network, X, y):
    """Mean of (f(x) - y)^2."""
    return float(np.mean((network.predict(X) - y) ** 2))


def cross_entropy(network, X, y):
    """Mean of -log P(y) over all steps, in nats."""
    P = (network.predict_proba(x[np.newaxis])[0] for x in X)
    return -float(np.mean([np.log(p[np.arange(len(t)), t]).mean() for p, t in zip(P, y, strict=True)]))


ACCURACY = Metric("accuracy", lambda network, X, y: network.score(X, y))
SQUARED_ERROR = Metric("squared error", mean_squared_error, less=True)
CROSS_ENTROPY = Metric("nats", cross_entropy, less=True)


@dataclass(frozen=True)
class Recipe:
    """A data set, an estimator for it with its parameters, and what it should reach."""

    name: str
    data: str
    estimator: type
    target: float
    seeds: int
    parameters: dict = field(default_factory=dict)
    metric: Metric = ACCURACY

    def arrays(self):
        if self.data == "tiny_shakespeare":
            return data.text(self.data, 64, 512)
        if self.data is None:
            parts = (adding_problem(n, random_state=seed) for seed, n in enumerate((10_000, 2_000)))
            return [array.astype(np.float32) for part in parts for array in part]
        if self.estimator is MLPClassifier:
            return data.mnist()
        if self.data == "japanesevowels":
            return data.sequences(self.data)
        if self.estimator is RecurrentClassifier:
            return data.mnist(28, 28)
        return data.split(self.data)

    @property
    def solved(self):
        """Whether the estimator is solved rather than trained in epochs."""
        return self.estimator is ESNClassifier

    def network(self, seed, precision, epochs):
        parameters = self.parameters | {"random_state": seed, "precision": precision}
        if not self.solved:
            parameters |= {"n_iter_no_change": np.inf} | ({"max_iter": epochs} if epochs else {})
        return self.estimator(**parameters)


def block(filters, size=3, pool=False):
    """A convolution that keeps the size, relu, perhaps a pool, batch norm: pooled first, since that is fastest."""
    convolution = Conv2D(filters, size, padding="same", activation="relu")
    return [convolution, *([MaxPool2D()] if pool else []), BatchNorm()]


END = [Dropout(0.3), Dense(128, "relu"), BatchNorm(), Dropout(0.3)]
THREE_POOLS = [*block(32, 5, pool=True), *block(64, pool=True), *block(128, pool=True), *END]
TWO_POOLS = [*block(32, pool=True), *block(64), *block(64, pool=True), *END]
IMAGES = {"batch_size": 128, "max_iter": 10, "learning_rate": "one_cycle", "learning_rate_init": 0.005}
SIGNALS = {"batch_size": 8, "max_iter": 300, "learning_rate": "cosine"}
ADDING = {"batch_size": 50, "max_iter": 10, "learning_rate": "one_cycle", "learning_rate_init": 0.005}
RECIPES = (
    Recipe("mnist-mlp", "mnist", MLPClassifier, 0.980, 3, {
        "hidden_layer_sizes": (256, 128), "batch_size": 128, "max_iter": 10, "learning_rate": "cosine"}),
    Recipe("mnist-convnet", "mnist", ConvNet, 0.990, 3, IMAGES | {
        "layers": networks.layers_of(networks.KERAS), "max_iter": 8, "learning_rate_init": 0.006}),
    Recipe("mnist-augmented", "mnist", ConvNet, 0.994, 3, IMAGES | {
        "layers": THREE_POOLS, "augment": [Shift(2), Rotate(10), Zoom(0.1)]}),
    Recipe("fashion", "fashion_mnist", ConvNet, 0.925, 3, IMAGES | {
        "layers": TWO_POOLS, "augment": [HorizontalFlip()]}),
    Recipe("gunpoint", "gunpoint", ConvNet, 0.97, 5, SIGNALS),
    Recipe("arrowhead", "arrowhead", ConvNet, 0.80, 5, SIGNALS),
    Recipe("basicmotions", "basicmotions", ConvNet, 0.95, 5, SIGNALS),
    Recipe("japanese-vowels-esn", "japanesevowels", ESNClassifier, 0.975, 5),
    Recipe("japanese-vowels", "japanesevowels", RecurrentClassifier, 0.95, 5, {
        "layers": [Bidirectional(GRU(64, return_sequences=True, dropout=0.2, recurrent_dropout=0.2)), GlobalAvgPool(),
                   Dropout(0.3)],
        "batch_size": 32, "max_iter": 100, "learning_rate": "cosine", "learning_rate_init": 0.003}),
    Recipe("mnist-rows", "mnist", RecurrentClassifier, 0.983, 3, {
        "layers": [LSTM(128)], "batch_size": 128, "max_iter": 5, "learning_rate": "one_cycle",
        "learning_rate_init": 0.004}),
    Recipe("adding-gru", None, RecurrentRegressor, 1e-2, 3, ADDING | {"layers": [GRU(64)]}, SQUARED_ERROR),
    Recipe("adding-lstm", None, RecurrentRegressor, 1e-2, 3, ADDING | {"layers": [LSTM(64)]}, SQUARED_ERROR),
    Recipe("shakespeare", "tiny_shakespeare", RecurrentClassifier, 1.65, 1, {
        "layers": [Embedding(65, 64), LSTM(256, return_sequences=True)], "batch_size": 64, "max_iter": 4,
        "learning_rate": "one_cycle", "learning_rate_init": 0.008, "alpha": 0.0}, CROSS_ENTROPY),
)  # fmt: skip


def main(arguments=None):
    options = _parser().parse_args(arguments)
    recipes = [recipe for recipe in RECIPES if recipe.name in options.recipes and _is_there(recipe)]
    results = [run(recipe, precision, options) for recipe in recipes for precision in _offered(recipe, options)]
    print(f"\n{'':<22}{'':<10}{'':<14}{'mean':>9}{'worst':>9}{'target':>9}{'parameters':>12}{'s a fit':>9}")
    for recipe, precision, scores, target, size, seconds in results:
        worst = (max if recipe.metric.less else min)(scores)
        print(f"{recipe.name:<22}{precision:<10}{recipe.metric.name:<14}{np.mean(scores):>9.4f}{worst:>9.4f}"
              f"{target:>9.3f}{size:>12}{np.median(seconds):>9.1f}")  # fmt: skip
    return 0 if all(recipe.metric.reaches(np.mean(scores), target) for recipe, _, scores, target, *_ in results) else 1


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    names = [recipe.name for recipe in RECIPES]
    parser.add_argument("recipes", nargs="*", default=names, metavar="recipe", help=f"any of {', '.join(names)}")
    parser.add_argument("--precisions", nargs="+", choices=("auto", *PRECISIONS), default=["auto"])
    parser.add_argument("--seeds", type=int, help="instead of each recipe's own number")
    parser.add_argument("--epochs", type=int, help="instead of each recipe's own number")
    parser.add_argument("--target", type=float, help="mean to reach instead of each recipe's own")
    return parser


def _is_there(recipe):
    if recipe.data is None or data.has(recipe.data):
        return True
    print(f"{recipe.name}: skipped; {data.MISSING.format(recipe.data)}")
    return False


def _offered(recipe, options):
    """The precisions asked for that the estimator knows; reservoirs are solved in no less than float32."""
    return [precision for precision in options.precisions if not (recipe.solved and precision == BFLOAT16)]


def run(recipe, precision, options):
    """(recipe, precision, scores, target, number of parameters, seconds of each fit)."""
    X_train, y_train, X_test, y_test = recipe.arrays()
    scores, seconds = [], []
    for seed in range(options.seeds or recipe.seeds):
        network = recipe.network(seed, precision, options.epochs)
        start = perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(X_train, y_train)
        seconds.append(perf_counter() - start)
        scores.append(recipe.metric.measure(network, X_test, y_test))
        epochs = f" after {network.n_iter_} epochs" if hasattr(network, "n_iter_") else ""
        print(f"{recipe.name} in {precision}, seed {seed}: {scores[-1]:.4f}{epochs}", flush=True)
    solved = recipe.solved
    size = np.size(network.coef_) + np.size(network.intercept_) if solved else network.summary().total("parameters")
    return recipe, precision, scores, recipe.target if options.target is None else options.target, size, seconds


if __name__ == "__main__":
    sys.exit(main())
