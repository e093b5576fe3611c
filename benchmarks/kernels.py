"""Single ops of a plan at the shapes of networks, on every instruction set, on one thread and on all cores.

An op is repeated in a plan of its own, which the native backend runs. Before every round a probe runs on as many
threads, so a clock that drifts changes both: the arithmetic peak where multiply-adds are what counts, else the
bandwidth of two streams of the op's own size, so that an op inside the cache is held against the cache. The rows are
gathered at the start of a call; the op's repetitions keep that below one or two hundredths of its time. The ops are in
bench_*.py, which `pytest benchmarks` runs too.

    python benchmarks/kernels.py                       # all
    python benchmarks/kernels.py dense --isa avx512    # of bench_dense.py, on one instruction set
"""

import statistics
import sys
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import prod
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import report
from machine import CORES

from fastnn.native import Runner, _machine, _packed, _peak
from fastnn.plan import Buffer, Op, Plan

ISAS = _machine.isa_names()
ALL_ISAS = _machine.isa_names(bfloat16=True)
HAS_TORCH = find_spec("torch") is not None  # PyTorch's kernels are timed beside ours where it is installed
REPEATS = 8, 1000  # least and most executions of the op in one call, enough for OPERATIONS or BYTES
OPERATIONS, BYTES = 2e8, 4e7
RUN = 16  # zeros side by side, as beside the strokes of a digit
ROUNDS, BUDGET = (5, 15), 0.4  # least and most rounds, as many as take so many seconds
PROBE = {"GFLOP/s": 2e8, "GB/s": 1e8}  # operations or bytes of each thread in a call of the probe: some milliseconds
RATES = np.array([1e-3])
THREADS = sorted({1, CORES})


