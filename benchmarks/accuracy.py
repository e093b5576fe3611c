"""How well recipes learn: accuracy on the test part of real data sets, mean over seeds, against a target.

    python benchmarks/accuracy.py                 # every recipe whose data set is there
    python benchmarks/accuracy.py gunpoint mnist-convnet --seeds 1

Data sets come from the folder that FASTNN_DATA names. The exit code is 1 where a mean misses its target.
"""

import argparse
import sys
import warnings
from dataclasses import dataclass, field
from time import perf_counter

import data
import networks
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastnn import ConvNet, ESNClassifier, MLPClassifier, RecurrentClassifier
from fastnn.augment import HorizontalFlip, Rotate, Shift, Zoom
from fastnn.layers import GRU, LSTM, BatchNorm, Bidirectional, Conv2D, Dense, Dropout, GlobalAvgPool, MaxPool2D


@dataclass(frozen=True)
class Recipe:
    """A data set, an estimator for it with its parameters, and what it should reach."""

    name: str
    data: str
    estimator: type
    target: float
    seeds: int
    parameters: dict = field(default_factory=dict)

    def arrays(self):
        if self.estimator is MLPClassifier:
            return data.mnist()
        if self.data == "japanesevowels":
            return data.sequences(self.data)
        if self.estimator is RecurrentClassifier:
            return data.mnist(28, 28)
        return data.split(self.data)

    def network(self, seed, epochs):
        if self.estimator is ESNClassifier:  # solved, not trained in epochs
            return self.estimator(random_state=seed, **self.parameters)
        parameters = self.parameters | ({"max_iter": epochs} if epochs else {})
        return self.estimator(random_state=seed, n_iter_no_change=np.inf, **parameters)


def block(filters, size=3, pool=False):
    """A convolution that keeps the size, relu, perhaps a pool, batch norm: pooled first, since that is fastest."""
    convolution = Conv2D(filters, size, padding="same", activation="relu")
    return [convolution, *([MaxPool2D()] if pool else []), BatchNorm()]


END = [Dropout(0.3), Dense(128, "relu"), BatchNorm(), Dropout(0.3)]
THREE_POOLS = [*block(32, 5, pool=True), *block(64, pool=True), *block(128, pool=True), *END]
TWO_POOLS = [*block(32, pool=True), *block(64), *block(64, pool=True), *END]
IMAGES = {"batch_size": 128, "max_iter": 10, "learning_rate": "one_cycle", "learning_rate_init": 0.005}
SIGNALS = {"batch_size": 8, "max_iter": 300, "learning_rate": "cosine"}
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
)  # fmt: skip


def main(arguments=None):
    options = _parser().parse_args(arguments)
    results = [run(recipe, options) for recipe in RECIPES if recipe.name in options.recipes and _is_there(recipe)]
    print(f"\n{'':<18}{'mean':>9}{'least':>9}{'target':>9}{'parameters':>12}{'s a fit':>9}")
    for name, scores, target, size, seconds in results:
        print(f"{name:<18}{np.mean(scores):>9.4f}{min(scores):>9.4f}{target:>9.3f}{size:>12}{np.median(seconds):>9.1f}")
    return 0 if all(np.mean(scores) >= target for _, scores, target, *_ in results) else 1


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    names = [recipe.name for recipe in RECIPES]
    parser.add_argument("recipes", nargs="*", default=names, metavar="recipe", help=f"any of {', '.join(names)}")
    parser.add_argument("--seeds", type=int, help="instead of each recipe's own number")
    parser.add_argument("--epochs", type=int, help="instead of each recipe's own number")
    parser.add_argument("--target", type=float, help="mean accuracy to reach instead of each recipe's own")
    return parser


def _is_there(recipe):
    if data.has(recipe.data):
        return True
    print(f"{recipe.name}: skipped; {data.MISSING.format(recipe.data)}")
    return False


def run(recipe, options):
    """(name, scores, target, number of parameters, seconds of each fit)."""
    X_train, y_train, X_test, y_test = recipe.arrays()
    scores, seconds = [], []
    for seed in range(options.seeds or recipe.seeds):
        network = recipe.network(seed, options.epochs)
        start = perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(X_train, y_train)
        seconds.append(perf_counter() - start)
        scores.append(network.score(X_test, y_test))
        epochs = f" after {network.n_iter_} epochs" if hasattr(network, "n_iter_") else ""
        print(f"{recipe.name}, seed {seed}: {scores[-1]:.4f}{epochs}", flush=True)
    solved = recipe.estimator is ESNClassifier
    trained = (network.coef_, network.intercept_) if solved else (*network.coefs_, *network.intercepts_)
    size = sum(np.size(array) for array in trained if array is not None)
    return recipe.name, scores, recipe.target if options.target is None else options.target, size, seconds


if __name__ == "__main__":
    sys.exit(main())
