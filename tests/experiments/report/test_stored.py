"""Files of results made from run folders, which are made up."""

import pytest
import xarray as xr
from omegaconf import OmegaConf

from experiments.analysis.table import Table
from experiments.configuration import config as configuration
from experiments.report import stored
from experiments.storage import files, job
from experiments.storage.job import Job, Kind
from experiments.studies.rectification.study import Rectification

NAMED = "experiments.studies.rectification.study.Rectification"
RESTRICTED = ["grid.problems=[linear]", "num_steps=20", "grid.workers=1", "grid.seeds=[0]"]


def told(monkeypatch, commit="a" * 40, date="2026-01-31"):
    about = {"commit": commit, "date": date, "machine": "here, 2 cores", "versions": {"jax": "1"}}
    monkeypatch.setattr(job, "circumstances", lambda: about)


def configured(folder, *overrides):
    folder.mkdir(parents=True, exist_ok=True)
    composed = configuration.composed("study", overrides)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(composed, resolve=True))
    return folder


def finish(folder, results, kind, seconds=30.0, **identity):
    folder.mkdir(parents=True, exist_ok=True)
    attributes = {"kind", "identity", "seconds"}
    kept = {name: value for name, value in results.attrs.items() if name not in attributes}
    return Job(folder, kind, identity).finish(results.assign_attrs(kept), seconds)


@pytest.fixture
def grid(tmp_path, cell, monkeypatch):
    """Make a folder of the grid `tiny` with one problem, whose cells are of two commits."""
    folder = configured(tmp_path / "elsewhere", "study=tiny", *RESTRICTED)
    for number, optimizer in enumerate(("gd", "rmsprop")):
        told(monkeypatch, "ab"[number] * 40, f"2026-01-3{number}")
        one = cell.assign_attrs(problem="linear", optimizer=optimizer)
        finish(folder / "linear" / optimizer, one, Kind.CELL)
    return folder


def test_a_grid_is_described_by_its_configuration_and_its_cells(grid):
    published, dataset = stored.made("tiny", "How?", grid)
    assert dataset is None and published.answers == "How?"
    # Not the number of workers, on which no number depends; and not the folder.
    assert published.command == (
        "python -m experiments study study=tiny num_steps=20 'grid.problems=[linear]' "
        "'grid.seeds=[0]'"
    )
    about = published.circumstances
    assert (about.commits, about.date) == (["b" * 40, "a" * 40], "2026-01-31")
    assert about.machine == "here, 2 cores" and about.versions == {"jax": "1"}
    assert published.numbers["cells"] == 2 and published.numbers["minutes"] == 1.0
    assert published.value("optimizers/gd/improvement, rod")[0] == 25
    assert len(published.cells.rows) == 2 * 3
    assert published.findings[0].startswith("rod flow: 2 of 2 cells reached the edge")
    assert str(grid) not in repr(published)


def test_a_grid_lacks_a_cell(grid):
    assert stored.finished(grid)
    (grid / "linear" / "gd" / "results.nc").unlink()
    assert not stored.finished(grid) and not stored.finished(grid / "nowhere")
    with pytest.raises(ValueError, match=r"gd/results.nc is missing; finish it with: python -m"):
        stored.made("tiny", "How?", grid)
    with pytest.raises(ValueError, match="is no run folder"):
        stored.made("tiny", "How?", grid / "nowhere")


def test_results_that_do_not_say_when_they_were_measured_are_refused(grid):
    path = grid / "linear" / "gd" / "seconds.json"
    kept = {k: v for k, v in files.load(path)[0].items() if k not in ("measured", "payload")}
    files.save(path, kept)
    with pytest.raises(ValueError, match=r"gd/results.nc does not say when and by which code"):
        stored.made("tiny", "How?", grid)


def test_a_study_has_its_question_its_findings_and_a_data_set(tmp_path, monkeypatch):
    told(monkeypatch)
    study = Rectification(steps=20, trajectories=10, simulated_steps=20)
    overrides = ["study.steps=20", "study.trajectories=10", "study.simulated_steps=20"]
    folder = configured(tmp_path / "elsewhere", "study=rectification", *overrides)
    joined = study.joined({name: compute() for name, compute in study.parts().items()})
    attributes = {"study": NAMED, "title": study.title}
    finish(folder, joined.assign_attrs(attributes), Kind.STUDY, 90.0, study=NAMED)
    published, dataset = stored.made("rectification", "", folder)
    assert published.answers == Rectification.title
    assert published.command.endswith("study=rectification " + " ".join(overrides))
    assert published.numbers == {"minutes": 1.5}
    shown = Rectification.show(dataset)
    assert published.findings == shown.findings
    (table,) = published.tables.values()
    assert table.rows[0][0] == "theory" and isinstance(table.rows[0][1], float)
    assert str(folder) not in repr(published)
    xr.testing.assert_equal(dataset.drop_attrs(), joined.drop_attrs())


def test_texts_that_are_one_number_become_numbers():
    rows = [["1", "12", "0.5", "1e-3", "3 (of 4)", "n/a", None, 7.5]]
    assert stored.numeric(rows) == [["1", 12, 0.5, 1e-3, "3 (of 4)", "n/a", None, 7.5]]


def test_tables_of_one_name_are_refused():
    with pytest.raises(ValueError, match="different names; they are a, a"):
        stored.named([Table("A: one", [], []), Table("A, two", [], [])])
