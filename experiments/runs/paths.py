"""Paths of iterates and flows on a plane, recorded at every step; and the time that each takes.

Each moves in a program of its own, so that the program of `rodflow.Tracker`, from which all other
numbers come, is not changed by being watched. The iterates run twice: the first pass finds the
parameters at the end, where the plane is. Kept are two numbers for each step, and the parameters of
one step.

At every record the gradient is taken at the two points between which the parameters alternate: two
consecutive iterates, the two ends of a rod, or twice the centre of a flow without one.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

import rodflow
from experiments.problems import Problem
from experiments.setup.clock import timed
from experiments.setup.plane import (
    LeadingModes,
    Plane,
    coordinates,
    direction,
    leading_modes,
    no_plane,
)
from rodflow.linalg.trees import finite
from rodflow.tracking import TrackerState


class Path(NamedTuple):
    """The path of iterates or of a flow.

    Attributes:
        center: The coordinates on the plane after each step; NaN if there is no plane.
        rod: The coordinates of the half-extent; zero without one.
        gradient: The root mean square of the gradient's norm at the two ends, at each record.
        seconds: The time that all steps took, compilation excluded.
    """

    center: Float[np.ndarray, "steps axes"]
    rod: Float[np.ndarray, "steps axes"]
    gradient: Float[np.ndarray, " records"]
    seconds: float


class Paths(NamedTuple):
    """All paths of a run, and the modes whose plane they are on, None if there are none."""

    iterates: Path
    flows: dict[str, Path]
    modes: LeadingModes | None


class _Mover(NamedTuple):
    """A program that moves by one record, and how to read its state.

    Attributes:
        state: The state at step 0.
        advance: (state, plane) -> state one record on, and the coordinates at each step.
        ends: state -> the parameters at two points, stacked.
    """

    state: Any
    advance: Callable[[Any, Plane], tuple[Any, tuple[Array, Array]]]
    ends: Callable[[Any], PyTree]


def recorded(
    problem: Problem,
    tx: optax.GradientTransformation,
    tracker: rodflow.Tracker,
    start: TrackerState,
    records: int,
    report: Callable[[str, int, int], None],
) -> Paths:
    """Record the paths of the iterates and of each flow.

    Args:
        problem: The problem.
        tx: The optimizer.
        tracker: A tracker of the flows.
        start: Its state where the paths begin.
        records: The number of records.
        report: Called with the action, the steps done, and the steps in total.
    """
    total, nowhere = records * tracker.every, no_plane(start.start)

    @jax.jit
    def gradient_at(ends: PyTree) -> Array:
        squared = jax.vmap(lambda w: optax.tree.norm(jax.grad(problem.loss)(w), squared=True))
        return jnp.sqrt(jnp.mean(squared(ends)))

    def compiled(name: str, mover: _Mover) -> _Mover:
        report(f"compiling {name}", 0, total)
        program = jax.jit(mover.advance).lower(mover.state, nowhere).compile()
        return mover._replace(advance=program)

    def follow(name: str, mover: _Mover, plane: Plane) -> Path:
        centers, rods, gradients, seconds = [], [], [], 0.0
        for record, (state, (center, rod), taken) in enumerate(_moving(mover, plane, records)):
            centers.append(np.asarray(center))
            rods.append(np.asarray(rod))
            gradients.append(float(gradient_at(mover.ends(state))))
            seconds += taken
            report(f"following {name}", (record + 1) * tracker.every, total)
        center, rod = np.concatenate(centers), np.concatenate(rods)
        if plane is nowhere:
            center, rod = np.full_like(center, np.nan), np.full_like(rod, np.nan)
        return Path(center, rod, np.array(gradients), seconds)

    iterates = compiled("the iterates", _of_iterates(tracker, start))
    report("looking for the end", 0, total)
    (_, end), _, _ = collections.deque(_moving(iterates, nowhere, records), maxlen=1).pop()
    modes = leading_modes(problem, tx, end)
    plane = nowhere if modes is None else modes.plane
    path = follow("the iterates", iterates, plane)
    flows = {}
    for name in tracker.flows:
        told = f"the {name} flow"
        flows[name] = follow(told, compiled(told, _of_flow(tracker, start, name)), plane)
    return Paths(path, flows, modes)


def _moving(mover: _Mover, plane: Plane, records: int) -> Iterator[tuple[Any, Any, float]]:
    """Yield the state at each record, the coordinates of each step before it, and the time."""
    state = mover.state
    for _ in range(records):
        (state, path), seconds = timed(partial(mover.advance, state, plane))
        yield state, path, seconds


def _of_iterates(tracker: rodflow.Tracker, start: TrackerState) -> _Mover:
    """Return the program of the iterates; the state is the parameters and the next iterate."""

    def advance(state: tuple[PyTree, rodflow.PhaseState], plane: Plane) -> tuple[Any, Any]:
        def step(state: tuple[PyTree, rodflow.PhaseState], _: None) -> tuple[Any, Array]:
            _, z = state
            return (z.params, tracker.iteration.step(z)), coordinates(plane, z.params)

        state, path = jax.lax.scan(step, state, length=tracker.every)
        return state, (path, jnp.zeros_like(path))

    def ends(state: tuple[PyTree, rodflow.PhaseState]) -> PyTree:
        return _stacked(state[0], state[1].params)

    return _Mover((start.run.params, start.run.state), advance, ends)


def _of_flow(tracker: rodflow.Tracker, start: TrackerState, name: str) -> _Mover:
    """Return the program of a flow; the state is its own and the memory of its solver."""
    flow, integrator, run = tracker.flows[name], tracker.integrators[name], start.flows[name]
    term = flow.term(tracker.iteration)

    def runs_away(t: Array, y: Any, args: PyTree, **kwargs: Any) -> Array:
        del t, args, kwargs
        return ~(flow.reach(y) <= run.limit) | ~finite(y)

    def advance(state: tuple[Any, Any], plane: Plane) -> tuple[Any, Any]:
        def seen(t: Array, y: Any, args: PyTree) -> tuple[Array, Array]:
            return coordinates(plane, flow.center(y)), direction(plane, _half_extent(flow, y))

        y, memory = state
        steps = jnp.arange(1.0, tracker.every + 1)
        every_step = diffrax.SubSaveAt(ts=steps, fn=seen)
        solution = diffrax.diffeqsolve(
            term,
            integrator.solver,
            t0=0.0,
            t1=float(tracker.every),
            dt0=integrator.dt0,
            y0=y,
            stepsize_controller=integrator.stepsize_controller,
            solver_state=memory,
            saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(t1=True), every_step], solver_state=True),
            event=diffrax.Event(runs_away),
            max_steps=integrator.max_steps * tracker.every,
            throw=False,
        )
        assert solution.ys is not None
        (last, path), failed = solution.ys, solution.result != diffrax.RESULTS.successful
        y = jax.tree.map(lambda leaf: jnp.where(failed, jnp.nan, leaf[-1]), last)
        path = jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, jnp.nan), path)
        return (y, solution.solver_state), path

    @jax.jit
    def ends(state: tuple[Any, Any]) -> PyTree:
        y, _ = state
        center, move = flow.center(y), _half_extent(flow, y)
        return _stacked(
            jax.tree.map(jnp.add, center, move), jax.tree.map(jnp.subtract, center, move)
        )

    return _Mover((run.y, run.solver_state), advance, ends)


def _half_extent(flow: rodflow.AbstractFlow, y: Any) -> PyTree:
    """Return the half-extent of the rod in parameter space; zero for a flow without a rod."""
    center = flow.center(y)
    if not isinstance(flow, rodflow.RodFlow):
        return jax.tree.map(jnp.zeros_like, center)
    return jax.tree.map(lambda x: x[0], flow.closure.offsets(y).params)


def _stacked(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(lambda *pair: jnp.stack(pair), a, b)
