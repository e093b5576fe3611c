"""The plan: a flat list of ops over numbered buffers, as data.

A plan says what a network computes and in which order; a backend executes it. It holds no arrays and no code.

Shapes of buffers, by role:

========== ======================================= ===========================================
role       shape                                   meaning
========== ======================================= ===========================================
source     per-row shape                           the caller's arrays: X, y, sample_weight, output
batch      per-row shape: ``(features,)``,         activations of the batch's rows, and their gradients; how many steps
           ``(time, channels)``,                   of each sequence count; what gates hold
           ``(height, width, channels)``,
           ``(1,)``, ``(time, gates, units)``
row        ``()`` or the positions' shape          one scalar per row of the chunk, or per position of it
row_loss   ``()``                                  one float64 per row of the whole batch
parameter  full shape, ``(..., in, out)``          trained; with gates ``(gates, in, units)`` and ``(gates, units)``
           or ``(..., out)``
statistic  full shape                              kept with the parameters, not trained (running mean, fixed weights)
transposed full shape                              a copy derived from parameters: transposed, or with a norm folded in
gradient   shape of its parameter
state      shape of its parameter                  the optimiser's memory
vector     full shape                              scratch of fixed size (batch statistics, sums of parts of a batch)
partial    ``()``                                  partial sums in float64, combined in a fixed order
========== ======================================= ===========================================

The last axis is the columns, channels of an image; the axes before it are positions, among them the gates of a step. A
backend that works on rows and columns sees rows * positions rows. Batch buffers lie in the backend's own layout
("panels"), except images and signals as they are gathered: these lie row by row, channels side by side without padding
("rows"), and what recurrent cells keep for their gradients with products of bfloat16: panels of such numbers
("rounded"). Rows that only products of bfloat16 read lie as these want their first operand ("operand").
Copies of weights for products of bfloat16 lie as these want them ("bfloat16"). What is 0 or 1 may take one bit each
("bits"). Rows of a sparse matrix that are multiplied entry by entry are only noted ("entries").
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

LAYOUTS = ("panels", "rows", "rounded", "operand", "bfloat16", "bits", "entries")
# How a CPU multiplies numbers of bfloat16: tiles of them at once, pairs of them, or as numbers of float32.
PRODUCTS = TILES, PAIRS, NUMBERS = "tiles", "pairs", "numbers"
# Into how many parts a chunk's rows are cut where threads sum over rows: a fixed number, so that bits do not depend on
# that of the threads.
PARTS = 8
SPLITS = ("rows", "columns", "halves", "parts", "one")
ROLES = (
    "source",
    "batch",
    "row",
    "row_loss",
    "parameter",
    "statistic",
    "transposed",
    "gradient",
    "state",
    "vector",
    "partial",
)


@dataclass(frozen=True)
class Buffer:
    """A named place for numbers; see the table of roles in this module."""

    name: str
    shape: tuple[int, ...]
    role: str
    layout: str = "panels"

    def __post_init__(self):
        if self.role not in ROLES:
            raise ValueError(f"Buffer {self.name!r}: role must be one of {ROLES}, got {self.role!r}")
        if self.layout not in LAYOUTS:
            raise ValueError(f"Buffer {self.name!r}: layout must be one of {LAYOUTS}, got {self.layout!r}")

    @property
    def size(self):
        """Number of elements (per row, for the roles that have rows)."""
        return prod(self.shape)

    @property
    def columns(self):
        """Length of the last axis: features, or channels of an image."""
        return self.shape[-1] if self.shape else 1

    @property
    def positions(self):
        """Number of places with such columns: pixels, time steps, gates of time steps, or 1."""
        return prod(self.shape[:-1])


@dataclass(frozen=True)
class Op:
    """One operation: reads `inputs`, writes `outputs` (names of buffers, in the order ``fastnn.ops`` defines).

    `split` says how threads may share it: "rows" (each row on its own), "columns" (each column panel on its own,
    over all rows), "halves" (each half of each row of x, cut before column `cut`, on its own), "parts" (each of the
    `parts` that a chunk's rows, or with `part_rows` a batch's, are cut into on its own, whatever the number of
    threads) or "one" (a single thread). `barrier` asks every thread to wait for the others before it.
    `multiply_adds` counts the multiplications fused with additions for one row.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict = field(default_factory=dict)
    split: str = "rows"
    multiply_adds: int = 0
    barrier: bool = False

    def __post_init__(self):
        if self.split not in SPLITS:
            raise ValueError(f"Op {self.kind!r}: split must be one of {SPLITS}, got {self.split!r}")

    def with_(self, **changes):
        """A copy of this op with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a backend runs.

    `prepare` runs once per call (copies derived from parameters), `step` once per chunk of rows, `update` once per
    batch. `output` names the buffer that predictions are stored from; `row_loss` and `penalties` the buffers that
    add up to the loss; `gradients` maps parameters to their gradient buffers; `states` lists the optimiser's;
    `initial` gives the starting value of parameters and statistics that start the same everywhere.
    """

    purpose: str
    buffers: dict[str, Buffer]
    prepare: tuple[Op, ...] = ()
    step: tuple[Op, ...] = ()
    update: tuple[Op, ...] = ()
    parameters: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    gradients: dict[str, str] = field(default_factory=dict)
    states: tuple[str, ...] = ()
    output: str | None = None
    row_loss: str | None = None
    penalties: tuple[str, ...] = ()
    initial: dict[str, float] = field(default_factory=dict)

    def with_(self, **changes):
        """A copy of this plan with some fields changed."""
        return replace(self, **changes)

    @property
    def ops(self):
        """All ops in order of execution."""
        return self.prepare + self.step + self.update

    @cached_property
    def multiply_adds(self):
        """Multiply-adds of one row through the whole plan."""
        return sum(op.multiply_adds for op in self.ops)

    @cached_property
    def row_size(self):
        """Numbers that a row takes in all batch buffers together."""
        share = {"bits": 0.0, "entries": 0.0, "rounded": 0.5, "operand": 0.5}
        batch = (buffer for buffer in self.buffers.values() if buffer.role in ("batch", "row"))
        return sum(share.get(buffer.layout, 1.0) * buffer.size for buffer in batch)

    @cached_property
    def readers(self):
        """The ops that read each buffer that any reads, by its name."""
        readers = {}
        for op in self.ops:
            for name in set(op.inputs):
                readers.setdefault(name, []).append(op)
        return readers

    @property
    def n_parameters(self):
        """Number of trained numbers."""
        return sum(self.buffers[name].size for name in self.parameters)

    @property
    def needs_whole_batch(self):
        """Whether some op of the step mixes rows, so that a batch cannot be run in chunks (batch norm)."""
        return any(op.attributes.get("mixes_rows", False) for op in self.step)

    def describe(self, itemsize=4):
        """The plan as text: ops with operands, shapes and multiply-adds, then buffers and bytes.

        Parameters
        ----------
        itemsize : int, default=4
            Bytes of a number: 4 for float32, 8 for float64.
        """
        lines = [f"plan {self.purpose!r}"]
        for section in ("prepare", "step", "update"):
            for op in getattr(self, section):
                lines.append(_describe_op(section, op, self.buffers))
        lines.append("buffers")
        for buffer in self.buffers.values():
            rows = "rows x " if buffer.role in ("batch", "row", "row_loss", "source") else ""
            shape = " x ".join(map(str, buffer.shape)) or "1"
            lines.append(f"  {buffer.name:<28} {rows + shape:<16} {buffer.role}")
        fixed = sum(b.size for b in self.buffers.values() if b.role not in ("source", "batch", "row", "row_loss"))
        per_row = sum(b.size for b in self.buffers.values() if b.role in ("batch", "row"))
        lines.append(
            f"{self.n_parameters} parameters, {self.multiply_adds} multiply-adds a row, "
            f"{fixed * itemsize} bytes and {per_row * itemsize} bytes a row"
        )
        return "\n".join(lines)


