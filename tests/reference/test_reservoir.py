"""States of reservoirs: the recursion itself, links as a matrix, leaks, and sequences that do not touch each other."""

import numpy as np
import pytest

from fastnn.ops.reservoir import Links

RANDOM = np.random.RandomState(0)
UNITS, CHANNELS = 6, 2
u, start = RANDOM.normal(size=(4, 5, CHANNELS)), RANDOM.uniform(-1, 1, (4, UNITS))
W_in, b, W = RANDOM.normal(size=(CHANNELS, UNITS)), RANDOM.normal(size=UNITS), RANDOM.normal(size=(UNITS, UNITS))


def states(execute, u=u, start=start, W=W, activation=("tanh",), leak=0.3, links=None, dtype=np.float64):
    operands = {"u": u, "start": start, "W_in": W_in, "b": b, "W": W}
    operands = {name: array.astype(dtype) for name, array in operands.items()}
    attributes = {"activation": activation, "leak": leak, "links": links}
    return execute("reservoir", operands, ("s",), attributes)["s"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_states_follow_the_recursion(execute, dtype):
    result, s = states(execute, dtype=dtype), start
    assert result.dtype == dtype
    for t in range(u.shape[1]):
        s = 0.7 * s + 0.3 * np.tanh(u[:, t] @ W_in + s @ W + b)
        np.testing.assert_allclose(result[:, t], s, rtol=1e-4, atol=1e-5)


def test_links_are_a_matrix_with_cyclic_diagonals(execute):
    shift, weights = np.array([0, 2, 5], np.int32), RANDOM.normal(size=(3, UNITS))
    matrix = np.zeros((UNITS, UNITS))
    for distance, row in zip(shift, weights, strict=True):
        for unit in range(UNITS):
            matrix[(unit + distance) % UNITS, unit] = row[unit]
    linked = states(execute, W=weights, links=Links(shift))
    np.testing.assert_allclose(linked, states(execute, W=matrix), rtol=1e-12)


def test_without_a_leak_the_activation_is_the_state(execute):
    result = states(execute, activation=("relu",), leak=1.0)
    np.testing.assert_allclose(result[:, 0], np.maximum(u[:, 0] @ W_in + start @ W + b, 0.0))


def test_a_run_may_be_cut_anywhere(execute):
    whole, first = states(execute), states(execute, u=u[:, :2])
    rest = states(execute, u=u[:, 2:], start=first[:, -1])
    assert np.array_equal(np.concatenate([first, rest], axis=1), whole)


@pytest.mark.parametrize("links", [None, Links(np.array([1, 4], np.int32))])
def test_bits_do_not_depend_on_company(execute, links):
    weights = W if links is None else W[:2]
    together = states(execute, W=weights, links=links)
    for r in range(len(u)):
        alone = states(execute, u=u[r : r + 1], start=start[r : r + 1], W=weights, links=links)
        assert np.array_equal(alone[0], together[r])
