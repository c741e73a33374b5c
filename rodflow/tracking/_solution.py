"""A flow beside the iterates: solved from record to record, and marked where it is lost.

One unit of time is one optimizer step. A flow that runs away, is not finite or takes too many
solver steps has diverged: its step is marked, and its state is NaN from there on.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from rodflow.flows.flow import AbstractFlow
from rodflow.linalg.trees import finite
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.maps.placement import place_alike
from rodflow.solvers import Integrator, work_per_step
from rodflow.term import Work
from rodflow.tracking._iterates import runaway_limit

# Without the `jit` around it, which would hold the loss and the chain for good; the program that
# follows the flow is compiled as a whole.
_diffeqsolve = inspect.unwrap(diffrax.diffeqsolve)


class FlowRun(NamedTuple):
    """A flow at step t.

    Attributes:
        y: The state of the flow.
        solver_state: The memory of its solver.
        limit: The reach beyond which the flow has diverged.
        diverged_at: The step of divergence, -1 up to then.
    """

    y: Any
    solver_state: Any
    limit: Float[Array, ""]
    diverged_at: Int[Array, ""]


def begin_flow(
    flow: AbstractFlow, iteration: AbstractIteration, integrator: Integrator, state: PhaseState
) -> FlowRun:
    """Return the flow whose step 0 is at `state`."""
    # As Diffrax does: time is of the default precision, and widens what is narrower.
    y = jax.tree.map(
        lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.result_type(float))),
        flow.init(iteration, state),
    )
    first = jnp.zeros(()), jnp.ones(())
    remembered = integrator.solver.init(flow.term(iteration), *first, y, None)
    remembered = place_alike(remembered, state.params, iteration.placement)
    return FlowRun(y, remembered, runaway_limit(state.params), jnp.array(-1, jnp.int32))


def follow_flow(
    flow: AbstractFlow,
    iteration: AbstractIteration,
    integrator: Integrator,
    run: FlowRun,
    step: Int[Array, ""],
    every: int,
) -> tuple[FlowRun, Work]:
    """Return the flow `every` steps after `step`, and its work per optimizer step."""

    def runs_away(t: Array, y: Any, args: PyTree, **kwargs: Any) -> Array:
        del t, args, kwargs
        return ~(flow.reach(y) <= run.limit) | ~finite(y)

    term = flow.term(iteration)
    # Flows are autonomous: every stretch starts at time 0, where time is best resolved.
    solution = _diffeqsolve(
        term,
        integrator.solver,
        t0=0.0,
        t1=float(every),
        dt0=integrator.dt0,
        y0=run.y,
        stepsize_controller=integrator.stepsize_controller,
        solver_state=run.solver_state,
        saveat=diffrax.SaveAt(t1=True, solver_state=True),
        adjoint=integrator.adjoint,
        event=diffrax.Event(runs_away),
        max_steps=integrator.max_steps * every,
        throw=False,
    )
    assert solution.ts is not None and solution.ys is not None
    ended = step + jnp.ceil(solution.ts[-1]).astype(step.dtype)
    failed = (run.diverged_at < 0) & (solution.result != diffrax.RESULTS.successful)
    # A state that is not a number triggers the event at once, so that no step is taken again.
    y = jax.tree.map(lambda leaf: jnp.where(failed, jnp.nan, leaf[-1]), solution.ys)
    steps = solution.stats["num_steps"] / every
    work = work_per_step(integrator.solver, term, y).times(steps)
    diverged_at = jnp.where(failed, ended, run.diverged_at)
    return FlowRun(y, solution.solver_state, run.limit, diverged_at), work
