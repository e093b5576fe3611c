"""Recurrent cells, step by step, forward and backward; the products with the weights' gates for all steps at once.

Arrays of a step are (n, gates, units), whatever the number of gates. A sequence has the same bits alone and among
others, however far it is padded.
"""

import numpy as np

from fastnn.reference import activation
from fastnn.reference.activation import logistic
from fastnn.reference.bfloat16 import bfloat16, operands
from fastnn.reference.dense import accumulate, product, row_sum
from fastnn.reference.steps import at_last_step


def _operands(op, buffers):
    """The op's operands, and of its optional ones the mask and the lengths (n, 1), or None."""
    operands = [buffers[name] for name in op.inputs]
    lengths = operands.pop() if op.attributes["lengths"] else None
    mask = operands.pop() if op.attributes["mask"] else None
    return operands, mask, lengths


def _with_gates(W):
    """Weights with an axis for gates, also where there is but one."""
    return W.reshape(-1, *W.shape[-2:])


def _weights(op, channels, W, *others):
    """W, U and the biases; rounded, W and U come as one, W above U."""
    if op.attributes.get("precision") == "bfloat16":
        return *np.split(_with_gates(W), [channels], axis=1), *others
    U, *biases = others
    return _with_gates(W), _with_gates(U), *biases


def _steps(time, reverse):
    return range(time)[::-1] if reverse else range(time)


def _inside(t, lengths):
    """Whether step t belongs to a row: (n, 1), or True for all."""
    return True if lengths is None else t < lengths


def _simple_rnn(op, driven, heard, h, c):
    z = driven + heard
    return activation.apply(op.attributes["activation"], z[:, 0]), z, c


def _lstm(op, driven, heard, h, c):
    i, f, g, o = np.moveaxis(driven + heard, 1, 0)
    i, f, g, o = logistic(i), logistic(f), np.tanh(g), logistic(o)
    c = f * c + i * g
    return o * np.tanh(c), np.stack([i, f, g, o], axis=1), c


def _gru(op, driven, heard, h, c, d):
    r, z = (logistic(driven[:, gate] + heard[:, gate]) for gate in range(2))
    a = heard[:, 2] + d
    n = np.tanh(driven[:, 2] + r * a)
    return (1 - z) * n + z * h, np.stack([r, z, n, a], axis=1), c


def _forward(cell):
    """The op of a cell (op, x W + b, (mask h) U, h, c, *d) -> (h, the values of its gates, c) of one step."""

    def run(op, buffers, step):
        (x, *weights), mask, lengths = _operands(op, buffers)
        W, U, b, *d = _weights(op, x.shape[-1], *weights)
        (x,) = operands(op, x)
        driven = product(x[..., np.newaxis, :], W) + b
        n, time, _, units = driven.shape
        h = c = np.zeros((n, units), x.dtype)
        kept = {}
        for t in _steps(time, op.attributes["reverse"]):
            (state,) = operands(op, h if mask is None else mask * h)
            heard = product(state[:, np.newaxis], U)
            values = cell(op, driven[:, t], heard, h, c, *d)
            saved = values[:1] + (values[1:] if op.kind == "simple_rnn" else tuple(operands(op, *values[1:])))
            for name, value in zip(op.outputs, saved, strict=False):
                sequence = kept.setdefault(name, np.zeros((n, time, *value.shape[1:]), x.dtype))
                np.copyto(sequence[:, t], value, where=_rows_of(_inside(t, lengths), value))
            h, c = (np.where(_inside(t, lengths), value, x.dtype.type(0)) for value in values[::2])
        buffers.update(kept)

    return run


def _rows_of(inside, value):
    """`inside` as it broadcasts against the values of a step."""
    return inside if inside is True else inside.reshape(-1, *[1] * (value.ndim - 1))


def _simple_rnn_grad(op, t, before, dh, dc, s, *h):
    return [dh * activation.derivative(op.attributes["activation"], s[:, t].reshape(dh.shape))], 0, 0


def _lstm_grad(op, t, before, dh, dc, gates, c):
    i, f, g, o = np.moveaxis(gates[:, t], 1, 0)
    tanh_c = np.tanh(c[:, t])
    dc = dc + dh * o * ((1 - tanh_c) * (1 + tanh_c))
    dz = [
        dc * g * i * (1 - i),
        dc * before(c) * f * (1 - f),
        dc * i * ((1 - g) * (1 + g)),
        dh * tanh_c * o * (1 - o),
    ]
    return dz, 0, dc * f


