"""What single steps show: how long they take, and whether the first one is a sign."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from experiments.problems import Problem
from experiments.studies.root_free.edge import chain

REPETITIONS = 5
BINS = np.linspace(-4, 2, 61)
"""Of log10 |u| over its root mean square."""


def seconds(problem: Problem, method: str, samples: int, steps: int) -> float:
    """Time of a step on the full batch, the fastest of some runs, without compilation."""
    tx = chain(method, jnp.float32(1e-4), samples)

    @jax.jit
    def run(carry):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(problem.loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, carry, length=steps)[0]

    params = problem.init(jax.random.key(0))
    start = params, tx.init(params)
    jax.block_until_ready(run(start))
    times = []
    for _ in range(REPETITIONS):
        begin = time.perf_counter()
        jax.block_until_ready(run(start))
        times.append(time.perf_counter() - begin)
    return min(times) / steps


def first_update(problem: Problem, method: str, samples: int) -> Float[np.ndarray, " parameters"]:
    """Sizes of the first update in all coordinates, over their root mean square."""
    tx = chain(method, jnp.float32(1), samples)
    params = problem.init(jax.random.key(0))
    updates, _ = jax.jit(tx.update)(jax.grad(problem.loss)(params), tx.init(params), params)
    sizes = np.concatenate([np.abs(u).ravel() for u in jax.tree.leaves(updates)])
    return sizes / np.sqrt(np.mean(sizes**2))
