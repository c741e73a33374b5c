import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

from experiments import problems
from experiments.commands.interruption import SAID
from experiments.configuration import config
from experiments.runs import sweep
from experiments.setup import optimizers
from experiments.storage import results
from experiments.storage.files import load_text

ROOT = Path(__file__).parents[3]
TINY = (
    "optimizer=heavy_ball",
    "warmup=2",
    "num_steps=4",
    "every=2",
    "model.depth=0",
    "data.size=10",
    "sweep.flows=[stable]",
    "sweep.chunk=2",
)
TWO_AXES = "sweep.axes=['optimizer.hyperparameters.b1=0,.5','seed=linear(3,5,3)']"


def configured(folder, *overrides):
    return sweep.sweep_of(config.load_sweep([*TINY, TWO_AXES, *overrides]), folder)


def test_lanes_are_the_product_of_the_axes_in_their_order(tmp_path):
    swept = configured(tmp_path, "sweep.segment=4")
    assert swept.segments == 2
    first, last = swept.lanes(0), swept.lanes(1)
    assert list(first) == ["optimizer.hyperparameters.b1", "seed"]
    assert first["optimizer.hyperparameters.b1"].tolist() == [0, 0, 0, 0.5]
    assert first["seed"].tolist() == [3, 4, 5, 3] and first["seed"].dtype == np.uint32
    assert last["seed"].tolist() == [4, 5]


def test_zipped_lanes_take_the_values_together(tmp_path):
    axes = "sweep.axes=['optimizer.learning_rate=geometric(.01,1,3)','seed=7,5,9']"
    swept = configured(tmp_path, axes, "sweep.zipped=true", "sweep.segment=2")
    assert swept.segments == 2
    np.testing.assert_allclose(swept.lanes(0)["optimizer.learning_rate"], [0.01, 0.1])
    assert swept.lanes(1)["seed"].tolist() == [9]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep.axes=[]", "sweep.axes is empty"),
        ("sweep.axes=['seed=']", "sweep.axes has 'seed=': an axis is KEY=NUMBER"),
        ("sweep.axes=['kappa=cubic(1,2,3)']", r"sweep.axes has 'kappa=cubic\(1,2,3\)'"),
        ("sweep.axes=['kappa=geometric(0,1,3)']", "geometric from and to other than 0"),
        ("sweep.axes=['seed=1','seed=2']", "names one of them twice"),
        ("sweep.axes=['seed=.5']", r"sweep.axes.seed=\[0.5\]: seeds are from 0"),
        ("sweep.axes=['kappa=-1']", "kappa=-1.0 is out of range"),
        ("sweep.axes=['model.depth=1,2']", r"model\.depth: the axes of a sweep are .*multirun"),
        ("sweep.axes=['optimizer.hyperparameters.b2=0']", "heavy_ball has no such hyperparameter"),
        ("sweep.zipped=true", "lengths {.*: 2, 'seed': 3}: zipped ones must be equally long"),
        ("sweep.flows=[rod]", "sweep.flows lacks stable"),
        ("sweep.segment=0", "sweep.segment=0 is out of range"),
        ("distributed.process_id=1", "need distributed.coordinator=HOST:PORT"),
        ("distributed.coordinator=a:1", "distributed.coordinator=a:1 needs"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        configured(tmp_path, override)


def test_hyperparameters_that_the_program_depends_on_are_not_swept(tmp_path):
    axes = "sweep.axes=['optimizer.hyperparameters.nesterov=0,1']"
    with pytest.raises(ValueError, match=r"nesterov: what changes the program is .* --multirun"):
        configured(tmp_path, "optimizer=adam", axes)


def test_every_lane_is_the_run_of_its_numbers(tmp_path, optax_run):
    swept = configured(tmp_path, "sweep.segment=4")
    reported = []
    found = sweep.run(swept, "of: tests\n", lambda *counts: reported.append(counts))
    assert found.sizes == {"b1": 2, "seed": 3, "flow": 1, "step": 2, "mode": 2}
    assert found.b1.attrs["long_name"] == "optimizer.hyperparameters.b1"
    assert found.distance.dims == ("b1", "seed", "flow", "step")
    assert (found.improvement.sel(flow="stable") == 1).all()
    for b1, seed in ((0.0, 5), (0.5, 3)):
        values = {"optimizer.hyperparameters.b1": b1, "seed": seed}
        lane = config.with_values(swept.config, values)
        problem, tx = problems.configured(lane), optimizers.configured(lane.optimizer)
        params, _ = optax_run(problem.loss, tx, problem.init(jax.random.key(seed)), 6)
        expected = jax.vmap(problem.loss)(params)[np.array([3, 5])]  # steps 2 and 4 after 2
        np.testing.assert_allclose(found.loss.sel(b1=b1, seed=seed), expected, rtol=1e-5)

    # What is there is not computed again, is what was returned, and is not taken for another.
    assert reported[-1] == (2, 2)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".lock", "config.yaml", "job.json", "results.nc", "seconds.json"}
    xr.testing.assert_identical(found, sweep.run(swept, "of: tests\n", lambda *counts: None))
    other = configured(tmp_path, "sweep.segment=4", "num_steps=6")
    with pytest.raises(ValueError, match=r"results\.nc is of another configuration \(num_steps: 4"):
        sweep.run(other, "", lambda *counts: None)


