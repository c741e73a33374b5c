import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import xarray as xr


@pytest.fixture(autouse=True)
def same_environment():
    """Undo what commands that run in this process set in the environment of others."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def results() -> xr.Dataset:
    """Results of a made-up run of six records, labelled like those of a real one."""
    steps = np.arange(10, 70, 10)
    growing = np.geomspace(1e-6, 1e-2, len(steps))
    return xr.Dataset(
        {
            "loss": (("seed", "step"), 1 / steps[None]),
            "mean_loss": (("seed", "step"), 1 / steps[None]),
            "floor": (("seed", "step"), growing[None]),
            "diverged_at": (("seed", "step"), np.full((1, len(steps)), -1)),
            "effective_sharpness": (
                ("seed", "step", "mode"),
                np.outer(steps / 50, [1.0, 0.5])[None],
            ),
            "flow_loss": (("seed", "flow", "step"), [[1.1 / steps, 1.01 / steps]]),
            "distance": (("seed", "flow", "step"), [[100 * growing, 2 * growing]]),
            "loss_error": (
                ("seed", "flow", "step"),
                np.outer([0.1, 0.01], np.ones(len(steps)))[None],
            ),
            "extent": (("seed", "flow", "step"), [[0 * growing, growing]]),
            "gradients": (("seed", "flow", "step"), np.outer([6.0, 8.0], np.ones(6))[None]),
            "flow_diverged_at": (("seed", "flow", "step"), np.full((1, 2, len(steps)), -1)),
            "improvement": (("seed", "flow"), [[1.0, 50.0]]),
            "seconds": ("flow", [0.25, 1.5]),
            "discrete_seconds": ((), 0.125),
        },
        coords={"seed": [0], "step": steps, "flow": ["stable", "rod"], "mode": [1, 2]},
        attrs={"title": "Rod flow against the iterates of adam"},
    )


@pytest.fixture
def run_with_paths(results) -> xr.Dataset:
    """The same run with paths on a plane: iterates that alternate along a line, and their rod."""
    steps = np.arange(1, 61)
    alternating = np.stack([0.1 * (-1.0) ** steps, np.zeros(60)], axis=1)
    drift = np.stack([np.zeros(60), 1e-3 * steps], axis=1)
    rod = np.stack([0 * alternating, np.abs(alternating)])
    gradient = np.ones((1, 6))
    return results.assign_coords(time=steps).assign(
        path=(("seed", "time", "mode"), (alternating + drift)[None]),
        flow_path=(("seed", "flow", "time", "mode"), np.stack([drift, drift])[None]),
        rod_path=(("seed", "flow", "time", "mode"), rod[None]),
        alternating_gradient=(("seed", "step"), gradient),
        flow_alternating_gradient=(("seed", "flow", "step"), np.stack([gradient, gradient], 1)),
    )


@pytest.fixture
def swept() -> xr.Dataset:
    """A made-up sweep of four learning rates and two seeds; the lanes of the last diverged."""
    rates, steps = np.geomspace(1e-3, 1e-2, 4), np.arange(10, 40, 10)
    lanes = rates[:, None] * np.array([1.0, 3.0])
    known = np.where(np.arange(4) < 3, 1.0, np.nan)[:, None] * np.ones((4, 2))
    by_step = (known * lanes)[..., None] * np.ones(3)
    distance = by_step[:, :, None] * np.array([10.0, 2.0])[:, None]
    axes = ("learning_rate", "seed")
    return xr.Dataset(
        {
            "distance": ((*axes, "flow", "step"), distance),
            "improvement": ((*axes, "flow"), known[..., None] * np.array([1.0, 5.0])),
            "floor": ((*axes, "step"), by_step),
            "mean_loss": ((*axes, "step"), by_step),
            "effective_sharpness": ((*axes, "step", "mode"), by_step[..., None] * [200, 100]),
            "diverged_at": ((*axes, "step"), np.where(np.isnan(by_step), 20, -1)),
        },
        coords={
            "learning_rate": rates,
            "seed": [0, 1],
            "flow": ["stable", "rod"],
            "step": steps,
            "mode": [1, 2],
        },
        attrs={
            "title": "Rod flow against the iterates of adam",
            "kind": "sweep",
            "folder": "made up",
        },
    )


@pytest.fixture
def cli(request, tmp_path):
    """Run a command in an empty folder; programs that it compiles are kept for later."""
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",  # with `blocks`, compiled modules would be cut off
        "XDG_CACHE_HOME": str(request.config.cache.mkdir("experiments")),
    }

    def run(
        *arguments: str,
        program: tuple[str, ...] = ("-m", "experiments", "run"),
        blocks: int | str = "unlimited",
    ) -> subprocess.CompletedProcess:
        """With `blocks`, no file can grow beyond so many blocks, as on a full disk."""
        limited = f'ulimit -f {blocks} && exec "$@"'
        return subprocess.run(
            ["sh", "-c", limited, "sh", sys.executable, *program, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def cell() -> xr.Dataset:
    """A made-up cell of a study: three seeds, two flows and the baseline, six records."""
    steps = np.arange(10, 70, 10)
    growing = np.geomspace(1e-6, 1e-2, len(steps))
    seeds = np.ones(3)[:, None]
    times_floor = np.array([[100, 2, 10], [100, 4, 10], [100, 8, 10]])
    loss = seeds / steps
    flows = np.array([1.1, 1.01, 1.05])[:, None] * loss[:, None]
    errors = np.array([0.1, 0.01, 0.05])[:, None] * np.ones((3, 1, len(steps)))
    by_step, by_flow = ("seed", "step"), ("seed", "flow", "step")
    sharpness = seeds[..., None] * np.outer(steps / 50, [1.0, 0.5])
    return xr.Dataset(
        {
            "loss": (by_step, loss),
            "mean_loss": (by_step, loss.copy()),
            "travelled": (by_step, seeds * steps),
            "floor": (by_step, seeds * growing),
            "gradient_norm": (by_step, loss.copy()),
            "diverged_at": (by_step, np.full(loss.shape, -1)),
            "effective_sharpness": (("seed", "step", "mode"), sharpness),
            "flow_loss": (by_flow, flows),
            "distance": (by_flow, times_floor[..., None] * growing),
            "loss_error": (by_flow, errors),
            "extent": (by_flow, np.array([0.0, 1.0, 1.0])[:, None] * growing + 0 * flows),
            "gradients": (by_flow, np.full(flows.shape, 8.0)),
            "flow_diverged_at": (by_flow, np.full(flows.shape, -1)),
            "improvement": (("seed", "flow"), times_floor[:, :1] / times_floor),
            "learning_rate": ((), 1e-3),
        },
        coords={
            "seed": [0, 1, 7],
            "flow": ["stable", "rod", "covariance_4"],
            "step": steps,
            "mode": [1, 2],
        },
        attrs={
            "title": "Rod flow against the iterates of adam",
            "optimizer": "adam",
            "problem": "vit",
            "data": "digits",
            "configuration": "optimizer:\n  name: adam\n",
            "source": "rodflow 0.1.0, jax 0.10.2",
            "device": "cpu",
            "seconds": 12.5,
        },
    )
