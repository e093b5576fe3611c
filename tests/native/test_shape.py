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
