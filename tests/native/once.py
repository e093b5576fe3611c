"""Results of the NumPy backend, computed once for all instruction sets that are compared with them."""

import functools
import pickle

_case, _results = [None], {}


def once(function):
    """Keeps what a function returned, for as long as the case of a test is the same (see conftest.py).

    Arguments are compared by their content: a test draws its case anew for each instruction set.
    """

    @functools.wraps(function)
    def wrapper(*arguments):
        content = function.__qualname__, pickle.dumps(arguments)
        if content not in _results:
            _results[content] = function(*arguments)
        return _results[content]

    return wrapper


def keep_for(case):
    """Forgets the results of any other case."""
    if _case[0] != case:
        _case[0] = case
        _results.clear()
