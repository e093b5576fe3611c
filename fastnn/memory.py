"""Lifetimes -> arena offsets: batch buffers that are never alive together may share their place. And how much memory
there is."""

import os
import re
from pathlib import Path

ALIGNMENT = 64
PLENTY = 1 << 30  # bytes; for fewer nobody asks what there is


def lifetimes(ops, unit):
    """First and last use of each buffer, counted in ops, or in phases between barriers.

    Within a phase threads run apart, so there a place may be reused only when one thread owns the whole arena.

    Parameters
    ----------
    ops : sequence of Op
    unit : {"op", "phase"}

    Returns
    -------
    dict of str to (int, int)
    """
    spans, phase = {}, 0
    for i, op in enumerate(ops):
        phase += op.barrier
        clock = phase if unit == "phase" else i
        for name in op.inputs + op.outputs:
            first, _ = spans.get(name, (clock, clock))
            spans[name] = (first, clock)
    return spans


def allocate(sizes, spans):
    """Offsets in one arena such that buffers whose lifetimes overlap do not: first fit, largest first.

    Parameters
    ----------
    sizes : dict of str to int
        Bytes.
    spans : dict of str to (int, int)
        First and last use, both included.

    Returns
    -------
    offsets : dict of str to int
        Multiples of 64.
    total : int
        Bytes of the arena.
    """
    placed, offsets, total = [], {}, 0
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        first, last = spans[name]
        size = -(-sizes[name] // ALIGNMENT) * ALIGNMENT
        offset = 0
        for start, stop, other_first, other_last in sorted(placed):
            if other_first <= last and first <= other_last:
                if offset + size <= start:
                    break
                offset = max(offset, stop)
        offsets[name] = offset
        placed.append((offset, offset + size, first, last))
        total = max(total, offset + size)
    return offsets, total


def available():
    """Bytes that can be taken without swapping: Linux's own estimate, elsewhere all memory there is, or None."""
    meminfo = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable: *(\d+) kB$", meminfo.read_text("ascii"), re.M) if meminfo.exists() else None
    if found:
        return int(found[1]) << 10
    try:
        pages = os.sysconf("SC_PHYS_PAGES")
        return pages * os.sysconf("SC_PAGE_SIZE") if pages > 0 else None
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf, other systems not these names
        return None


def check(needed, what, way_out):
    """Refuses `needed` bytes where they are not there: systems hand out more memory than they have, and end the process
    that writes to it."""
    there = available() if needed > PLENTY else None
    if there is not None and needed > there:
        raise MemoryError(f"{what} {needed:,} bytes, of which {there:,} are available. Way out: {way_out}")
