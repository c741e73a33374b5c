"""One cell of a study: an optimizer on a problem, its seeds the lanes of one program.

A cell is run in segments. Each leaves its labelled records and then a checkpoint, both atomic, so
that a run killed at any moment continues from its last whole segment and ends with the same bits.
Once all segments are there they become `results.nc`, and the rest is removed.

    folder/segment-0000.nc ...   records, of netCDF
    folder/checkpoint            where iterates, twins and flows stand after so many segments
    folder/results.nc            all records: the cell is finished
    folder/seconds.json          wall-clock time it took, of all processes that worked on it, and
                                 that of iterates and flows per optimizer step if it was compared
"""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import xarray as xr
from jaxtyping import PyTree

import rodflow
from experiments import problems
from experiments.configuration import config as configuration
from experiments.configuration.config import RunConfig
from experiments.configuration.functions import FlowName
from experiments.setup import clock as timing
from experiments.setup import optimizers
from experiments.setup.observers import flow_observer, observer
from experiments.storage import checkpoint, results
from experiments.storage.files import remove_leftovers, write_atomically

TEMPORARY = ("segment-*.nc", "checkpoint")
"""What is in the folder of a cell until it is finished."""


class Cell(NamedTuple):
    """What a cell is, and where it is kept. `config.seed` counts for nothing: `seeds` do."""

    problem: str
    config: RunConfig
    seeds: list[int]
    flows: list[FlowName]
    compared: bool
    segment: int
    folder: Path

    @property
    def name(self) -> str:
        """As in `vit/adam`."""
        return f"{self.problem}/{self.config.optimizer.name}"

    @property
    def segments(self) -> int:
        """How many segments there are in all."""
        return self.config.num_steps // self.config.every // self.records

    @property
    def records(self) -> int:
        """Records in a segment: all are of one size, so that they share one compiled program."""
        return equal_pieces(self.config.num_steps // self.config.every, self.segment)

    @property
    def identity(self) -> dict[str, str]:
        """What the records depend on. How they are cut into segments is not part of it."""
        flows = [flow.name for flow in self.flows]
        cell = {"seeds": self.seeds, "flows": flows, "compared": self.compared}
        return {"cell": json.dumps(cell), "run": configuration.identity(self.config)}


def run(cell: Cell) -> xr.Dataset:
    """Run a cell from where it stands to its end, and return its results.

    Raises:
        ValueError: what is in the folder is damaged or of another configuration; it stays.
        OSError: something could not be written; what was written before stays.
    """
    if _results(cell).exists():
        whole = finished(cell)
        remove_leftovers(cell.folder, *TEMPORARY)
        return whole
    cell.folder.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    start, advance, per_step = _programs(cell)
    state, done, before = _resume(cell, start)
    while done < cell.segments:
        state, tracking = advance(state)
        segment = results.labelled(tracking, cell.seeds, [flow.name for flow in cell.flows])
        results.save(segment, _segment(cell, done))
        done += 1
        seconds = before + time.perf_counter() - begin
        header = {"done": done, "records": cell.records, "seconds": seconds}
        checkpoint.save(_checkpoint(cell), state, header | cell.identity | made_by())
    times = {"per_step": per_step(state)} if cell.compared else {}
    whole = results.finished([_load(_segment(cell, k)) for k in range(done)], cell.config)
    whole.attrs |= {"problem": cell.problem, "identity": json.dumps(cell.identity)}
    seconds = before + time.perf_counter() - begin
    times |= {"seconds": seconds}
    write_atomically(cell.folder / "seconds.json", json.dumps(times).encode())
    results.save(whole, _results(cell))
    remove_leftovers(cell.folder, *TEMPORARY)
    return whole


def finished(cell: Cell) -> xr.Dataset:
    """Read the results of a cell that was run to its end.

    Raises:
        ValueError: they are damaged, or of another configuration.
    """
    path = _results(cell)
    whole = _load(path)
    check_same(path, json.loads(whole.attrs["identity"]), cell.identity)
    return whole


def check(cell: Cell) -> None:
    """Refuse a folder with results or a checkpoint of another configuration.

    Raises:
        ValueError: it is, or what is there is damaged.
    """
    if _results(cell).exists():
        finished(cell)
    elif _checkpoint(cell).exists():
        _check_header(cell, checkpoint.header(_checkpoint(cell)))


def segments_of(cell: Cell) -> int:
    """Count the segments that are complete."""
    if _results(cell).exists():
        return cell.segments
    return len(list(cell.folder.glob("segment-*.nc")))


class _Programs(NamedTuple):
    """The start of all lanes, what moves them by one segment, and what times their flows."""

    start: Callable[[], PyTree]
    advance: Callable[[PyTree], tuple]
    per_step: Callable[[PyTree], dict[str, float]]


def _programs(cell: Cell) -> _Programs:
    config = cell.config
    tx = optimizers.configured(config.optimizer)
    problem = problems.compact(problems.configured(config), tx)
    flows = {flow.name: flow(config.kappa) for flow in cell.flows}
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

    return _Programs(
        partial(start, params, keys),
        lambda state: jax.block_until_ready(advance(state)),
        lambda state: timing.per_step(tracker_of, state, cell.records),
    )


def _resume(cell: Cell, start: Callable[[], PyTree]) -> tuple[PyTree, int, float]:
    """The state, the segments done and the seconds spent, from the checkpoint if there is one."""
    path = _checkpoint(cell)
    if not path.exists():
        return start(), 0, 0.0
    state, header = checkpoint.load(path, eqx.filter_eval_shape(start))
    _check_header(cell, header)
    for k in range(header["done"]):
        _load(_segment(cell, k))
    return jax.tree.map(jnp.asarray, state), header["done"], header["seconds"]


def _check_header(cell: Cell, header: dict[str, Any]) -> None:
    check_same(_checkpoint(cell), header, cell.identity | made_by() | {"records": cell.records})


def _load(path: Path) -> xr.Dataset:
    try:
        return results.load(path)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path} is damaged; delete its folder to begin this cell again"
        ) from error


def check_same(path: Path, found: dict, wanted: dict) -> None:
    """Refuse what was found in a file if it is of another configuration.

    Raises:
        ValueError: it is; the message shows the first difference.
    """
    for key, value in wanted.items():
        if found.get(key) != value:
            old, new = str(found.get(key)).splitlines(), str(value).splitlines()
            differing = [pair for pair in zip(old, new, strict=False) if pair[0] != pair[1]]
            was, now = differing[0] if differing else (old[-1:], new[-1:])
            raise ValueError(
                f"{path} is of another configuration ({was} there, {now} here); choose another "
                "folder with hydra.run.dir=FOLDER, or delete it"
            )


def made_by() -> dict[str, str]:
    """What has made the numbers, without which they are not the same bit for bit."""
    # Half a run by one version and half by another would be the run of neither.
    return {"source": results.source(), "device": jax.devices()[0].device_kind}


def _results(cell: Cell) -> Path:
    return cell.folder / "results.nc"


def _segment(cell: Cell, index: int) -> Path:
    return cell.folder / f"segment-{index:04d}.nc"


def _checkpoint(cell: Cell) -> Path:
    return cell.folder / "checkpoint"


def equal_pieces(records: int, most: int) -> int:
    """Return the largest size of equal pieces, of at most `most` records each."""
    return max(n for n in range(1, most + 1) if records % n == 0)
