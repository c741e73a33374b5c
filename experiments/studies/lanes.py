"""Lanes of a study: any number of runs by one compiled program, some at a time.

Few enough lanes run together that what a step touches stays in the cache of a core; however many
runs are asked for, the program is compiled once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, PyTree

import rodflow
from experiments.analysis.numbers import median
from experiments.setup.clock import timed

Numbers = Array | np.ndarray

LANES = 8
"""Runs at a time on a core of a CPU."""


class Ran(NamedTuple):
    """Results of all lanes, stacked, and the seconds of each turn."""

    results: Any
    seconds: list[float]


class Cost(NamedTuple):
    """Seconds that compiling took, and those of all turns without it."""

    compiling: float
    running: float


def run(
    member: Callable[[dict[str, Array]], PyTree],
    grid: Mapping[str, np.ndarray | Sequence[int | float]],
    lanes: int = LANES,
    mesh: Mesh | None = None,
) -> Ran:
    """Run a function of one lane for many.

    Args:
        member: function of a dictionary of scalars, one program whatever their values; a
            `jax.tree_util.Partial` has its arrays as arguments of the program, not as constants.
        grid: name -> value of each lane.
        lanes: number of lanes that run together, on all devices.
        mesh: the devices; the default one if None.
    """
    devices = 1 if mesh is None else mesh.size
    chunk = -(-lanes // devices)
    axes = {name: np.asarray(values) for name, values in grid.items()}
    parts, seconds = [], []
    for start in range(0, len(next(iter(axes.values()))), chunk * devices):
        turn = {name: axis[start : start + chunk * devices] for name, axis in axes.items()}
        swept, taken = timed(
            lambda turn=turn: rodflow.sweep(member, turn, mesh, zipped=True, chunk=chunk)
        )
        parts.append(jax.device_get(swept))
        seconds.append(taken)
    return Ran(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts), seconds)


def all_devices() -> Mesh | None:
    """Return a mesh of all devices; None if there is one only."""
    count = len(jax.devices())
    return None if count == 1 else jax.make_mesh((count,), ("lane",))


def cost(seconds: Sequence[float]) -> Cost:
    """Divide the seconds of turns: the first takes longer than the others, by compiling."""
    first, *others = seconds
    compiling = max(first - median(others), 0.0) if others else 0.0
    return Cost(compiling, sum(seconds) - compiling)
