"""What this CPU, this build and this process have: instruction sets, and threads."""

from libc.stdint cimport int64_t

from fastnn.native.kernels cimport (
    fnn_compiler, fnn_has_openmp, fnn_in_parallel, fnn_isa_in_use, fnn_isa_name, fnn_kernels, fnn_kernels_for,
    fnn_max_threads, fnn_must_run_serially,
)


def isa_names(bint bfloat16=False):
    """Instruction sets this build has and this CPU runs, slowest first; with `bfloat16` also those that differ from the
    one before them in nothing else."""
    names, i = [], 0
    while fnn_isa_name(i, bfloat16) != NULL:
        names.append(fnn_isa_name(i, bfloat16).decode())
        i += 1
    return names


def best_isa():
    """The instruction set in use: the best one, or the one FASTNN_ISA names."""
    cdef const char *isa = fnn_isa_in_use()
    return None if isa == NULL else isa.decode()


def geometry(isa, int64_t itemsize):
    """(lanes, panel, narrow, picks) of an instruction set's kernels."""
    cdef const fnn_kernels *k = fnn_kernels_for(isa.encode(), itemsize)
    if k == NULL:
        raise ValueError(f"isa {isa!r} is not available here; choose one of {isa_names(bfloat16=True)}")
    return k.lanes, k.panel, k.narrow, k.picked[1][1] != NULL


def has_openmp():
    return bool(fnn_has_openmp())


def max_threads():
    """How many threads a parallel region may have now: 1 inside another region, or in a forked child that cannot use
    OpenMP."""
    return 1 if fnn_in_parallel() or fnn_must_run_serially() else fnn_max_threads()


def compiler():
    return fnn_compiler().decode()
