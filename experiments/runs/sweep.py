"""Sweeps: lanes of a run that differ in numbers, on all devices of as many hosts as take part.

Every host is given the same command and the same folder, and needs to know nothing else: hosts
share segments of lanes as `experiments.runs.pieces` describes. The lanes that a device computes at
a time are always `chunk`, in the same places: numbers depend neither on the hosts nor on the
devices of one kind.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
from experiments.runs import pieces, records
from experiments.setup import optimizers
from experiments.setup.flows import flow
from experiments.setup.observers import observer
from experiments.storage.job import Job, Kind

KEYS = ("optimizer.learning_rate", "optimizer.hyperparameters.NAME", "kappa", "seed")
OF_THE_PROGRAM = "what changes the program is swept by --multirun"


class Sweep(NamedTuple):
    """A sweep and the folder that it is kept in."""

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
        """The number of segments in all; the last one may have fewer lanes."""
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
    def job(self) -> Job:
        """Folder and identity of the sweep."""
        lanes = {
            "axes": {key: axis.tolist() for key, axis in self.axes.items()},
            "zipped": self.options.zipped,
            "flows": list(self.options.flows),
            "chunk": self.options.chunk,  # of lanes in one batch, on which rounding depends
        }
        told, run = json.dumps(lanes, indent=1), configuration.identity(self.config)
        cut = {"segment": f"{self.options.segment} lanes in a segment"}
        return Job(self.folder, Kind.SWEEP, {"lanes": told, "run": run}, cut)


def sweep_of(config: SweptConfig, folder: Path) -> Sweep:
    """Return the sweep that a configuration describes.

    Raises:
        ValueError: An axis cannot be swept, or a value on it is out of range.
    """
    sweep = Sweep(config, folder)
    for name in sweep.options.flows:
        flow(name, config.kappa)
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
        sweep: The sweep.
        resolved: The configuration as YAML, which is left in the folder.
        report: Called with the segments that are complete, by whatever host, and all there are.
    """

    def segments() -> pieces.Pieces:
        compute = computer(sweep)
        # Each of the processes that know of each other begins elsewhere.
        first = jax.process_index() * sweep.segments // jax.process_count()
        order = [(first + place) % sweep.segments for place in range(sweep.segments)]
        return {_name(segment): partial(compute, segment) for segment in order}

    def progress(_: str, done: int, total: int) -> None:
        report(done, total)

    joined = partial(assembled, sweep)
    return pieces.computed(sweep.job, resolved, segments, joined, progress, shared=True)


def computer(sweep: Sweep) -> Callable[[int], xr.Dataset]:
    """Return a function that computes a segment on all devices of this host."""
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
            flows={name: flow(name, lane.kappa) for name in options.flows},
            twins=lane.twins,
            observe=observer(problem, tx),
            key=jax.random.fold_in(key, 1),
        )

    mesh = Mesh(np.array(jax.local_devices()), ("lanes",))

    def compute(segment: int) -> xr.Dataset:
        lanes = sweep.lanes(segment)
        tracking = rodflow.sweep(member, lanes, mesh, zipped=True, chunk=options.chunk)
        first, count = segment * options.segment, len(tracking.steps)
        numbers = list(range(first, first + count))
        labelled = records.labelled(tracking, numbers, list(options.flows))
        return labelled.rename(seed="lane")

    return compute


def assembled(sweep: Sweep, segments: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join all lanes, on the axes of the sweep."""
    parts = [segments[_name(segment)] for segment in range(sweep.segments)]
    flat = records.finished(parts, sweep.config, "lane")
    axes = {_short(key): (key, values) for key, values in sweep.axes.items()}
    flat = flat.drop_vars(["lane", *(name for name in axes if name in flat)])
    names = ["lane"] * len(axes) if sweep.options.zipped else list(axes)
    whole = xr.Dataset(coords=flat.coords, attrs=flat.attrs)
    for (name, (key, values)), dimension in zip(axes.items(), names, strict=True):
        label = {"units": "1", "long_name": key}
        whole = whole.assign_coords({name: (dimension, values, label)})
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
    """Return the name of an axis in the results: `b1` for `optimizer.hyperparameters.b1`."""
    return key.rpartition(".")[2]


def _name(segment: int) -> str:
    return f"{segment:05d}"
