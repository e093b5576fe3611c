"""Races `fit` of fastnn against scikit-learn's MLP, PyTorch and JAX: milliseconds an epoch, and peak memory.

Every network trains for a fixed number of epochs with Adam, in float32 and in bfloat16. The competitors take turns,
round after round, so that a clock that drifts touches all of them, each with fits for a tenth of a second; the memory
of each is measured in a process of its own. PyTorch and JAX take part where they are installed (extra `bench`):
tensors in memory without a loader, images in channels_last, fused Adam, eagerly and through torch.compile, bfloat16 by
autocast; a whole epoch of JAX is one compiled scan. The rows of MNIST need FASTNN_DATA, the folder of mnist.npz.

    python benchmarks/race.py --write README.md
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import data
import machine
import report
from networks import KERAS, LENET, Network, NotOffered, recurrent
from peers import PEERS, PRECISIONS


@dataclass(frozen=True)
class Row:
    """A data set and a network for it."""

    name: str
    label: str
    load: object
    network: Network
    batch: int
    epochs: int

    @property
    def title(self):
        return f"{self.label} {self.network}, batch {self.batch}"

    def arrays(self, tiny):
        if tiny:  # two batches and a rest
            return data.synthetic(2 * self.batch + 3, self.network.shape, self.network.classes)
        return self.load()


IMAGES = partial(data.mnist_train, 12_800, 28, 28, 1)
SEQUENCES = partial(data.mnist_train, 6400, 28, 28)
ROWS = (
    Row("iris", "iris", data.iris, Network((4,), (100,), 3), 32, 200),
    Row("cancer", "breast cancer", data.breast_cancer, Network((30,), (100,), 2), 32, 100),
    Row("20k", "20 000 rows", partial(data.synthetic, 20_000, (50,), 10), Network((50,), (256, 128), 10), 256, 10),
    Row("mnist-100", "MNIST", data.mnist_train, Network((784,), (100,), 10), 200, 5),
    Row("mnist-256-128", "MNIST", data.mnist_train, Network((784,), (256, 128), 10), 128, 5),
    Row("wide", "4096 rows", partial(data.synthetic, 4096, (1024,), 10), Network((1024,), (2048, 2048), 10), 512, 4),
    Row("convnet", "12 800 MNIST images,", IMAGES, KERAS, 128, 2),
    Row("lenet", "12 800 MNIST images,", IMAGES, LENET, 128, 3),
    Row("lstm", "6400 MNIST images by lines,", SEQUENCES, recurrent("lstm", 128), 128, 2),
    Row("gru", "6400 MNIST images by lines,", SEQUENCES, recurrent("gru", 128), 128, 2),
    Row("rnn", "6400 MNIST images by lines,", SEQUENCES, recurrent("rnn", 128), 128, 2),
)
UNITS = {"milliseconds": "milliseconds an epoch of `fit`", "megabytes": "megabytes of a fit at its peak"}


def main(arguments=None):
    options = report.parse(_parser(), arguments)
    if options.only_memory:
        row = row_named(options.rows[0], options)
        return print(memory_here(row, options.peers[0], options.precisions[0], options.tiny))
    results = []
    for precision in options.precisions:
        for name in options.rows:
            row = row_named(name, options)
            try:
                results.append(race(row, precision, options))
            except FileNotFoundError as cause:
                print(f"{name}: skipped; {cause}")
                continue
            if options.memory and not (options.tiny and len(results) > 1):
                peers = results[-1]["milliseconds"]
                results[-1]["megabytes"] = {peer: memory_apart(row, peer, precision, options.tiny) for peer in peers}
    report.save("race", options, lines(results, options), results, lambda figure: chart(figure, results, options.peers))


def _parser():
    parser = report.parser(__doc__, rounds=7)
    names = [row.name for row in ROWS]
    parser.add_argument("--rows", nargs="+", choices=names, default=names, help="data sets and networks")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="competitors")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--epochs", type=int, help="epochs of every fit instead of each row's own number")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=sys.platform == "linux")
    parser.add_argument("--only-memory", action="store_true", help="print the megabytes of the first row and peer")
    return parser


def row_named(name, options):
    row = next(row for row in ROWS if row.name == name)
    return replace(row, epochs=1 if options.tiny else options.epochs or row.epochs)


def race(row, precision, options):
    """Times of every competitor on a row: a dict for the table and for JSON, with room for the memory."""
    X, y = row.arrays(options.tiny)
    fits, notes = {}, {}
    for peer in options.peers:
        try:
            fits[peer], notes[peer] = build(peer, row, X, y, precision)
        except NotOffered as cause:
            notes[peer] = f"not run: {cause}"
        except Exception as cause:  # whatever keeps a competitor from running is reported, not hidden
            if peer == "fastnn":
                raise
            notes[peer] = f"not run: {type(cause).__name__}: {(str(cause).strip().splitlines() or [''])[0]}"
    print(f"{row.title}, {precision}: {', '.join(f'{peer} {note}' for peer, note in notes.items())}", flush=True)
    times = {peer: [] for peer in fits}
    for _ in range(options.rounds):
        for peer, fit in fits.items():
            time.sleep(machine.PAUSE)
            times[peer].append(1000 * machine.turn(fit, options.tiny))
    print(", ".join(f"{peer} {report.spread(values)} ms" for peer, values in times.items()), flush=True)
    result = {"row": row.title, "precision": precision, "epochs": row.epochs, "notes": notes}
    return result | {"milliseconds": times, "megabytes": {}}


def build(peer, row, X, y, precision):
    if not find_spec(PEERS[peer].module):
        raise NotOffered("not installed")
    return PEERS[peer].build(row, X, y, precision)


def memory_apart(row, peer, precision, tiny):
    """Megabytes of a competitor's fit, in a list, measured in a process of its own."""
    command = [sys.executable, __file__, "--only-memory", "--rows", row.name, "--peers", peer]
    command += ["--precisions", precision, *["--tiny"] * tiny]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(run.stdout.splitlines()[-1])]


def memory_here(row, peer, precision, tiny):
    """What building (compiling) and a fit of one epoch take at most, over libraries and data."""
    import_module(PEERS[peer].module)
    arrays = row.arrays(tiny)
    return machine.peak_memory(lambda: build(peer, replace(row, epochs=1), *arrays, precision))


def lines(results, options):
    """Tables of both precisions and of the memory, with a sentence above each."""
    text = [f"Medians (least-greatest) of {options.rounds} interleaved rounds, Adam. {machine.text()}"]
    for precision in options.precisions:
        rows = [result for result in results if result["precision"] == precision]
        for unit, meaning in UNITS.items():
            measured = [row for row in rows if row[unit]]
            if measured:
                text += ["", f"{precision}, {meaning}:", "", *report.comparison(measured, options.peers, unit)]
    return text


def chart(figure, results, peers):
    """One panel for each precision and unit that was measured."""
    panels = {}
    for result in results:
        for unit in UNITS:
            if result[unit]:
                panels.setdefault((result["precision"], unit), []).append(result)
    figure.set_size_inches(9, 7 * len(panels))
    grid = figure.subplots(len(panels), squeeze=False)[:, 0] if panels else ()
    for axes, ((precision, unit), rows) in zip(grid, panels.items(), strict=True):
        report.bars(axes, rows, peers, unit)
        axes.set_title(precision)


if __name__ == "__main__":
    main()
