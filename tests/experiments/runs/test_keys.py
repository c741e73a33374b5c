"""Every key that numbers depend on reaches the library: runs, sweeps and cells against `track`.

Each key has a value other than its default, and a test says that each of them matters: a run that
ignored one would have other numbers.
"""

import functools

import jax
import numpy as np
import pytest

import rodflow
from experiments import problems
from experiments.configuration import config as configuration
from experiments.runs import cell as cells
from experiments.runs import grid, single, sweep
from experiments.setup import optimizers

PROBLEM = ("optimizer=heavy_ball", "model.depth=0", "data.size=12")
KEYS = {
    "optimizer.learning_rate": (0.3, 0.31),
    "optimizer.hyperparameters.b1": (0.6, 0.5),
    "loss": ("cross_entropy", "squared_error"),
    "chunks": (4, "null"),
    "warmup": (3, 2),
    "num_steps": (12, 15),
    "every": (3, 4),
    "twins": (2, 1),
    "kappa": (0.2, 0.1),
    "seed": (7, 8),
}
"""Key -> its value here, and another one."""
TAKEN = ("loss", "mean_loss", "travelled", "floor")
OF_FLOWS = ("distance", "loss_error", "extent")


def overrides(**changed):
    values = {key: value for key, (value, _) in KEYS.items()} | changed
    return [*PROBLEM, *(f"{key}={value}" for key, value in values.items())]


@functools.cache
def by_hand(*given):
    """The numbers of a configuration, by the library alone; arrays by name."""
    config = configuration.load(given)
    problem = problems.configured(config)
    key = jax.random.key(config.seed)
    tracking = rodflow.track(
        problem.loss,
        optimizers.configured(config.optimizer),
        problem.init(key),
        config.num_steps,
        config.warmup,
        config.every,
        flows={
            "stable": rodflow.StableFlow(),
            "rod": rodflow.RodFlow(rodflow.SignedRod(config.kappa)),
        },
        twins=config.twins,
        key=jax.random.fold_in(key, 1),
    )
    numbers = {name: np.asarray(getattr(tracking, name)) for name in TAKEN}
    for name in OF_FLOWS:
        each = [getattr(tracking.flows[flow], name) for flow in ("stable", "rod")]
        numbers[name] = np.stack([np.asarray(x) for x in each])
    return numbers | {"step": np.asarray(tracking.steps)}


def check(found, numbers):
    """Compare labelled results; other programs round in other ways, and distances show it."""
    assert found.step.values.tolist() == numbers["step"].tolist()
    for name in TAKEN:
        tolerance = 1.0 if name == "floor" else 1e-3
        np.testing.assert_allclose(found[name], numbers[name], rtol=tolerance, err_msg=name)
    for name in OF_FLOWS:
        np.testing.assert_allclose(found[name], numbers[name], rtol=0.02, atol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_every_key_matters(key):
    numbers = by_hand(*overrides())
    if key == "chunks":  # it changes how a gradient is summed, and not its value
        _, loss = (
            problems.configured(configuration.load(overrides(chunks=n))).loss for n in ("null", 4)
        )
        assert isinstance(loss, rodflow.Minibatches) and loss.count == 4
        return
    if key == "twins":  # of runs a rounding unit apart, other rounding leaves no more than the size
        return
    others = by_hand(*overrides(**{key: KEYS[key][1]}))
    same = [
        np.shape(others[name]) == np.shape(value) and np.allclose(others[name], value, rtol=0.02)
        for name, value in numbers.items()
    ]
    assert not all(same)


class Seen(Exception):
    """The library was called."""


@pytest.mark.parametrize("command", ["run", "sweep", "study"])
def test_the_number_of_twins_reaches_the_library(command, tmp_path, monkeypatch):
    def seen(*arguments, twins=0, **options):
        raise Seen(twins)

    for name in ("track", "Tracker"):
        monkeypatch.setattr(rodflow, name, seen)
    with pytest.raises(Seen, match=f"{KEYS['twins'][0]}"):
        if command == "run":
            single.run(configuration.load(overrides()), lambda *told: None)
        elif command == "sweep":
            swept = configuration.load_sweep([*overrides(), "sweep.axes=['seed=1']"])
            sweep.run(sweep.sweep_of(swept, tmp_path), "", lambda *counts: None)
        else:
            cells.run(cell_in(tmp_path))


def test_the_seed_of_the_rod_in_a_sweep_is_that_of_its_lane(tmp_path, monkeypatch):
    axes = "sweep.axes=['kappa=.2,.4']"
    swept = sweep.sweep_of(configuration.load_sweep([*overrides(), axes]), tmp_path)

    def seen(name, kappa):
        raise Seen(isinstance(kappa, jax.core.Tracer))

    monkeypatch.setattr(sweep, "flow", seen)
    with pytest.raises(Seen, match="True"):
        sweep.run(swept, "", lambda *counts: None)


def cell_in(folder):
    shared = ("warmup", "num_steps", "every", "twins", "kappa", "chunks", "loss")
    problem = ",".join(f"'{x}'" for x in [*PROBLEM[1:], "optimizer.hyperparameters.b1=0.6"])
    given = [
        "study=tiny",
        "grid.optimizers=[heavy_ball]",
        "grid.problems=[small]",
        f"+grid.definitions.small=[{problem}]",
        "+grid.learning_rates.small={heavy_ball: 0.3}",
        "grid.seeds=[1,7]",
        "grid.flows=[stable,rod]",
        *(f"{key}={KEYS[key][0]}" for key in shared),
    ]
    (cell,) = grid.cells_of(configuration.load_study(given), folder)
    return cell


def test_the_main_job_is_what_its_keys_say():
    config = configuration.load(overrides())
    check(single.run(config, lambda *told: None).isel(seed=0), by_hand(*overrides()))


@pytest.mark.slow
def test_lanes_of_a_sweep_are_what_their_keys_say(tmp_path):
    axes = "sweep.axes=['optimizer.learning_rate=.1,.3','kappa=.2,.4','seed=1,7']"
    swept = sweep.sweep_of(configuration.load_sweep([*overrides(), axes]), tmp_path)
    found = sweep.run(swept, "", lambda *counts: None)
    check(found.sel(learning_rate=0.3, kappa=0.2, seed=7), by_hand(*overrides()))
    other = overrides(**{"optimizer.learning_rate": 0.1, "kappa": 0.4, "seed": 1})
    check(found.sel(learning_rate=0.1, kappa=0.4, seed=1), by_hand(*other))


@pytest.mark.slow
def test_seeds_of_a_cell_are_what_their_keys_say(tmp_path):
    found = cells.run(cell_in(tmp_path))
    for seed in (1, 7):
        check(found.sel(seed=seed), by_hand(*overrides(seed=seed)))
