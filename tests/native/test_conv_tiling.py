"""The runs of an axis name every pair of a row and a step that meets the image, once, and where it lies."""

import numpy as np
import pytest

from fastnn.native.conv_tiling import Axis

PRODUCTS = ("forward", "grad_input", "grad_weights")


def random_axis(rng):
    """Any axis, also one where windows lie wholly outside, or where a pool leaves outputs out."""
    size, kernel, stride, dilation = rng.integers(1, 20), rng.integers(1, 9), rng.integers(1, 7), rng.integers(1, 5)
    before = rng.integers(0, 12)
    outputs = max(1, (size + before + rng.integers(0, 12) - dilation * (kernel - 1) - 1) // stride + 1)
    places = np.flatnonzero(rng.random(outputs) < 0.8) if rng.random() < 0.4 else np.arange(outputs)
    return Axis(*map(int, (size, kernel, stride, dilation, before)), tuple(map(int, places)) or (0,))


def meeting(axis):
    """(output, tap) -> place in the image, one by one."""
    at = {(o, u): o * axis.stride - axis.before + u * axis.dilation for o in axis.places for u in range(axis.kernel)}
    return {pair: place for pair, place in at.items() if 0 <= place < axis.size}


def expected(axis, product):
    """(row, step, row + step) as the table in conv_tiling.py says."""
    pairs = meeting(axis).items()
    if product == "forward":
        return sorted((o, u, place) for (o, u), place in pairs)
    if product == "grad_weights":
        return sorted((u, o, place) for (o, u), place in pairs)
    every = meeting(axis._replace(places=tuple(range(axis.outputs)))).items()  # dz has zeros where no output counts
    return sorted((place, u, o) for (o, u), place in every)


@pytest.mark.parametrize("product", PRODUCTS)
def test_runs_hold_what_meets_the_image(product):
    rng = np.random.default_rng(0)
    for _ in range(300):
        axis = random_axis(rng)
        found = [
            (int(row), int(step), int(row_at + step_at))
            for run in getattr(axis, product)(margin=False)
            for row, row_at in zip(run.rows, run.row_at, strict=True)
            for step, step_at in zip(run.steps, run.step_at, strict=True)
        ]
        assert sorted(found) == expected(axis, product), axis


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_margin_adds_steps_and_changes_none(product):
    rng = np.random.default_rng(1)
    for _ in range(100):
        axis = random_axis(rng)
        rows = [{}, {}]
        for margin in (False, True):
            for run in getattr(axis, product)(margin):
                at = dict(zip(run.steps.tolist(), run.step_at.tolist(), strict=True))
                rows[margin] |= {row: (run.row_at[i], at) for i, row in enumerate(run.rows.tolist())}
        assert rows[0].keys() == rows[1].keys()
        for row, (row_at, at) in rows[0].items():
            assert rows[1][row][0] == row_at
            assert at.items() <= rows[1][row][1].items(), axis
