"""Products of all columns with each other: native = reference, for any rows, columns and threads."""

import numpy as np
import pytest

from fastnn import ops
from fastnn.native import Runner
from fastnn.passes import place_barriers
from fastnn.plan import Builder
from fastnn.reference.run import Runner as Reference
from tests.native.ops import CHANNELS, TOLERANCE, assert_close

pytestmark = pytest.mark.usefixtures("any_work_deserves_threads")


def products(make, x, batch, **options):
    """The upper triangle after all batches of x, whose rows come in one call."""
    builder = Builder("gradient")
    ops.gram.gram(builder, ops.gather.gather(builder, x.shape[1:]))
    runner = make(place_barriers(builder.plan()), dtype=x.dtype, rows=batch, **options)
    runner.bind(x)
    batches = -(-len(x) // batch)
    assert runner.train(batch, 0, batches, 0, np.zeros(batches), 1e9)[0] == batches
    return np.triu(runner.get("gram.G"))


@pytest.mark.parametrize("columns", CHANNELS)
@pytest.mark.parametrize("rows, batch", [(1, 1), (5, 5), (40, 16), (33, 64)])
def test_every_size(columns, rows, batch, dtype, isa):
    x = np.random.default_rng(columns).standard_normal((rows, columns)).astype(dtype)
    first = products(Runner, x, batch, isa=isa)
    assert_close(first, products(Reference, x, batch), TOLERANCE[dtype], "G")
    for threads in (2, 3, 4):
        assert np.array_equal(products(Runner, x, batch, isa=isa, n_threads=threads), first)
