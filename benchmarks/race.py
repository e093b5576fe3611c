"""Races `fit` of fastnn against scikit-learn's MLP and PyTorch: milliseconds an epoch on small and large data.

Every network trains for a fixed number of epochs in float32 with Adam. The competitors take turns, round after round,
so that a clock that drifts touches all of them. PyTorch takes part where it is installed (extra `bench`), eagerly with
tensors in memory (images in channels_last) and fused Adam, and through torch.compile; MNIST where FASTNN_DATA names the
folder of mnist.npz.

    python benchmarks/race.py --json race.json --write README.md
"""

import argparse
import json
import platform
import re
import statistics
import time
from dataclasses import dataclass, replace
from importlib import metadata

import data
from peers import CORES, PEERS

from fastnn.config import show_config

MARKS = "<!-- race: begin -->", "<!-- race: end -->"
PAUSE = 0.05  # seconds between two fits: worker threads of the last library stop spinning


@dataclass(frozen=True)
class Row:
    """A data set and a network for it: units of dense layers, and (name, number...) tuples for the layers of images."""

    name: str
    label: str
    load: object
    hidden: tuple
    outputs: int
    batch: int
    epochs: int

    @property
    def convolutional(self):
        return any(isinstance(layer, tuple) for layer in self.hidden)

    def title(self, features):
        if self.convolutional:
            return f"{self.label}, batch {self.batch}"
        sizes = "-".join(map(str, (features, *self.hidden, self.outputs)))
        return f"{self.label} {sizes}, batch {self.batch}"


# The network of Keras' example for MNIST, and LeNet-5 as it is usually written today.
KERAS = (("conv", 32, 3, "valid"), ("pool", 2), ("conv", 64, 3, "valid"), ("pool", 2), ("dropout", 0.5))
LENET = (("conv", 6, 5, "same"), ("pool", 2), ("conv", 16, 5, "valid"), ("pool", 2), 120, 84)


ROWS = (
    Row("iris", "iris", data.iris, (100,), 3, 32, 200),
    Row("cancer", "breast cancer", data.breast_cancer, (100,), 2, 32, 100),
    Row("mnist-100", "MNIST", data.mnist_train, (100,), 10, 200, 10),
    Row("mnist-256-128", "MNIST", data.mnist_train, (256, 128), 10, 128, 10),
    Row("convnet", "12 800 MNIST images, 32@3x3-pool-64@3x3-pool", data.mnist_images, KERAS, 10, 128, 2),
    Row("lenet", "12 800 MNIST images, LeNet-5", data.mnist_images, LENET, 10, 128, 3),
)


def main(arguments=None):
    options = _parser().parse_args(arguments)
    results = []
    for row in ROWS:
        if row.name not in options.rows:
            continue
        if row.load in (data.mnist_train, data.mnist_images) and not data.has("mnist"):
            print(f"{row.name}: skipped; {data.MISSING.format('mnist')}")
            continue
        row = replace(row, epochs=options.epochs or row.epochs)
        results.append(race(row, options.peers, options.rounds))
    lines = [describe(options.rounds), "", *table(results, options.peers)]
    print("\n".join(["", *lines]))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "rounds": options.rounds, "results": results}, file, indent=1)
    if options.write:
        write(options.write, lines)


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    names = [row.name for row in ROWS]
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--rows", nargs="+", choices=names, default=names, help="data sets and networks")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="competitors")
    parser.add_argument("--epochs", type=int, help="epochs of every fit instead of each row's own number")
    parser.add_argument("--json", metavar="PATH", help="write all times, the machine and the versions")
    parser.add_argument("--write", metavar="PATH", help=f"replace the text between {' and '.join(MARKS)} by the table")
    return parser


def race(row, peers, rounds):
    """Times of every competitor on a row: a dict for the table and for JSON."""
    X, y = row.load()
    title = row.title(X.shape[1])
    fits, notes = {}, {}
    for peer in peers:
        try:
            fits[peer], notes[peer] = PEERS[peer](row, X, y)
        except Exception as cause:  # whatever keeps a competitor from running is reported, not hidden
            if peer == "fastnn":
                raise
            notes[peer] = f"not run: {type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause) else ''}"
            print(f"{title}: {peer} {notes[peer]}")
    times = {peer: [] for peer in fits}
    for number in range(rounds):
        for peer, fit in fits.items():
            time.sleep(PAUSE)
            times[peer].append(1000 * fit())
        print(f"{title}: round {number + 1} of {rounds}", flush=True)
    return {"row": title, "epochs": row.epochs, "notes": notes, "milliseconds": times}


def table(results, peers, unit="milliseconds"):
    """Markdown: median (least-greatest) of each competitor's times, and fastnn against the fastest of the others."""
    lines = [["", *peers, "against the fastest"]]
    for result in results:
        times = result[unit]
        medians = {peer: statistics.median(values) for peer, values in times.items()}
        others = [median for peer, median in medians.items() if peer != "fastnn"]
        cells = [
            f"{_digits(medians[peer])} ({_digits(min(times[peer]))}-{_digits(max(times[peer]))})"
            if peer in times
            else "not run"
            for peer in peers
        ]
        ratio = f"{min(others) / medians['fastnn']:.1f}x" if others and "fastnn" in medians else ""
        lines.append([result["row"], *cells, ratio])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return [f"| {' | '.join(f'{cell:<{width}}' for cell, width in zip(line, widths, strict=True))} |" for line in lines]


def _digits(number):
    """Three significant digits without an exponent."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def machine():
    """What the times were taken on."""
    versions = {}
    for name in ("fastnn", "scikit-learn", "numpy", "torch", "onnxruntime"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {"cpu": _cpu(), "cores": CORES, **show_config("dicts"), "versions": versions}


def _cpu():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return re.search(r"model name\s*:\s*(.*)", file.read())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def machine_text():
    """The machine in half a sentence, the versions in the other."""
    here = machine()
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items() if version)
    return f"{here['cpu']}, {here['cores']} cores, {here.get('instruction set', 'NumPy')}; {versions}."


def describe(rounds):
    """One sentence above the table."""
    return (
        f"Milliseconds an epoch of `fit`, median (least-greatest) of {rounds} interleaved rounds; float32, Adam. "
        f"{machine_text()}"
    )


def write(path, lines, marks=MARKS):
    """Replaces what stands between the marks in a file."""
    begin, end = marks
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"{path}: expected {begin} and {end} once each")
    before, after = text.split(begin)[0], text.split(end)[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([before + begin, *lines, end + after]))


if __name__ == "__main__":
    main()
