"""Where a Runner's numbers lie."""

import pytest

from fastnn.native.run import HUGE_PAGE, LARGE, aligned


@pytest.mark.parametrize("size", [1, 64, LARGE - 1])
def test_small_arenas_start_at_a_line_of_the_cache(size):
    arena = aligned(size)
    assert arena.ctypes.data % 64 == 0
    assert arena.shape == (size,)
    assert not arena.any()


@pytest.mark.parametrize("size", [LARGE, HUGE_PAGE + 1, 3 * HUGE_PAGE])
def test_large_arenas_start_at_a_huge_page_of_an_array_that_gets_some(size):
    arena = aligned(size)
    assert arena.ctypes.data % HUGE_PAGE == 0
    assert arena.base.nbytes >= 4 << 20
    assert arena.shape == (size,)
    assert not arena.any()
