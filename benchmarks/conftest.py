"""`pytest benchmarks`: kernels on every instruction set of this CPU and numbers of threads, with a table at the end."""

from pathlib import Path

import machine
import pytest
import report
from kernels import ALL_ISAS, THREADS, measure, table

RESULTS = pytest.StashKey[list]()


def pytest_addoption(parser):
    group = parser.getgroup("kernels")
    group.addoption("--isa", action="append", choices=ALL_ISAS, help="an instruction set to measure, instead of all")
    group.addoption("--threads", action="append", type=int, help="a number of threads, instead of one and all")
    group.addoption("--tiny", action="store_true", help="once, without looking at the time")
    group.addoption("--results", type=Path, help="folder for the table and JSON")
    group.addoption("--write", type=Path, help="file whose text between the marks becomes the table")


def pytest_generate_tests(metafunc):
    if "bench" in metafunc.fixturenames:
        options = metafunc.config.option
        threads = options.threads or (THREADS[:1] if options.benchmark_disable else THREADS)
        metafunc.parametrize("bench", threads, indirect=True, ids=[f"threads={n}" for n in threads])


def pytest_collection_modifyitems(config, items):
    wanted = config.option.isa or ALL_ISAS
    items[:] = [item for item in items if item.callspec.params.get("isa", wanted[-1]) in wanted]


@pytest.fixture
def bench(benchmark, request):
    """``bench(kernel, isa)`` measures a kernel on a number of threads and keeps its numbers for the table."""
    node, config = request.node, request.config
    subject = Path(node.path).stem.removeprefix("bench_")
    benchmark.group = f"{subject}: one call, many repetitions"
    shape = [str(value) for name, value in node.callspec.params.items() if name not in ("bench", "isa")]
    name = " ".join([subject, node.originalname.removeprefix("test_"), *shape])

    def run(kernel, isa):
        numbers = measure(benchmark, kernel, isa, request.param, config.option.tiny)
        if numbers is not None:
            config.stash.setdefault(RESULTS, []).append((name, numbers))

    return run


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    results = config.stash.get(RESULTS, [])
    if not results:
        return
    lines = [f"One execution in float32, medians. {machine.text()}", "", *table(results)]
    if config.option.results:
        records = [{"kernel": name, **numbers} for name, numbers in results]
        return report.save("kernels", config.option, lines, records)
    terminalreporter.section("kernels")
    terminalreporter.write_line("\n".join(lines))
