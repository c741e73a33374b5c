"""A flow beside the discrete run: solved from record to record, and marked where it is lost.

One unit of time is one optimizer step. A flow that runs away, is not finite or takes too many
solver steps has diverged: its step is marked, and its state is NaN from there on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from rodflow.flows.flow import AbstractFlow, Work, work_per_step
from rodflow.linalg.trees import finite
from rodflow.maps.iteration import PhaseState
from rodflow.maps.placement import Placement, place_alike
from rodflow.solvers import Integrator
from rodflow.tracking._iterates import runaway_limit


class FlowRun(NamedTuple):
    """A flow at step t, with what its solver remembers, and the step of divergence."""

    y: Any
    solver_state: Any
    limit: Float[Array, ""]
    diverged_at: Int[Array, ""]


def begin_flow(
    flow: AbstractFlow, integrator: Integrator, state: PhaseState, placement: Placement | None
) -> FlowRun:
    """The flow whose step 0 is at `state`; `placement` is where the parameters are."""
    # As Diffrax does: time is of the default precision, and widens what is narrower.
    y = jax.tree.map(
        lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.result_type(float))),
        flow.init(state),
    )
    first = jnp.zeros(()), jnp.ones(())
    remembered = integrator.solver.init(flow.term(), *first, y, None)
    remembered = place_alike(remembered, state.params, placement)
    return FlowRun(y, remembered, runaway_limit(state.params), jnp.array(-1, jnp.int32))


def follow_flow(
    flow: AbstractFlow, integrator: Integrator, run: FlowRun, step: Int[Array, ""], every: int
) -> tuple[FlowRun, Work]:
    """The flow `every` steps after `step`, and what this took per optimizer step."""

    def runs_away(t: Array, y: Any, args: PyTree, **kwargs: Any) -> Array:
        del t, args, kwargs
        return ~(flow.reach(y) <= run.limit) | ~finite(y)

    # Flows are autonomous: every stretch starts at time 0, where time is best resolved.
    solution = diffrax.diffeqsolve(
        flow.term(),
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
    work = jax.tree.map(lambda x: steps * x, work_per_step(flow, integrator.solver, y))
    diverged_at = jnp.where(failed, ended, run.diverged_at)
    return FlowRun(y, solution.solver_state, run.limit, diverged_at), work
