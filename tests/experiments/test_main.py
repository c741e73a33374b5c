"""The entry point `python -m experiments`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import __main__ as entry

ROOT = Path(__file__).parents[2]

ANY = ("-m", "experiments")


def test_without_a_command_there_is_help(capsys):
    for arguments in ([], ["--help"], ["-h"]):
        entry.main(arguments)
        text = capsys.readouterr().out
        assert text.startswith("usage: python -m experiments COMMAND") and "bench" in text


def test_an_unknown_command_is_told_with_the_choices():
    with pytest.raises(SystemExit, match="error: rum: no such command; choose from run, sweep"):
        entry.main(["rum"])


def test_packages_that_are_missing_are_told_in_one_sentence(monkeypatch):
    monkeypatch.setattr(entry, "PACKAGES", ("jax", "no_such_package"))
    with pytest.raises(SystemExit, match=r"no_such_package cannot be imported; .*pip install -e"):
        entry.main(["run", "optimizer=gd"])


def test_help_of_a_command_needs_no_jax(cli):
    done = cli("--help", program=("-X", "importtime", "-m", "experiments", "run"))
    assert done.returncode == 0 and "optimizer=NAME" in done.stdout
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hydra" in modules and not {"jax", "xarray", "matplotlib"} & modules


@pytest.mark.parametrize("command", ["", "run", "study", "sweep", "report", "results", "search"])
def test_help_ends_quietly_when_its_reader_does(command):
    """As by `python -m experiments run --help | head -1`."""
    program = [sys.executable, *ANY, *command.split(), "--help"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writing)
    assert done.stderr == b"" and done.returncode in (0, 1)  # argparse passes over it


def test_a_study_is_computed_shown_and_shown_again(cli, tmp_path):
    tiny = ("trajectories=10", "simulated_steps=20", "steps=10")
    command = ("study=rectification", *(f"study.{key}" for key in tiny))
    done = cli(*command, program=(*ANY, "study"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "not rectified" in done.stdout
    folder = tmp_path / "runs/rectification"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.yaml", "results.nc", "rectification.png"}
    assert "simulated_steps: 20" in (folder / "config.yaml").read_text()
    again = cli(*command, program=(*ANY, "study"))
    assert (again.returncode, again.stdout) == (0, done.stdout)


@pytest.mark.parametrize("override", ["study.shown=0.2", "study.b2=1", "study.stpes=2"])
def test_a_mistake_in_a_study_is_one_line_and_leaves_nothing(cli, tmp_path, override):
    done = cli("study=warmup", override, program=(*ANY, "study"))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith(f"error: {override.partition('=')[0]}")
    assert not list(tmp_path.glob("runs/*"))
