"""Rows of a sparse matrix that are multiplied entry by entry: where the entries of each row lie."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport fnn_entries
from fastnn.native.op cimport Step


# Of X_column and X, from the first entry to the one behind the last.
cdef struct Span:
    int64_t first, last


cdef inline Span *span_of(const Step *step, const char *x, int half, int64_t row) noexcept nogil:
    """The entries of a half of a row of the chunk, as the gather has noted them; of a row in one piece the second half
    is empty."""
    return <Span *> x + half * step.capacity + row


# How a product reads the rows it is made from: as they were gathered, or entry by entry, which it may round.
cdef enum:
    ROWS, ENTRIES, ROUNDED_ENTRIES


cdef inline fnn_entries entries_of(const Step *step, const Span *span, int64_t form) noexcept nogil:
    cdef fnn_entries x
    x.n, x.column = span.last - span.first, step.X_column + span.first
    x.value, x.itemsize = step.X + span.first * step.X_itemsize, step.X_itemsize
    x.rounded = form == ROUNDED_ENTRIES
    return x


cdef inline int64_t entries_before(const Step *step, Span span, int64_t column) noexcept nogil:
    """Where the entries before a column end."""
    cdef int64_t middle
    while span.first < span.last:
        middle = (span.first + span.last) // 2
        if step.X_column[middle] < column:
            span.first = middle + 1
        else:
            span.last = middle
    return span.first


cdef inline void find_block(
    const Step *step, const char *x, int64_t column, int64_t columns, int64_t beside, Span *spans
) noexcept nogil:
    """The entries of all rows of the chunk in some columns. `spans` holds those of the columns before (`beside` is 1)
    or behind (-1), where the search then starts, or nothing of use."""
    cdef int64_t r, e
    cdef Span row
    for r in range(step.n):
        row.first, row.last = span_of(step, x, 0, r).first, span_of(step, x, 1, r).last
        if beside == -1:
            e = spans[r].last = spans[r].first
            while e > row.first and step.X_column[e - 1] >= column:
                e -= 1
            spans[r].first = e
            continue
        e = spans[r].last if beside == 1 else entries_before(step, row, column)
        spans[r].first = e
        while e < row.last and step.X_column[e] < column + columns:
            e += 1
        spans[r].last = e
