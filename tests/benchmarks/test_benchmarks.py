"""The benchmarks still run: each at its smallest size. Nothing here looks at a time."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.native import _machine
from fastnn.reference.run import OPS

ROOT = Path(__file__).parents[2]
ISAS, ALL_ISAS = _machine.isa_names(), _machine.isa_names(bfloat16=True)
ALONE = "--peers", "fastnn", "scikit-learn"


def _run(*command, folder=ROOT / "benchmarks", **environment):
    """Standard output of a Python program that must succeed."""
    # Without what a session in several processes tells its workers: pytest-benchmark would take no times.
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**ours, "PYTHONPATH": str(Path(fastnn.__file__).parents[1]), **environment}
    command = [sys.executable, *map(str, command)]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def _has_chart(folder, name):
    """Whether a benchmark has drawn its chart; none is expected without matplotlib, extra plot."""
    return not find_spec("matplotlib") or (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def tiny_mnist(tmp_path):
    """A folder with an mnist.npz of 260 random images."""
    random = np.random.default_rng(0)
    arrays = {}
    for part, rows in (("train", 200), ("test", 60)):
        arrays[f"X_{part}"] = random.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
        arrays[f"y_{part}"] = (np.arange(rows) % 10).astype(np.uint8)
    np.savez_compressed(tmp_path / "mnist.npz", **arrays)
    return tmp_path


def test_kernels_are_of_every_op(tmp_path):
    """Of all but the one that writes predictions to the caller's array, which latency.py measures, and copies that this
    CPU's products of bfloat16 do not read."""
    output = _run("kernels.py", "--tiny", "--isa", ISAS[-1], ALL_ISAS[-1], "--results", tmp_path)
    assert " passed" in output and "skipped" not in output
    measured = {kernel["op"] for kernel in json.loads((tmp_path / "kernels.json").read_text("utf-8"))["results"]}
    assert set(OPS) - measured == {"store"} | ({"pack", "conv_pack"} if ISAS == ALL_ISAS else set())


def test_the_table_of_kernels(tmp_path):
    """One row for a kernel, with columns for each number of threads."""
    _run("kernels.py", "loss", "--isa", ISAS[0], "--tiny", "--results", tmp_path)
    kernels = json.loads((tmp_path / "kernels.json").read_text("utf-8"))["results"]
    assert {kernel["isa"] for kernel in kernels} == {ISAS[0]}
    assert all(kernel["share"] > 0 for kernel in kernels)
    table = (tmp_path / "kernels.md").read_text("utf-8")
    assert all(f"| {kernel['kernel']} " in table for kernel in kernels)
    assert table.count("GB/s") == 1 + len(kernels)


def test_race_without_mnist(tmp_path):
    arguments = ("--rounds", 2, "--epochs", 2, "--rows", "iris", "mnist-100", "cancer", "--precisions", "float32")
    arguments += ("--no-memory", "--results", tmp_path)
    output = _run("race.py", *arguments, *ALONE, FASTNN_DATA=str(tmp_path))
    assert "mnist-100: skipped" in output and "| iris 4-100-3, batch 32" in output
    stored = json.loads((tmp_path / "race.json").read_text("utf-8"))
    assert [result["row"].split()[0] for result in stored["results"]] == ["iris", "breast"]
    assert all(len(times) == 2 for result in stored["results"] for times in result["milliseconds"].values())
    assert {"cpu", "cores", "versions", "backend"} <= set(stored["machine"])
    assert _has_chart(tmp_path, "race")


def test_race_with_mnist_writes_its_table_between_the_marks(tiny_mnist):
    page = tiny_mnist / "page.md"
    page.write_text("before\n<!-- race: begin -->\nold\n<!-- race: end -->\nafter\n", "utf-8")
    arguments = ("--rounds", 1, "--epochs", 1, "--rows", "mnist-256-128", "--no-memory", "--results", tiny_mnist)
    _run("race.py", *arguments, *ALONE, "--write", page, FASTNN_DATA=str(tiny_mnist))
    text = page.read_text("utf-8")
    assert text.startswith("before\n<!-- race: begin -->\n") and text.endswith("<!-- race: end -->\nafter\n")
    assert "old" not in text and "| MNIST 784-256-128-10, batch 128" in text


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels keep no high-water mark that can be set back")
def test_race_measures_the_memory_of_each(tmp_path):
    _run("race.py", "--tiny", "--rows", "iris", "--precisions", "float32", *ALONE, "--results", tmp_path)
    (result,) = json.loads((tmp_path / "race.json").read_text("utf-8"))["results"]
    assert all(0 < megabytes < 1000 for (megabytes,) in result["megabytes"].values())
    assert {*result["megabytes"]} == {"fastnn", "scikit-learn"}


