import pytest
import xarray as xr
from hydra.errors import InstantiationException

from experiments.configuration.config import load
from experiments.runs import single
from experiments.storage.files import load_text


@pytest.mark.parametrize("records", [1, 7, 40, 60, 61])
def test_pieces_are_equal_and_many(records):
    config = load([f"num_steps={10 * records}"])
    chunk = single.chunk_of(config)
    assert records % chunk == 0
    assert records // chunk >= min(records, single.CHUNKS)


def ignore(*progress):
    pass


@pytest.fixture
def quick(monkeypatch):
    """Runs that take no time; what was run."""
    ran = []

    def run(config, report):
        ran.append(config.num_steps)
        return xr.Dataset({"steps": config.num_steps})

    monkeypatch.setattr(single, "run", run)
    return ran


def test_a_finished_run_is_shown_again_and_not_replaced(tmp_path, quick):
    first = single.run_in(tmp_path, load(["num_steps=20"]), "of: tests\n", ignore)
    again = single.run_in(tmp_path, load(["num_steps=20"]), "another: text\n", ignore)
    xr.testing.assert_identical(first, again)
    with pytest.raises(ValueError, match=r"num_steps: 20 there, num_steps: 40 here"):
        single.run_in(tmp_path, load(["num_steps=40"]), "another: text\n", ignore)
    assert quick == [20]
    assert load_text(tmp_path / "config.yaml") == "of: tests\n"
    assert first.attrs["kind"] == "run"


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path):
    with pytest.raises(InstantiationException, match="got size=-1"):
        single.run_in(tmp_path, load(["data.size=-1"]), "of: tests\n", ignore)
    assert not list(tmp_path.iterdir())


def test_two_runs_at_once_do_not_share_a_folder(tmp_path, monkeypatch):
    """Not even of the same configuration; the second one leaves everything as it is."""

    def run(config, report):
        with pytest.raises(ValueError, match="in use by another process"):
            single.run_in(tmp_path, config, "second: true\n", ignore)
        return xr.Dataset({"steps": config.num_steps})

    monkeypatch.setattr(single, "run", run)
    single.run_in(tmp_path, load(), "first: true\n", ignore)
    assert load_text(tmp_path / "config.yaml") == "first: true\n"
