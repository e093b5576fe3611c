"""What the README promises to a reader who copies from it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

ROOT, PACKAGES = Path(__file__).parents[1], Path(fastnn.__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def test_first_commands_install_and_run_then_install_and_test():
    run, test = (block.splitlines() for block in _blocks("sh")[:2])
    assert len(run) == len(test) == 1
    assert run[0].endswith("python -m fastnn") and test[0].endswith("python -m pytest")


@pytest.mark.parametrize("example", _blocks("python"))
def test_examples_run_and_predict_well(example, tmp_path):
    assert len([line for line in example.splitlines() if line and "import" not in line]) <= 10
    environment = {**os.environ, "PYTHONPATH": str(PACKAGES), "MPLBACKEND": "agg"}
    command = [sys.executable, "-W", "ignore", "-c", example]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert float(run.stdout.split()[-1]) > 0.9


def test_rooms_on_the_map_exist():
    (table,) = re.findall(r"^\| \| \|\n(.*?)\n\n", README, re.M | re.S)
    for name in re.findall(r"`([\w/.]+)`", table):
        name = name if "/" in name or name.endswith(".md") else f"fastnn/{name}"
        if not name.endswith("fastnn.h") and "describe" not in name:
            assert ((PACKAGES if name.startswith("fastnn/") else ROOT) / name).exists(), name
