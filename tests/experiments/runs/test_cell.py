import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from experiments.configuration.config import load_study
from experiments.runs import cell as cells
from experiments.runs import grid
from experiments.storage import checkpoint

QUICK = ["study=tiny", "grid.optimizers=[rmsprop]", "grid.problems=[narrow]", "num_steps=20"]


def quick(folder, *overrides):
    (cell,) = grid.cells_of(load_study([*QUICK, *overrides]), folder)
    return cell


def test_accumulation_is_part_of_what_a_cell_is_only_where_it_is_asked_for(tmp_path):
    """Results of versions that did not know it stay valid."""
    whole, accumulated = (quick(tmp_path, f"chunks={chunks}") for chunks in ("null", 4))
    assert "chunks: null" in whole.identity["run"]
    assert "chunks: 4" in accumulated.identity["run"]


class Killed(BaseException):
    """What no one catches."""


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """A cell of four segments, killed after two."""
    cell = quick(tmp_path_factory.mktemp("halfway"))
    saved = []

    def save(*arguments):
        checkpoint.save(*arguments)
        saved.append(arguments)
        if len(saved) == 2:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "checkpoint", SimpleNamespace(save=save))
        with pytest.raises(Killed):
            cells.run(cell)
    assert cells.segments_of(cell) == 2 and cell.segments == 4
    return cell


@pytest.fixture
def resumable(halfway, tmp_path):
    shutil.copytree(halfway.folder, tmp_path / "cell")
    return halfway._replace(folder=tmp_path / "cell")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    cell = quick(tmp_path_factory.mktemp("whole"))
    results = cells.run(cell)
    assert cells.segments_of(cell) == cell.segments
    return cell, results


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_stopped_cell_keeps_its_segments_and_a_checkpoint(halfway):
    assert set(files(halfway.folder)) == {"segment-0000.nc", "segment-0001.nc", "checkpoint"}


def test_a_continued_cell_ends_with_the_same_bits(resumable, whole, monkeypatch):
    begun = []

    def save(path, *arguments):
        begun.append(path.name)
        checkpoint.save(path, *arguments)

    monkeypatch.setattr(cells, "checkpoint", SimpleNamespace(save=save, load=checkpoint.load))
    results = cells.run(resumable)
    assert len(begun) == 2  # the other two segments
    xr.testing.assert_identical(results, whole[1])
    assert set(files(resumable.folder)) == {"results.nc", "seconds.json"}


def test_a_segment_without_its_checkpoint_is_done_again(resumable, whole):
    (resumable.folder / "segment-0002.nc").write_bytes(b"killed before the checkpoint")
    xr.testing.assert_identical(cells.run(resumable), whole[1])


def test_a_finished_cell_is_read_and_not_run(whole, monkeypatch):
    monkeypatch.setattr(cells, "_programs", None)
    for name in ("segment-0000.nc", "checkpoint", ".results.nc.1.tmp"):  # by a kill at the end
        (whole[0].folder / name).write_bytes(b"")
    xr.testing.assert_identical(cells.run(whole[0]), whole[1])
    assert set(files(whole[0].folder)) == {"results.nc", "seconds.json"}


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
        ("grid.segment=2", "1 there, 2 here"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(resumable, override, named):
    override = "grid.learning_rates.narrow.rmsprop=0.1" if override == "optimizer" else override
    other = quick(resumable.folder.parent, override)._replace(folder=resumable.folder)
    before = files(resumable.folder)
    cells.check(resumable)
    with pytest.raises(ValueError, match="checkpoint is of another configuration"):
        cells.check(other)
    with pytest.raises(ValueError, match="checkpoint is of another configuration") as error:
        cells.run(other)
    assert named in str(error.value)
    assert files(resumable.folder) == before


def test_results_of_another_configuration_are_refused(whole):
    other = quick(whole[0].folder, "kappa=1e-2")._replace(folder=whole[0].folder)
    cells.check(whole[0])
    for refuse in (cells.check, cells.run):
        with pytest.raises(ValueError, match=r"results.nc is of another config.*kappa: null"):
            refuse(other)


def test_another_cut_into_segments_does_not_matter_once_it_is_finished(whole):
    other = whole[0]._replace(segment=2)
    xr.testing.assert_identical(cells.run(other), whole[1])


@pytest.mark.parametrize("name", ["segment-0001.nc", "checkpoint"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_file_is_named_and_nothing_touched(resumable, name, damage):
    path = resumable.folder / name
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:  # in the numbers of the loss, and in the last array of the checkpoint
        place = len(content) - 9 if name == "checkpoint" else _place_of_the_loss(path, content)
        content[place] ^= 255
    path.write_bytes(content)
    before = files(resumable.folder)
    with pytest.raises(ValueError, match=rf"{name} is damaged; delete"):
        cells.run(resumable)
    assert files(resumable.folder) == before


def _place_of_the_loss(path, content):
    loss = xr.load_dataset(path).loss.values
    return bytes(content).index(loss.tobytes())


def test_a_lost_segment_is_named(resumable):
    (resumable.folder / "segment-0000.nc").unlink()
    with pytest.raises(OSError, match=r"segment-0000\.nc"):
        cells.run(resumable)


def test_a_full_disk_leaves_what_was_there(resumable, monkeypatch):
    before = files(resumable.folder)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*segment-0002.nc'"):
        cells.run(resumable)
    assert files(resumable.folder) == before


def test_a_run_that_diverges_is_recorded(tmp_path):
    rate = "grid.learning_rates.narrow.gd=1e4"
    results = cells.run(quick(tmp_path, "grid.optimizers=[gd]", rate))
    assert (results.diverged_at[:, -1] > 0).all()
    assert np.isnan(results.loss[:, -1]).all()
    assert np.isnan(results.improvement.sel(flow="rod")).all()
