"""Single steps: the time that each takes, and the sizes of the first update."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from experiments.problems import Problem
from experiments.setup.clock import best_seconds
from experiments.studies.root_free.edge import chain
from experiments.studies.root_free.methods import METHODS

REPETITIONS = 40  # of short runs, so that nothing interrupts the fastest one
BINS = np.linspace(-4, 2, 61)
"""Edges of the bins of log10 |u| over its root mean square."""


def seconds(problem: Problem, samples: int, steps: int) -> list[float]:
    """Measure the time of a step of each method on the full batch, without compilation.

    It is that of the fastest of some runs. The methods take turns, so that whatever else the
    machine does at times slows no single one of them.
    """
    runs = {method: _run(problem, method, samples, steps) for method in METHODS}
    return [time / steps for time in best_seconds(runs, 1 + REPETITIONS).values()]


def _run(problem: Problem, method: str, samples: int, steps: int):
    tx = chain(method, jnp.float32(1e-4), samples)

    @jax.jit
    def run(carry):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(problem.loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, carry, length=steps)[0]

    params = problem.init(jax.random.key(0))
    return partial(run, (params, tx.init(params)))


def first_update(problem: Problem, method: str, samples: int) -> Float[np.ndarray, " parameters"]:
    """Return the sizes of the first update in all coordinates, over their root mean square."""
    tx = chain(method, jnp.float32(1), samples)
    params = problem.init(jax.random.key(0))
    updates, _ = jax.jit(tx.update)(jax.grad(problem.loss)(params), tx.init(params), params)
    sizes = np.concatenate([np.abs(u).ravel() for u in jax.tree.leaves(updates)])
    return sizes / np.sqrt(np.mean(sizes**2))
