"""Elementwise activations and the row softmax: y = f(z)."""

from fastnn.plan import Op


def activation(builder, z, spec, name):
    """y = f(z) elementwise; `spec` is an activation spec (kernel, derivative_from, increasing)."""
    y = builder.batch(name, builder.shape(z))
    attributes = {
        "activation": spec.kernel,
        "derivative_from": spec.derivative_from,
        "increasing": spec.increasing,
    }
    builder.emit(Op("activation", (z,), (y,), attributes))
    return y


def softmax(builder, z, name):
    """y = exp(z) / sum(exp(z)) over the features of each row."""
    y = builder.batch(name, builder.shape(z))
    builder.emit(Op("softmax", (z,), (y,)))
    return y


def _activation_gradient(builder, op, dy):
    (z,), (y,) = op.inputs, op.outputs
    source = y if op.attributes["derivative_from"] == "output" else z
    dz = builder.batch(f"{z}.gradient", builder.shape(z))
    builder.emit(Op("activation_grad", (dy, source), (dz,), {"activation": op.attributes["activation"]}))
    return dz


GRADIENTS = {"activation": _activation_gradient}
