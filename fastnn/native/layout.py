"""Binds a plan to kernels and gives its buffers their places."""

from dataclasses import dataclass

import numpy as np

from fastnn import memory
from fastnn.native import (
    _activation,
    _augment,
    _conv,
    _conv_bfloat16,
    _dense,
    _dense_bfloat16,
    _embedding,
    _executor,
    _gather,
    _gram,
    _loss,
    _machine,
    _nonzero,
    _norm,
    _pool,
    _random,
    _recurrent,
    _recurrent_bfloat16,
    _reservoir,
    _shape,
    _steps,
    _update,
)
from fastnn.native.cache import Cache

OPS = {
    **_activation.OPS,
    **_augment.OPS,
    **_conv.OPS,
    **_dense.OPS,
    **_embedding.OPS,
    **_gather.OPS,
    **_gram.OPS,
    **_loss.OPS,
    **_nonzero.OPS,
    **_norm.OPS,
    **_pool.OPS,
    **_random.OPS,
    **_recurrent.OPS,
    **_reservoir.OPS,
    **_shape.OPS,
    **_steps.OPS,
    **_update.OPS,
}

# Those with precision="bfloat16".
BFLOAT16_OPS = {**_conv_bfloat16.OPS, **_dense_bfloat16.OPS, **_gather.BFLOAT16_OPS, **_recurrent_bfloat16.OPS}

FIXED, BATCH, LOSS = range(3)  # arenas
ALIGNMENT = 64


