"""The bfloat16 format: the upper half of a float32."""

import numpy as np


def bfloat16(x):
    """x rounded to bfloat16, to the nearest and ties to even, as an array of x's type; float64 goes by float32."""
    words = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (words + np.uint32(0x7FFF) + (words >> np.uint32(16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    quiet = (words | np.uint32(0x400000)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(words.view(np.float32)), quiet, rounded).view(np.float32).astype(x.dtype)


def operands(op, *arrays):
    """The operands of an op's product: rounded where its precision is "bfloat16", else as they are."""
    return [bfloat16(array) for array in arrays] if op.attributes.get("precision") == "bfloat16" else arrays
