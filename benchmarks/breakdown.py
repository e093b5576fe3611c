"""What the steps of `fit` are made of: time of every op of the plan, waits, and shares of the machine's peak.

The networks and data are those of race.py. For each op the table has the time in a step on the average of the threads,
how long they wait before it for each other, and, where it multiplies, GFLOP/s and their share of the peak of
multiply-adds (of bfloat16 products with precision="bfloat16") that a probe measures before every round on as many
threads. A product in a first layer counts in full even where it leaves out zeros.

    python benchmarks/breakdown.py --rows 20k mnist-100
"""

import statistics
from unittest import mock

import numpy as np
import peers
import race
import report
from kernels import Always, arithmetic_probe

from fastnn import training
from fastnn.native import Runner, _machine
from fastnn.native.threads import threads_for

END = "end of the batch"


class Timed(Runner):
    """A Runner that keeps to one number of threads and takes the times of its ops when it trains."""

    __module__ = Runner.__module__  # by which training knows that it can use threads
    trained = None  # the last one that has trained

    def __init__(self, plan, *, rows, **options):
        super().__init__(plan, rows=rows, **options)
        self.steps = 0
        if plan.purpose == "train":
            threads = threads_for(2 * plan.multiply_adds * rows, self.limit())
            self._pace, self.times = Always(threads), np.zeros((threads, len(plan.ops) + 1, 2))

    def train(self, *arguments, **options):
        done, loss = super().train(*arguments, **options)
        self.steps += done
        Timed.trained = self
        return done, loss


def main(arguments=None):
    parser = report.parser(__doc__, rounds=5)
    names = [row.name for row in race.ROWS]
    parser.add_argument("--rows", nargs="+", choices=names, default=names, help="data sets and networks")
    parser.add_argument("--precisions", nargs="+", choices=peers.PRECISIONS, default=peers.PRECISIONS)
    options = report.parse(parser, arguments)
    options.epochs, results = None, []
    for precision in options.precisions:
        for name in options.rows:
            try:
                results.append(measure(race.row_named(name, options), precision, options))
            except FileNotFoundError as cause:
                print(f"{name}: skipped; {cause}")
    lines = [line for result in results for line in (title(result), "", *table(result), "")]
    report.save("breakdown", options, lines, results)


def measure(row, precision, options):
    """Times of a row's ops in a step, medians over rounds: a dict for the table and for JSON."""
    X, y = row.arrays(options.tiny)
    rounds = []
    with mock.patch.object(training, "runner_class", lambda backend: Timed):
        fit, _ = peers.PEERS["fastnn"].build(row, X, y, precision)
        threads = len(Timed.trained.times)
        probe = arithmetic_probe(_machine.best_isa(), threads, options.tiny, precision == "bfloat16")
        for _ in range(options.rounds):
            probe()
            fit()
            rounds.append(1e6 * Timed.trained.times / Timed.trained.steps)
    plan, rows = Timed.trained.plan, len(X) * row.epochs / Timed.trained.steps
    microseconds = np.median(rounds, axis=0)
    ops = []
    for op, (waits, works) in zip((*plan.ops, None), microseconds.transpose(1, 2, 0), strict=True):
        kind, output, operations = END, "", 0
        if op is not None:
            shape = "x".join(map(str, plan.buffers[op.outputs[0]].shape))
            kind, output, operations = op.kind, f"{op.outputs[0]} {shape}", 2 * op.multiply_adds * rows
        ops.append({"op": kind, "output": output, "operations": operations})
        ops[-1] |= {"microseconds": works.tolist(), "waits": waits.tolist()}
    return {"row": row.title, "precision": precision, "peak": statistics.median(probe.rates), "ops": ops}


def total(result):
    """Microseconds of a step: work and waits of the average thread."""
    return sum(statistics.mean(op["microseconds"]) + statistics.mean(op["waits"]) for op in result["ops"])


def title(result):
    operations = 1e-3 * sum(op["operations"] for op in result["ops"])  # per microsecond: GFLOP/s
    threads, peak = len(result["ops"][0]["waits"]), result["peak"]
    return (
        f"{result['row']}, {result['precision']}, {threads} thread{'s' * (threads > 1)}: "
        f"{report.digits(total(result))} microseconds a step; products at the peak of {report.digits(peak)} GFLOP/s "
        f"alone would take {report.digits(operations / peak)}"
    )


def table(result):
    """Lines of a Markdown table with a row for each op."""
    whole, cells = total(result), [["op", "output", "us", "us waiting", "of the step", "GFLOP/s", "of the peak"]]
    for op in result["ops"]:
        work, wait = statistics.mean(op["microseconds"]), statistics.mean(op["waits"])
        rate = 1e-3 * op["operations"] / work if work else 0.0
        cells.append([op["op"], op["output"], f"{work:.1f}", f"{wait:.1f}", _percent((work + wait) / whole)])
        cells[-1] += [report.digits(rate), _percent(rate / result["peak"])] if rate else ["", ""]
    return report.table(cells)


def _percent(share):
    return f"{100 * share:.0f} %"


if __name__ == "__main__":
    main()
