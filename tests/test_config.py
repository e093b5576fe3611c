"""show_config: what an installation is, also where something is missing."""

import os
import subprocess
import sys

import pytest

from fastnn.config import show_config


def _fresh(code, **environment):
    """Output of a new interpreter."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True).stdout


def test_printed_and_returned_configuration_agree(capsys):
    assert show_config() is None
    printed = capsys.readouterr().out.splitlines()
    assert printed == [line for line in printed if line.strip()]
    config = show_config("dicts")
    assert [line.split("  ")[0] for line in printed] == list(config)
    assert all(value in line for value, line in zip(config.values(), printed, strict=True))


def test_versions_are_those_of_the_libraries_in_use():
    import numpy
    import scipy
    import sklearn

    config = show_config("dicts")
    versions = numpy.__version__, scipy.__version__, sklearn.__version__
    assert (config["NumPy"], config["SciPy"], config["scikit-learn"]) == versions


def test_unknown_mode_is_an_error():
    with pytest.raises(ValueError, match="'stdout' or 'dicts'"):
        show_config("json")


def test_instruction_sets_are_shown_and_can_be_forced():
    from fastnn.native import _machine

    assert show_config("dicts")["available"] == ", ".join(_machine.isa_names(bfloat16=True))
    assert show_config("dicts")["Cython"][0].isdigit()
    slowest = _machine.isa_names()[0]
    code = "from fastnn import show_config; c = show_config('dicts'); print(c['instruction set'], c['FASTNN_ISA'])"
    assert _fresh(code, FASTNN_ISA=slowest).split() == [slowest, slowest]
    assert "not available here" in _fresh(code, FASTNN_ISA="abacus")


def test_missing_core_is_named_with_its_cause():
    code = "import sys; sys.modules['fastnn.native'] = None; from fastnn.config import show_config; show_config()"
    assert "the compiled core cannot be loaded" in _fresh(code)
