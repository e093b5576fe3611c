"""How far a backend's float32 or float64 result may lie from the true value."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tolerance:
    """|result - expected| <= ulp * spacing(expected) + unit * eps + tiny * smallest normal number.

    Parameters
    ----------
    ulp32, ulp64 : float
        Allowed units in the last place of the expected value in float32 and float64.
    unit : float, default=0
        Allowed absolute error in units of eps, the spacing at 1: for differences of numbers around
        1.
    tiny : float, default=1e3
        Allowed absolute error in units of the type's smallest normal number: backends flush
        subnormal numbers to zero, and a flushed factor may have been multiplied by a moderate one.
    """

    ulp32: float
    ulp64: float
    unit: float = 0.0
    tiny: float = 1e3

    def limit(self, expected, dtype):
        """Largest allowed error of a result of type `dtype`, elementwise."""
        ulp = self.ulp32 if np.dtype(dtype) == np.float32 else self.ulp64
        spacing = np.spacing(np.abs(np.asarray(expected)).astype(dtype)).astype(np.float64)
        kind = np.finfo(dtype)
        return ulp * spacing + self.unit * float(kind.eps) + self.tiny * float(kind.tiny)

    def error(self, result, expected):
        """Largest error in units of the limit: at most 1 when the result is within tolerance."""
        result = np.asarray(result)
        expected = np.asarray(expected, dtype=np.float64)
        distance = np.abs(result.astype(np.float64) - expected)
        return float(np.max(distance / self.limit(expected, result.dtype), initial=0.0))
