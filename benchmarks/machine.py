"""What times are taken on, how a competitor takes its turn, and what memory a function takes."""

import os
import platform
import re
import statistics
from importlib import metadata
from time import perf_counter

from fastnn.config import show_config

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
PAUSE = 0.25  # seconds between two competitors: worker threads of the last library, such as OpenBLAS, stop spinning
TURN = 0.1  # seconds of a competitor's turn, at least
LIBRARIES = ("fastnn", "numpy", "scikit-learn", "torch", "jax", "onnxruntime")


def facts():
    """CPU, cores, what fastnn was built with and runs on, and the versions of the libraries; None: not installed."""
    versions = {name: version(name) for name in LIBRARIES}
    return {"cpu": _cpu(), "cores": CORES, **show_config("dicts"), "versions": versions}


def version(library):
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def text():
    """The machine in half a sentence, the versions in the other."""
    here = facts()
    versions = ", ".join(f"{name} {number}" for name, number in here["versions"].items() if number)
    return f"{here['cpu']}, {CORES} cores, {here.get('instruction set', 'NumPy')}; {versions}."


def _cpu():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return re.search(r"model name\s*:\s*(.*)", file.read())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def turn(measure, tiny):
    """The median of what `measure` returns as often as a turn allows, at least once, and once where it is tiny: after
    the pause a core has its clock, its caches and its pages to recover, for longer than a fit of iris takes."""
    times, end = [measure()], perf_counter() + (0 if tiny else TURN)
    while perf_counter() < end:
        times.append(measure())
    return statistics.median(times)


def peak_memory(function):
    """Megabytes by which the process grows at most during a call, over its resident size before.

    Linux only: the kernel's high-water mark is set back to the resident size, and read after the call.
    """
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before = _status("VmRSS")
    function()
    return (_status("VmHWM") - before) / 1000


def _status(key):
    with open("/proc/self/status", encoding="ascii") as file:
        return int(re.search(rf"{key}:\s*(\d+)", file.read())[1]) * 1.024  # kibibytes to kilobytes
