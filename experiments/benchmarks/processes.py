"""A sweep by its command: one process on one core, and two processes on a core each."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from experiments.analysis.table import Table

LANES = 48
COLUMNS = ["processes, a core each", "from start to end", "without starting Python"]


def processes() -> Iterator[Table | str]:
    """Time a sweep that processes share, after one that compiles its programs."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield "processes: left out, there are no two cores to give them"
        return
    first, second, *_ = cores
    rows = []
    with tempfile.TemporaryDirectory() as place:
        swept(Path(place) / "compiled", [first], 1)
        for on in ([first], [first, second]):
            seconds = swept(Path(place) / str(len(on)), on, LANES)
            rows.append([str(len(on)), *(f"{each:.1f}" for each in seconds)])
    yield Table(f"python -m experiments sweep, {LANES} lanes: seconds", COLUMNS, rows)


def swept(folder: Path, on: list[int], count: int) -> tuple[float, float]:
    """Time a sweep with a process on each core, from its start and from its first segment."""
    axis = f"optimizer.learning_rate=geometric(2e-4,2e-3,{count})"
    command = [sys.executable, "-m", "experiments", "sweep", f"hydra.run.dir={folder}"]
    command += ["num_steps=200", "sweep.segment=2", "sweep.chunk=1", f"sweep.axes=['{axis}']"]
    begin = time.time()  # of the clock that files are dated by
    running = [
        subprocess.Popen(
            command,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.DEVNULL,
            preexec_fn=partial(os.sched_setaffinity, 0, [core]),
        )
        for core in on
    ]
    if any([process.wait() for process in running]):
        raise RuntimeError(f"a sweep failed: {' '.join(command)}")
    end = (folder / "results.nc").stat().st_mtime
    return end - begin, end - (folder / "index.json").stat().st_mtime
