"""Rows in another shape, and sums of two buffers."""


def _reshape(op, buffers, step):
    x = buffers[op.inputs[0]]
    buffers[op.outputs[0]] = x.reshape(len(x), *buffers[op.outputs[0]].shape[1:]).copy()


def _add(op, buffers, step):
    a, b = (buffers[name] for name in op.inputs)
    buffers[op.outputs[0]] = a + b


OPS = {"reshape": _reshape, "add": _add}
