"""What single steps show: how long they take, and whether the first one is a sign."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PyTree

from experiments.problems import Problem
from experiments.studies.root_free.edge import chain
from experiments.studies.root_free.methods import METHODS

REPETITIONS = 40  # short runs: the fastest is one that nothing interrupted
BINS = np.linspace(-4, 2, 61)
"""Of log10 |u| over its root mean square."""


def seconds(problem: Problem, samples: int, steps: int) -> list[float]:
    """Time of a step of each method on the full batch, without compilation.

    The fastest of some runs; the methods take turns, so that whatever else the machine does at
    times is no matter of one of them.
    """
    runs = [_run(problem, method, samples, steps) for method in METHODS]
    times = [_timed(run) for run in runs]
    for _ in range(REPETITIONS):
        times = [min(before, _timed(run)) for before, run in zip(times, runs, strict=True)]
    return [time / steps for time in times]


def _run(problem: Problem, method: str, samples: int, steps: int) -> Callable[[], PyTree]:
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
    return lambda: run(start)


def _timed(run: Callable[[], PyTree]) -> float:
    begin = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begin


def first_update(problem: Problem, method: str, samples: int) -> Float[np.ndarray, " parameters"]:
    """Sizes of the first update in all coordinates, over their root mean square."""
    tx = chain(method, jnp.float32(1), samples)
    params = problem.init(jax.random.key(0))
    updates, _ = jax.jit(tx.update)(jax.grad(problem.loss)(params), tx.init(params), params)
    sizes = np.concatenate([np.abs(u).ravel() for u in jax.tree.leaves(updates)])
    return sizes / np.sqrt(np.mean(sizes**2))
