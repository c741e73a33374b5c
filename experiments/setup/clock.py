"""The clock of the application: wall-clock seconds of calls, and of flows per optimizer step.

A call ends when its results are there. Times are compared with each other only, as they were taken
on one machine in one hour. The time of a flow is what it adds to that of the iterates.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import jax
import numpy as np
from jaxtyping import PyTree

import rodflow

REPEATS = 3
_R = TypeVar("_R")


def timed(run: Callable[[], _R]) -> tuple[_R, float]:
    """Return the results of a call and its seconds, compilation included if it is a first one."""
    begin = time.perf_counter()
    results = jax.block_until_ready(run())
    return results, time.perf_counter() - begin


def laps() -> Iterator[float]:
    """Yield the seconds since the value before, the first since the first was asked for."""
    before = time.perf_counter()
    while True:
        now = time.perf_counter()
        yield now - before
        before = now


def best_seconds(runs: Mapping[str, Callable[[], PyTree]], repeats: int = 5) -> dict[str, float]:
    """Return the least time of each run, taken in turns after a first call of each."""
    for run in runs.values():
        jax.block_until_ready(run())
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            best[name] = min(best[name], timed(run)[1])
    return best


def per_step(
    tracker_of: Callable[[list[str]], rodflow.Tracker],
    state: PyTree,
    records: int,
) -> dict[str, float]:
    """Time the iterates and each flow on top of them, each in a program of its own.

    Args:
        tracker_of: A function from names of flows to a tracker of these alone, without twins.
        state: A `TrackerState` with an axis of lanes, which all run together; it is not moved.
        records: The number of records to run for.

    Returns:
        Seconds per optimizer step of `"iterates"` and of each flow by its name, the best of
        several; NaN for a flow that diverged in all lanes.
    """

    def run(names: list[str]) -> Callable[[], PyTree]:
        tracker = tracker_of(names)
        flows = {name: state.flows[name] for name in names}
        part = state._replace(twins=None, flows=flows)
        program = jax.jit(jax.vmap(lambda state: tracker.run(state, records)))
        return lambda: program(part)

    alive = [name for name, flow in state.flows.items() if np.any(flow.diverged_at < 0)]
    taken = best_seconds(
        {"iterates": run([])} | {name: run([name]) for name in alive}, repeats=REPEATS
    )
    steps = records * tracker_of([]).every
    found = {name: (taken[name] - taken["iterates"]) / steps for name in alive}
    lost = dict.fromkeys(set(state.flows) - set(alive), float("nan"))
    return {"iterates": taken["iterates"] / steps} | found | lost
