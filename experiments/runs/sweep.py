"""A sweep: lanes of a run that differ in numbers, on all devices of as many hosts as take part.

Every host is given the same command and the same folder, and needs to know nothing else: it claims
a segment of lanes that is not complete, computes it, writes it, and claims the next one. Hosts may
come and go at any moment. What a killed host had claimed is free again at once, so that the others
finish its part; the same command, on any number of hosts, continues a sweep that all have left.

    folder/index.json              what the sweep is, and how it is cut; written by the first host
    folder/segments/00000.nc ...   results of so many lanes, whole or absent
    folder/segments/00000.lock     claimed by the host that computes the segment
    folder/results.nc              all lanes on their axes: the sweep is finished, segments are gone

The lanes that a device computes at a time are always `chunk`, in the same places: numbers depend
neither on the hosts nor on the devices of one kind.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jax.sharding import Mesh

import rodflow
from experiments import problems
from experiments.configuration import config as configuration
from experiments.configuration.config import SweptConfig
from experiments.configuration.ranges import check_values
from experiments.configuration.sweep import SweepConfig, axis_of
from experiments.runs.cell import check_same, made_by
from experiments.setup import optimizers
from experiments.setup.observers import observer
from experiments.storage import results
from experiments.storage.files import remove_leftovers, write_atomically
from experiments.storage.locks import claimed

PERIOD = 0.5  # seconds between two looks at what the other hosts have done
KEYS = ("optimizer.learning_rate", "optimizer.hyperparameters.NAME", "kappa", "seed")
OF_THE_PROGRAM = "what changes the program is swept by --multirun"


class Sweep(NamedTuple):
    """What is swept, and where it is kept."""

    config: SweptConfig
    folder: Path

    @property
    def options(self) -> SweepConfig:
        """The axes, and how they are cut."""
        return self.config.sweep

    @property
    def axes(self) -> dict[str, np.ndarray]:
        """Key -> its values."""
        return {key: _numbers(key, values) for key, values in map(axis_of, self.options.axes)}

    @property
    def shape(self) -> tuple[int, ...]:
        """The lanes along each axis, or along the only one if they are zipped."""
        lengths = tuple(len(axis) for axis in self.axes.values())
        return lengths[:1] if self.options.zipped else lengths

    @property
    def segments(self) -> int:
        """How many segments there are in all; the last one may have fewer lanes."""
        return -(-int(np.prod(self.shape)) // self.options.segment)

    def lanes(self, segment: int) -> dict[str, np.ndarray]:
        """Key -> its value in each lane of a segment."""
        first = segment * self.options.segment
        index = np.arange(first, min(first + self.options.segment, int(np.prod(self.shape))))
        places = np.unravel_index(index, self.shape)
        if self.options.zipped:
            places *= len(self.axes)
        return {
            key: axis[place] for (key, axis), place in zip(self.axes.items(), places, strict=True)
        }

    @property
    def identity(self) -> dict[str, str]:
        """What the results depend on, down to their rounding."""
        axes = {key: axis.tolist() for key, axis in self.axes.items()}
        flows = [flow.name for flow in self.options.flows]
        cut = {"segment": self.options.segment, "chunk": self.options.chunk}
        lanes = {"axes": axes, "zipped": self.options.zipped, "flows": flows}
        told = {
            name: json.dumps(value, indent=1) for name, value in (("lanes", lanes), ("cut", cut))
        }
        return told | {"run": configuration.identity(self.config)} | made_by()


def sweep_of(config: SweptConfig, folder: Path) -> Sweep:
    """The sweep that a configuration describes.

    Raises:
        ValueError: an axis cannot be swept, or a value on it is out of range.
    """
    sweep = Sweep(config, folder)
    for key, values in sweep.axes.items():
        for value in values.tolist():
            lane = configuration.with_values(config, {key: value})
            check_values(lane)
            optimizers.configured(lane.optimizer)
        if _short(key) in optimizers.structural(config.optimizer.name):
            raise ValueError(f"sweep.axes.{key}: {OF_THE_PROGRAM}")
    return sweep


def run(sweep: Sweep, resolved: str, report: Callable[[int, int], None]) -> xr.Dataset:
    """Take part in a sweep until it is finished, and return its results.

    Args:
        sweep: what to compute, and where.
        resolved: the configuration as YAML, which the first host leaves in the folder.
        report: called with the segments that are complete, by whatever host, and all there are.

    Raises:
        ValueError: the folder has another sweep, or a segment in it is damaged; all stays.
        OSError: something could not be written; what was written before stays.
    """
    _agree(sweep, resolved)
    compute = computer(sweep)
    while not _results(sweep).exists():
        try:
            _compute_what_is_free(sweep, compute, report)
        except FileNotFoundError:
            # Another host has finished the sweep, and removed the segments on the way.
            if not _results(sweep).exists():
                raise
        report(complete(sweep), sweep.segments)
        if complete(sweep) < sweep.segments:
            time.sleep(PERIOD)
            continue
        with claimed(sweep.folder / ".lock", wait=True):
            if not _results(sweep).exists():
                results.save(_assembled(sweep), _results(sweep))
    # By every host: one may have been killed before, or have claimed a segment meanwhile.
    shutil.rmtree(_segments(sweep), ignore_errors=True)
    remove_leftovers(sweep.folder)
    return results.load(_results(sweep))


def _compute_what_is_free(
    sweep: Sweep, compute: Callable[[int], xr.Dataset], report: Callable[[int, int], None]
) -> None:
    """Claim and compute one segment after another, until every one is complete or claimed."""
    for segment in _in_turn(sweep):
        with claimed(_segments(sweep) / f"{segment:05d}.lock") as mine:
            # Segments are gone once there are results: asked in this order, none is missed.
            path = _segment(sweep, segment)
            if mine and not path.exists() and not _results(sweep).exists():
                results.save(compute(segment), path)
                report(complete(sweep), sweep.segments)


def complete(sweep: Sweep) -> int:
    """Count the segments that are complete."""
    if _results(sweep).exists():
        return sweep.segments
    return len(list(_segments(sweep).glob("*.nc")))


def computer(sweep: Sweep) -> Callable[[int], xr.Dataset]:
    """Return what computes a segment on all devices of this host."""
    config, options = sweep.config, sweep.options
    tx = optimizers.configured(config.optimizer)
    problem = problems.compact(problems.configured(config), tx)

    def member(values: dict[str, jax.Array]) -> rodflow.Tracking:
        lane = configuration.with_values(config, values)
        tx = optimizers.configured(lane.optimizer)
        key = jax.random.key(lane.seed)
        return rodflow.track(
            problem.loss,
            tx,
            problem.init(key),
            lane.num_steps,
            lane.warmup,
            lane.every,
            flows={flow.name: flow(lane.kappa) for flow in options.flows},
            twins=lane.twins,
            observe=observer(problem, tx),
            key=jax.random.fold_in(key, 1),
        )

    devices = np.array(jax.local_devices())
    at_a_time = options.chunk * devices.size

    def compute(segment: int) -> xr.Dataset:
        lanes = sweep.lanes(segment)
        count = len(next(iter(lanes.values())))
        parts = []
        for first in range(0, count, at_a_time):
            some = {key: values[first : first + at_a_time] for key, values in lanes.items()}
            mesh = Mesh(devices, ("lanes",))
            tracked = rodflow.sweep(member, some, mesh, zipped=True, chunk=options.chunk)
            parts.append(jax.tree.map(np.asarray, tracked))
        tracking = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        numbers = [segment * options.segment + lane for lane in range(count)]
        labelled = results.labelled(tracking, numbers, [flow.name for flow in options.flows])
        return labelled.rename(seed="lane")

    return compute


def _agree(sweep: Sweep, resolved: str) -> None:
    """Write down what is swept, or check that it is what the folder is of."""
    index = sweep.folder / "index.json"
    with claimed(sweep.folder / ".lock", wait=True):
        if index.exists():
            check_same(index, json.loads(index.read_bytes()), sweep.identity)
        else:
            write_atomically(sweep.folder / "config.yaml", resolved.encode())
            told = sweep.identity | {"segments": sweep.segments}
            write_atomically(index, json.dumps(told, indent=1).encode())
    if not _results(sweep).exists():
        _segments(sweep).mkdir(exist_ok=True)


def _in_turn(sweep: Sweep) -> Iterator[int]:
    """The segments that are not complete; each process begins elsewhere."""
    first = jax.process_index() * sweep.segments // jax.process_count()
    for place in range(sweep.segments):
        segment = (first + place) % sweep.segments
        if not _segment(sweep, segment).exists():
            yield segment


def _assembled(sweep: Sweep) -> xr.Dataset:
    """All lanes, on the axes of the sweep."""
    parts = []
    for segment in range(sweep.segments):
        path = _segment(sweep, segment)
        try:
            parts.append(results.load(path))
        except Exception as error:
            raise ValueError(f"{path} is damaged; delete it to have it computed again") from error
    flat = results.finished(parts, sweep.config, "lane")
    axes = {_short(key): (key, values) for key, values in sweep.axes.items()}
    flat = flat.drop_vars(["lane", *(name for name in axes if name in flat)])
    names = ["lane"] * len(axes) if sweep.options.zipped else list(axes)
    whole = xr.Dataset(coords=flat.coords, attrs=flat.attrs | {"sweep": json.dumps(sweep.identity)})
    for name, (key, values) in axes.items():
        label = {"units": "1", "long_name": key}
        whole = whole.assign_coords(
            {name: ("lane" if sweep.options.zipped else name, values, label)}
        )
    for name, variable in flat.data_vars.items():
        if "lane" not in variable.dims:
            whole[name] = variable
            continue
        first, *others = variable.dims
        assert first == "lane"
        values = variable.values.reshape(*sweep.shape, *variable.shape[1:])
        whole[name] = ((*dict.fromkeys(names), *others), values, variable.attrs)
    return whole


def _numbers(key: str, values: Sequence[int | float]) -> np.ndarray:
    if key == "seed":
        if not all(isinstance(value, int) and 0 <= value < 2**32 for value in values):
            raise ValueError(f"sweep.axes.seed={values}: seeds are from 0 to 2^32 - 1")
        return np.asarray(values, np.uint32)
    if key not in KEYS and f"{key.rpartition('.')[0]}.NAME" not in KEYS:
        raise ValueError(
            f"sweep.axes.{key}: the axes of a sweep are {', '.join(KEYS)}; {OF_THE_PROGRAM}"
        )
    return np.asarray(values, float)


def _short(key: str) -> str:
    """What an axis is called in the results: `b1` for `optimizer.hyperparameters.b1`."""
    return key.rpartition(".")[2]


def _results(sweep: Sweep) -> Path:
    return sweep.folder / "results.nc"


def _segments(sweep: Sweep) -> Path:
    return sweep.folder / "segments"


def _segment(sweep: Sweep, segment: int) -> Path:
    return _segments(sweep) / f"{segment:05d}.nc"
