"""Single ops on both backends: their batch inputs are gathered from X and y, the others set."""

import numpy as np

from fastnn.native import Runner as Native
from fastnn.passes import place_barriers
from fastnn.plan import Buffer, Op, Plan
from fastnn.reference.run import Runner as Reference
from fastnn.reference.run import trace
from tests.native.once import once

CHANNELS = (1, 3, 7, 8, 9, 15, 16, 17, 33, 64, 65, 130)
TOLERANCE = {np.float32: 3e-5, np.float64: 1e-11}
BFLOAT16 = 2.0**-7  # from one number to the next one


class Case:
    """Ops between a gather of X (and y) and their outputs.

    Parameters
    ----------
    ops : list of Op
    inputs : dict of str to array
        Batch inputs, one or two: (rows, *shape).
    fixed : dict of str to array
        Parameters.
    outputs : dict of str to (shape, role)
    rows_layout, bits_layout, rounded : tuple of str
        Batch buffers that lie row by row, as bits, or as numbers of bfloat16.
    also : tuple of str
        Parameters that the ops change.
    packed : dict of str to tuple
        Shapes of the copies of weights that the ops make for products of bfloat16.
    """

    def __init__(
        self, ops, inputs, outputs, fixed=None, rows_layout=(), also=(), packed=None, bits_layout=(), rounded=()
    ):
        self.fixed = fixed or {}
        self.sources = dict(zip(("X", "y"), inputs.values(), strict=False))
        layout = {name: "rows" for name in rows_layout} | {name: "bits" for name in bits_layout}
        layout |= {name: "rounded" for name in rounded}
        buffers = {name: Buffer(name, x.shape[1:], "batch", layout.get(name, "panels")) for name, x in inputs.items()}
        buffers |= {name: Buffer(name, x.shape, "parameter") for name, x in self.fixed.items()}
        buffers |= {name: Buffer(name, *place, layout.get(name, "panels")) for name, place in outputs.items()}
        buffers |= {name: Buffer(name, shape, "transposed", "bfloat16") for name, shape in (packed or {}).items()}
        fill = []
        for source, name in zip(("X", "y"), inputs, strict=False):
            buffers[source] = Buffer(source, buffers[name].shape, "source")
            attributes = {} if source == "X" else {"one_hot": False, "on": 1.0, "off": 0.0}
            fill.append(Op("gather" if source == "X" else "gather_target", (source,), (name,), attributes))
        self.outputs = (*outputs, *also)
        plan = Plan("gradient", buffers, step=(*fill, *ops), parameters=tuple(self.fixed))
        self.plan = place_barriers(plan)

    def reference(self, dtype, step=4):
        """What each output holds in the end."""
        results = reference(self.plan, self.sources, self.fixed, dtype, step)
        return {name: results[name] for name in self.outputs}

    def native(self, dtype, isa, threads=1, capacity=None, step=4):
        rows = len(self.sources["X"])
        options = {"dtype": dtype, "rows": capacity or rows, "n_threads": threads, "seed": 7, "isa": isa, "keep": True}
        self.runner = runner = bound(Native(self.plan, **options), self.sources, self.fixed)
        runner.train(rows, 0, 1, step, np.array([0.0]), 1e9)
        return {name: self._rows(name, runner.get(name), rows) for name in self.outputs}

    def _rows(self, name, value, rows):
        return value[:rows] if self.plan.buffers[name].role in ("batch", "row") else value


def bound(runner, sources, fixed):
    runner.bind(*sources.values())
    for name, value in fixed.items():
        runner.set(name, value)
    return runner


@once
def reference(plan, sources, fixed, dtype, step):
    runner = Reference(plan, dtype=dtype, rows=len(sources["X"]), seed=7)
    results = {}
    for traced in trace(bound(runner, sources, fixed), step=step):
        results |= traced.outputs
    return results


def check(case, dtype, isa, exact=(), widen=1.0, expected=None):
    """Both backends agree, and bits do not depend on threads or on room for more rows. `expected`: values to agree
    with, by default those of the reference."""
    expected, first = expected or case.reference(dtype), case.native(dtype, isa)
    for name, value in expected.items():
        rounded = case.plan.buffers[name].layout == "rounded"
        assert_close(
            first[name], value, 0.0 if name in exact else widen * TOLERANCE[dtype], name, BFLOAT16 if rounded else 0.0
        )
    rows = len(case.sources["X"])
    for threads, capacity in ((2, rows), (3, rows + 3), (4, rows + 1)):
        other = case.native(dtype, isa, threads, capacity)
        for name, value in first.items():
            assert np.array_equal(other[name], value, equal_nan=True), f"{name} differs with {threads} threads"


def assert_close(actual, expected, tolerance, where, unit=0.0):
    """`tolerance` is for the largest element, and `unit` for each: that of its last place."""
    assert np.array_equal(np.isnan(actual), np.isnan(expected)), f"{where}: NaN elsewhere"
    scale = max(1e-2, np.nanmax(np.abs(expected), initial=0.0))
    error = np.nanmax(np.abs(actual - expected) - unit * np.abs(expected), initial=0.0) / scale
    assert error <= tolerance, f"{where}: differs by {error:.2g} of its largest element"
