"""Seconds of training until MNIST's test images are classified well enough: fastnn against PyTorch.

An MLP is trained to 98 % and a ConvNet to 99 %, by the recipes of accuracy.py: the same batches, optimiser and learning
rate of every batch for all. After each epoch, outside of the clock, the test images are classified; the time is that of
all epochs up to the first that reaches the target. PyTorch runs eagerly and compiled, in float32 and in bfloat16; its
best setting is the least of these. Seeds take turns among the competitors. Needs FASTNN_DATA.

    python benchmarks/time_to_accuracy.py
"""

import statistics
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from time import perf_counter

import data
import machine
import networks
import numpy as np
import report
from networks import KERAS, Network
from peers import BFLOAT16, Torch, quietly

from fastnn.schedules import Cosine, OneCycle, get_schedule


@dataclass(frozen=True)
class Recipe:
    """A network, how it is trained, and the share of test images to reach; `schedule` and `rate` as in an estimator."""

    name: str
    network: Network
    schedule: str
    rate: float
    epochs: int
    target: float
    batch: int = 128

    def rates(self, n):
        """The learning rate of every batch of a fit on n images."""
        batches = -(-n // self.batch)
        steps = self.epochs * batches
        return get_schedule(self.schedule).rates(self.rate, 0, steps, batches, steps)


RECIPES = (
    Recipe("MLP", Network((784,), (256, 128), 10), Cosine.name, 0.001, 10, 0.98),
    Recipe("ConvNet", KERAS, OneCycle.name, 0.006, 8, 0.99),
)


def main(arguments=None):
    options = report.parse(_parser(), arguments)
    results = []
    for recipe in RECIPES:
        try:
            arrays = _arrays(recipe, options.tiny)
        except FileNotFoundError as cause:
            print(f"{recipe.name}: skipped; {cause}")
            continue
        target = 0 if options.tiny else recipe.target
        results.append(race(recipe, target, arrays, options))
    text = f"Seconds of training to the target, median (least-greatest) of {options.rounds} seeds. {machine.text()}"
    lines = [text, "", *report.comparison(results, options.peers, "seconds")]
    for result in results:
        lines += [f"\n{result['row']}: {peer} {note}." for peer, note in result["notes"].items() if "missed" in note]
    report.save("time_to_accuracy", options, lines, results, lambda figure: chart(figure, results))


def _parser():
    parser = report.parser(__doc__, rounds=3)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="competitors")
    return parser


def _arrays(recipe, tiny):
    if tiny:
        X, y = data.synthetic(2 * recipe.batch + 3, recipe.network.shape, recipe.network.classes)
        return X, y, X, y
    return data.mnist(*recipe.network.shape)


def race(recipe, target, arrays, options):
    """Seconds of every competitor and seed, and the accuracies after each epoch: a dict for the table and for JSON."""
    trainers, notes = {}, {}
    for peer in options.peers:
        try:
            trainers[peer], notes[peer] = PEERS[peer](recipe, *arrays[:2]), "runs"
        except (ImportError, networks.NotOffered) as cause:
            notes[peer] = f"not run: {cause}"
    print(f"{recipe.name}: {', '.join(f'{peer} {note}' for peer, note in notes.items())}", flush=True)
    seconds, scores = {peer: [] for peer in trainers}, {peer: [] for peer in trainers}
    for seed in range(options.rounds):
        for peer, train in trainers.items():
            taken, course = train(seed, target, *arrays[2:])
            scores[peer].append(course)
            print(f"seed {seed}, {peer}: {course[-1]:.4f} after {len(course)} epochs, {taken:.1f} s", flush=True)
            if course[-1] >= target:
                seconds[peer].append(taken)
            else:
                notes[peer] = f"has missed the target with seed {seed}"
    row = f"{recipe.name} {recipe.network}, {100 * target:g} %"
    reached = {peer: times for peer, times in seconds.items() if times}
    return {"row": row, "notes": notes, "seconds": reached, "scores": scores}


def _fastnn(recipe, X, y, precision):
    """A function (seed, target, X_test, y_test) that trains to the target: (seconds, accuracy after each epoch)."""
    model = networks.estimator(
        recipe.network, batch_size=recipe.batch, learning_rate=recipe.schedule, learning_rate_init=recipe.rate,
        max_iter=recipe.epochs, n_iter_no_change=np.inf, precision=precision,
    )  # fmt: skip

    def train(seed, target, X_test, y_test):
        course, pauses = [], []

        def after_epoch(epoch):
            start = perf_counter()
            course.append(epoch.estimator.score(X_test, y_test))
            pauses.append(perf_counter() - start)
            return course[-1] >= target

        model.set_params(random_state=seed, epoch_callback=after_epoch)
        start = perf_counter()
        quietly(model.fit, X, y)
        return perf_counter() - start - sum(pauses), course

    return train


def _torch(recipe, X, y, precision, compiled):
    if not find_spec("torch"):
        raise ImportError("not installed")
    trainer, rates = Torch(recipe.network, X, y, recipe.batch, precision, compiled), recipe.rates(len(X))

    def train(seed, target, X_test, y_test):
        trainer.start(seed)
        seconds, course, batches = 0.0, [], iter(rates)
        while len(course) < recipe.epochs and (not course or course[-1] < target):
            seconds += trainer.epochs(1, islice(batches, len(rates) // recipe.epochs))
            course.append(trainer.score(X_test, y_test))
        return seconds, course

    return train


PEERS = {
    "fastnn": partial(_fastnn, precision="float32"),
    "fastnn bfloat16": partial(_fastnn, precision=BFLOAT16),
    "torch eager": partial(_torch, precision="float32", compiled=False),
    "torch compile": partial(_torch, precision="float32", compiled=True),
    "torch eager bfloat16": partial(_torch, precision=BFLOAT16, compiled=False),
    "torch compile bfloat16": partial(_torch, precision=BFLOAT16, compiled=True),
}


def chart(figure, results):
    """Accuracy after each epoch of the first seed, against seconds of which all epochs of a fit get the same share."""
    for axes, result in zip(figure.subplots(1, max(len(results), 1), squeeze=False).flat, results, strict=True):
        for peer, times in result["seconds"].items():
            course = result["scores"][peer][0]
            seconds = statistics.median(times) * np.arange(1, len(course) + 1) / len(course)
            axes.plot(seconds, course, marker="o", label=peer)
        axes.set(xscale="log", xlabel="seconds", ylabel="accuracy of the test images", title=result["row"])
        axes.legend(fontsize="small")


if __name__ == "__main__":
    main()
