"""What is worth keeping, as far as a bound of bytes allows."""

from collections import OrderedDict

from fastnn.locks import lasting_lock


class Cache:
    """Results of a function by its arguments; too many or too large together, the least recently used go first.

    Threads may call it at once; those that miss the same result make it side by side and share the first one stored.

    Parameters
    ----------
    function : callable
        Of hashable arguments; its results have `nbytes`.
    entries : int
        Most results kept,
    limit : int
        and most bytes of them together. A larger result is made anew for each call.

    Attributes
    ----------
    nbytes : int
        Bytes of all that is kept.
    """

    def __init__(self, function, entries, limit):
        self.function, self.entries, self.limit = function, entries, limit
        self._kept, self._lock, self.nbytes = OrderedDict(), lasting_lock(), 0

    def __call__(self, *arguments):
        with self._lock:
            if arguments in self._kept:
                self._kept.move_to_end(arguments)
                return self._kept[arguments]
        result = self.function(*arguments)
        if result.nbytes > self.limit:
            return result
        with self._lock:
            if arguments not in self._kept:
                self._kept[arguments] = result
                self.nbytes += result.nbytes
            result = self._kept[arguments]
            self._kept.move_to_end(arguments)
            while len(self._kept) > self.entries or self.nbytes > self.limit:
                self.nbytes -= self._kept.popitem(last=False)[1].nbytes
        return result

    def __len__(self):
        return len(self._kept)

    def clear(self):
        """Drops everything."""
        with self._lock:
            self._kept.clear()
            self.nbytes = 0
