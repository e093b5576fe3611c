"""The products of all columns with each other, for normal equations."""

from fastnn.plan import Op


def gram(builder, x):
    """G += x^T x over the rows of the batch, on and above the diagonal; below it G is of no use.

    x is (n, columns) and G, the statistic ``gram.G``, (columns, columns).
    """
    columns = builder.columns(x)
    G = builder.buffer("gram.G", (columns, columns), "statistic")
    builder.emit(Op("gram", (x,), (G,), split="columns", multiply_adds=columns * (columns + 1) // 2))
    return G
