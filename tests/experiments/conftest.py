import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr


@pytest.fixture
def results() -> xr.Dataset:
    """Results of a made-up run of six records, labelled like those of a real one."""
    steps = np.arange(10, 70, 10)
    growing = np.geomspace(1e-6, 1e-2, len(steps))
    return xr.Dataset(
        {
            "loss": ("step", 1 / steps),
            "mean_loss": ("step", 1 / steps),
            "floor": ("step", growing),
            "diverged_at": ("step", np.full(len(steps), -1)),
            "effective_sharpness": (("step", "mode"), np.outer(steps / 50, [1.0, 0.5])),
            "flow_loss": (("flow", "step"), [1.1 / steps, 1.01 / steps]),
            "distance": (("flow", "step"), [100 * growing, 2 * growing]),
            "loss_error": (("flow", "step"), np.outer([0.1, 0.01], np.ones(len(steps)))),
            "extent": (("flow", "step"), [0 * growing, growing]),
            "gradients": (("flow", "step"), np.outer([6.0, 8.0], np.ones(len(steps)))),
            "flow_diverged_at": (("flow", "step"), np.full((2, len(steps)), -1)),
            "improvement": ("flow", [1.0, 50.0]),
            "seconds": ("flow", [0.25, 1.5]),
            "discrete_seconds": ((), 0.125),
        },
        coords={"step": steps, "flow": ["stable", "rod"], "mode": [1, 2]},
        attrs={"title": "Rod flow against the iterates of adam"},
    )


@pytest.fixture
def cli(request, tmp_path):
    """Run a command in an empty folder; programs that it compiles are kept for later."""
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "XDG_CACHE_HOME": str(request.config.cache.mkdir("experiments")),
    }

    def run(
        *arguments: str,
        program: tuple[str, str] = ("-m", "experiments.run"),
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
