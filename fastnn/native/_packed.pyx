"""Parameters on their way into panel matrices and back; those in the hands of a user held against the packed ones."""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.string cimport memcmp, memcpy

from numpy import ndarray

from fastnn.native._executor cimport data_of
from fastnn.native.kernels cimport fnn_kernels, fnn_kernels_for
from fastnn.native.op cimport at, panel_width, panels

cdef enum:
    LARGE = 1 << 14          # bytes from which on weights are read where the user has them,
    DIRECT = 24 << 10        # up to so many rows times columns: their rows lie apart, which each tile of rows pays for
    RELEASE = 1_000_000      # bytes (20 microseconds) from which on the GIL is released


cdef void write_panels(
    const fnn_kernels *k, int64_t rows, int64_t columns, const char *matrix, int64_t itemsize, char *packed,
    bint turned,
) noexcept:
    """Packs a row-major matrix of numbers of `itemsize` bytes, which are those of the kernels where it is kept turned.

    Panel by panel: the same row of all panels of 2048 rows falls to the same few lines of the cache.
    """
    cdef int64_t start
    for start in range(0, rows if turned else columns, k.panel):
        if turned:
            k.transpose(
                min(<int64_t> k.panel, rows - start), columns, matrix + start * columns * itemsize, columns,
                at(k, packed, start * columns), panel_width(k, rows, start // k.panel),
            )
        else:
            k.gather(
                rows, min(<int64_t> k.panel, columns - start), NULL, matrix + start * itemsize, columns, itemsize, 1.0,
                at(k, packed, start * rows), rows * k.panel, 0,
            )


cdef void read_panels(
    const fnn_kernels *k, int64_t rows, int64_t columns, const char *packed, char *matrix, bint turned,
) noexcept:
    """The reverse, into numbers of the kernels' type."""
    cdef int64_t start
    if not turned:
        k.store(rows, columns, packed, rows * k.panel, 0, matrix, columns)
        return
    for start in range(0, rows, k.panel):
        k.transpose(
            columns, min(<int64_t> k.panel, rows - start), packed + start * columns * k.itemsize,
            panel_width(k, rows, start // k.panel), at(k, matrix, start * columns), columns,
        )


def pack(isa, matrix, packed, bint turned=False):
    """Writes a C-contiguous matrix of float32 or float64 into a panel matrix, a flat array of either, or with `turned`
    its transpose, into an array of the same type."""
    cdef const fnn_kernels *k = fnn_kernels_for(isa.encode(), packed.itemsize)
    rows, columns = matrix.shape
    write_panels(k, rows, columns, data_of(matrix), matrix.itemsize, data_of(packed), turned)


def unpack(isa, packed, matrix, bint turned=False):
    """The reverse of pack, into a matrix of the same type."""
    cdef const fnn_kernels *k = fnn_kernels_for(isa.encode(), matrix.itemsize)
    rows, columns = matrix.shape
    read_panels(k, rows, columns, data_of(packed), data_of(matrix), turned)


def move_vector(isa, const int64_t[:, ::1] places, vector, arena, bint pack):
    """Copies natural matrices that lie one after another in a vector into panel matrices, or back.

    `places` has a row for each: its rows and columns, the first byte of the panel matrix in the arena, and whether that
    is turned. A call for each matrix took two thirds of the time of L-BFGS on small networks.
    """
    cdef const fnn_kernels *k = fnn_kernels_for(isa.encode(), vector.itemsize)
    cdef char *x = data_of(vector)
    cdef char *packed
    cdef int64_t i, rows, columns
    for i in range(places.shape[0]):
        rows, columns, packed = places[i, 0], places[i, 1], <char *> data_of(arena) + places[i, 2]
        if pack:
            write_panels(k, rows, columns, x, k.itemsize, packed, places[i, 3])
        else:
            read_panels(k, rows, columns, packed, x, places[i, 3])
        x += rows * columns * k.itemsize


cdef bint is_plain(const Py_buffer *view, bytes formats) noexcept:
    """Whether a buffer holds aligned numbers of one of these types: "f", "d", "B"."""
    cdef const char *format = view.format
    return format[0] in formats and format[1] == 0 and <uintptr_t> view.buf % <uintptr_t> view.itemsize == 0


cdef bint turned_differs(const fnn_kernels *k, const Array *array, const char *given) noexcept nogil:
    """Whether a row-major (rows, columns) matrix has other bits than a packed one that is kept turned."""
    cdef int64_t r, column, p, width
    cdef const char *packed
    cdef uint64_t different = 0
    for p in range(panels(k, array.rows)):
        packed = array.packed + p * array.columns * k.panel * k.itemsize
        width = panel_width(k, array.rows, p)
        for r in range(p * k.panel, min(array.rows, (p + 1) * k.panel)):
            for column in range(array.columns):
                different |= difference(
                    given + (r * array.columns + column) * k.itemsize,
                    packed + (column * width + r - p * k.panel) * k.itemsize, k.itemsize,
                )
    return different != 0


cdef bint rows_equal(const fnn_kernels *k, const Array *array, const char *given, const int64_t[::1] rows) noexcept:
    """Whether these rows of a row-major matrix are rows of it and have the bits of the packed ones."""
    cdef const char *packed
    cdef int64_t i, p, byte, size, row = array.columns * k.itemsize
    for i in range(rows.shape[0]):
        if not 0 <= rows[i] < array.rows:
            return False
        for p in range(panels(k, array.columns)):
            byte = p * k.panel * k.itemsize
            size = panel_width(k, array.columns, p) * k.itemsize
            packed = array.packed + byte * array.rows + rows[i] * size
            if memcmp(given + rows[i] * row + byte, packed, min(size, row - byte)):
                return False
    return True


cdef inline uint64_t difference(const char *a, const char *b, int64_t itemsize) noexcept nogil:
    """The bits in which two numbers differ."""
    cdef uint64_t x = 0, y = 0
    if itemsize == 4:
        memcpy(&x, a, 4)
        memcpy(&y, b, 4)
    else:
        memcpy(&x, a, 8)
        memcpy(&y, b, 8)
    return x ^ y


cdef bint equals_packed(const fnn_kernels *k, const Array *array, const char *given, bint direct) noexcept nogil:
    """Whether a row-major matrix has the bits of a packed one; with `direct`, of the last panel if it is not whole."""
    if array.turned:
        return not turned_differs(k, array, given)
    return not k.differs(array.rows, array.columns, array.columns // k.panel if direct else 0, given, array.packed)


cdef class Packed:
    """The weights that a runner has packed, and what else has to be the same for them to be right.

    Weights may be changed in place, so they are compared bit for bit: 0.4 microseconds for 30-100-2, about as long as
    its layers take where weights do not fit into the cache of the first level.

    Parameters
    ----------
    runner : Runner
        With its parameters set.
    same : dict
        Entries which a dict must have: these very objects; None stands for none, too.
    lists : dict of str to sequence
        Entries which must be lists of arrays: the parameter of each one, None where there must be none, and other
        names for those that are not read.
    """

    def __init__(self, runner, same, lists):
        cdef Array *array
        buffers, flat = runner.plan.buffers, [name for names in lists.values() for name in names]
        read = {*runner.plan.parameters, *runner.plan.statistics}
        self.program, self.same = runner.program, same
        self.names, self.lengths = list(lists), [len(names) for names in lists.values()]
        readers = {
            op.inputs[1]: self.program.n_prepare + i for i, op in enumerate(runner.plan.step)
            if op.kind == "dense" and op.inputs[1] not in runner.layout.turned
        }
        entries = {op.inputs[1] for op in runner.plan.step if op.kind == "dense" and op.attributes.get("entries")}
        self.memory = bytearray(max(1, len(flat)) * sizeof(Array))
        self.arrays = <Array *> <char *> self.memory
        for i, name in enumerate(flat):
            array = &self.arrays[i]
            array.ndim = -(name is None)
            if name in read:
                array.packed = <const char *> <uintptr_t> runner.address(name)
                array.columns = buffers[name].columns
                array.rows = buffers[name].size // array.columns
                array.turned = name in runner.layout.turned
                array.by_rows = name in entries
                array.op = readers.get(name, -1)
                array.ndim = len(buffers[name].shape)
                for axis, size in enumerate(buffers[name].shape):
                    array.shape[axis] = size

    def holds(self, dict known, const int64_t[::1] columns=None):
        """Whether a dict has the same entries and weights, and FASTNN_ISA asks for this instruction set. Where columns
        are given, only those rows of weights count that multiply entries of sparse rows in these columns."""
        return self.agrees(known, None, 0, columns)

    cdef bint agrees(self, dict known, list direct, int64_t n, const int64_t[::1] columns):
        """`holds`; with a list, large weights need not be the same: they are appended, for ``Forward.go`` to read where
        n rows are few enough."""
        cdef Array *array = self.arrays
        cdef int64_t i
        cdef Py_ssize_t length
        if not self.program.is_asked_for():
            return False
        for name, value in self.same.items():
            if known.get(name) is not value:
                return False
        for i in range(len(self.lengths)):
            entries, length = known.get(self.names[i]), self.lengths[i]
            if type(entries) is not list:
                return False
            entries = tuple(entries)  # of its own: other threads may change the list
            if len(<tuple> entries) != length:
                return False
            for entry in <tuple> entries:
                if not self.matches(array, entry, direct, n, columns):
                    return False
                array += 1
        return True

    cdef bint matches(self, const Array *array, entry, list direct, int64_t n, const int64_t[::1] columns):
        cdef const fnn_kernels *k = self.program.kernels
        cdef Py_buffer view
        cdef bint equal, read
        if entry is None:
            return array.packed == NULL
        if array.ndim < 0:
            return False
        try:
            PyObject_GetBuffer(entry, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except (BufferError, TypeError, ValueError):
            return False
        # The type counts in an array that is not read, too: that of all of them decides that of the outputs.
        equal = is_plain(&view, b"fd") and view.itemsize == k.itemsize
        if equal and array.packed != NULL:
            equal = view.ndim == array.ndim and memcmp(
                view.shape, array.shape, array.ndim * sizeof(Py_ssize_t)) == 0
            read = equal and direct is not None and array.op >= 0 and n * array.columns <= DIRECT
            read = read and view.len >= LARGE and type(entry) is ndarray
            if read:
                direct.append((array.op, <uintptr_t> view.buf, entry))
            if equal and array.by_rows and columns is not None:
                equal = rows_equal(k, array, <const char *> view.buf, columns)
            elif equal and (read or view.len < RELEASE):
                equal = equals_packed(k, array, <const char *> view.buf, read)
            elif equal:
                with nogil:
                    equal = equals_packed(k, array, <const char *> view.buf, read)
        PyBuffer_Release(&view)
        return equal
