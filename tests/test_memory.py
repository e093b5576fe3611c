"""Buffers share a place only when they are never alive together."""

from itertools import pairwise

import numpy as np

from fastnn.memory import allocate, available, lifetimes
from fastnn.plan import Op


def chain(*names, barriers=()):
    return [Op("activation", (a,), (b,), barrier=b in barriers) for a, b in pairwise(names)]


def test_lifetimes_by_op():
    assert lifetimes(chain("a", "b", "c", "d"), "op") == {"a": (0, 0), "b": (0, 1), "c": (1, 2), "d": (2, 2)}


def test_lifetimes_by_phase():
    spans = lifetimes(chain("a", "b", "c", "d", barriers=("c",)), "phase")
    assert spans == {"a": (0, 0), "b": (0, 1), "c": (1, 1), "d": (1, 1)}


def test_a_chain_needs_two_places():
    names = [str(i) for i in range(10)]
    offsets, total = allocate(dict.fromkeys(names, 64), lifetimes(chain(*names), "op"))
    assert total == 128
    assert set(offsets.values()) == {0, 64}


def test_random_buffers_never_overlap():
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = {str(i): int(rng.integers(1, 1000)) for i in range(12)}
        spans = {name: tuple(sorted(rng.integers(0, 8, 2))) for name in sizes}
        offsets, total = allocate(sizes, spans)
        for a in sizes:
            assert offsets[a] % 64 == 0
            assert offsets[a] + sizes[a] <= total
            for b in sizes:
                alive_together = spans[a][0] <= spans[b][1] and spans[b][0] <= spans[a][1]
                apart = offsets[a] + sizes[a] <= offsets[b] or offsets[b] + sizes[b] <= offsets[a]
                assert a == b or apart or not alive_together


def test_memory_that_is_available():
    assert available() is None or 2**20 < available() < 2**50
