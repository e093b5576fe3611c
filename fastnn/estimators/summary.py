"""What a network consists of, layer by layer, as a table."""

from dataclasses import dataclass
from math import prod

from fastnn import ops
from fastnn.plan import Builder

COLUMNS = ("layer", "output", "parameters", "multiply-adds", "bytes")
WEIGHTS = (".W", ".b", ".U", ".d")


@dataclass(frozen=True)
class Line:
    """One layer: its name, the shape of its output for a row, and how much it takes.

    `parameters` are trained numbers, `fixed` those that a layer with trainable=False keeps; `multiply_adds` are those
    of one row in prediction, `bytes` the output takes for it.
    """

    name: str
    output: tuple
    parameters: int
    fixed: int
    multiply_adds: int
    bytes: int


class Summary(list):
    """The lines of a network; printed, a table with totals."""

    def total(self, column):
        """Sum of a column over all layers."""
        return sum(getattr(line, column) for line in self)

    def __repr__(self):
        numbers = ("parameters", "multiply_adds", "bytes")
        rows = [
            (line.name, " x ".join(map(str, line.output)), *(f"{getattr(line, name):,}" for name in numbers))
            for line in self
        ]
        rows.append(("total", "", *(f"{self.total(name):,}" for name in numbers)))
        widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
        lines = ["  ".join(_aligned(row, widths)).rstrip() for row in (COLUMNS, *rows)]
        lines[1:1] = lines[-1:-1] = ["-" * max(map(len, lines))]
        if fixed := self.total("fixed"):
            lines.append(f"and {fixed:,} fixed weights")
        return "\n".join(lines)


def _aligned(row, widths):
    """Text to the left, numbers to the right."""
    cells = list(zip(row, widths, strict=True))
    return [cell.ljust(width) for cell, width in cells[:2]] + [cell.rjust(width) for cell, width in cells[2:]]


def summarize(network, itemsize):
    """The Summary of a network whose numbers take `itemsize` bytes."""
    builder = Builder("predict")
    x = ops.gather.gather(builder, network.input_shape)
    summary = Summary([Line("input", network.input_shape, 0, 0, 0, prod(network.input_shape) * itemsize)])
    for layer in network.layers:
        known, first = set(builder.buffers), len(builder.step)
        x = layer.lower(builder, x)
        new = [buffer for name, buffer in builder.buffers.items() if name not in known]
        summary.append(
            Line(
                type(layer).__name__,
                builder.shape(x),
                sum(buffer.size for buffer in new if buffer.role == "parameter"),
                sum(buffer.size for buffer in new if buffer.role == "statistic" and buffer.name.endswith(WEIGHTS)),
                sum(op.multiply_adds for op in builder.step[first:]),
                prod(builder.shape(x)) * itemsize,
            )
        )
    return summary
