import json

import numpy as np
import pytest
import xarray as xr

from experiments.analysis.table import Table
from experiments.benchmarks import Note
from experiments.commands import bench, results
from experiments.report import published, readme, stored
from experiments.report.published import Circumstances, Published

ABOUT = Circumstances(["a" * 40], "2026-01-31", "here", {"jax": "1"})


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Keep results and the README in an empty folder, and work there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(published, "FOLDER", tmp_path / "results")
    save = published.save
    monkeypatch.setattr(published, "save", lambda found: save(found, tmp_path / "results"))
    monkeypatch.setattr(readme, "write", lambda names: None)
    return tmp_path / "results"


def test_a_part_is_measured_and_kept_with_its_circumstances(kept, monkeypatch, capsys):
    def made_up():
        yield Note("in work")
        yield Table("Cost: of all", ["", "s"], [["gd", 1.23456]])
        yield "It is cheap."

    monkeypatch.setattr(bench, "part", lambda name: made_up)
    results.main(["cost"])
    found = json.loads((kept / "cost.json").read_text())
    assert found["command"] == "python -m experiments bench cost"
    assert found["answers"].startswith("How many times the wall clock")
    assert found["tables"]["cost"]["rows"] == [["gd", 1.235]]
    assert found["findings"] == ["It is cheap."]
    assert {"jax", "numpy"} <= set(found["versions"]) and len(found["commits"]) == 1
    said = capsys.readouterr().out
    assert "in work" in said and f"results: {kept / 'cost.json'}" in said


def test_a_study_is_computed_unless_it_is_finished_or_elsewhere(kept, tmp_path, monkeypatch):
    commands, made = [], []

    class Done:
        returncode = 0

    def make(name, answers, folder):
        made.append(str(folder))
        return Published(name, answers, "", ABOUT, {}), xr.Dataset({"x": 1.5})

    monkeypatch.setattr(results.subprocess, "run", lambda command: commands.append(command) or Done)
    monkeypatch.setattr(stored, "made", make)
    results.main(["tiny", "num_steps=20"])
    (command,) = commands
    assert command[1:] == [
        *("-m", "experiments", "study", "study=tiny", "num_steps=20", "hydra.run.dir=runs/tiny")
    ]
    assert json.loads((kept / "tiny.data.json").read_text())["data_vars"]["x"]["data"] == 1.5
    results.main(["tiny", "--from", str(tmp_path / "there")])
    monkeypatch.setattr(stored, "finished", lambda folder: True)
    results.main(["tiny"])
    assert len(commands) == 1 and made == ["runs/tiny", str(tmp_path / "there"), "runs/tiny"]
    answers = json.loads((kept / "tiny.json").read_text())["answers"]
    assert answers.startswith("A grid of seconds") and answers.endswith(".")


def test_a_data_set_that_is_too_large_is_refused(kept, monkeypatch):
    noise = np.random.default_rng(0).normal(size=100_000)
    made = Published("tiny", "A question?", "", ABOUT, {}), xr.Dataset({"x": ("i", noise)})
    monkeypatch.setattr(stored, "made", lambda *_: made)
    monkeypatch.setattr(stored, "finished", lambda folder: True)
    with pytest.raises(SystemExit, match=r"what tiny draws takes \d+ bytes"):
        results.main(["tiny"])
    assert not kept.exists()


def test_a_study_that_fails_leaves_no_results(kept, monkeypatch):
    class Failed:
        returncode = 1

    monkeypatch.setattr(results.subprocess, "run", lambda command: Failed)
    with pytest.raises(SystemExit, match="study=tiny has not finished"):
        results.main(["tiny"])
    assert not kept.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a part of the benchmark or a study"),
        (["speed"], "speed: choose from tracking, "),
        (["cost", "--from", "x"], "cost is measured now: it takes no folder and no keys"),
        (["cost", "x=1"], "cost is measured now"),
        (["tiny", "models", "--from", "x"], "--from FOLDER takes the name of one study"),
        (["cost", "--readme"], "--readme measures nothing: it takes no NAME"),
        (["--readme", "--from", "x"], "--readme measures nothing"),
        (["tiny", "--from", "x"], "x is no run folder: it has no config.yaml"),
    ],
)
def test_mistakes_are_one_line(kept, arguments, message):
    with pytest.raises(SystemExit) as ended:
        results.main(arguments)
    (line,) = str(ended.value.code).splitlines()
    assert message in line
