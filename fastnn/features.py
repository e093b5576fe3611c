"""What a linear readout sees of a reservoir: features of every step, or of whole sequences."""

from dataclasses import dataclass

import numpy as np

FEATURES = ("bias", "input", "state", "squared_state")
POOLING = ("mean", "last")


@dataclass(frozen=True)
class Features:
    """Features of the steps of sequences.

    Attributes
    ----------
    chosen : tuple of str
        Some of FEATURES. "bias" is a constant, which a readout adds by itself.
    pooling : tuple of str
        What of its steps stands for a sequence, some of POOLING.
    washout : int
        Steps at the start of a sequence that do not count.
    bidirectional : bool
        Whether the reservoir runs backwards too.
    """

    chosen: tuple
    pooling: tuple
    washout: int
    bidirectional: bool

    def number(self, channels, units, each_step):
        """How many features a step or a sequence has, without the bias."""
        states = int(units) * (("state" in self.chosen) + ("squared_state" in self.chosen))
        inputs, directions = channels * ("input" in self.chosen), 1 + self.bidirectional
        if each_step:
            return inputs + directions * states
        return len(self.pooling) * directions * (inputs + states)

    def of_steps(self, u, *states):
        """Features of each step but the bias, (time, features) in float64."""
        parts = [u] if "input" in self.chosen else []
        if "state" in self.chosen:
            parts += states
        if "squared_state" in self.chosen:
            parts += [np.square(s, dtype=np.float64) for s in states]
        if len(parts) == 1:
            return parts[0].astype(np.float64, copy=False)
        return np.concatenate(parts, axis=1, dtype=np.float64)

    def of_sequences(self, echo, rows):
        """Features of each sequence, (n, features): mean and last of those of its steps after the washout, forwards
        and, where the reservoir runs backwards too, backwards."""
        both = [rows, [row[::-1] for row in rows]] if self.bidirectional else [rows]
        return np.hstack([self._pooled(echo, direction) for direction in both])

    def _pooled(self, echo, rows):
        sums, last = [0.0] * len(rows), [None] * len(rows)
        for group in echo.groups([len(row) for row in rows]):
            for place, t, states in echo.run([rows[i] for i in group]):
                i = group[place]
                X = self.of_steps(rows[i][t : t + len(states)], states)
                sums[i] = sums[i] + X[max(0, self.washout - t) :].sum(axis=0)
                last[i] = X[-1]
        means = [total / (len(row) - self.washout) for total, row in zip(sums, rows, strict=True)]
        return np.hstack([{"mean": means, "last": last}[name] for name in POOLING if name in self.pooling])

    def blocks(self, echo, rows, driven, start=None):
        """Yields (sequence, first step, features, states) block by block; the reservoir hears `driven`, the readout
        sees `rows`. `start` (units,) are the states before the only sequence, zeros by default."""
        for group in echo.groups([len(row) for row in rows]):
            backward = self._backward(echo, [driven[i] for i in group]) if self.bidirectional else None
            begin = None if start is None else start[np.newaxis]
            for place, t, states in echo.run([driven[i] for i in group], begin):
                i, stop = group[place], t + len(states)
                also = () if backward is None else (backward[place][t:stop],)
                yield i, t, self.of_steps(rows[i][t:stop], states, *also), states

    @staticmethod
    def _backward(echo, rows):
        """States of each step in a run from the end to the start, kept whole."""
        states = [np.empty((len(row), echo.reservoir.units), echo.dtype) for row in rows]
        for place, t, block in echo.run([row[::-1] for row in rows]):
            states[place][::-1][t : t + len(block)] = block
        return states
