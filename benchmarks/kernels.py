"""One op of a plan, timed alone: the op repeated in a plan of its own, run by the native backend on one thread.

Before every round the probe of the arithmetic peak runs too, so a clock that drifts changes both. The rows are gathered
at the start of a call; the op's repetitions keep that below one or two hundredths of its time.
"""

import statistics
from dataclasses import dataclass
from importlib.util import find_spec
from time import perf_counter

import numpy as np

from fastnn.native import Runner, _executor
from fastnn.plan import Buffer, Op, Plan

ISAS = _executor.isa_names()
HAS_TORCH = find_spec("torch") is not None  # PyTorch's kernels are timed beside ours where it is installed
REPEATS = 8, 1000  # least and most executions of the op in one call, enough for OPERATIONS or BYTES
OPERATIONS, BYTES = 2e8, 4e7
ROUNDS, BUDGET = (5, 15), 0.4  # least and most rounds, as many as take so many seconds
RATES = np.array([1e-3])


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
        Bytes read and written, in float32.
    rounded : bool
        Whether the operands are rounded to bfloat16; a buffer "copy" then holds the packed weights "W".
    """

    op: Op
    rows: int
    operands: dict
    operations: int = 0
    bytes: int = 0
    rounded: bool = False

    def plan(self, repeats):
        """The op `repeats` times, after ops that fill its batch inputs from X and y."""
        buffers = {name: Buffer(name, *operand) for name, operand in self.operands.items()}
        buffers["X"], fill = Buffer("X", (1,), "source"), []
        for name, source in zip(self.batch_inputs, ("X", "y"), strict=False):
            buffers[source] = Buffer(source, buffers[name].shape, "source")
            fill.append(_fill(source, name))
        if "copy" in buffers:
            fill.append(Op("pack", ("W",), ("copy",), {"precision": "bfloat16"}, "columns"))
        return Plan("kernel", buffers, step=(*fill, *(self.op,) * repeats))

    @property
    def repeats(self):
        """Executions in a call: the same on every machine, so that stored times can be compared."""
        wanted = OPERATIONS / self.operations if self.operations else BYTES / self.bytes
        return int(np.clip(wanted, *REPEATS))

    @property
    def batch_inputs(self):
        return [name for name in self.op.inputs if self.operands[name][1] == "batch"]

    def call(self, isa, repeats):
        """A function that runs the op `repeats` times on random numbers."""
        plan, random = self.plan(repeats), np.random.default_rng(0)
        runner = Runner(plan, dtype=np.float32, rows=self.rows, isa=isa)
        for name in self.operands:
            shape, role, *_ = self.operands[name]
            if role not in ("batch", "transposed") and (name in self.op.inputs or name == "W"):
                # Positive: the second moments of an optimiser are.
                runner.set(name, random.uniform(0.01, 1.0, shape))
        sources = [random.normal(size=(self.rows, *self.operands[name][0])) for name in self.batch_inputs]
        sources = [source.astype(np.float32) for source in sources] or [np.zeros((self.rows, 1), np.float32)]
        runner.bind(*sources)
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


class Probe:
    """The peak of one core in floating-point operations a second, measured again at every call."""

    def __init__(self, isa, rounded=False):
        self.isa, self.repeats, self.rates, self.rounded = isa, 1000, [], rounded
        while seconds(self._run) < 0.001:
            self.repeats *= 2

    def _run(self):
        if self.rounded:
            return _executor.bfloat16_peak(self.isa, self.repeats)
        return _executor.peak(self.isa, 4, self.repeats)

    def __call__(self):
        start = perf_counter()
        operations = self._run()
        self.rates.append(operations / (perf_counter() - start))


def measure(benchmark, kernel, isa):
    """Benchmarks a kernel; returns its numbers (also in `extra_info`), or None where benchmarks are disabled."""
    if benchmark.disabled:
        benchmark(kernel.call(isa, 1))
        return None
    call, probe = kernel.call(isa, kernel.repeats), Probe(isa, kernel.rounded)
    call()
    rounds = int(np.clip(BUDGET / seconds(call), *ROUNDS))
    benchmark.pedantic(call, setup=probe, rounds=rounds, warmup_rounds=1)
    times = [time / kernel.repeats for time in benchmark.stats.stats.data]
    peaks = probe.rates[-len(times) :]
    numbers = {"isa": isa, "threads": 1, "repeats": kernel.repeats, "microseconds": 1e6 * statistics.median(times)}
    if kernel.operations:
        numbers["GFLOP/s"] = 1e-9 * kernel.operations / statistics.median(times)
        numbers["peak GFLOP/s"] = 1e-9 * statistics.median(peaks)
        shares = [kernel.operations / time / peak for time, peak in zip(times, peaks, strict=True)]
        numbers["share of peak"] = statistics.median(shares)
    else:
        numbers["GB/s"] = 1e-9 * kernel.bytes / statistics.median(times)
    benchmark.extra_info.update(numbers)
    return numbers
