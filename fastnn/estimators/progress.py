"""A one-line progress bar for long fits, on the terminal only."""

import sys
from time import perf_counter

WIDTH = 28
PATIENCE = 1.0  # seconds before a bar appears: shorter fits do not need one
INTERVAL = 0.1  # seconds between two drawings


class Bar:
    """Draws ``[=====     ]  40/200 epochs  loss 0.1234  3.1 s`` over itself on standard error.

    Nothing is drawn where standard error is not a terminal, nor before the fit has run for a second.

    Parameters
    ----------
    total : int
        Epochs or iterations at most.
    stream : file, default=sys.stderr
    """

    def __init__(self, total, stream=None):
        self.stream = sys.stderr if stream is None else stream
        self.total = total
        self.start = perf_counter()
        self.next = self.start + PATIENCE if self.stream.isatty() else float("inf")
        self.drawn = False

    def update(self, iteration, history):
        """Shows the newest entries of `history` if the last drawing is old enough."""
        now = perf_counter()
        if now < self.next:
            return
        self.next, self.drawn = now + INTERVAL, True
        filled = WIDTH * iteration // self.total
        text = f"[{'=' * filled:<{WIDTH}}] {iteration}/{self.total}  loss {history['loss'][-1]:.5g}"
        if "validation_score" in history:
            text += f"  score {history['validation_score'][-1]:.5g}"
        self.stream.write(f"\r{text}  {now - self.start:.1f} s\033[K")
        self.stream.flush()

    def close(self):
        """Ends the line if one was begun."""
        if self.drawn:
            self.stream.write("\n")
            self.stream.flush()
