"""What specs of every kind share: the check of their numbers, the look-up by name, and how messages show a value."""

import math
import numbers
from dataclasses import fields

LONGEST = 200  # characters of a value that a message shows


def shown(value):
    """A user's value as a message shows it: cut where it is long, and its type alone where it cannot be shown."""
    try:
        text = repr(value)
    except Exception:  # whatever the user's own class raises
        return f"a {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def check_number(spec, name, interval, whole=False):
    """Raises ValueError unless a field is a finite number in `interval`, such as "[0, 1)"; an integer if `whole`."""
    value = getattr(spec, name)
    low, high = (float(end) for end in interval[1:-1].split(","))
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value):
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