@pytest.mark.parametrize(("peer", "module"), [("torch eager", "torch"), ("jax", "jax")])
def test_race_against(peer, module, tmp_path):
    pytest.importorskip(module, reason="extra: bench")
    arguments = ("--tiny", "--rows", "cancer", "lenet", "lstm", "--no-memory", "--peers", peer)
    assert "not run" not in _run("race.py", *arguments, "--results", tmp_path)


def test_latency(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- latency: begin -->\n<!-- latency: end -->\n", "utf-8")
    arguments = ("--rounds", 2, "--rows", 1, 3, "--sample", 0)
    _run("latency.py", *arguments, *ALONE, "--results", tmp_path, "--write", page)
    assert "| 30-100-2, 1 row " in page.read_text("utf-8")
    stored = json.loads((tmp_path / "latency.json").read_text("utf-8"))
    assert len(stored["results"]) == 3 * 2
    assert all(len(times) == 2 for result in stored["results"] for times in result["microseconds"].values())
    assert _has_chart(tmp_path, "latency")


@pytest.mark.parametrize(("peer", "modules"), [("torch", ["torch"]), ("onnxruntime", ["onnx", "onnxruntime"])])
def test_latency_against(peer, modules, tmp_path):
    for module in modules:
        pytest.importorskip(module, reason="extra: bench")
    output = _run("latency.py", "--tiny", "--peers", "fastnn", peer, "--results", tmp_path)
    assert output.count("3 rows") == 3 * 2 and "not run" not in output


def test_breakdown(tmp_path):
    """Every op of the plan has its share of a step."""
    _run("breakdown.py", "--tiny", "--rows", "iris", "lenet", "--results", tmp_path)
    results = json.loads((tmp_path / "breakdown.json").read_text("utf-8"))["results"]
    assert len(results) == 4
    for result in results:
        assert result["ops"][-1]["op"] == "end of the batch"
        assert sum(sum(op["microseconds"]) for op in result["ops"][:-1]) > 0
    assert (tmp_path / "breakdown.md").read_text("utf-8").count("| dense_update ") == 2 + 3 + 2 + 3


def test_scaling(tmp_path):
    output = _run("scaling.py", "--tiny", "--results", tmp_path)
    assert "8 fits, 1 at a time: 1.00 times" in output
    sweeps = json.loads((tmp_path / "scaling.json").read_text("utf-8"))["results"]
    assert {"rows", "width", "depth", "batch", "width, 1 thread", "fits side by side"} <= set(sweeps)
    assert _has_chart(tmp_path, "scaling")


@pytest.mark.parametrize("peer", ["fastnn", "torch eager"])
def test_time_to_accuracy(peer, tmp_path):
    if peer != "fastnn":
        pytest.importorskip("torch", reason="extra: bench")
    output = _run("time_to_accuracy.py", "--tiny", "--peers", peer, "--results", tmp_path)
    assert output.count("after 1 epochs") == 2 and "not run" not in output
    assert _has_chart(tmp_path, "time_to_accuracy")


def test_accuracy_of_recipes(tiny_mnist):
    recipes = ("mnist-mlp", "mnist-convnet", "mnist-rows")
    output = _run("accuracy.py", *recipes, "--epochs", 1, "--seeds", 2, "--target", 0, FASTNN_DATA=str(tiny_mnist))
    assert output.count("after 1 epochs") == 3 * 2


def test_race_of_reservoirs():
    output = _run("race_reservoir.py", "--rounds", 1, "--units", 20, "--steps", 300, "--seeds", 1)
    assert "20 units, 300 steps" in output and "NARMA-10" in output
