import json
import shutil

import numpy as np
import pytest
import xarray as xr

from experiments.configuration.config import load_study
from experiments.runs import cell as cells
from experiments.runs import grid

QUICK = ["study=tiny", "grid.optimizers=[rmsprop]", "grid.problems=[narrow]", "num_steps=20"]


def quick(folder, *overrides):
    (cell,) = grid.cells_of(load_study([*QUICK, *overrides]), folder)
    return cell


def test_accumulation_is_part_of_what_a_cell_is(tmp_path):
    whole, accumulated = (quick(tmp_path, f"chunks={chunks}") for chunks in ("null", 4))
    assert "chunks: null" in whole.job.identity["run"]
    assert "chunks: 4" in accumulated.job.identity["run"]


class Killed(BaseException):
    """What no one catches."""


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """A cell of four segments, killed after two."""
    cell = quick(tmp_path_factory.mktemp("halfway"))

    def report(done, total):
        if (done, total) == (2, 4):
            raise Killed

    with pytest.raises(Killed):
        cells.run(cell, report)
    assert cell.job.complete == 2 and cell.segments == 4
    return cell


@pytest.fixture
def resumable(halfway, tmp_path):
    shutil.copytree(halfway.folder, tmp_path / "cell")
    return halfway._replace(folder=tmp_path / "cell")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    cell = quick(tmp_path_factory.mktemp("whole"))
    return cell, cells.run(cell)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def names(folder):
    return {path.name for path in files(folder)} - {".lock", "job.json"}


def test_a_stopped_cell_keeps_its_segments_and_a_checkpoint(halfway):
    assert (halfway.folder / "checkpoint").exists()
    assert {path.name for path in halfway.folder.glob("pieces/*")} == {"0000.nc", "0001.nc"}


def test_a_continued_cell_ends_with_the_same_bits(resumable, whole):
    reported = []
    results = cells.run(resumable, lambda *counts: reported.append(counts))
    assert reported == [(3, 4), (4, 4)]
    xr.testing.assert_identical(results, whole[1])
    assert names(resumable.folder) == {"results.nc", "seconds.json"}


def test_a_segment_without_its_checkpoint_is_done_again(resumable, whole):
    (resumable.folder / "pieces" / "0002.nc").write_bytes(b"killed before the checkpoint")
    xr.testing.assert_identical(cells.run(resumable), whole[1])


def test_a_finished_cell_is_read_and_not_run(whole, monkeypatch):
    monkeypatch.setattr("experiments.problems.configured", None)
    xr.testing.assert_identical(cells.run(whole[0]), whole[1])


def test_results_of_a_cell(whole):
    cell, results = whole
    assert results.sizes == {"seed": 2, "flow": 2, "step": 4, "mode": 2}
    assert list(results.seed) == [0, 1] and list(results.step) == [5, 10, 15, 20]
    assert results.attrs["problem"] == "narrow" and results.attrs["optimizer"] == "rmsprop"
    assert results.attrs["data"] == "digits" and results.learning_rate == 3e-4
    assert json.loads((cell.folder / "seconds.json").read_text())["seconds"] > 0
    mean = results.distance.values.mean(-1)
    np.testing.assert_allclose(results.improvement, mean[:, :1] / mean, rtol=1e-6)
    assert (results.floor > 0).all() and (results.gradient_norm > 0).all()


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("grid.seeds=[0,2]", "seeds"),
        ("optimizer", "learning_rate: 0.0003"),
        ("every=2", "every: 5"),
        ("grid.segment=2", "1 in a segment there, 2 in a segment here"),
    ],
)
def test_a_folder_of_another_configuration_is_refused(resumable, override, named):
    override = "grid.learning_rates.narrow.rmsprop=0.1" if override == "optimizer" else override
    other = quick(resumable.folder.parent, override)._replace(folder=resumable.folder)
    before = files(resumable.folder)
    with pytest.raises(ValueError, match=r"job\.json is of another configuration") as error:
        cells.run(other)
    assert named in str(error.value)
    assert files(resumable.folder) == before


def test_results_of_another_configuration_are_refused(whole):
    other = quick(whole[0].folder, "kappa=1e-2")._replace(folder=whole[0].folder)
    with pytest.raises(ValueError, match=r"results.nc is of another config.*kappa: null"):
        cells.run(other)


def test_another_cut_into_segments_does_not_matter_once_it_is_finished(whole):
    other = whole[0]._replace(segment=2)
    xr.testing.assert_identical(cells.run(other), whole[1])


@pytest.mark.parametrize("name", ["pieces/0001.nc", "checkpoint"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_file_is_named_and_nothing_touched(resumable, name, damage):
    path = resumable.folder / name
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[len(content) - 40] ^= 255
    path.write_bytes(content)
    before = files(resumable.folder)
    with pytest.raises(ValueError, match=rf"{name} is damaged.*; delete"):
        cells.run(resumable)
    assert files(resumable.folder) == before


def test_a_lost_segment_is_named(resumable):
    (resumable.folder / "pieces" / "0000.nc").unlink()
    with pytest.raises(ValueError, match=r"0000\.nc is missing; delete .*cell to begin again"):
        cells.run(resumable)


def test_a_full_disk_leaves_what_was_there(resumable, monkeypatch):
    before = files(resumable.folder)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*0002.nc'"):
        cells.run(resumable)
    assert files(resumable.folder) == before


def test_a_run_that_diverges_is_recorded(tmp_path):
    rate = "grid.learning_rates.narrow.gd=1e4"
    results = cells.run(quick(tmp_path, "grid.optimizers=[gd]", rate))
    assert (results.diverged_at[:, -1] > 0).all()
    assert np.isnan(results.loss[:, -1]).all()
    assert np.isnan(results.improvement.sel(flow="rod")).all()
