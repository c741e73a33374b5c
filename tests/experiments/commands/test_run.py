"""The command line, as a user meets it. Each of these starts a process, so they are few."""

import pytest
import yaml

from experiments.storage import results
from experiments.storage.files import load_text
from experiments.storage.job import Job, Kind

TINY = (
    "optimizer=gd",
    "num_steps=20",
    "every=5",
    "warmup=2",
    "twins=1",
    "model.depth=0",
    "data.size=20",
)

# The command with a run that measures nothing and leaves about a megabyte of results.
WITHOUT_COMPUTING = """
import sys
import numpy as np, xarray as xr
from experiments.commands import run
from experiments.runs import single
single.run = lambda config, report: xr.Dataset({"loss": ("step", np.arange(100_000.0))})
run.main(sys.argv[1:])
"""


def test_a_run_leaves_its_folder(cli, tmp_path):
    done = cli(*TINY)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "improvement" in done.stdout and "effective sharpness" in done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("gd-")
    left = {path.name for path in folder.iterdir() if path.suffix != ".json"}
    assert left == {".lock", "config.yaml", "results.nc", "figure.png"}
    assert yaml.safe_load((folder / "config.yaml").read_text())["num_steps"] == 20
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")

    measured = results.load(folder / "results.nc")
    assert measured.sizes == {"seed": 1, "step": 4, "flow": 2, "mode": 2, "time": 20}
    assert list(measured.step) == [5, 10, 15, 20]
    assert list(measured.flow) == ["stable", "rod"]
    for name, variable in measured.variables.items():
        assert variable.attrs["long_name"], name
        assert name == "flow" or variable.attrs["units"], name
    assert "learning_rate: 0.2" in measured.attrs["configuration"]
    assert (measured.gradients.sel(flow="rod") == 4).all()


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("optimizer=lion", "lion"),
        ("optimzer=gd", "optimzer"),
        ("num_steps=many", "many"),
        ("num_steps=15", "num_steps=15"),
        ("--num_steps=20", "--num_steps=20"),
        ("data.size=-1", "digits has 1 to 1797 samples, got size=-1"),  # known when it is built
        ("study=papers", "`python -m experiments study` takes study"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(cli, tmp_path, argument, named):
    done = cli(argument)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert named in line
    assert not list(tmp_path.glob("runs/*"))


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_computed(cli, tmp_path):
    (tmp_path / "file").write_text("mine")
    done = cli(f"hydra.run.dir={tmp_path}/file/run")
    assert done.returncode == 1
    assert done.stderr == f"error: cannot use {tmp_path}/file/run: Not a directory\n"
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_loses_nothing_that_was_written(cli, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").write_bytes(b"of the user")
    room = 8  # blocks, enough for small files only
    done = cli(f"hydra.run.dir={run}", program=("-c", WITHOUT_COMPUTING), blocks=room)
    assert done.returncode == 1
    assert done.stderr == f"error: cannot use {run}/results.nc: File too large\n"
    left = {path.name for path in run.iterdir() if path.suffix != ".json"}
    assert left == {".lock", "config.yaml", "notes.txt"}
    assert (run / "notes.txt").read_bytes() == b"of the user"
    assert "num_steps: 600" in (run / "config.yaml").read_text()


def test_results_of_another_kind_are_never_replaced(cli, tmp_path):
    run = tmp_path / "run"
    with Job(run, Kind.SWEEP, {"run": "another"}, {}).working("of: a sweep\n"):
        pass
    done = cli(f"hydra.run.dir={run}", program=("-c", WITHOUT_COMPUTING))
    assert done.returncode == 1
    line = f"error: {run}/job.json is of another kind (sweep there, run here); choose another"
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1
    assert load_text(run / "config.yaml") == "of: a sweep\n"