def test_segments_of_another_sweep_are_refused_even_if_nothing_else_tells(tmp_path, monkeypatch):
    def computer(swept):
        return lambda segment: xr.Dataset({"loss": ("lane", swept.lanes(segment)["seed"])})

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "computer", computer)
    monkeypatch.setattr(sweep, "assembled", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(configured(tmp_path, "sweep.segment=4"), "first: true\n", lambda *counts: None)
    (tmp_path / "job.json").unlink()
    other = "sweep.axes=['optimizer.hyperparameters.b1=0,.5','seed=6,7,8']"
    with pytest.raises(ValueError, match=r"pieces/0000.\.nc is of another config.*3 there, 6 here"):
        sweep.run(configured(tmp_path, "sweep.segment=4", other), "", lambda *counts: None)
    assert load_text(tmp_path / "config.yaml") == "first: true\n"


# The application, which leaves a line for every segment that it begins.
JOURNAL = """
import os, sys, time
from experiments.commands import sweep as command
from experiments.runs import sweep
computer = sweep.computer

def recorded(swept):
    compute = computer(swept)
    def begin(segment):
        assert not (swept.folder / "pieces" / f"{segment:05d}.nc").exists()
        with open("journal", "a") as journal:
            journal.write(f"{os.getpid()} {segment}\\n")
        time.sleep(PAUSE)
        return compute(segment)
    return begin

sweep.computer = recorded
command.main(sys.argv[1:])
"""
MADE_UP = """
import numpy as np, xarray as xr
from experiments.storage import results
from experiments.runs import sweep
def computer(swept):
    def compute(segment):
        lanes = np.asarray(swept.lanes(segment)["seed"])
        return xr.Dataset(
            {
                "loss": (("lane", "step"), lanes[:, None] * np.ones(2)),
                "diverged_at": (("lane", "step"), np.full((len(lanes), 2), -1)),
                "flow_diverged_at": (("lane", "flow", "step"), np.full((len(lanes), 1, 2), -1)),
                "distance": (("lane", "flow", "step"), np.ones((len(lanes), 1, 2))),
                "effective_sharpness": (("lane", "step", "mode"), np.ones((len(lanes), 2, 1))),
            },
            {"lane": lanes, "flow": ["stable"], "step": [2, 4], "mode": [1]},
        )
    return compute
sweep.computer = computer
"""


class Hosts:
    """Processes that share a folder, each as if on a host of its own."""

    def __init__(self, place, cache, *overrides, made_up=False, pause=0.0):
        self.place = place
        self.folder = place / "sweep"
        self.overrides = (*TINY, *overrides, f"hydra.run.dir={self.folder}")
        self.environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}
        self.program = MADE_UP * made_up + JOURNAL.replace("PAUSE", str(pause))
        place.mkdir(exist_ok=True)

    def start(self, *overrides, program=None, **options):
        return subprocess.Popen(
            [sys.executable, *(program or ("-c", self.program)), *self.overrides, *overrides],
            **options,
            cwd=self.place,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def begun(self):
        """(process, segment) in the order of their beginnings."""
        path = self.place / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [tuple(map(int, line.split())) for line in lines]

    def wait_for_work(self, process, seconds=0.0):
        """Wait until so long after a process has begun a segment."""
        deadline = time.monotonic() + 300
        while process.poll() is None and process.pid not in dict(self.begun):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(seconds)

    def kill_at_work(self, process, seconds=0.0):
        """Kill -9 a process so long after it has begun a segment; whether it was still there."""
        self.wait_for_work(process, seconds)
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return alive

    def end(self, process):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out

    @property
    def results(self):
        return results.load(self.folder / "results.nc")


@pytest.mark.slow
def test_the_host_that_survives_finishes_the_sweep(tmp_path):
    axis = "sweep.axes=['seed=linear(0,19,20)']"
    hosts = Hosts(tmp_path, tmp_path, axis, "sweep.segment=2", made_up=True, pause=0.3)
    one, other = hosts.start(), hosts.start()
    assert hosts.kill_at_work(one)
    assert "20 lanes" in hosts.end(other)
    assert hosts.results.loss.sel(step=4).values.tolist() == list(range(20))
    begun = [segment for _, segment in hosts.begun]
    assert set(begun) == set(range(10)) and len(begun) <= 10 + 1


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """One process that is left alone, and the programs that it compiled."""
    place = tmp_path_factory.mktemp("uninterrupted")
    hosts = Hosts(place, place, "sweep.axes=['seed=linear(0,99,100)']", "sweep.segment=2")
    hosts.end(hosts.start())
    assert len(hosts.begun) == 50
    return hosts


def check_same(hosts, uninterrupted, kills):
    xr.testing.assert_identical(hosts.results, uninterrupted.results)
    begun = [segment for _, segment in hosts.begun]
    assert set(begun) == set(range(50))
    assert len(begun) <= 50 + kills
    assert not list(hosts.folder.glob("pieces/*"))


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
def test_a_restart_with_another_number_of_hosts_changes_no_bit(tmp_path, uninterrupted, known):
    """Two processes, which know of each other or not; one is killed, then both; then three."""
    axes = uninterrupted.overrides[len(TINY) : -1]
    hosts = Hosts(tmp_path, uninterrupted.place, *axes, pause=0.3)

    def start(count):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        told = (f"distributed.coordinator=localhost:{port}", f"distributed.num_processes={count}")
        return [
            hosts.start(*told, f"distributed.process_id={i}") if known else hosts.start()
            for i in range(count)
        ]

    coordinator, other = start(2)
    assert hosts.kill_at_work(other, 1.0)
    alone, deadline = len(hosts.begun), time.monotonic() + 60
    while len(hosts.begun) <= alone:  # the host that is left goes on
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert hosts.kill_at_work(coordinator)
    for process in start(3):
        hosts.end(process)
    assert len(dict(hosts.begun)) == 5
    check_same(hosts, uninterrupted, kills=2)


@pytest.mark.slow
def test_thirty_kills_change_no_bit(tmp_path, uninterrupted):
    axes = uninterrupted.overrides[len(TINY) : -1]
    hosts = Hosts(tmp_path, uninterrupted.place, *axes, pause=1.0)
    draw = random.Random(0)
    kills = 0
    while kills < 30:
        for process in [hosts.start() for _ in range(3)]:
            kills += hosts.kill_at_work(process, draw.uniform(0, 0.7))
        assert not (hosts.folder / "results.nc").exists()
    for process in [hosts.start(), hosts.start()]:
        hosts.end(process)
    check_same(hosts, uninterrupted, kills)


@pytest.mark.slow
def test_twenty_interrupts_change_no_bit(tmp_path, uninterrupted):
    """Ctrl-C at random moments, at work or at the start, once or twice: no crash, nothing lost."""
    axes = uninterrupted.overrides[len(TINY) : -1]
    hosts = Hosts(tmp_path, uninterrupted.place, *axes, pause=0.5)
    # What runs in the background inherits that it ignores the signal.
    heeding = dict(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    draw = random.Random(0)
    for number in range(20):
        if number % 5:
            process = hosts.start(**heeding)
            hosts.wait_for_work(process, draw.uniform(0, 1))
        else:  # the application itself, while it imports JAX and looks for what there is
            process = hosts.start(program=("-m", "experiments", "sweep"), **heeding)
            while "jaxlib" not in Path(f"/proc/{process.pid}/maps").read_text():
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 2))
        before = len(list(hosts.folder.glob("pieces/*.nc")))
        process.send_signal(signal.SIGINT)
        if number % 4 == 3 and number % 5:
            time.sleep(draw.uniform(0, 0.4))
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 130, (number, err)
        assert err in {SAID.decode(), SAID.decode() + "interrupted\n", "interrupted\n"}
        assert len(list(hosts.folder.glob("pieces/*.nc"))) >= before
    assert not (hosts.folder / "results.nc").exists()
    hosts.end(hosts.start())
    check_same(hosts, uninterrupted, kills=20)
