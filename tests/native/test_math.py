"""Elementary functions keep the errors that csrc/functions.def promises."""

import numpy as np
import pytest
from scipy import special

from fastnn.native import _machine
from fastnn.native._activation import FUNCTIONS, evaluate

# Every so-manieth float32 of all there are: a prime, so that all digits of mantissa and exponent are met.
STRIDE = 2003
LONG = np.longdouble if np.finfo(np.longdouble).nmant > 60 else None  # not everywhere more than double


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


EXACT = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "tanh_gate": np.tanh,
    "logistic_gate": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": softplus,
    "normal_distribution": lambda x: special.ndtr(x.astype(np.float64)),
}


def largest_error(result, expected):
    """In units in the last place of the expected values, none of them smaller than the smallest normal number's."""
    kind = np.finfo(result.dtype)
    with np.errstate(all="ignore"):
        rounded = expected.astype(result.dtype)
        unit = np.spacing(np.maximum(np.abs(rounded), kind.tiny)).astype(expected.dtype)
        error = np.abs(result.astype(expected.dtype) - expected) / unit
    small = np.abs(expected) < kind.tiny  # may have become zero
    assert (np.abs(result[small]) <= kind.tiny).all()
    same = small | (result == rounded) | (np.isnan(result) & np.isnan(expected))
    return float(np.max(error[~same], initial=0.0))


def compare(isa, name, x, wide):
    error, least, greatest = FUNCTIONS[name]
    x = x[(x >= least) & (x <= greatest) & ((x == 0) | (np.abs(x) >= np.finfo(x.dtype).tiny))]
    with np.errstate(all="ignore"):
        expected = EXACT[name](x.astype(wide))
    assert len(x) > 1000
    assert largest_error(evaluate(isa, name, x), np.asarray(expected, wide)) <= error


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_throughout_its_range(name, isa):
    bits = np.arange(0, 1 << 32, STRIDE, dtype=np.uint32)
    compare(isa, name, bits.view(np.float32), np.float64)


@pytest.mark.skipif(LONG is None, reason="long double is double here: nothing to compare with")
@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "normal_distribution"])
def test_float64_at_random(name, isa):
    rng = np.random.default_rng(0)
    near = np.ldexp(rng.uniform(0.5, 1, 100_000), rng.integers(-40, 12, 100_000)) * rng.choice([-1, 1], 100_000)
    anywhere = rng.integers(0, 1 << 64, 100_000, dtype=np.uint64).view(np.float64)
    compare(isa, name, np.concatenate([near, anywhere]), LONG)


@pytest.mark.parametrize("isa", _machine.isa_names())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity(isa, dtype):
    x = np.array([np.nan, np.inf, -np.inf], dtype)
    limits = {
        "exp": (np.inf, 0), "expm1": (np.inf, -1), "log": (np.inf, np.nan), "tanh": (1, -1), "logistic": (1, 0),
        "softplus": (np.inf, 0), "normal_distribution": (1, 0),
    }  # fmt: skip
    for name, expected in limits.items():
        np.testing.assert_array_equal(evaluate(isa, name, x), np.array([np.nan, *expected], dtype), err_msg=name)