def _describe_op(section, op, buffers):
    def operand(name):
        return f"{name}[{'x'.join(map(str, buffers[name].shape))}]"

    shown = {key: value for key, value in op.attributes.items() if value not in (None, False)}
    attributes = "".join(f" {key}={value}" for key, value in shown.items())
    marks = " |" if op.barrier else ""
    return (
        f"  {section:<8}{op.kind:<28}{', '.join(map(operand, op.inputs))} -> {', '.join(map(operand, op.outputs))}"
        f"{attributes} ({op.split}, {op.multiply_adds} multiply-adds a row){marks}"
    )


class Builder:
    """Collects buffers and ops while a plan is being lowered."""

    def __init__(self, purpose):
        self.purpose = purpose
        self.buffers = {}
        self.prepare, self.step, self.deferred, self.update = [], [], [], []
        self.parameters, self.statistics, self.states = [], [], []
        self.gradients, self.penalties = {}, []
        self.initial = {}
        self.dependent = set()
        self.lengths = None  # the buffer of the sequences' lengths, where these differ
        self._counts = {}

    @property
    def training(self):
        """Whether random masks are drawn and gradients are wanted."""
        return self.purpose in ("train", "gradient")

    def number(self, family):
        """The next index of a family of names: 0, 1, 2, ..."""
        self._counts[family] = self._counts.get(family, -1) + 1
        return self._counts[family]

    def buffer(self, name, shape, role, layout="panels"):
        """Declares a buffer and returns its name."""
        if name in self.buffers:
            raise ValueError(f"buffer {name!r} is declared twice")
        self.buffers[name] = Buffer(name, tuple(shape), role, layout)
        if role == "parameter":
            self.parameters.append(name)
            self.dependent.add(name)
        elif role == "statistic":
            self.statistics.append(name)
        elif role == "state":
            self.states.append(name)
        return name

    def batch(self, name, shape, layout="panels"):
        """Declares a batch buffer under a free name that starts with `name`."""
        if name in self.buffers:
            name = f"{name}.{self.number(name) + 2}"
        return self.buffer(name, shape, "batch", layout)

    def shape(self, name):
        return self.buffers[name].shape

    def columns(self, name):
        return self.buffers[name].columns

    def emit(self, op, section="step"):
        """Appends an op; what it writes depends on parameters if anything it reads does.

        Sections: "prepare", "step", "update", and "deferred" for ops that may wait for the end of the step.
        """
        getattr(self, section).append(op)
        if any(name in self.dependent for name in op.inputs):
            self.dependent.update(op.outputs)
        return op

    def plan(self, **fields):
        """The finished plan."""
        return Plan(
            purpose=self.purpose,
            buffers=dict(self.buffers),
            prepare=tuple(self.prepare),
            step=tuple(self.step + self.deferred),
            update=tuple(self.update),
            parameters=tuple(self.parameters),
            statistics=tuple(self.statistics),
            gradients=dict(self.gradients),
            states=tuple(self.states),
            penalties=tuple(self.penalties),
            initial=dict(self.initial),
            **fields,
        )