class Layout:
    """Where the buffers of a plan lie for one instruction set, real type and number of rows."""

    def __init__(self, plan, isa, dtype, rows, reuse):
        self.plan, self.dtype, self.rows = plan, dtype, rows
        self.lanes, self.panel, self.narrow, self.picks = _machine.geometry(isa, dtype.itemsize)
        self.turned = self._turned()
        self.in_place = self._in_place() if reuse else set()
        self.partial_sizes, self.packed_sizes, self.tables = {}, {}, []
        self.scratch_size, self.common_size = self.panel * self.panel, 0
        self.bound = [[self._bind(op) for op in section] for section in (plan.prepare, plan.step, plan.update)]
        self.offsets, self.fixed_size = {}, 0
        transposes = (op for op in plan.prepare if op.kind == "transpose" and op.inputs[0] in self.turned)
        copies = {op.outputs[0]: op.inputs[0] for op in transposes}
        batch = {}
        for buffer in plan.buffers.values():
            if buffer.role in ("batch", "row"):
                batch[buffer.name] = self.elements(buffer.name) * dtype.itemsize
            elif buffer.role == "row_loss":
                self.offsets[buffer.name] = (LOSS, 0)
            elif buffer.role != "source" and buffer.name not in copies:
                self._place(buffer)
        self.offsets |= {copy: self.offsets[W] for copy, W in copies.items()}
        self.penalties = self._span(plan.penalties)
        spans = memory.lifetimes(plan.step + plan.update, reuse) if reuse else dict.fromkeys(batch, (0, 0))
        offsets, self.batch_size = memory.allocate(batch, spans)
        self.offsets |= {name: (BATCH, offset) for name, offset in offsets.items()}
        self.sizes = {name: self.elements(name) * dtype.itemsize for name in self.offsets}

    def _turned(self):
        """Weights (in, out) of dense layers with few outputs, which are kept as (out, in), with their gradients and the
        optimiser's states, and the rounded copies that such layers may read.

        No lane of a vector is then a pad, and the copy that backward needs is the weights themselves. Entries of sparse
        rows take whole rows of weights.
        """
        plan, turned = self.plan, set()
        for op in plan.step:
            if op.kind != "dense" or op.attributes.get("precision") == "bfloat16" or op.attributes.get("entries"):
                continue
            read = op.inputs[1]
            W = read.removesuffix(".rounded")
            if W in (*plan.parameters, *plan.statistics) and self.columns(W) <= self.narrow:
                states = (name for name in plan.states if name.startswith(f"{W}."))
                turned |= {W, read, plan.gradients.get(W), *states}
        return turned

    def _in_place(self):
        """Gathered rows that are X as it is, which products may then read where the caller has it."""
        as_given = {"scale": 1.0, "first": 0, "partner": None, "precision": None}
        return {
            op.outputs[0]
            for op in self.plan.step
            if op.kind == "gather" and all(op.attributes.get(name, value) == value for name, value in as_given.items())
            if all(map(self._reads_all_numbers, self.plan.readers.get(op.outputs[0], ())))
        }

    def _reads_all_numbers(self, op):
        """Whether an op is the forward product of a dense layer, in tiles and with nothing left out."""
        other = ("precision", "nonzero", "entries")
        return op.kind == "dense" and op.inputs[1] not in self.turned and not any(map(op.attributes.get, other))

    def _bind(self, op):
        rounded = op.attributes.get("precision") == "bfloat16"
        if rounded and self.dtype != np.float32:
            raise ValueError(f"{op.kind}: products of bfloat16 need float32 for all else, got {self.dtype}")
        address, bind = (BFLOAT16_OPS if rounded else OPS)[op.kind]
        return address, op.barrier, *bind(op, self)

    def _place(self, buffer):
        count = self.partial_sizes.get(buffer.name)
        size = 8 * count if count else self.elements(buffer.name) * self.dtype.itemsize
        alignment = 8 if buffer.role == "partial" else ALIGNMENT
        offset = -(-self.fixed_size // alignment) * alignment
        self.offsets[buffer.name] = (FIXED, offset)
        self.fixed_size = offset + size

    def _span(self, names):
        """Bytes from the first to the last of partial buffers that were declared one after another."""
        if not names:
            return 0, 0
        last = self.offsets[names[-1]][1]
        return self.offsets[names[0]][1], last + 8 * self.partial_sizes[names[-1]]

    def scratch(self, elements):
        """Asks for scratch of so many elements for each thread."""
        self.scratch_size = max(self.scratch_size, elements)

    def common(self, elements):
        """Asks for scratch of so many elements that all threads share."""
        self.common_size = max(self.common_size, elements)

    def table(self, array):
        """Keeps an array as long as the layout, for an op to read; returns its address."""
        self.tables.append(np.ascontiguousarray(array))
        return self.tables[-1].ctypes.data

    def descriptor(self, description):
        """The same for a tuple of whole numbers and of sequences of them."""
        flat = []
        for value in description:
            flat += value if isinstance(value, (list, tuple)) else [value]
        return self.table(np.array(flat, np.int64))

    def padded(self, columns):
        return -(-columns // self.lanes) * self.lanes

    def deep(self, depth):
        """The depth of a product of bfloat16, filled up to whole blocks."""
        return -(-depth // (2 * self.lanes)) * 2 * self.lanes

    def packed(self, name, depth, columns):
        """Declares the size of a copy of weights that is packed for products of bfloat16."""
        self.packed_sizes[name] = self.deep(depth) * self.padded(columns) // 2

    def in_rows(self, name):
        """Whether a buffer lies row by row, without panels."""
        return self.plan.buffers[name].layout == "rows"

    def is_operand(self, name):
        """Whether a buffer lies as products of bfloat16 read their first operand."""
        return self.plan.buffers[name].layout == "operand"

    def shape(self, name):
        """(rows, columns) of the matrix that a buffer is: rows and positions of a batch, all axes but the last of a
        parameter; a vector is a single row. Of a turned matrix, those it is kept with."""
        buffer = self.plan.buffers[name]
        if name in self.turned:
            return buffer.shape[::-1]
        return (self.rows if self.has_rows(name) else 1) * buffer.positions, buffer.columns

    def has_rows(self, name):
        return self.plan.buffers[name].role in ("batch", "row")

    def columns(self, name):
        return self.plan.buffers[name].columns

    def positions(self, name):
        return self.plan.buffers[name].positions

    def elements(self, name):
        """How many numbers a buffer takes, pads included."""
        buffer = self.plan.buffers[name]
        if buffer.role == "row":
            return self.rows * buffer.size
        if buffer.layout == "bfloat16":
            return self.packed_sizes[name]
        if buffer.layout == "bits":
            return 8 * self.rows * -(-buffer.columns // self.panel) // self.dtype.itemsize
        rows, columns = self.shape(name)
        if buffer.layout == "entries":  # two places for each half
            return self.rows * 32 // self.dtype.itemsize
        if buffer.layout == "operand":  # and what tiles read behind the last row
            return (rows + self.lanes) * self.deep(columns) // 2
        if buffer.layout == "rounded":
            return rows * self.padded(columns) // 2
        return rows * (columns if buffer.layout == "rows" else self.padded(columns))

    def tasks(self, name):
        """Number of blocks that a parameter is cut into."""
        rows, columns = self.shape(name)
        return -(-rows // self.panel) * -(-columns // self.panel)

    def partials(self, name, count):
        """Declares how many partial sums a buffer holds."""
        self.partial_sizes[name] = count

    def sections(self):
        """The bound ops with buffers as (arena, offset)."""
        return [[self.placed(*bound) for bound in section] for section in self.bound]

    def placed(self, address, barrier, names, numbers, scalars):
        """A bound op with its buffers as (arena, offset)."""
        places = [None if name is None else self.offsets[name] for name in names]
        return address, barrier, places, numbers, scalars


@dataclass(frozen=True)
class Compiled:
    """Layout and program of a plan; both immutable, so that predictions need not make them anew."""

    layout: Layout
    program: _executor.Program

    @property
    def nbytes(self):
        """Bytes of the tables and the ops."""
        return sum(table.nbytes for table in self.layout.tables) + self.program.nbytes


def _compile(plan, isa, dtype, rows, keep):
    reuse = None if keep else "op" if plan.purpose == "predict" else "phase"
    layout = Layout(plan, isa, dtype, rows, reuse)
    optimizer = next((op.attributes["optimizer"] for op in plan.update if "optimizer" in op.attributes), None)
    return Compiled(layout, _executor.Program(isa, dtype.itemsize, layout.sections(), optimizer))


compiled = Cache(_compile, entries=64, limit=256 << 20)
