"""Both backends' Runner, by name, for tests that hold for either."""

from fastnn.native import Runner as Native
from fastnn.reference.run import Runner as Reference

RUNNERS = {"native": Native, "numpy": Reference}
