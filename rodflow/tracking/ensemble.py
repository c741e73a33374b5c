"""Ensembles of minibatch runs and of stochastic flows: what agrees is their law.

Two runs with other batches part, so that a stochastic flow is not near a run: it has, if it is
right, its law. `track_ensemble` takes as many paths of each, from the same point, and records
observables of each path with which the laws are compared, by their means and standard errors.

Every observable is taken of a state like an iterate, z[t] = c + (-1)^t x for a rod and the centre
for an equation without one, by the same formula for all:

    loss            the loss over all data
    sharpness       the effective sharpness, 1 at the edge
    alternation     |w[t+1] - w[t]|^2 / 4, averaged over the steps since the last record
    deviation       |w[t] - (w[t-1] + 2 w[t] + w[t+1]) / 4|^2, averaged likewise
    travelled       the distance from the start

About a slow mean the first of the two weighs a motion at the angle w per step by sin(w/2)^2, which
is the mean of |x|^2 of a rod; the second by sin(w/2)^4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rodflow._checks import check_count
from rodflow.curvature.sharpness import effective_sharpness
from rodflow.flows.rod import SignedRodState
from rodflow.flows.stochastic import StochasticRod
from rodflow.linalg.trees import norm
from rodflow.maps.iteration import PhaseState
from rodflow.maps.minibatch_iteration import MinibatchIteration
from rodflow.maps.programs import compiled
from rodflow.solvers import Integrator


class Observables(NamedTuple):
    """Observables of each path at each record, (paths, records).

    Attributes:
        loss: The loss over all data.
        sharpness: The effective sharpness.
        alternation: A quarter of the mean square of the length of a step since the last record.
        deviation: The mean square of the distance from the midpoint since the last record; NaN
            where that is a single first step, which has no midpoint.
        travelled: The distance from the start.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> losses = jnp.array([[1.0], [3.0]])  # of two paths, at one record
        >>> found = rodflow.Observables(losses, *[jnp.zeros((2, 1))] * 4)
        >>> float(found.mean().loss[0]), float(found.standard_error().loss[0])
        (2.0, 1.0)
    """

    loss: Float[Array, "paths records"]
    sharpness: Float[Array, "paths records"]
    alternation: Float[Array, "paths records"]
    deviation: Float[Array, "paths records"]
    travelled: Float[Array, "paths records"]

    def mean(self) -> Observables:
        """Return the mean of each over the paths."""
        return jax.tree.map(lambda x: jnp.mean(x, axis=0), self)

    def standard_error(self) -> Observables:
        """Return the standard error of each of these means."""
        return jax.tree.map(lambda x: jnp.std(x, axis=0, ddof=1) / len(x) ** 0.5, self)


class Ensemble(NamedTuple):
    """Observables of minibatch runs and of flows.

    Attributes:
        steps: The steps at which they are recorded.
        iterates: Those of the runs.
        flows: Those of each flow, by its name.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> runs, rod = (
        ...     rodflow.Observables(*[jnp.array([[a], [a + 2]])] * 5) for a in (1.0, 6.0))
        >>> ensemble = rodflow.Ensemble(jnp.array([100]), runs, {"rod": rod})
        >>> print(f"{ensemble.deviations()['rod'].loss[0]:.2f}")
        3.54
    """

    steps: Int[Array, " records"]
    iterates: Observables
    flows: dict[str, Observables]

    def deviations(self) -> dict[str, Observables]:
        """Return the difference of the means of each flow and of the runs, in standard errors.

        The standard error is that of the difference, so that a flow that has the law of the runs is
        within 2 at 95 % of the records.
        """
        runs, error = self.iterates.mean(), self.iterates.standard_error()

        def compared(flow: Observables) -> Observables:
            return jax.tree.map(_standardized, flow.mean(), runs, flow.standard_error(), error)

        return {name: compared(flow) for name, flow in self.flows.items()}

    def floor(self) -> Observables:
        """Return `deviations` of one half of the runs from the other: what noise alone gives."""
        half = len(self.iterates.loss) // 2
        parts = [
            jax.tree.map(lambda x, s=s: x[s], self.iterates)
            for s in (slice(half), slice(half, None))
        ]
        return Ensemble(self.steps, parts[0], {"": parts[1]}).deviations()[""]

    def summary(self) -> str:
        """Return the means at the last record with their standard errors, a table in words."""
        rows = {"iterates": self.iterates, **self.flows}
        width = max(map(len, rows))
        lines = [" ".join([" " * width, *(f"{name:>22}" for name in Observables._fields)])]
        for name, row in rows.items():
            pairs = zip(row.mean(), row.standard_error(), strict=True)
            cells = (f"{m[-1]:>12.4g} +- {e[-1]:<6.2g}" for m, e in pairs)
            lines.append(" ".join([f"{name:<{width}}", *cells]))
        return "\n".join(lines)


def track_ensemble(
    iteration: MinibatchIteration,
    params: PyTree,
    key: PRNGKeyArray,
    *,
    paths: int = 32,
    num_steps: int = 500,
    warmup: int = 20,
    every: int = 100,
    flows: Mapping[str, StochasticRod] | None = None,
    integrators: Mapping[str, Integrator] | None = None,
) -> Ensemble:
    """Run an optimizer on minibatches and stochastic flows, many paths of each from one point.

    The optimizer first takes `warmup` steps from `params`, on batches of one key, so that all paths
    start from the same point. All paths are one program; memory does not depend on the number of
    steps.

    Theory: docs/theory/stochastic.md.

    Args:
        iteration: The random map.
        params: The parameters, a pytree of real float arrays.
        key: The key of all batches.
        paths: The number of paths of the runs and of each flow.
        num_steps: Optimizer steps that are tracked, a multiple of `every`.
        warmup: Optimizer steps before.
        every: Optimizer steps between records.
        flows: Stochastic rods by names of your choice; None for the rod as "rod" and the usual
            equation as "sde".
        integrators: An `Integrator` by the name of its flow, with a fixed step 1/K and a solver
            whose steps end at whole times.

    Raises:
        ValueError: A number of steps or of paths is too small, or `num_steps` is no multiple of
            `every`.

    Examples:
        >>> import jax, jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w, batch: jnp.mean((w - batch) ** 2) / 2
        >>> data = jax.random.normal(jax.random.key(1), (64,))
        >>> iteration = rodflow.MinibatchIteration(loss, data, 4, optax.sgd(1.0))
        >>> ensemble = rodflow.track_ensemble(
        ...     iteration, jnp.array(1.0), jax.random.key(0), paths=8, num_steps=20, every=10)
        >>> ensemble.steps.tolist(), sorted(ensemble.flows), ensemble.iterates.loss.shape
        ([10, 20], ['rod', 'sde'], (8, 2))
    """
    check_count("paths", paths, 2)
    check_count("every", every, 1)
    check_count("warmup", warmup, 0)
    if num_steps < every or num_steps % every:
        raise ValueError(f"`num_steps` is {num_steps}; it must be a multiple of `every`, {every}.")
    if flows is None:
        flows = {"rod": StochasticRod(), "sde": StochasticRod(rod=False)}
    ways = {name: flow.integrator for name, flow in flows.items()} | dict(integrators or {})
    start = iteration.init(params)
    first, *rest = jax.random.split(key, 2 + len(flows))

    observed = (iteration, dict(flows), ways, paths, num_steps, warmup, every)
    runs, solved = compiled(_observe, *observed, start, first, rest)
    return Ensemble(jnp.arange(1, num_steps // every + 1) * every, runs, solved)


def _observe(
    iteration: MinibatchIteration,
    flows: dict[str, StochasticRod],
    ways: dict[str, Integrator],
    paths: int,
    num_steps: int,
    warmup: int,
    every: int,
    start: PhaseState,
    first: PRNGKeyArray,
    keys: list[PRNGKeyArray],
) -> tuple[Observables, dict[str, Observables]]:
    """Return the observables of the runs and of each flow, after the warm-up."""
    z = jax.lax.fori_loop(
        0, warmup, lambda t, z: iteration.advance_on(z, iteration.batch(first, t))[1], start
    )

    def recorded(path: Callable[[Array], _Path], key: Array) -> Observables:
        lanes = jax.random.split(key, paths)
        return jax.vmap(lambda k: _record(iteration, path(k), z, num_steps, every))(lanes)

    runs = recorded(lambda k: _run(iteration, z, k), keys[0])
    solved = {
        name: recorded(
            lambda k, name=name: _solution(iteration, flows[name], ways[name], z, k), key
        )
        for name, key in zip(flows, keys[1:], strict=True)
    }
    return runs, solved


def _standardized(a: Array, b: Array, s: Array, e: Array) -> Array:
    """Return a difference in standard errors, zero where there is none."""
    return jnp.where(a == b, 0, (a - b) / jnp.sqrt(s**2 + e**2))


class _Path(NamedTuple):
    """A path, step by step: its start, a step from time t, and the state like an iterate at t."""

    start: Any
    step: Callable[[Any, Array], Any]
    state: Callable[[Any, Array], PhaseState]


def _run(iteration: MinibatchIteration, z: PhaseState, key: PRNGKeyArray) -> _Path:
    def step(z: PhaseState, t: Array) -> PhaseState:
        return iteration.advance_on(z, iteration.batch(key, t))[1]

    return _Path(z, step, lambda z, t: z)


def _solution(
    iteration: MinibatchIteration,
    flow: StochasticRod,
    way: Integrator,
    z: PhaseState,
    key: PRNGKeyArray,
) -> _Path:
    substeps = round(1 / float(np.asarray(way.dt0)))
    term, y0, h = flow.term(iteration, key), flow.init(iteration, z), 1 / substeps
    memory = way.solver.init(term, 0.0, h, y0, None)

    def step(carry: tuple[SignedRodState, Any], t: Array) -> tuple[SignedRodState, Any]:
        def substep(carry: Any, n: Array) -> tuple[Any, None]:
            y, memory = carry
            t0 = t.astype(float) + n * h
            y, _, _, memory, _ = way.solver.step(term, t0, t0 + h, y, None, memory, False)
            return (y, memory), None

        return jax.lax.scan(substep, carry, jnp.arange(substeps))[0]

    def state(carry: tuple[SignedRodState, Any], t: Array) -> PhaseState:
        y, sign = carry[0], jnp.where(t % 2 == 0, 1, -1)
        return jax.tree.map(lambda c, x: c if x is None else c + sign.astype(c.dtype) * x, y.c, y.x)

    return _Path((y0, memory), step, state)


def _record(
    iteration: MinibatchIteration, path: _Path, start: PhaseState, num_steps: int, every: int
) -> Observables:
    """Return the observables of one path at its records."""

    def square(tree: PyTree) -> Array:
        return norm(tree) ** 2

    def one(carry: Any, t: Array) -> tuple[Any, tuple[Array, Array]]:
        y, before, now = carry
        y = path.step(y, t)
        after = path.state(y, t + 1).params
        swing = square(jax.tree.map(lambda a, b: (a - b) / 2, after, now))
        off = square(jax.tree.map(lambda a, b, c: (2 * b - a - c) / 4, before, now, after))
        return (y, now, after), (swing, off)

    def window(carry: Any, n: Array) -> tuple[Any, tuple[Array, ...]]:
        carry, (swing, off) = jax.lax.scan(one, carry, n * every + jnp.arange(every))
        z = path.state(carry[0], (n + 1) * every)
        sharp = effective_sharpness(iteration.loss_fn, iteration.tx, z)[0]
        moved = norm(jax.tree.map(jnp.subtract, z.params, start.params))
        # The first step has no step before it, and so no midpoint.
        deviation = jnp.mean(off, where=(n > 0) | (jnp.arange(every) > 0))
        return carry, (iteration.loss(z.params), sharp, jnp.mean(swing), deviation, moved)

    w = path.state(path.start, jnp.array(0)).params
    _, found = jax.lax.scan(window, (path.start, w, w), jnp.arange(num_steps // every))
    return Observables(*found)
