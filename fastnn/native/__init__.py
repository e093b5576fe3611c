"""The native backend: plans run by Cython loops over the C kernels of csrc/, without the GIL.

Importing this package needs the compiled modules; ``fastnn.training`` falls back to NumPy with a warning.
"""

from fastnn.native.run import Runner
from fastnn.native.threads import effective_threads

__all__ = ["Runner", "effective_threads"]
