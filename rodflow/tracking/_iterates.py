"""The iterates of an optimizer, observed without their oscillation, and their twins.

A run at the edge of stability is observed through the second-order midpoint of its parameters and
the three-step average of its loss,

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
from rodflow.maps.iteration import AbstractIteration, PhaseState

# A run has diverged when its norm has grown by this factor, or is not finite.
_RUNAWAY = 1e6


class DiscreteRun(NamedTuple):
    """A run of the optimizer at step t, kept one step ahead.

    Attributes:
        params: The parameters at step t.
        loss: The loss at step t.
        state: The state at step t + 1.
        limit: The norm of the parameters beyond which the run has diverged.
        diverged_at: The step of divergence, -1 up to then.
    """

    params: PyTree
    loss: Float[Array, ""]
    state: PhaseState
    limit: Float[Array, ""]
    diverged_at: Int[Array, ""]


class Observation(NamedTuple):
    """An observation of a run at step t, NaN once it has diverged.

    Attributes:
        midpoint: The midpoint wmid of the parameters.
        loss: The loss.
        mean_loss: The three-step average of the loss.
        oscillation: The distance of the parameters from the midpoint.
        state: The state at step t.
    """

    midpoint: PyTree
    loss: Float[Array, ""]
    mean_loss: Float[Array, ""]
    oscillation: Float[Array, ""]
    state: PhaseState


def begin(iteration: AbstractIteration, state: PhaseState) -> DiscreteRun:
    """Return the run whose step 0 is at `state`."""
    loss, after = iteration.advance(state)
    diverged_at = jnp.where(jnp.isfinite(loss), -1, 0).astype(jnp.int32)
    return DiscreteRun(state.params, loss, after, runaway_limit(state.params), diverged_at)


def follow(
    iteration: AbstractIteration, run: DiscreteRun, step: Int[Array, ""], every: int
) -> tuple[DiscreteRun, Observation]:
    """Return the run `every` steps on, at `step`, and its observation there.

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
    """Return `function(argument)`, NaN for a run that has diverged.

    A branch of the program is laid out by itself: XLA begins what is not in one as early as it can,
    and would hold half an evaluated loss throughout the solution of a flow.
    """
    result = jax.eval_shape(function, argument)

    def lost(_: Any) -> PyTree:
        return jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), result)

    return jax.lax.cond(diverged_at < 0, function, lost, argument)


def one_rounding_unit_away(state: PhaseState, key: PRNGKeyArray) -> PhaseState:
    """Return a state with every parameter moved to its next float, up or down at random."""

    def move(leaf: Array, up: Array) -> Array:
        return jnp.nextafter(leaf, jnp.where(up, jnp.inf, -jnp.inf).astype(leaf.dtype))

    ups = coins_like(key, state.params)
    return state._replace(params=jax.tree.map(move, state.params, ups))


def runaway_limit(tree: PyTree) -> Float[Array, ""]:
    """Return the norm beyond which a run that starts at `tree` has diverged."""
    return _RUNAWAY * (1 + norm(tree))


def _advance(iteration: AbstractIteration, run: DiscreteRun, step: Int[Array, ""]) -> DiscreteRun:
    """Advance a run from step - 1 to `step`."""
    loss, after = iteration.advance(run.state)
    runs_away = ~(norm(run.state.params) <= run.limit) | ~jnp.isfinite(loss)
    diverged_at = jnp.where(runs_away & (run.diverged_at < 0), step, run.diverged_at)
    new = run._replace(params=run.state.params, loss=loss, state=after)
    kept = jax.tree.map(lambda a, b: jnp.where(diverged_at < 0, a, b), new, run)
    return kept._replace(diverged_at=diverged_at)


def _three_step_mean(before: Array, now: Array, after: Array) -> Array:
    return (before + 2 * now + after) / 4
