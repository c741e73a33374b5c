"""The discrete run, observed without its oscillation, and its twins.

A run at the edge of stability is observed through the second-order midpoint of its parameters and
the three-step average of its loss (MATH.md section 7),

    wmid[t] = (w[t-1] + 2 w[t] + w[t+1]) / 4        Lavg[t] = (L[t-1] + 2 L[t] + L[t+1]) / 4

and its oscillation through | w[t] - wmid[t] |; so the run is kept one step ahead: the state at
t + 1 beside the parameters and loss at t. A run that diverges stops where it was, its step is
marked, and what is observed from there on is NaN.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rodflow.linalg.trees import coins_like, norm
from rodflow.maps.iteration import Iteration, PhaseState

# A run has diverged when its norm has grown by this factor, or is not finite.
_RUNAWAY = 1e6


class DiscreteRun(NamedTuple):
    """The parameters and loss at step t, the state at step t + 1, and the step of divergence."""

    params: PyTree
    loss: Float[Array, ""]
    state: PhaseState
    limit: Float[Array, ""]
    diverged_at: Int[Array, ""]


class Observation(NamedTuple):
    """What is seen of a run at step t: NaN once it has diverged."""

    midpoint: PyTree
    loss: Float[Array, ""]
    mean_loss: Float[Array, ""]
    oscillation: Float[Array, ""]
    state: PhaseState


def begin(iteration: Iteration, state: PhaseState) -> DiscreteRun:
    """The run whose step 0 is at `state`."""
    loss, after = iteration.advance(state)
    diverged_at = jnp.where(jnp.isfinite(loss), -1, 0).astype(jnp.int32)
    return DiscreteRun(state.params, loss, after, runaway_limit(state.params), diverged_at)


def follow(
    iteration: Iteration, run: DiscreteRun, step: Int[Array, ""], every: int
) -> tuple[DiscreteRun, Observation]:
    """The run `every` steps on, at `step`, and what is seen of it there.

    Costs `every` gradient evaluations and one of the loss.
    """
    first = step - every + 1
    before, now = jax.lax.fori_loop(
        0, every, lambda i, runs: (runs[1], _advance(iteration, runs[1], first + i)), (run, run)
    )

    def see(runs: tuple[DiscreteRun, DiscreteRun]) -> Observation:
        before, now = runs
        midpoint = jax.tree.map(_three_step_mean, before.params, now.params, now.state.params)
        oscillation = norm(jax.tree.map(jnp.subtract, now.params, midpoint))
        mean_loss = _three_step_mean(before.loss, now.loss, iteration.loss(now.state.params))
        return Observation(midpoint, now.loss, mean_loss, oscillation, before.state)

    return now, unless_diverged(now.diverged_at, see, (before, now))


def unless_diverged(
    diverged_at: Int[Array, ""], function: Callable[[Any], PyTree], argument: Any
) -> Any:
    """`function(argument)`, NaN for what has diverged.

    A branch of the program is laid out by itself: XLA begins what is not in one as early as it can,
    and would hold half an evaluated loss throughout the solution of a flow.
    """
    result = jax.eval_shape(function, argument)

    def lost(_: Any) -> PyTree:
        return jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), result)

    return jax.lax.cond(diverged_at < 0, function, lost, argument)


def one_rounding_unit_away(state: PhaseState, key: PRNGKeyArray) -> PhaseState:
    """Every parameter moved to its next float, up or down at random."""

    def move(leaf: Array, up: Array) -> Array:
        return jnp.nextafter(leaf, jnp.where(up, jnp.inf, -jnp.inf).astype(leaf.dtype))

    ups = coins_like(key, state.params)
    return state._replace(params=jax.tree.map(move, state.params, ups))


def runaway_limit(tree: PyTree) -> Float[Array, ""]:
    """The norm beyond which something that starts at `tree` has diverged."""
    return _RUNAWAY * (1 + norm(tree))


def _advance(iteration: Iteration, run: DiscreteRun, step: Int[Array, ""]) -> DiscreteRun:
    """From step - 1 to `step`."""
    loss, after = iteration.advance(run.state)
    runs_away = ~(norm(run.state.params) <= run.limit) | ~jnp.isfinite(loss)
    diverged_at = jnp.where(runs_away & (run.diverged_at < 0), step, run.diverged_at)
    new = run._replace(params=run.state.params, loss=loss, state=after)
    kept = jax.tree.map(lambda a, b: jnp.where(diverged_at < 0, a, b), new, run)
    return kept._replace(diverged_at=diverged_at)


def _three_step_mean(before: Array, now: Array, after: Array) -> Array:
    return (before + 2 * now + after) / 4
