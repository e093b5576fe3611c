"""Recurrent layers: a cell that goes through a sequence step by step.

Gates are an axis of their own in every buffer that has some, so that one unit's gates lie side by side whatever their
number: weights (gates, in, units), and values of a step (time, gates, units).

============ ==================== ======================================================================
cell         gates of W, U, b     lines of a step in its `gates`, and of `dgates` in the gradient
============ ==================== ======================================================================
simple_rnn   none                 one: z, the pre-activation
lstm         i, f, g, o           i, f, g, o after their activations; dgates: before them
gru          r, z, n              r, z, n after their activations and a = h U_n + d; dgates: before them, and da
============ ==================== ======================================================================

With products of bfloat16, gates (but z) and c are kept as such numbers for the gradient, and so are dgates.

The formulas are those of the layers of the same names in ``fastnn.layers.recurrent``. Steps beyond a sequence's length
yield zeros, and zero gradients.
"""

from dataclasses import dataclass
from math import prod

from fastnn.plan import Op


@dataclass(frozen=True)
class Cell:
    """What tells cells apart.

    Attributes
    ----------
    kind : str
        Of its op; the gradient's is ``kind + "_grad"``.
    gates : int or None
        Products with the input, and as many with the state; None: one, without an axis for gates.
    lines : int
        Values that a step has for each unit in `dgates`.
    state_lines : tuple of int
        Which of these belong to the gates of U; those of W are the first ones.
    """

    kind: str
    gates: int | None
    lines: int
    state_lines: tuple[int, ...]

    @property
    def input_lines(self):
        return tuple(range(self.gates or 1))


# Into how many parts the sums over the rows of a batch are cut, each of every other `part_rows` rows, whatever the
# number of threads and the chunks: two threads, one of which has a part's rows, find them in their own caches. More
# would be more sums than the cache holds.
PARTS = 2

SIMPLE_RNN = Cell("simple_rnn", None, 1, (0,))
LSTM = Cell("lstm", 4, 4, (0, 1, 2, 3))
GRU = Cell("gru", 3, 4, (0, 1, 3))
CELLS = {cell.kind: cell for cell in (SIMPLE_RNN, LSTM, GRU)}


def recurrent(builder, x, cell, units, name, *, activation=None, mask=None, reverse=False, truncate=None,
              trainable=True):  # fmt: skip
    """h (n, time, units), the states of a cell after each step of x (n, time, channels); they start from zero.

    Parameters
    ----------
    activation : activation spec
        f of a simple cell.
    mask : (n, units) buffer or None
        What the state is multiplied with before it enters the products with U, in every step.
    reverse : bool
        Whether the cell goes from the last step to the first.
    truncate : int or None
        Gradients do not cross from step t to step t - 1 where t is a multiple of this; None: nothing stops them.
    trainable : bool
        Whether the weights ``name.W``, ``name.U``, ``name.b`` and, of a GRU, ``name.d`` are parameters, or statistics.
    """
    time, channels = builder.shape(x)
    axis, role = () if cell.gates is None else (cell.gates,), "parameter" if trainable else "statistic"
    W = builder.buffer(f"{name}.W", (*axis, channels, units), role)
    U = builder.buffer(f"{name}.U", (*axis, units, units), role)
    b = builder.buffer(f"{name}.b", (*axis, units), role)
    weights = (W, U, b, builder.buffer(f"{name}.d", (units,), role)) if cell is GRU else (W, U, b)
    h = builder.batch(f"{name}.h", (time, units))
    outputs = (h,)
    if builder.training and (cell.gates or activation.derivative_from == "input"):
        outputs += (builder.batch(f"{name}.gates", (time, cell.lines, units)),)
    if builder.training and cell is LSTM:
        outputs += (builder.batch(f"{name}.c", (time, units)),)
    optional = tuple(buffer for buffer in (mask, builder.lengths) if buffer is not None)
    attributes = {
        "reverse": reverse,
        "truncate": truncate,
        "mask": mask is not None,
        "lengths": builder.lengths is not None,
        "activation": None if activation is None else activation.kernel,
    }
    work = time * (builder.buffers[W].size + builder.buffers[U].size)
    builder.emit(Op(cell.kind, (x, *weights, *optional), outputs, attributes, multiply_adds=work))
    return h


def part_rows(time):
    """How many rows of a batch in turn belong to the same part of the weights' gradients: 16 or a multiple, in which a
    product has 448 steps or more."""
    return 16 * -(-28 // time)


def _gradient(builder, op, dh):
    cell, attributes = CELLS[op.kind], op.attributes
    optional = op.inputs[len(op.inputs) - attributes["mask"] - attributes["lengths"] :]
    x, W, U, b, *d = op.inputs[: len(op.inputs) - len(optional)]
    h, *saved = op.outputs
    if cell is not LSTM:
        saved = [*saved, h]
    time, units = builder.shape(h)
    sizes = {name: prod(builder.shape(name)) for name in (W, U)}
    # Where a step has gates, their gradients take their place, while they are in the cache.
    dgates = saved[0] if cell.gates else builder.batch(f"{h}.dgates", (time, cell.lines, units))
    inputs = (dh, _transposed(builder, U), *saved, *optional)
    builder.emit(Op(f"{op.kind}_grad", inputs, (dgates,), dict(attributes), multiply_adds=time * sizes[U]))
    if W in builder.parameters:
        partials = []
        for parameter in (W, b, U, *d):
            shape = builder.shape(parameter)
            partials.append(builder.buffer(f"{parameter}.partial", (PARTS, *shape), "vector"))
            builder.gradients[parameter] = builder.buffer(f"{parameter}.gradient", shape, "gradient")
        state = _masked(builder, h, optional[0]) if attributes["mask"] else h
        lines = {"lines": cell.input_lines, "state_lines": cell.state_lines, "reverse": attributes["reverse"]}
        op = Op(
            "recurrent_grad_weights", (x, state, dgates), tuple(partials), lines | {"part_rows": part_rows(time)},
            split="parts", multiply_adds=time * (sizes[W] + sizes[U]),
        )  # fmt: skip
        builder.emit(op, section="deferred")
        for parameter, partial in zip((W, b, U, *d), partials, strict=True):
            total = Op("sum_parts", (partial,), (builder.gradients[parameter],), {"parts": PARTS}, "columns")
            builder.emit(total, section="update")
    if x not in builder.dependent:
        return None
    dx = builder.batch(f"{x}.gradient", builder.shape(x))
    lines = {"lines": cell.input_lines}
    inputs = (dgates, _transposed(builder, W))
    builder.emit(Op("recurrent_grad_input", inputs, (dx,), lines, multiply_adds=time * sizes[W]))
    return dx


def _transposed(builder, W):
    """Each gate's matrix transposed: made before the first step and again by each update."""
    WT = f"{W}.T"
    if WT not in builder.buffers:
        *axis, inputs, units = builder.shape(W)
        builder.buffer(WT, (*axis, units, inputs), "transposed")
        builder.emit(Op("transpose_gates", (W,), (WT,), split="columns"), section="prepare")
    return WT


def _masked(builder, h, mask):
    """h times the mask in every step."""
    masked = builder.batch(f"{h}.masked", builder.shape(h))
    builder.emit(Op("masked_states", (h, mask), (masked,)))
    return masked


GRADIENTS = dict.fromkeys(CELLS, _gradient)
