"""Rows of the caller's arrays into batch buffers, and predictions back out."""

from fastnn.plan import Op


def gather(builder, shape):
    """x[r] = X[order[first + r]], converted to the plan's real type."""
    X = builder.buffer("X", shape, "source")
    x = builder.batch("x", shape)
    builder.emit(Op("gather", (X,), (x,)))
    return x


def gather_target(builder, outputs, *, one_hot, on, off):
    """t = off + (on - off) * y, where y is a 0/1 matrix, or the one-hot row of a class index."""
    y = builder.buffer("y", () if one_hot else (outputs,), "source")
    t = builder.batch("t", (outputs,))
    builder.emit(Op("gather_target", (y,), (t,), {"one_hot": one_hot, "on": float(on), "off": float(off)}))
    return t


def gather_weight(builder):
    """w[r] = sample_weight[order[first + r]]."""
    source = builder.buffer("sample_weight", (), "source")
    w = builder.buffer("w", (), "row")
    builder.emit(Op("gather_weight", (source,), (w,)))
    return w


def store(builder, y):
    """output[first + r] = y[r]."""
    output = builder.buffer("output", builder.shape(y), "source")
    builder.emit(Op("store", (y,), (output,)))
    return output
