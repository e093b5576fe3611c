"""The rooms of the library and what may know what; lists that must name the same things; words that must not appear."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from fastnn import reference
from fastnn.reference import augment
from fastnn.reference.activation import ACTIVATIONS
from fastnn.reference.loss import LOSSES
from fastnn.reference.update import OPTIMIZERS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastnn"

# A room imports from its own line and from the lines below it. `fastnn` itself is the front door.
LEVELS = (
    {"__main__"},
    {"fastnn"},
    {"gradient_check", "config", "datasets", "plot"},
    {"estimators"},
    {"reservoir", "features", "readout"},
    {"training"},
    {"lower", "passes", "bfloat16", "memory", "blas"},
    {"layers"},
    {"activations", "augment", "losses", "optimizers", "initializers", "schedules"},
    {"ops"},
    {"plan", "spec", "locks"},
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
BACKENDS = {"reference": {"plan"}, "native": {"plan", "memory", "locks"}}
SPECS = ("activations", "augment", "losses", "optimizers", "initializers", "schedules")
CYTHON_IMPORT = re.compile(
    r"^\s*(?:from\s+fastnn(?:\.(\w+)[\w.]*)?\s+c?import\s+([\w, ]*)|c?import\s+fastnn(?:\.(\w+))?)", re.M
)


def _room(path):
    first = path.relative_to(PACKAGE).parts[0].removesuffix(path.suffix)
    return "fastnn" if first == "__init__" else first


def _imports(path):
    """Rooms a module imports: by its syntax tree, or by its lines where it is Cython."""
    if path.suffix == ".py":
        return {room for node in ast.walk(ast.parse(path.read_text("utf-8"))) for room in _imported_rooms(node)}
    found = set()
    for inside, names, whole in CYTHON_IMPORT.findall(path.read_text("utf-8")):
        found |= {inside or whole} if inside or whole else {name.strip() for name in names.split(",")}
    return found


def _imported_rooms(node):
    if isinstance(node, ast.ImportFrom) and node.level:
        raise AssertionError("imports are absolute here")
    modules = []
    if isinstance(node, ast.ImportFrom) and node.module == "fastnn":
        modules = [f"fastnn.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        modules = [node.module]
    elif isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    parts = [module.split(".") for module in modules]
    return {part[1] if len(part) > 1 else "fastnn" for part in parts if part[0] == "fastnn"}


def _modules():
    return sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyx", ".pxd"))


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    room, imported = _room(path), _imports(path)
    if room in BACKENDS:
        allowed = BACKENDS[room] | {room}
    else:
        assert room in LEVEL, f"{room} has no place among the rooms"
        allowed = {other for other, level in LEVEL.items() if level >= LEVEL[room]}
        if room in SPECS:
            allowed = {room, "spec"}
        if LEVEL[room] <= LEVEL["training"]:
            allowed |= set(BACKENDS)
    # What is no room is a public name: imported through the front door.
    rooms = {other if other in LEVEL or other in BACKENDS else "fastnn" for other in imported}
    assert rooms <= allowed, f"{room} may not import {sorted(rooms - allowed)}"


def _rows(name):
    """The rows of a .def file: (name, further fields...)."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "csrc" / f"{name}.def").read_text("utf-8"), flags=re.S)
    return [tuple(field.strip() for field in row.split(",")) for row in re.findall(r"^FNN_\w+\((.*?)\)", text, re.M)]


def test_every_activation_has_its_twin():
    listed = {name: (int(count), source.lower()) for name, count, source in _rows("activations")}
    twins = {name: (len(twin.parameters[0]), twin.derivative_from) for name, twin in ACTIVATIONS.items()}
    assert listed == twins


def test_every_loss_has_its_twin():
    assert {name: int(count) for name, count in _rows("losses")} == {
        name: len(loss.parameters[0]) for name, loss in LOSSES.items()
    }


def test_every_optimizer_has_its_twin():
    assert {row[0] for row in _rows("optimizers")} == set(OPTIMIZERS)


def test_every_transform_has_its_twin():
    assert {row[0] for row in _rows("transforms")} == set(augment.MAPS) | set(augment.CHANGES)


def test_every_op_has_its_twin():
    native = pytest.importorskip("fastnn.native.layout", reason="the compiled core is not built")
    assert set(native.OPS) | set(native.BFLOAT16_OPS) == set(reference.OPS)


def _texts():
    """Every tracked or new file with text in it, as (path, text)."""
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        paths = [ROOT / name for name in names]
    else:
        folders = ("fastnn", "csrc", "tests", "benchmarks")
        paths = [path for folder in folders for path in (ROOT / folder).rglob("*")] + list(ROOT.glob("*.*"))
    for path in paths:
        if path.is_file() and path.suffix not in (".so", ".pyd", ".pyc", ".png"):
            yield path, path.read_text("utf-8")


def _found(pattern, paths=None):
    texts = _texts() if paths is None else [(path, path.read_text("utf-8")) for path in paths]
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, text in texts
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_no_flag_ties_the_build_to_this_machine_or_breaks_arithmetic():
    flags = r"-m(arch|tune|cpu)=native|-Ofast|-f(fast-math|unsafe-math|finite-math|associative-math)|/fp:fast"
    in_sources = r"pragma.*fast.?math|optimize\s*\(.*fast"
    sources = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".c", ".h", ".def")]
    assert not _found(f"{flags}|{in_sources}", [ROOT / "setup.py", ROOT / "pyproject.toml", *sources])


def test_no_path_of_a_machine_is_written_down():
    assert not _found(r"(?<![\w.$}<])/(home|root|Users|work|mnt|tmp|opt|media)/\w")


def test_no_package_index_is_named():
    assert not _found(r"index-[u]rl|find-[l]inks|[p]ypi\.org|files\.[p]ythonhosted")


def test_no_index_of_compiled_python_counts_from_the_end():
    # The modules are compiled without wraparound: [-1] of a list is then the memory in front of it.
    assert not _found(r"\w\[:?-\d+\]", (PACKAGE / "native").glob("*.pyx"))