@dataclass(frozen=True)
class Kernel:
    """An op, its operands and what one execution costs.

    Attributes
    ----------
    op : Op
    rows : int
    operands : dict of str to (tuple of int, str) or (tuple of int, str, str)
        Shape, role and maybe layout of each buffer; at most two inputs may have the role "batch".
    operations : int
        Floating-point operations; 0 where bytes are what counts.
    bytes : int
        Bytes read and written, in float32; 0: every operand once.
    rounded : bool
        Whether the operands are rounded to bfloat16; a buffer "copy" then holds the packed weights "W".
    zeros : float
        Share of "x" that is zero, in runs; a buffer "bits" then tells what is not.
    """

    op: Op
    rows: int
    operands: dict
    operations: int = 0
    bytes: int = 0
    rounded: bool = False
    zeros: float = 0.0

    def plan(self, repeats):
        """The op `repeats` times, after ops that fill its batch inputs from X and y."""
        buffers = {name: Buffer(name, *operand) for name, operand in self.operands.items()}
        buffers["X"], fill = Buffer("X", (1,), "source"), []
        for name, source in zip(self.batch_inputs, ("X", "y"), strict=False):
            buffers[source] = Buffer(source, buffers[name].shape, "source")
            fill.append(_fill(source, name))
        if "copy" in buffers:
            fill.append(Op("pack", ("W",), ("copy",), {"precision": "bfloat16"}, "columns"))
        if "bits" in buffers:
            fill.append(Op("nonzero", ("x",), ("bits",)))
        return Plan("kernel", buffers, step=(*fill, *(self.op,) * repeats))

    @property
    def repeats(self):
        """Executions in a call: the same on every machine, so that stored times can be compared."""
        wanted = OPERATIONS / self.operations if self.operations else BYTES / self.traffic
        return int(np.clip(wanted, *REPEATS))

    @property
    def traffic(self):
        of_rows = "batch", "row", "row_loss", "source"
        shapes = ((self.rows if role in of_rows else 1, *shape) for shape, role, *_ in self.operands.values())
        return self.bytes or 4 * sum(map(prod, shapes))

    @property
    def batch_inputs(self):
        return [name for name in self.op.inputs if self.operands[name][1] == "batch" and name != "bits"]

    def runner(self, plan, isa, threads, **options):
        runner = Runner(plan, dtype=np.float32, rows=self.rows, isa=isa, **options)
        runner._pace = Always(threads)
        return runner

    def call(self, isa, repeats, threads):
        """A function that runs the op `repeats` times on random numbers."""
        plan, random = self.plan(repeats), np.random.default_rng(0)
        runner = self.runner(plan, isa, threads)
        for name in self.operands:
            shape, role, *_ = self.operands[name]
            if role not in ("batch", "transposed") and (name in self.op.inputs or name == "W"):
                # Positive: the second moments of an optimiser are.
                runner.set(name, random.uniform(0.01, 1.0, shape))
        sources = [random.normal(size=(self.rows, *self.operands[name][0])) for name in self.batch_inputs]
        sources = [source.astype(np.float32) for source in sources] or [np.zeros((self.rows, 1), np.float32)]
        sources[0].flat[np.repeat(random.random(-(-sources[0].size // RUN)) < self.zeros, RUN)[: sources[0].size]] = 0
        runner.bind(*sources)
        return lambda: runner.train(self.rows, 0, 1, 0, RATES, np.inf)


@dataclass(frozen=True)
class Placed(Kernel):
    """A kernel whose operands are put into their buffers directly: any number of batch inputs, in either layout."""

    def call(self, isa, repeats, threads):
        random = np.random.default_rng(0)
        buffers = {name: Buffer(name, *operand) for name, operand in self.operands.items()}
        plan = Plan("kernel", buffers | {"X": Buffer("X", (1,), "source")}, step=(self.op,) * repeats)
        runner = self.runner(plan, isa, threads, keep=True)
        runner.bind(np.zeros((self.rows, 1), np.float32))
        runner.train(self.rows, 0, 1, 0, RATES, np.inf)  # makes room for them
        for name in self.op.inputs:
            size = runner.layout.shape(name)
            values = random.integers(0, 4, size) if name == "index" else random.normal(size=size)
            # What goes around a loop through weights must not grow.
            scale = 1.0 if buffers[name].role == "batch" else 1.0 / np.sqrt(size[0])
            matrix = (values * scale).astype(np.float32)
            if buffers[name].layout == "rows":
                runner._view(name)[:] = matrix.ravel()
            else:
                _packed.pack(isa, matrix, runner._view(name))
        return lambda: runner.train(self.rows, 0, 1, 0, RATES, np.inf)


def _fill(source, name):
    if source == "X":
        return Op("gather", ("X",), (name,))
    return Op("gather_target", ("y",), (name,), {"one_hot": False, "on": 1.0, "off": 0.0})


def seconds(function):
    """Wall time of one call."""
    start = perf_counter()
    function()
    return perf_counter() - start


class Always:
    """The pace of a Runner that keeps to so many threads, whether they pay or not."""

    def __init__(self, threads):
        self.threads = threads

    def next(self, n_batches):
        return self.threads, n_batches

    def record(self, threads, batches, seconds):
        pass


class Probe:
    """A peak to hold something against, measured again at every call: operations or bytes a second.

    Attributes
    ----------
    unit : str
        "GFLOP/s" of multiply-adds in registers, or "GB/s" of two streams of as many bytes as the kernel moves.
    rates : list of float
    """

    def __init__(self, unit, run, work, tiny):
        """`run` takes a number of repeats, of `work` operations or bytes of each thread, and returns them in all."""
        self.unit, self.rates, self._run = unit, [], run
        self.repeats = 1 if tiny else int(PROBE[unit] / work) + 1

    def __call__(self):
        self._run(self.repeats)  # after another round's work the first run would be slower, by half on some hosts
        start = perf_counter()
        work = self._run(self.repeats)
        self.rates.append(1e-9 * work / (perf_counter() - start))


def arithmetic_probe(isa, threads, tiny, rounded=False):
    """Of multiply-adds in float32, or with `rounded` of products of bfloat16."""
    peak = partial(_peak.bfloat16_peak, isa) if rounded else partial(_peak.peak, isa, 4)
    return Probe("GFLOP/s", lambda n: peak(n, threads), peak(1), tiny)


def probe_for(kernel, isa, threads, tiny):
    """Of what bounds a kernel: arithmetic, or streams of as many bytes as it moves."""
    if kernel.operations:
        return arithmetic_probe(isa, threads, tiny, kernel.rounded)
    x, y = np.zeros((2, max(kernel.traffic // 8, 64 * threads)), np.float32)
    return Probe("GB/s", lambda n: _peak.stream(isa, x, y, n, threads), 3 * x.nbytes / threads, tiny)


def measure(benchmark, kernel, isa, threads, tiny=False):
    """Benchmarks a kernel; returns its numbers (also in `extra_info`), or None where benchmarks are disabled."""
    if benchmark.disabled:
        benchmark(kernel.call(isa, 1, threads))
        return None
    repeats, rounds = 1 if tiny else kernel.repeats, 1
    call, probe = kernel.call(isa, repeats, threads), probe_for(kernel, isa, threads, tiny)
    if not tiny:
        call()
        rounds = int(np.clip(BUDGET / seconds(call), *ROUNDS))
    benchmark.pedantic(call, setup=probe, rounds=rounds, warmup_rounds=0 if tiny else 1)
    times = [time / repeats for time in benchmark.stats.stats.data]
    work = kernel.operations or kernel.traffic
    shares = [1e-9 * work / time / peak for time, peak in zip(times, probe.rates[-len(times) :], strict=True)]
    numbers = {"op": kernel.op.kind, "isa": isa, "threads": threads, "repeats": repeats}
    numbers["microseconds"] = 1e6 * statistics.median(times)
    numbers |= {"GB/s": 1e-9 * kernel.traffic / statistics.median(times), "share of": probe.unit}
    numbers |= {"share": statistics.median(shares), "peak": statistics.median(probe.rates)}
    if kernel.operations:
        numbers["GFLOP/s"] = 1e-9 * kernel.operations / statistics.median(times)
    benchmark.extra_info.update(numbers)
    return numbers


def table(results):
    """Lines of a Markdown table of (name, numbers) pairs: a row for a kernel and an instruction set."""
    threads = sorted({numbers["threads"] for _, numbers in results})
    rows = {}
    for name, numbers in results:
        rows.setdefault((name, numbers["isa"]), {})[numbers["threads"]] = numbers
    head = ["", "isa"]
    for n in threads:
        head += [f"us, {n} thread{'s' * (n > 1)}", "GFLOP/s", "GB/s", "share of peak"]
    return report.table([head, *([*key, *_cells(row, threads)] for key, row in rows.items())])


def _cells(row, threads):
    for n in threads:
        numbers = row.get(n)
        if numbers is None:
            yield from ("",) * 4
            continue
        yield report.digits(numbers["microseconds"])
        yield report.digits(numbers["GFLOP/s"]) if "GFLOP/s" in numbers else ""
        yield report.digits(numbers["GB/s"])
        yield f"{100 * numbers['share']:.0f} % of {report.digits(numbers['peak'])} {numbers['share of']}"


def main(arguments=None):
    folder = Path(__file__).parent
    subjects = sorted(path.stem.removeprefix("bench_") for path in folder.glob("bench_*.py"))
    parser = report.parser(__doc__)
    parser.add_argument("subjects", nargs="*", default=subjects, metavar="subject", help=f"of {', '.join(subjects)}")
    parser.add_argument("--isa", nargs="+", choices=ALL_ISAS, default=ALL_ISAS, help="instruction sets")
    parser.add_argument("--threads", nargs="+", type=int, default=THREADS, help="numbers of threads")
    options = report.parse(parser, arguments)
    if options.tiny:
        options.threads = THREADS[:1]
    command = ["-q", "-s", "-p", "no:cacheprovider", "--benchmark-quiet", f"--results={options.results}"]
    command += [f"--write={options.write}"] * bool(options.write) + ["--tiny"] * options.tiny
    command += [f"--isa={isa}" for isa in options.isa] + [f"--threads={n}" for n in options.threads]
    return pytest.main([*command, *(str(folder / f"bench_{subject}.py") for subject in options.subjects)])


if __name__ == "__main__":
    sys.exit(main())
