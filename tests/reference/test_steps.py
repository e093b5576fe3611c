"""Last step, mean and maximum of sequences, equally long or not: what they choose, finite differences, bits."""

import numpy as np
import pytest

from tests.reference.differences import central_differences

ROWS, TIME, CHANNELS = 4, 6, 3
LENGTHS = np.array([[2.0], [6.0], [1.0], [5.0]])
KINDS = {
    "last step": ("last_step", {"reverse": False}),
    "last step backwards": ("last_step", {"reverse": True}),
    "mean": ("mean_over_steps", {}),
    "maximum": ("max_over_steps", {}),
}
REDUCE = {
    "last step": lambda steps: steps[-1],
    "last step backwards": lambda steps: steps[0],
    "mean": lambda steps: steps.mean(axis=0),
    "maximum": lambda steps: steps.max(axis=0),
}
each = pytest.mark.parametrize("name", KINDS)
unequal = pytest.mark.parametrize("unequal", [False, True])


def operands(unequal):
    """x without values near each other, with NaN where steps do not count, and the lengths where these differ."""
    x = np.random.default_rng(0).permutation(ROWS * TIME * CHANNELS).reshape(ROWS, TIME, CHANNELS) / 8.0
    if not unequal:
        return {"x": x}
    x[np.arange(TIME) >= LENGTHS] = np.nan
    return {"x": x, "lengths": LENGTHS}


def reduced(execute, name, inputs):
    """The outputs of an op on these operands: y, and of a maximum the index."""
    kind, attributes = KINDS[name]
    outputs = ("y", "index") if kind == "max_over_steps" else ("y",)
    attributes = attributes | {"lengths": "lengths" in inputs}
    buffers = execute(kind, inputs, outputs, attributes)
    return {output: buffers[output] for output in outputs}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@unequal
@each
def test_each_row_is_reduced_over_its_own_steps(execute, name, unequal, dtype):
    inputs = {operand: value.astype(dtype) for operand, value in operands(unequal).items()}
    result = reduced(execute, name, inputs)
    lengths = LENGTHS[:, 0].astype(int) if unequal else [TIME] * ROWS
    expected = [REDUCE[name](x[:steps]) for x, steps in zip(inputs["x"], lengths, strict=True)]
    assert all(value.dtype == dtype for value in result.values())
    np.testing.assert_allclose(result["y"], expected, rtol=1e-6)


@unequal
@each
def test_gradients_equal_central_differences(execute, name, unequal):
    inputs = operands(unequal)
    dy = np.random.default_rng(1).standard_normal((ROWS, CHANNELS))
    kind, attributes = KINDS[name]
    given = {"dy": dy} | reduced(execute, name, inputs) | {key: inputs[key] for key in inputs if key != "x"}
    del given["y"]
    attributes = attributes | {"lengths": unequal}
    dx = execute(f"{kind}_grad", given, {"dx": inputs["x"][:0]}, attributes)["dx"]
    expected = central_differences(lambda x: reduced(execute, name, inputs | {"x": x})["y"], inputs["x"], dy, h=0.05)
    np.testing.assert_allclose(dx, expected, atol=1e-12)


def test_the_first_of_equal_maxima_wins_and_nan_before_numbers(execute):
    x = np.array([[[1, 2, -np.inf], [3, np.nan, -np.inf], [3, np.nan, -np.inf]]])
    result = reduced(execute, "maximum", {"x": x})
    assert result["index"].tolist() == [[1, 1, 0]]
    assert result["y"][0, 0] == 3 and np.isnan(result["y"][0, 1]) and result["y"][0, 2] == -np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 17])
@each
def test_a_sequence_has_the_same_bits_alone_and_padded_among_others(execute, name, channels, dtype):
    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((3, 40, channels)).astype(dtype), np.array([[40], [13], [1]], dtype)
    together = reduced(execute, name, {"x": x, "lengths": lengths})["y"]
    for row, (steps,) in enumerate(lengths.astype(int)):
        alone = {"x": x[row : row + 1, :steps], "lengths": lengths[row : row + 1]}
        assert np.array_equal(reduced(execute, name, alone)["y"][0], together[row])
