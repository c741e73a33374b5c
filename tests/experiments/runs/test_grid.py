import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import xarray as xr

from experiments.commands.interruption import SAID
from experiments.configuration.config import load_study
from experiments.runs import grid
from experiments.storage import results
from experiments.storage.files import load_text
from experiments.storage.job import Job, Kind

ROOT = Path(__file__).parents[3]


def test_cells_are_the_product_of_problems_and_optimizers(tmp_path):
    study = grid.cells_of(load_study(["study=tiny", "loss=cross_entropy", "twins=3"]), tmp_path)
    names = ["narrow/gd", "narrow/rmsprop", "linear/gd", "linear/rmsprop"]
    assert [cell.name for cell in study] == names
    assert [cell.config.model.depth for cell in study] == [1, 1, 0, 0]
    assert [cell.config.optimizer.learning_rate for cell in study] == [0.2, 3e-4, 0.2, 3e-4]
    assert {cell.config.loss.name for cell in study} == {"cross_entropy"}
    assert {cell.config.twins for cell in study} == {3}
    assert study[1].folder == tmp_path / "narrow" / "rmsprop"


def test_a_definition_has_the_last_word(tmp_path):
    narrow = "grid.definitions.narrow=['model=mlp','data=digits','data.size=9','every=8']"
    study = grid.cells_of(load_study(["study=tiny", narrow]), tmp_path)
    assert [cell.config.every for cell in study] == [8, 8, 5, 5]


def test_an_optimizer_may_be_without_a_flow(tmp_path):
    without = "+grid.without.gd=[rod]"
    gd, rmsprop, *_ = grid.cells_of(load_study(["study=tiny", without]), tmp_path)
    assert gd.flows == ["stable"]
    assert rmsprop.flows == ["stable", "rod"]


def test_a_missing_learning_rate_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"learning_rates\.narrow\.adam is missing; .*search"):
        grid.cells_of(load_study(["study=tiny", "grid.optimizers=[gd,adam]"]), tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+seed=1", "seed: no such key"),
        ("grid.seeds=[]", "grid.seeds is empty"),
        ("grid.seeds=[1,1]", "names one of them twice"),
        ("grid.seeds=[-1]", "grid.seeds=-1 is out of range"),
        ("grid.flows=[rod]", "grid.flows lacks stable"),
        ("grid.problems=[deep]", "grid.problems=deep: no such problem; .* narrow, linear"),
        ("+grid.without.gd=[stable]", "grid.without.gd=stable: .* can be without is rod$"),
        ("grid.flows=[stable,rood]", "flows: rood: no such flow; choose from stable, corrected"),
        ("grid.workers=0", "grid.workers=0 is out of range"),
        ("grid.segment=0", "grid.segment=0 is out of range"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(override, message):
    with pytest.raises(ValueError, match=message):
        grid.cells_of(load_study(["study=tiny", override]), Path("unused"))


def run(cells, folder, report=lambda *progress: None):
    return grid.run(cells, folder, "of: tests\n", 1, report)


def test_damaged_results_are_named_before_anything_is_computed(tmp_path):
    first, *others = grid.cells_of(load_study(["study=tiny"]), tmp_path)
    first.folder.mkdir(parents=True)
    (first.folder / "results.nc").write_bytes(b"not results")
    with pytest.raises(ValueError, match=r"narrow/gd/results\.nc is damaged"):
        run([first, *others], tmp_path)
    assert [path for path in tmp_path.rglob("*.*")] == [first.folder / "results.nc"]
    assert (first.folder / "results.nc").read_bytes() == b"not results"


def test_an_error_in_a_cell_is_raised_and_the_workers_end(tmp_path):
    cells = grid.cells_of(load_study(["study=tiny"]), tmp_path)
    (tmp_path / "narrow").write_bytes(b"not a folder")
    with pytest.raises(OSError, match="Not a directory"):
        run(cells, tmp_path)
    assert not multiprocessing.active_children()


def test_a_grid_leaves_the_folder_of_another_kind_alone(tmp_path):
    with Job(tmp_path, Kind.RUN, {}).working("of: a run\n"):
        pass
    with pytest.raises(ValueError, match=r"is of another kind \(run there, grid here\)"):
        run(grid.cells_of(load_study(["study=tiny"]), tmp_path), tmp_path)
    assert load_text(tmp_path / "config.yaml") == "of: a run\n"


def study_process(folder, cache, *settings, **options):
    chosen = ["study=tiny", f"hydra.run.dir={folder}", *settings]
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", "study", *chosen],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def works_since(folder, begin):
    """Return True if there is a checkpoint younger than that."""
    times = [path.stat().st_mtime for path in folder.rglob("checkpoint")]
    return max(times, default=0) > begin


@pytest.mark.slow
def test_twenty_kills_change_no_bit(tmp_path):
    """kill -9 at random moments of a study; the same command continues it."""
    cache = tmp_path / "cache"
    process = study_process(tmp_path / "uninterrupted", cache)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "4/4" in out
    draw = random.Random(0)
    kills = 0
    while True:
        process = study_process(tmp_path / "killed", cache)
        begin = time.time()
        try:
            if kills < 20 and kills % 4:  # others are killed while they start
                worked = partial(works_since, tmp_path / "killed", begin)
                while process.poll() is None and not worked():
                    time.sleep(0.02)
            process.communicate(timeout=draw.uniform(0, 2) if kills < 20 else 300)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            whole = [*(tmp_path / "killed").rglob("results.nc")]
            for path in whole if kills < 20 else []:
                # Begin this cell again, so that the study does not end before it was killed enough.
                path.unlink()
    assert process.returncode == 0
    assert kills >= 20
    found, expected = (
        {path.relative_to(folder): results.load(path) for path in folder.rglob("results.nc")}
        for folder in (tmp_path / "killed", tmp_path / "uninterrupted")
    )
    assert found.keys() == expected.keys() and len(found) == 4
    for name, cell in found.items():
        xr.testing.assert_identical(cell, expected[name])
    left = {path.name for path in (tmp_path / "killed").rglob("*") if path.is_file()}
    assert left == {".lock", "job.json", "config.yaml", "results.nc", "seconds.json"}


@pytest.mark.slow
def test_ctrl_c_ends_a_study_in_one_line(tmp_path, pytestconfig):
    cache = pytestconfig.cache.mkdir("experiments")
    long = "num_steps=20000"  # it cannot end before it is interrupted

    def interruptible():
        os.setsid()
        # What runs in the background inherits that it ignores the signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    process = study_process(tmp_path / "run", cache, long, preexec_fn=interruptible)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").rglob("*.nc")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of its processes
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == SAID.decode() + "interrupted\n"
