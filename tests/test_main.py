"""`python -m fastnn`: what a newcomer runs first."""

import dataclasses
import subprocess
import sys

import pytest

from fastnn import __main__ as demonstration


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_demonstration_succeeds_and_shows_scores_gradients_and_configuration(backend, capsys):
    assert demonstration.main(["--quick", "--no-plot", "--backend", backend]) == 0
    output = capsys.readouterr().out
    tasks = ("digits", "digits, images", "breast cancer", "diabetes")
    for word in (*tasks, "Mackey-Glass", "Gradient", "scikit-learn", "instruction set"):
        assert word in output


def test_loss_curves_are_saved_where_asked(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="extra: plot")
    path = tmp_path / "curves.png"
    assert demonstration.main(["--quick", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert str(path) in capsys.readouterr().out


@pytest.fixture
def last_task(monkeypatch):
    """Only the fastest task, where the others would make no difference."""
    monkeypatch.setattr(demonstration, "TASKS", demonstration.TASKS[-1:])


def test_implausible_score_is_a_failure(monkeypatch, capsys):
    impossible = [dataclasses.replace(demonstration.TASKS[-1], least=2.0)]
    monkeypatch.setattr(demonstration, "TASKS", impossible)
    assert demonstration.main(["--quick", "--no-plot"]) == 1
    assert "FAILED: diabetes" in capsys.readouterr().err


def test_wrong_forecast_is_a_failure(monkeypatch, capsys, last_task):
    monkeypatch.setattr(demonstration, "FORECAST_LIMIT", 0.0)
    assert demonstration.main(["--quick", "--no-plot"]) == 1
    assert "FAILED: Mackey-Glass" in capsys.readouterr().err


def test_wrong_gradient_is_a_failure(monkeypatch, capsys, last_task):
    monkeypatch.setattr(demonstration, "GRADIENT_LIMIT", -1.0)
    assert demonstration.main(["--quick", "--no-plot"]) == 1
    assert "finite differences differ" in capsys.readouterr().err


def test_module_runs_from_the_command_line():
    run = subprocess.run([sys.executable, "-m", "fastnn", "--help"], capture_output=True, text=True, check=True)
    assert "--quick" in run.stdout
