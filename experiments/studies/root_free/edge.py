"""Root-free methods at the edge of stability: on a quadratic, and on a network on the full batch.

Per coordinate the effective sharpness is r_i H_ii / 2, with r the response of the update to an
alternating gradient (rodflow.nyquist_response). On f = sum_i lam_i x_i^2 / 2, H is diagonal, and
a method that ends in a cycle of period two has it at 1 in every coordinate.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

import rodflow
from experiments.problems import Problem
from experiments.setup.observers import effective_sharpness
from experiments.studies.lanes import Numbers
from experiments.studies.root_free.methods import METHODS, Hyperparameters

MEMORY = 0.99  # of the preconditioner, and .9 of Adam's momentum; the others have none
SHORT_MEMORY = 0.9
"""Memory on the quadratic, where x would underflow before a longer memory has adapted."""
FORGETTING = {"adamw": 0.1, "rf_adamw": 0.1}
COORDINATES = 256  # of the network's Hessian whose diagonal is computed
EVERY = 10  # steps between records
WARMUP = 20


def chain(
    method: str, learning_rate: Float[Array, ""], batch_size: int, memory: float = MEMORY
) -> optax.GradientTransformation:
    """Build a method with a constant learning rate, without weight decay.

    Momentum is for the Adams alone.
    """
    forgetting = jnp.asarray(FORGETTING.get(method, 1.0))
    h = Hyperparameters(learning_rate, jnp.zeros(()), forgetting, jnp.asarray(1 - memory))
    return METHODS[method](h, learning_rate, batch_size)


class Quadratic(NamedTuple):
    """Late state on the quadratic: effective sharpness (1 is the edge) and loss by coordinate."""

    sharpness: Float[Array, " coordinates"]
    loss: Float[Array, " coordinates"]


@partial(jax.jit, static_argnames=("method", "steps"))
def on_quadratic(
    method: str, learning_rate: Array, curvatures: Float[Array, " coordinates"], steps: int
) -> Quadratic:
    """Run a method from x = 1, with a batch of one sample."""
    tx = chain(method, learning_rate, 1, SHORT_MEMORY)
    iteration = rodflow.Iteration(lambda x: jnp.sum(curvatures * x**2) / 2, tx)
    state = iteration.init(jnp.ones_like(curvatures))
    state = jax.lax.fori_loop(0, steps, lambda _, z: iteration.step(z), state)
    sharpness = rodflow.nyquist_response(iteration, state) * curvatures / 2
    # Both ends of the cycle.
    squares = (state.params**2 + iteration.step(state).params ** 2) / 2
    return Quadratic(sharpness, curvatures * squares / 2)


class Tracked(NamedTuple):
    """Runs at several learning rates.

    Attributes:
        sharpness: effective sharpness along the runs.
        stable: distance of the stable flow to the iterates.
        rod: distance of the rod flow to the iterates.
        diverged: True for a run that diverged.
        per_coordinate: effective sharpness of single coordinates at the end; NaN where they are no
            modes.
    """

    sharpness: Float[Numbers, "rates records"]
    stable: Float[Numbers, "rates records"]
    rod: Float[Numbers, "rates records"]
    diverged: Bool[Numbers, " rates"]
    per_coordinate: Float[Numbers, "rates coordinates"]


def on_network(
    problem: Problem, method: str, rates: Float[np.ndarray, " rates"], samples: int, steps: int
) -> Tracked:
    """Track a method on the full batch at several learning rates by the stable and the rod flow.

    Args:
        problem: for methods that act on each element alone with its parameters in one vector.
        method: name in `METHODS`.
        rates: learning rates, lanes of one program.
        samples: over which the gradient is a mean.
        steps: of the optimizer.
    """

    def member(values: dict[str, Array]) -> Tracked:
        tx = chain(method, values["learning_rate"], samples)

        def observe(state: rodflow.PhaseState) -> Float[Array, ""]:
            return effective_sharpness(problem, tx, state)[0]

        tracker = rodflow.Tracker(problem.loss, tx, every=EVERY, observe=observe)
        state = tracker.init(problem.init(jax.random.key(0)), WARMUP)
        state, tracking = tracker.run(state, steps // EVERY)
        single = jnp.full(COORDINATES, jnp.nan)
        if method != "if_shampoo":
            single = _single(problem, tracker.iteration, state.run.state)
        stable, rod = (tracking.flows[name].distance for name in ("stable", "rod"))
        return Tracked(tracking.observed, stable, rod, tracking.diverged_at[-1] >= 0, single)

    return jax.device_get(rodflow.sweep(member, {"learning_rate": rates}))


def _single(
    problem: Problem, iteration: rodflow.AbstractIteration, state: rodflow.PhaseState
) -> Float[Array, " coordinates"]:
    params = state.params
    response = rodflow.nyquist_response(iteration, state)
    picks = jax.random.choice(jax.random.key(1), len(params), (COORDINATES,), replace=False)

    def curvature(i: Array) -> Array:
        along = jnp.zeros_like(params).at[i].set(1)
        return jax.jvp(jax.grad(problem.loss), (params,), (along,))[1][i]

    return response[picks] * jax.lax.map(curvature, picks, batch_size=16) / 2


def first_at_edge(tracked: Tracked) -> int:
    """Return the smallest rate that reaches the edge in the first half of a run without divergence.

    If there is none, the sharpest of those that do not diverge; the flows play no part in it.
    """
    half = tracked.sharpness.shape[1] // 2
    early = np.nan_to_num(tracked.sharpness[:, :half], nan=-np.inf).max(axis=1)
    whole = np.nan_to_num(tracked.sharpness, nan=-np.inf).max(axis=1)
    reaches = (early >= 1) & ~tracked.diverged
    if reaches.any():
        return int(np.argmax(reaches))
    return int(np.argmax(np.where(tracked.diverged, -np.inf, whole)))
