"""The loss of each row and its gradient with respect to the last pre-activation."""

from fastnn.plan import Op


def loss(builder, z, t, w, kernel):
    """row_loss[r] = w[r] l(z[r], t[r]) and dz = w[r] / weight_sum * dl/dz; `kernel` is (name, parameters...)."""
    dz = builder.batch(f"{z}.gradient", builder.shape(z))
    row_loss = builder.buffer("row_loss", (), "row_loss")
    inputs = (z, t) if w is None else (z, t, w)
    builder.emit(Op("loss", inputs, (dz, row_loss), {"loss": tuple(kernel)}))
    return dz, row_loss
