"""Other shapes and sums, whatever the layouts: native = reference."""

import numpy as np
import pytest

from fastnn.plan import Op
from tests.native.ops import CHANNELS, Case, check

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


@pytest.mark.parametrize("gathered", [(), ("x",)], ids=["panels", "rows"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_reshape(channels, gathered, dtype, isa):
    rng = np.random.default_rng(channels)
    for shape in ((5, 6, channels), (7, channels), (4, 4, channels)):
        x, size = rng.standard_normal((5, *shape)).astype(dtype), int(np.prod(shape))
        targets = [(size,), (size, 1), (1, size), shape, (channels, size // channels)]
        outputs = {f"y{i}": (target, "batch") for i, target in enumerate(targets)}
        ops = [Op("reshape", ("x",), (name,)) for name in outputs]
        check(Case(ops, {"x": x}, outputs, rows_layout=gathered), dtype, isa, exact=tuple(outputs))


@pytest.mark.parametrize("channels", CHANNELS)
def test_add(channels, dtype, isa):
    rng = np.random.default_rng(channels)
    for shape in ((channels,), (5, channels), (3, 4, channels)):
        a, b = rng.standard_normal((2, 6, *shape)).astype(dtype)
        case = Case([Op("add", ("a", "b"), ("out",))], {"a": a, "b": b}, {"out": (shape, "batch")})
        check(case, dtype, isa, exact=("out",))


@pytest.mark.parametrize("outputs", [("out",), ("out", "sum"), ("a",)], ids=str)
def test_add_and_activation(outputs, dtype, isa):
    """In a place of its own or in that of an operand, beside the sum where that is read, too."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 6, 70)).astype(dtype)
    op = Op("add", ("a", "b"), outputs, {"activation": ("leaky_relu", 0.25)})
    check(Case([op], {"a": a, "b": b}, {name: ((70,), "batch") for name in outputs}), dtype, isa, exact=outputs)


@pytest.mark.parametrize("right", CHANNELS)
@pytest.mark.parametrize("left", CHANNELS)
def test_columns_side_by_side_and_apart(left, right, dtype, isa):
    rng = np.random.default_rng(left)
    for positions in ((), (5,)):
        a, b = (rng.standard_normal((6, *positions, columns)).astype(dtype) for columns in (left, right))
        ops = [
            Op("concatenate", ("a", "b"), ("both",)),
            Op("take_columns", ("both",), ("left",), {"first": 0}),
            Op("take_columns", ("both",), ("right",), {"first": left}),
        ]
        columns = {"both": left + right, "left": left, "right": right}
        outputs = {name: ((*positions, n), "batch") for name, n in columns.items()}
        check(Case(ops, {"a": a, "b": b}, outputs), dtype, isa, exact=tuple(outputs))
