"""Rows of the caller's arrays into batch buffers, and predictions back out."""

from fastnn.plan import Op


def gather(builder, shape, *, scale=1.0, partner=None, first=0, name="x"):
    """x[r] = scale * X[order[r]], converted to the plan's real type; images and signals row by row.

    With the stream `partner`, each row is replaced by one drawn from all rows of positive weight. Where X is declared
    already, x may be a part of its rows: the numbers from `first` on that fill `shape`.
    """
    X = "X" if "X" in builder.buffers else builder.buffer("X", shape, "source")
    name = name if partner is None else f"{name}.partner"
    x = builder.batch(name, shape, "panels" if len(shape) == 1 else "rows")
    attributes = {"scale": float(scale), "partner": partner, "first": first}
    builder.emit(Op("gather", (X,), (x,), attributes))
    return x


def gather_target(builder, shape, *, one_hot, on, off, partner=None):
    """t = off + (on - off) * y, where y is a 0/1 matrix, or the one-hot row of a class index: one at each step, where
    `shape` is (time, outputs)."""
    y = "y" if "y" in builder.buffers else builder.buffer("y", shape[:-1] if one_hot else shape, "source")
    t = builder.batch("t" if partner is None else "t.partner", shape)
    attributes = {"one_hot": one_hot, "on": float(on), "off": float(off), "partner": partner}
    builder.emit(Op("gather_target", (y,), (t,), attributes))
    return t


def gather_weight(builder):
    """w[r] = sample_weight[order[first + r]]."""
    source = builder.buffer("sample_weight", (), "source")
    w = builder.buffer("w", (), "row")
    builder.emit(Op("gather_weight", (source,), (w,)))
    return w


def store(builder, y):
    """output[first + r] = y[r], where y lies in panels."""
    output = builder.buffer("output", builder.shape(y), "source")
    builder.emit(Op("store", (y,), (output,)))
    return output
