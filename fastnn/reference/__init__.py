"""The NumPy backend: every op of a plan as a few lines of NumPy, run one after the other.

It is the definition the native backend is held against, and the backend where nothing is compiled.
Slow, plain and free of side effects: an op binds new arrays to its outputs' names.
"""

from fastnn.reference.run import OPS, Runner, Step, trace

__all__ = ["OPS", "Runner", "Step", "trace"]
