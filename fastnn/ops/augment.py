"""Expanding the data: transformed copies of the gathered rows, drawn anew in each step."""

from fastnn.plan import Op


def augment(builder, x, transforms, stream):
    """y[r] = the transforms applied to x[r] one after the other; transform i draws from stream + i."""
    y = builder.batch(f"{x}.augmented", builder.shape(x), "rows")
    kernels = tuple(transform.kernel for transform in transforms)
    builder.emit(Op("augment", (x,), (y,), {"transforms": kernels, "stream": stream}))
    return y


def mix(builder, a, b, alpha, stream):
    """y[r] = lambda a[r] + (1 - lambda) b[r] with lambda ~ Beta(alpha, alpha) drawn for each row."""
    y = builder.batch(f"{a}.mixed", builder.shape(a), builder.buffers[a].layout)
    builder.emit(Op("mix", (a, b), (y,), {"alpha": float(alpha), "stream": stream}))
    return y
