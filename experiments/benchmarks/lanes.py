"""Lanes of learning rates on the default problem, and bounds on what batching them can bring."""

import os
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

import rodflow
from experiments import problems
from experiments.benchmarks.process import measured
from experiments.configuration import config
from experiments.setup.roofline import Arithmetic, bound, products_alone
from experiments.setup.runtime import cores

TOGETHER = (1, 2, 16)  # lanes of a product


def default_problem(*overrides: str) -> tuple[problems.Problem, jax.Array]:
    """Return the raveled problem of the default configuration, and its initial parameters."""
    problem = problems.raveled(problems.configured(config.load(list(overrides))))
    return problem, problem.init(jax.random.key(0))


def tracked(
    flows: Mapping | None, steps: int, problem: problems.Problem, params: jax.Array
) -> Callable[[Mapping], rodflow.Tracking]:
    """Return a member of a sweep: Adam at a learning rate, followed by flows."""

    def member(h: Mapping) -> rodflow.Tracking:
        tx = rodflow.OPTIMIZERS["adam"](h["learning_rate"], b2=0.99)
        every = min(10, steps)
        # Behind a barrier, or XLA would take the first gradient while it compiles; after one step,
        # as Adam's preconditioner is infinite before.
        start = jax.lax.optimization_barrier(params)
        return rodflow.track(problem.loss, tx, start, steps, 1, every, flows)

    return member


def rates(count: int) -> dict[str, np.ndarray]:
    """Return learning rates around that of the configuration, at which all flows stay finite."""
    return {"learning_rate": np.geomspace(2e-4, 2e-3, count).astype(np.float32)}


def whole(tracking: rodflow.Tracking) -> rodflow.Tracking:
    """Return a tracking as it is, or raise if a flow diverged: its time would be too short."""
    if any((np.asarray(flow.diverged_at) >= 0).any() for flow in tracking.flows.values()):
        raise RuntimeError("a flow that is timed diverged")
    return tracking


def bounds(gradients: float, count: Arithmetic, seconds: float, rate: Arithmetic) -> Iterator[str]:
    """Say how much batching can bring at most to a loop over runs of the default problem.

    Args:
        gradients: The number of gradients of the loop.
        count: The arithmetic of these gradients.
        seconds: The time of the loop.
        rate: The fastest rates of this machine.

    Yields:
        Sentences: the bound by `count` and, on CPUs, that by the products of a gradient.
    """
    yield bound(count, seconds, rate)
    alone = measured(products)
    if alone is not None:
        least = gradients * alone / cores() + count.functions / rate.functions
        yield (
            f"Products of their shapes, each by itself with its operands in cache, take "
            f"{gradients * alone:.3g} s on one core; with these on all {cores()} of them, tanh and "
            f"nothing else, a program would be {seconds / least:.1f} times faster than the loop."
        )


def products() -> float | None:
    """Time the products of a gradient of the default problem, for the best number of lanes.

    They run on one core, to which this process is kept. None where that is impossible, or where
    JAX does not run on a CPU.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # before JAX starts its threads
    if jax.devices()[0].platform != "cpu":
        return None
    problem, params = default_problem()
    gradient = jax.vmap(jax.grad(problem.loss))
    return min(products_alone(gradient, jnp.stack([params] * n)) / n for n in TOGETHER)
