"""`pytest benchmarks`: kernels on every instruction set of this CPU, with a table of rates at the end."""

import pytest
from kernels import measure

from fastnn.config import show_config

RESULTS = pytest.StashKey[list]()


@pytest.fixture
def bench(benchmark, request):
    """``bench(kernel, isa)`` measures a kernel and keeps its numbers for the table."""
    benchmark.group = f"{request.node.originalname.removeprefix('test_')}: one call, many repetitions"

    def run(kernel, isa):
        numbers = measure(benchmark, kernel, isa)
        if numbers is not None:
            request.config.stash.setdefault(RESULTS, []).append((request.node.name.removeprefix("test_"), numbers))

    return run


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    results = config.stash.get(RESULTS, [])
    if not results:
        return
    core = show_config("dicts")
    terminalreporter.section("one execution: float32, one thread, median")
    terminalreporter.write_line(f"fastnn {core['fastnn']}, {core['compiler']}, {core['platform']}")
    width = max(len(name) for name, _ in results)
    for name, numbers in results:
        line = f"{name:<{width}}{numbers['microseconds']:>12.2f} us"
        if "GFLOP/s" in numbers:
            line += f"{numbers['GFLOP/s']:>9.1f} GFLOP/s{100 * numbers['share of peak']:>7.1f} % of"
            line += f"{numbers['peak GFLOP/s']:>7.1f}"
        else:
            line += f"{numbers['GB/s']:>9.1f} GB/s"
        terminalreporter.write_line(line)
