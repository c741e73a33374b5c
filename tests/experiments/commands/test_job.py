"""Several jobs from one command: `--multirun` with each of its launchers."""

import pytest

TINY = (
    "--multirun",
    "hydra.sweep.dir=jobs",
    "num_steps=10",
    "every=5",
    "warmup=2",
    "twins=0",
    "model.width=4",
    "model.depth=1",
    "data.size=20",
)
WHOLE = {"config.yaml", "results.nc", "figure.png"}


def files(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_a_job_that_fails_is_named_and_the_others_end(cli, tmp_path):
    done = cli(*TINY, "optimizer=gd", "data.size=-1,20,21")
    assert done.returncode == 1
    named, line = done.stderr.splitlines()
    assert named.startswith("Error executing job with overrides: [") and "'data.size=-1'" in named
    assert line == "error: digits has 1 to 1797 samples, got size=-1"
    assert done.stdout.count("improvement") == 2
    assert files(tmp_path / "jobs/gd-1") == files(tmp_path / "jobs/gd-2") == WHOLE


@pytest.mark.slow
def test_jobs_that_start_processes_and_sweeps_share_workers(cli, tmp_path):
    jobs = ("--multirun", "hydra.sweep.dir=jobs", "hydra.launcher.n_jobs=1", "num_steps=10")
    study, sweep = (("-m", "experiments", command) for command in ("study", "sweep"))
    done = cli(*jobs, "study=tiny", "warmup=2,3", program=study)
    assert done.returncode == 0, done.stderr
    for name in ("tiny-0", "tiny-1"):
        assert (tmp_path / "jobs" / name / "narrow" / "gd" / "results.nc").exists()
    swept = ("sweep.axes=['seed=0,1']", "sweep.flows=[stable]", "every=5")
    done = cli(*jobs, *swept, *TINY[4:], "optimizer=gd,rmsprop", program=sweep)
    assert done.returncode == 0, done.stderr
    for name in ("gd-0", "rmsprop-1"):
        assert (tmp_path / "jobs" / name / "results.nc").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "settings"),
    [
        ("submitit", ["hydra/launcher=submitit_local"]),
        ("ray", ["hydra/launcher=ray", "+hydra.launcher.ray.init.include_dashboard=false"]),
    ],
)
def test_jobs_run_by_other_launchers(cli, tmp_path, plugin, settings):
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
    done = cli(*TINY, *settings, "optimizer=gd,rmsprop")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "jobs/gd-0") >= WHOLE and files(tmp_path / "jobs/rmsprop-1") >= WHOLE
