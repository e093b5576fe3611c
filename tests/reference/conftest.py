"""Runs a single op of the reference on plain arrays."""

import pytest

from fastnn.plan import Op
from fastnn.reference import OPS, Step


@pytest.fixture
def execute():
    """execute(kind, inputs, outputs, attributes, step) -> dict of buffers.

    `inputs` maps names to arrays in operand order; `outputs` is a tuple of names, or maps names to
    what their buffers hold before.
    """

    def run(kind, inputs, outputs, attributes=None, step=None):
        before = outputs if isinstance(outputs, dict) else {}
        buffers = {**before, **inputs}
        op = Op(kind, tuple(inputs), tuple(outputs), attributes or {})
        if step is None:
            rows = next(iter(inputs.values())).shape[0]
            step = Step(n=rows, weight_sum=float(rows))
        OPS[kind](op, buffers, step)
        return buffers

    return run
