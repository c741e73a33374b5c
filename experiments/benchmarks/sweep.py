"""Lanes of learning rates in one program, against compiled runs one after the other."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp

import rodflow
from experiments import problems
from experiments.analysis.table import Table
from experiments.benchmarks.lanes import bounds
from experiments.configuration import config
from experiments.setup.clock import best_seconds, timed
from experiments.setup.roofline import arithmetic, fastest

LANES, STEPS = 16, 200
COLUMNS = ["", "one after the other", "under vmap", "ratio"]


def sweep() -> Iterator[Table | str]:
    """Time lanes of Adam with the rod flow, with and without compilation."""
    problem = problems.configured(config.load())
    params = problem.init(jax.random.key(0))

    def member(learning_rate: jax.Array) -> rodflow.Tracking:
        tx = rodflow.OPTIMIZERS["adam"](learning_rate, b2=0.99)
        flows = {"rod": rodflow.RodFlow()}
        return rodflow.track(problem.loss, tx, params, num_steps=STEPS, flows=flows)

    grid = jnp.geomspace(1e-4, 1e-2, LANES)
    one, all_at_once = jax.jit(member), jax.jit(jax.vmap(member))
    _, first_one = timed(partial(one, grid[0]))
    _, first_all = timed(partial(all_at_once, grid))
    seconds = best_seconds(
        {"loop": lambda: [one(lr) for lr in grid], "vmap": lambda: all_at_once(grid)}
    )
    loop = seconds["loop"]
    pairs = {
        "all compiled before": (loop, seconds["vmap"]),
        "one compilation for all": (first_one + loop * (LANES - 1) / LANES, first_all),
        "a compilation for each run": (first_one * LANES, first_all),
    }
    rows = [[name, f"{a:.1f}", f"{b:.1f}", f"{a / b:.1f}"] for name, (a, b) in pairs.items()]
    yield Table(f"{LANES} learning rates, Adam, {STEPS} steps: seconds", COLUMNS, rows)
    gradients = sum(STEPS * (1 + float(one(lr).flows["rod"].gradients.mean())) for lr in grid)
    count = arithmetic(jax.grad(problem.loss), params).times(gradients)
    yield from bounds(gradients, count, loop, fastest())
