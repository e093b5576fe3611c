"""The loss of each row and its gradient with respect to the last pre-activation."""

from fastnn.plan import Op


def loss(builder, z, t, w, kernel):
    """row_loss[r] = w[r] l(z[r], t[r]) and dz = w[r] / weight_sum * dl/dz; `kernel` is (name, parameters...).

    Of a sequence z (n, time, outputs), l is the mean over its steps; those beyond its length do not count, and get zero
    gradients. Operands: z, t, then w and the lengths, where there are any.
    """
    dz = builder.batch(f"{z}.gradient", builder.shape(z))
    row_loss = builder.buffer("row_loss", (), "row_loss")
    lengths = builder.lengths if len(builder.shape(z)) > 1 else None
    inputs = tuple(name for name in (z, t, w, lengths) if name is not None)
    attributes = {"loss": tuple(kernel), "weighted": w is not None, "lengths": lengths is not None}
    builder.emit(Op("loss", inputs, (dz, row_loss), attributes))
    return dz, row_loss
