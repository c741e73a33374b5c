"""The main job: train a network, follow it with the stable flow and the rod flow, and time each."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from jaxtyping import PyTree

import rodflow
from experiments import problems
from experiments.configuration import config as configuration
from experiments.configuration.config import RunConfig
from experiments.runs import paths, records
from experiments.runs.cell import equal_pieces
from experiments.setup import flows, optimizers
from experiments.setup.clock import timed
from experiments.setup.observers import observer
from experiments.storage.job import Job, Kind

Report = Callable[[str, int, int], None]

CHUNKS = 20  # steps of the progress bar, at least


def run_in(folder: Path, config: RunConfig, resolved: str, report: Report) -> xr.Dataset:
    """Run the main job in a folder, or read its results if they are there.

    Args:
        folder: The folder.
        config: Configuration of the run.
        resolved: The configuration as YAML, which is left in the folder.
        report: As for `run`.

    Raises:
        ValueError: The folder is in use, or holds another job; all stays.
        OSError: Something could not be written.
    """
    job = Job(folder, Kind.RUN, {"run": configuration.identity(config)})
    with job.working(resolved) as finished:
        if finished is not None:
            return finished
        return job.finish(*timed(lambda: run(config, report)))


def run(config: RunConfig, report: Report) -> xr.Dataset:
    """Run the main job.

    The numbers come from one program in which the iterates, their twins and both flows move in
    lockstep. Paths on a plane and times come from a program for each, as `experiments.runs.paths`
    describes.

    Args:
        config: Configuration of the run.
        report: Called with the action, the steps done, and the steps in total.

    Returns:
        The labelled results.
    """
    tx = optimizers.configured(config.optimizer)
    problem = problems.compact(problems.configured(config), tx)
    followed = {"stable": flows.stable(config.kappa), "rod": flows.rod(config.kappa)}
    key = jax.random.key(config.seed)
    params, draw = jax.jit(lambda key: (problem.init(key), jax.random.fold_in(key, 1)))(key)

    report("compiling the start", 0, config.num_steps)
    observe = observer(problem, tx)
    tracker = rodflow.Tracker(
        problem.loss, tx, followed, every=config.every, twins=config.twins, observe=observe
    )
    start = tracker.init(params, warmup=config.warmup, key=draw)
    report("compiling the tracker", 0, config.num_steps)
    parts = list(_advance(tracker, start, config, partial(report, "tracking")))
    tracking = jax.tree.map(lambda *leaves: np.concatenate(leaves)[None], *parts)

    found = paths.recorded(problem, tx, tracker, start, config.num_steps // config.every, report)
    labelled = records.labelled(tracking, [config.seed], list(followed))
    return records.with_paths(records.finished([labelled], config), found)


def chunk_of(config: RunConfig) -> int:
    """Return the number of records that the progress bar moves by."""
    count = config.num_steps // config.every
    return equal_pieces(count, max(1, count // CHUNKS))


def _advance(
    tracker: rodflow.Tracker,
    state: PyTree,
    config: RunConfig,
    report: Callable[[int, int], None],
) -> Iterator[rodflow.Tracking]:
    chunk = chunk_of(config)
    for done in range(chunk, config.num_steps // config.every + 1, chunk):
        state, tracking = tracker.run(state, chunk)
        yield jax.block_until_ready(tracking)
        report(done * config.every, config.num_steps)
