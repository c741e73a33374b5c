"""Cells of a grid: an optimizer on a problem, its seeds the lanes of one program.

A cell is run in segments. Each leaves its labelled records and then a checkpoint, so that a cell
killed at any moment continues after its last whole segment and ends with the same bits.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import xarray as xr
from jaxtyping import PyTree

import rodflow
from experiments import problems
from experiments.configuration import config as configuration
from experiments.configuration.config import RunConfig
from experiments.runs import records
from experiments.setup import clock, optimizers
from experiments.setup.flows import flow
from experiments.setup.observers import flow_observer, observer
from experiments.storage.job import Job, Kind


class Cell(NamedTuple):
    """A cell and the folder that it is kept in; its seeds are `seeds` instead of `config.seed`."""

    problem: str
    config: RunConfig
    seeds: list[int]
    flows: list[str]
    compared: bool
    segment: int
    folder: Path

    @property
    def name(self) -> str:
        """Problem and optimizer, as in `vit/adam`."""
        return f"{self.problem}/{self.config.optimizer.name}"

    @property
    def segments(self) -> int:
        """The number of segments in all."""
        return self.config.num_steps // self.config.every // self.records

    @property
    def records(self) -> int:
        """Records in a segment: all are of one size, so that they share one compiled program."""
        return equal_pieces(self.config.num_steps // self.config.every, self.segment)

    @property
    def job(self) -> Job:
        """Folder and identity of the cell."""
        told = json.dumps({"seeds": self.seeds, "flows": self.flows, "compared": self.compared})
        identity = {"cell": told, "run": configuration.identity(self.config)}
        return Job(self.folder, Kind.CELL, identity, {"records": f"{self.records} in a segment"})


def run(cell: Cell, report: Callable[[int, int], None] = lambda done, total: None) -> xr.Dataset:
    """Run a cell from where it stands to its end, and return its results.

    Args:
        cell: The cell.
        report: Called after each segment, with the segments done and the segments in total.

    Raises:
        ValueError: Something in the folder is damaged or of another job; it stays.
        OSError: Something could not be written; what was written before stays.
    """
    job = cell.job
    # The worker of a grid that was just killed may live for a moment longer than the grid.
    with job.working(wait=True) as finished:
        if finished is not None:
            return finished
        lap = clock.laps()
        next(lap)
        start, advance, per_step = _programs(cell)
        state, done = _resumed(job, start)
        while done < cell.segments:
            state, tracking = jax.block_until_ready(advance(state))
            segment = records.labelled(tracking, cell.seeds, cell.flows)
            job.save(_name(done), segment, next(lap))
            done += 1
            job.save_checkpoint(state, done)
            report(done, cell.segments)
        times = {"per_step": per_step(state)} if cell.compared else {}
        segments, seconds = zip(*(job.load(_name(k)) for k in range(done)), strict=True)
        whole = records.finished(segments, cell.config).assign_attrs(problem=cell.problem)
        return job.finish(whole, sum(seconds) + next(lap), **times)


def equal_pieces(records: int, most: int) -> int:
    """Return the largest size of equal pieces, of at most `most` records each."""
    return max(n for n in range(1, most + 1) if records % n == 0)


def _programs(cell: Cell) -> tuple[Callable[[], PyTree], Callable, Callable]:
    """Return what starts all lanes, what moves them by one segment, and what times their flows."""
    config = cell.config
    tx = optimizers.configured(config.optimizer)
    problem = problems.compact(problems.configured(config), tx)
    flows = {name: flow(name, config.kappa) for name in cell.flows}
    tracker = rodflow.Tracker(
        problem.loss,
        tx,
        flows,
        every=config.every,
        twins=config.twins,
        observe=observer(problem, tx),
        observe_flows=flow_observer(problem, tx) if cell.compared else None,
    )

    keys = jax.vmap(jax.random.key)(jnp.asarray(cell.seeds, jnp.uint32))
    # A program of its own, which cells of the same problem find in the compilation cache.
    params = jax.jit(jax.vmap(problem.init))(keys)

    @jax.jit
    @jax.vmap
    def start(params: PyTree, key: jax.Array) -> PyTree:
        return tracker.init(params, config.warmup, jax.random.fold_in(key, 1))

    @partial(jax.jit, donate_argnums=0)  # half the memory: the old state makes room for the new
    @jax.vmap
    def advance(state: PyTree) -> tuple:
        return tracker.run(state, cell.records)

    def tracker_of(names: list[str]) -> rodflow.Tracker:
        chosen = {name: flows[name] for name in names}
        return rodflow.Tracker(problem.loss, tx, chosen, every=config.every)

    per_step = partial(clock.per_step, tracker_of, records=cell.records)
    return partial(start, params, keys), advance, per_step


def _resumed(job: Job, start: Callable[[], PyTree]) -> tuple[PyTree, int]:
    """Return the state and the number of segments done, from the checkpoint if there is one."""
    try:
        state, done = job.load_checkpoint(eqx.filter_eval_shape(start))
    except FileNotFoundError:
        return start(), 0
    for k in range(done):
        job.load(_name(k))
    return jax.tree.map(jnp.asarray, state), done


def _name(segment: int) -> str:
    return f"{segment:04d}"