def _gru_grad(op, t, before, dh, dc, gates, h):
    r, z, n, a = np.moveaxis(gates[:, t], 1, 0)
    dn = dh * (1 - z) * ((1 - n) * (1 + n))
    return [dn * a * r * (1 - r), dh * (before(h) - n) * z * (1 - z), dn, dn * r], dh * z, 0


def _backward(cell, state_lines):
    """The gradient op of a cell (op, t, state before, dh, dc, *saved) -> (dgates, what else goes to the state before,
    dc of the step before)."""

    def run(op, buffers, step):
        (dh, UT, *saved), mask, lengths = _operands(op, buffers)
        if op.attributes.get("last"):
            dh = at_last_step(dh, buffers[op.outputs[0]].shape[1], lengths, op.attributes["reverse"])
        UT, zero = _with_gates(*operands(op, UT)), dh.dtype.type(0)
        reverse, truncate = op.attributes["reverse"], op.attributes["truncate"]
        time, order = dh.shape[1], list(_steps(dh.shape[1], op.attributes["reverse"]))
        dgates = [None] * time
        carried = dc = zero
        for place, t in reversed(list(enumerate(order))):

            def before(states, place=place):
                return states[:, order[place - 1]] if place else zero

            dh_t = np.where(_inside(t, lengths), dh[:, t] + carried, zero)
            lines, direct, dc = cell(op, t, before, dh_t, dc, *saved)
            (dgates[t],) = operands(op, np.stack(lines, axis=1))
            carried = product(dgates[t][:, state_lines], UT).sum(axis=1)
            carried = (carried if mask is None else mask * carried) + direct
            if truncate is not None and (t + reverse) % truncate == 0:
                carried = dc = zero
        buffers[op.outputs[0]] = np.stack(dgates, axis=1)

    return run


def _recurrent_grad_input(op, buffers, step):
    dgates, WT = operands(op, *(buffers[name] for name in op.inputs))
    lines = list(op.attributes["lines"])
    buffers[op.outputs[0]] = product(dgates[:, :, lines], _with_gates(WT)).sum(axis=2)


def _weight_gradients(x, dgates, lines):
    """Sum over rows and steps of x^T dgates for each of the lines: (gates, in, units)."""
    x = x.reshape(-1, x.shape[-1])
    return np.stack([x.T @ dgates[:, :, line].reshape(len(x), dgates.shape[-1]) for line in lines])


def _recurrent_grad_weights(op, buffers, step):
    lines, state_lines = list(op.attributes["lines"]), list(op.attributes["state_lines"])
    before, after = slice(None, -1), slice(1, None)
    if op.attributes["reverse"]:
        before, after = after, before
    n_parts = len(buffers[op.outputs[0]])
    part = (step.row + np.arange(step.n)) // op.attributes["part_rows"] % n_parts
    parts = []
    for number in range(n_parts):
        x, h, dz = operands(op, *(buffers[name][part == number] for name in op.inputs))
        parts.append([
            _weight_gradients(x, dz, lines),
            row_sum(dz[:, :, lines], axes=2),
            _weight_gradients(h[:, before], dz[:, after], state_lines),
            row_sum(dz[:, :, 3], axes=2) if len(op.outputs) == 4 else None,
        ])  # fmt: skip
    partials = [np.stack(values) for values in zip(*parts, strict=True) if values[0] is not None]
    values = [value.reshape(buffers[name].shape) for name, value in zip(op.outputs, partials, strict=True)]
    accumulate(buffers, op.outputs, values, step)


def _masked_states(op, buffers, step):
    h, mask = (buffers[name] for name in op.inputs)
    buffers[op.outputs[0]] = h * mask[:, np.newaxis]


def _pack_gates(op, buffers, step):
    buffers[op.outputs[0]] = bfloat16(np.concatenate([buffers[name] for name in op.inputs], axis=-2))


def _transpose_gates(op, buffers, step):
    buffers[op.outputs[0]] = np.ascontiguousarray(np.swapaxes(buffers[op.inputs[0]], -1, -2))


OPS = {
    "simple_rnn": _forward(_simple_rnn),
    "lstm": _forward(_lstm),
    "gru": _forward(_gru),
    "simple_rnn_grad": _backward(_simple_rnn_grad, [0]),
    "lstm_grad": _backward(_lstm_grad, [0, 1, 2, 3]),
    "gru_grad": _backward(_gru_grad, [0, 1, 3]),
    "recurrent_grad_input": _recurrent_grad_input,
    "recurrent_grad_weights": _recurrent_grad_weights,
    "masked_states": _masked_states,
    "pack_gates": _pack_gates,
    "transpose_gates": _transpose_gates,
}
