"""The benchmarks still run: each at its smallest size. Nothing here looks at a time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn

ROOT = Path(__file__).parents[2]


def _run(*command, folder=ROOT / "benchmarks", **environment):
    """Standard output of a Python program that must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1]), **environment}
    command = [sys.executable, *map(str, command)]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


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


def test_kernels():
    output = _run("-m", "pytest", "benchmarks", "--benchmark-disable", "-q", "-p", "no:cacheprovider", folder=ROOT)
    assert " passed" in output and "skipped" not in output


def test_race_without_mnist(tmp_path):
    path = tmp_path / "race.json"
    arguments = ("--rounds", 2, "--epochs", 2, "--peers", "fastnn", "scikit-learn", "--json", path)
    output = _run("race.py", *arguments, FASTNN_DATA=str(tmp_path))
    assert "mnist-100: skipped" in output and "| iris 4-100-3, batch 32" in output
    stored = json.loads(path.read_text("utf-8"))
    assert [result["row"].split()[0] for result in stored["results"]] == ["iris", "breast"]
    assert all(len(times) == 2 for result in stored["results"] for times in result["milliseconds"].values())
    assert {"cpu", "cores", "versions", "backend"} <= set(stored["machine"])


def test_race_with_mnist_writes_its_table_between_the_marks(tiny_mnist):
    page = tiny_mnist / "page.md"
    page.write_text("before\n<!-- race: begin -->\nold\n<!-- race: end -->\nafter\n", "utf-8")
    arguments = ("--rounds", 1, "--epochs", 1, "--peers", "fastnn", "scikit-learn", "--rows", "mnist-256-128")
    _run("race.py", *arguments, "--write", page, FASTNN_DATA=str(tiny_mnist))
    text = page.read_text("utf-8")
    assert text.startswith("before\n<!-- race: begin -->\n") and text.endswith("<!-- race: end -->\nafter\n")
    assert "old" not in text and "| MNIST 784-256-128-10, batch 128" in text


def test_race_against_torch():
    pytest.importorskip("torch", reason="extra: bench")
    arguments = ("--rounds", 1, "--epochs", 1, "--rows", "iris", "--peers", "fastnn", "torch eager")
    assert "not run" not in _run("race.py", *arguments)


def test_latency(tmp_path):
    page, path = tmp_path / "page.md", tmp_path / "latency.json"
    page.write_text("before\n<!-- latency: begin -->\n<!-- latency: end -->\n", "utf-8")
    arguments = ("--rounds", 2, "--rows", 1, 3, "--sample", 0, "--peers", "fastnn", "scikit-learn")
    _run("latency.py", *arguments, "--json", path, "--write", page)
    assert "| 30-100-2, 1 row " in page.read_text("utf-8")
    stored = json.loads(path.read_text("utf-8"))
    assert len(stored["results"]) == 3 * 2
    assert all(len(times) == 2 for result in stored["results"] for times in result["microseconds"].values())


@pytest.mark.parametrize(("peer", "modules"), [("torch", ["torch"]), ("onnxruntime", ["onnx", "onnxruntime"])])
def test_latency_against(peer, modules):
    for module in modules:
        pytest.importorskip(module, reason="extra: bench")
    output = _run("latency.py", "--rounds", 1, "--rows", 3, "--sample", 0, "--peers", "fastnn", peer)
    assert output.count("3 rows") == 3 * 2 and "not run" not in output


def test_accuracy_of_recipes(tiny_mnist):
    output = _run("accuracy.py", "--epochs", 1, "--seeds", 2, "--target", 0, FASTNN_DATA=str(tiny_mnist))
    assert output.count("after 1 epochs") == 3 * 2
