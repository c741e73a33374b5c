"""A process of the scaling benchmark: measures one PART [DEVICES] and prints it as JSON.

In a process of its own, which compiles all it needs. Times are the least of several and exclude
compilation, but for those of a first call.
"""

import json
import os
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import rodflow
from experiments import problems
from experiments.configuration import config
from experiments.setup import clock as timing
from experiments.setup import runtime

LANES = (1, 4, 16, 64, 256)
WIDTHS = (12, 56, 208, 690, 2220)  # of three hidden layers: about 1e3, 1e4 ... 1e7 parameters
STEPS = (10, 40, 160, 640)
MANY = 64
TOGETHER = (1, 2, 16)  # lanes of a product
SHORT = 10  # steps of lanes that are counted
LONG = 100  # steps of the many lanes
SLOW = {"learning_rate": np.float32(1e-7)}  # at which networks of every width stay stable
REPEATS = 2


def lanes(devices: int) -> dict:
    """Seconds of a sweep of the rod flow of Adam, and bytes on a device, by lanes."""
    member = tracked({"rod": rodflow.RodFlow}, SHORT, *digits())
    mesh = jax.make_mesh((devices,), ("lanes",))
    seconds, memory = [], []
    for count in LANES:
        grid = rates(count)
        swept = jax.jit(lambda grid: rodflow.sweep(member, grid, mesh)).lower(grid).compile()
        seconds.append(least_seconds(lambda run=swept, grid=grid: whole(run(grid))))
        allotted = swept.memory_analysis()
        assert allotted is not None  # some backends do not tell
        memory.append(allotted.output_size_in_bytes + allotted.temp_size_in_bytes)
    return {"seconds": seconds, "bytes": memory}


def cost() -> dict:
    """Seconds of the discrete run, and with the rod flow, by parameters and steps."""
    runs = {"discrete": {}, "rod": {"rod": rodflow.RodFlow}}
    by_size, parameters = {name: [] for name in runs}, []
    for width in WIDTHS:
        chosen = config.load([f"model.width={width}", "data.size=100"])
        problem = problems.raveled(problems.configured(chosen))
        params = problem.init(jax.random.key(0))
        parameters.append(params.size)
        for name, flows in runs.items():
            run = jax.jit(tracked(flows, 10, problem, params))
            by_size[name].append(least_seconds(lambda run=run: whole(run(SLOW))) / 10)
    by_steps = {name: [] for name in runs}
    for name, flows in runs.items():
        for steps in STEPS:
            run = jax.jit(tracked(flows, steps, *digits()))
            by_steps[name].append(least_seconds(lambda run=run: whole(run(rate(0)))))
    return {"parameters": parameters, "by_size": by_size, "by_steps": by_steps}


def program(devices: int) -> dict:
    """Seconds of many lanes with the default flows: one by one, and in one program.

    The keys are `one`, `loop` (on the first device) and what is vmapped: `all` lanes of a device,
    or `single` ones. Each has the time of its first call, then that of another. Beside them are the
    number of `gradients` which the loop takes, their `arithmetic`, and the `fastest` rates of such.
    """
    member = tracked(None, LONG, *digits())
    grid = rates(MANY)
    mesh = jax.make_mesh((devices,), ("lanes",))
    one = jax.jit(member)
    runs = {
        "one": lambda: whole(one({"learning_rate": grid["learning_rate"][0]})),
        "loop": lambda: [whole(one({"learning_rate": x})) for x in grid["learning_rate"]],
        "all": lambda: whole(rodflow.sweep(member, grid, mesh)),
        "single": lambda: whole(rodflow.sweep(member, grid, mesh, chunk=1)),
    }
    seconds = {name: [seconds_of(run), seconds_of(run)] for name, run in runs.items()}
    problem, params = digits()
    per_step = [flow.gradients.mean() for run in runs["loop"]() for flow in run.flows.values()]
    gradients = LONG * (MANY + float(sum(per_step)))
    return seconds | {
        "gradients": gradients,
        "arithmetic": timing.arithmetic(jax.grad(problem.loss), params).times(gradients),
        "fastest": timing.fastest(),
    }


def products() -> dict:
    """Seconds that the products of a gradient take by themselves, of the best number of lanes.

    On one core, to which it keeps this process; nothing where that cannot be, or means nothing.
    """
    if not hasattr(os, "sched_setaffinity"):
        return {"seconds": None}
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # before JAX starts its threads
    if jax.devices()[0].platform != "cpu":
        return {"seconds": None}
    problem, params = digits()
    gradient = jax.vmap(jax.grad(problem.loss))
    taken = [
        timing.products_alone(gradient, jnp.stack([params] * count)) / count for count in TOGETHER
    ]
    return {"seconds": min(taken)}


def accelerators() -> dict:
    """The kind of each device that is no CPU."""
    return {"kinds": [x.device_kind for x in jax.devices() if x.platform != "cpu"]}


def digits() -> tuple[problems.Problem, jax.Array]:
    """The problem of MATH.md section 8 and its initial parameters."""
    problem = problems.raveled(problems.configured(config.load()))
    return problem, problem.init(jax.random.key(0))


def tracked(
    flows: dict | None, steps: int, problem: problems.Problem, params: jax.Array
) -> Callable:
    """Adam at a learning rate, followed by flows."""

    def member(h: dict) -> rodflow.Tracking:
        tx = rodflow.OPTIMIZERS["adam"](h["learning_rate"], b2=0.99)
        every = min(10, steps)
        # Behind a barrier, or XLA would take the first gradient while it compiles; after one step,
        # as Adam's preconditioner is infinite before.
        start = jax.lax.optimization_barrier(params)
        return rodflow.track(problem.loss, tx, start, steps, 1, every, flows)

    return member


def rates(count: int) -> dict[str, np.ndarray]:
    """Learning rates around that of the configuration, all of them stable enough to run on."""
    return {"learning_rate": np.geomspace(2e-4, 2e-3, count).astype(np.float32)}


def rate(lane: int) -> dict[str, np.float32]:
    """One of them."""
    return {"learning_rate": rates(2)["learning_rate"][lane]}


def whole(tracking: rodflow.Tracking) -> rodflow.Tracking:
    """The same, of a run that did not end early: its time would say nothing."""
    if any((np.asarray(flow.diverged_at) >= 0).any() for flow in tracking.flows.values()):
        raise RuntimeError("a flow that is timed diverged")
    return tracking


def seconds_of(run: Callable) -> float:
    """The time of one call."""
    begin = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begin


def least_seconds(run: Callable, repeats: int = REPEATS) -> float:
    """The least time of several calls after a first one."""
    seconds_of(run)
    return min(seconds_of(run) for _ in range(repeats))


PARTS = {
    "lanes": lanes,
    "cost": cost,
    "program": program,
    "products": products,
    "accelerators": accelerators,
}

if __name__ == "__main__":
    runtime.exact_products()  # and no compiled programs of earlier runs
    part, *devices = sys.argv[1:]
    print(json.dumps(PARTS[part](*map(int, devices))))
