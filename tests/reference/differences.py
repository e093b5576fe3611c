"""Finite differences, against which gradients are held."""

import numpy as np


def central_differences(function, array, dy, h=1e-5):
    """Central differences of sum(dy * function(array)) by every element of an array."""
    gradient = np.empty_like(array)
    for place in np.ndindex(array.shape):
        shift = np.zeros_like(array)
        shift[place] = h
        gradient[place] = (dy * (function(array + shift) - function(array - shift))).sum() / (2 * h)
    return gradient
