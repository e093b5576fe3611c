"""What this installation of fastnn is and what it runs on."""

import os
import platform
from importlib import import_module, metadata

from fastnn.spec import shown


def show_config(mode="stdout"):
    """Shows version, compiler, instruction sets, threads and the versions of what fastnn stands on.

    Works without the compiled core too, and then says why it cannot be loaded.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, default="stdout"
        "stdout" prints the configuration and returns None; "dicts" returns it.

    Returns
    -------
    dict of str to str, or None
        In the order of printing.
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"show_config: mode must be 'stdout' or 'dicts', got {shown(mode)}")
    config = {"fastnn": _version("fastnn"), **_core(), **_environment()}
    if mode == "dicts":
        return config
    width = max(map(len, config))
    for key, value in config.items():
        print(f"{key:<{width}}  {value}")
    return None


def _core():
    try:
        from fastnn.native import _machine, effective_threads
    except ImportError as cause:
        return {"backend": f"numpy: the compiled core cannot be loaded ({cause})"}
    in_use = _machine.best_isa() or "none: FASTNN_ISA names an instruction set that is not available here"
    openmp = _machine.has_openmp()
    return {
        "backend": "native",
        "compiler": _machine.compiler(),
        "Cython": _cython_of(_machine),
        "instruction set": in_use,
        "available": ", ".join(_machine.isa_names(bfloat16=True)),
        "FASTNN_ISA": os.environ.get("FASTNN_ISA") or "not set",
        "OpenMP": "yes" if openmp else "no: built without it, everything runs on one thread",
        "threads": str(effective_threads()),
    }


def _cython_of(module):
    """The version of Cython that compiled a module, which need not be installed any more: its functions' type lives in
    a module named like ``_cython_3_1_2``."""
    home = type(module.best_isa).__module__
    return home.removeprefix("_cython_").replace("_", ".") if home.startswith("_cython_") else "unknown"


def _environment():
    versions = {name: import_module(name).__version__ for name in ("numpy", "scipy", "sklearn")}
    return {
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "NumPy": versions["numpy"],
        "SciPy": versions["scipy"],
        "scikit-learn": versions["sklearn"],
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }


def _version(distribution):
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed, run from its sources"
