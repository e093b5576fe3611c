"""What specs of every kind share: the check of their numbers, the look-up by name, and how messages show a value."""

import math
import numbers
from dataclasses import fields

LONGEST = 200  # characters of a value that a message shows
MOST = 2**31 - 1  # what a layer counts: plans multiply two such numbers in 64 bits


def shown(value):
    """A user's value as a message shows it: cut where it is long, and its type alone where it cannot be shown."""
    try:
        text = repr(value)
    except Exception:  # whatever the user's own class raises
        return f"a {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def is_number(value):
    """Whether it is a real number, which True is not, and finite as a float."""
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def is_whole(value, least=1, most=MOST):
    """Whether it is a whole number, which True is not, from `least` to `most`."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= value <= most


def an_int(*values, least=1, most=MOST):
    """Which bound one of these values breaks, as a message says it."""
    too_large = any(isinstance(value, numbers.Integral) and value > most for value in values)
    return f"an int <= {most}" if too_large else f"an int >= {least}"


def keep_count(spec, name, most=MOST, instead=""):
    """Makes an int of a field, since NumPy's overflow; ValueError unless it is a whole number from 1 to `most`."""
    value = getattr(spec, name)
    if not is_whole(value, most=most):
        where = f"{type(spec).__name__}: {name}"
        raise ValueError(f"{where} must be {an_int(value, most=most)}{instead}, got {shown(value)}")
    object.__setattr__(spec, name, int(value))


def check_number(spec, name, interval, whole=False):
    """Raises ValueError unless a field is a finite number in `interval`, such as "[0, 1)"; an integer if `whole`."""
    value = getattr(spec, name)
    low, high = (float(end) for end in interval[1:-1].split(","))
    if is_number(value) and (not whole or isinstance(value, numbers.Integral)):
        above = value > low or (value == low and interval[0] == "[")
        below = value < high or (value == high and interval[-1] == "]")
        if above and below:
            return
    usual = next(f.default for f in fields(spec) if f.name == name)
    expected = "a whole number" if whole else "a finite number"
    raise ValueError(
        f"{type(spec).__name__}({name}=): expected {expected} in {interval}, got {shown(value)}; "
        f"the usual value is {usual:g}"
    )


def look_up(given, known, base, where, kind, way_out):
    """The spec for a name (with its default numbers), or the given spec itself.

    Parameters
    ----------
    given : str or spec
    known : dict of str to type
        The specs allowed.
    base : type
        Base class of all specs of this kind.
    where, kind, way_out : str
        What an error message names: the place, "an activation", and what to do instead.

    Raises
    ------
    ValueError
        For anything else, with the list of names.
    """
    if isinstance(given, str) and given in known:
        return known[given]()
    if isinstance(given, tuple(known.values())):
        return given
    if isinstance(given, type) and issubclass(given, base):
        way_out = f"write {given.__name__}() with brackets"
    raise ValueError(f"{where}: expected one of {', '.join(known)} or {kind} spec, got {shown(given)}; {way_out}")
