"""Sweeps over learning rates: lanes of one program against a loop, and processes that share them.

What batching can bring at most is bounded by the arithmetic of the gradients.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import rodflow
from experiments import problems
from experiments.analysis.table import Cell, Table
from experiments.benchmarks.process import accelerators, measured
from experiments.configuration import config
from experiments.setup.clock import best_seconds, timed
from experiments.setup.roofline import Arithmetic, arithmetic, bound, fastest, products_alone
from experiments.setup.runtime import cores

FEW, FEW_STEPS = 16, 200  # lanes of `sweep`
MANY, MANY_STEPS = 64, 100  # lanes of `program`
SHARED = 48  # lanes of `processes`
TOGETHER = (1, 2, 16)  # lanes of a matrix product


def sweep() -> Iterator[Table | str]:
    """Time lanes of Adam with the rod flow, with and without compilation."""
    problem = problems.configured(config.load())
    params = problem.init(jax.random.key(0))

    def member(learning_rate: jax.Array) -> rodflow.Tracking:
        tx = rodflow.OPTIMIZERS["adam"](learning_rate, b2=0.99)
        flows = {"rod": rodflow.RodFlow()}
        return rodflow.track(problem.loss, tx, params, num_steps=FEW_STEPS, flows=flows)

    grid = jnp.geomspace(1e-4, 1e-2, FEW)
    one, all_at_once = jax.jit(member), jax.jit(jax.vmap(member))
    _, first_one = timed(partial(one, grid[0]))
    _, first_all = timed(partial(all_at_once, grid))
    seconds = best_seconds(
        {"loop": lambda: [one(lr) for lr in grid], "vmap": lambda: all_at_once(grid)}
    )
    loop = seconds["loop"]
    pairs = {
        "all compiled before": (loop, seconds["vmap"]),
        "one compilation for all": (first_one + loop * (FEW - 1) / FEW, first_all),
        "a compilation for each run": (first_one * FEW, first_all),
    }
    rows = [[name, a, b, a / b] for name, (a, b) in pairs.items()]
    columns = ["", "one after the other", "under vmap", "ratio"]
    yield Table(f"{FEW} learning rates, Adam, {FEW_STEPS} steps: seconds", columns, rows)
    gradients = sum(FEW_STEPS * (1 + float(one(lr).flows["rod"].gradients.mean())) for lr in grid)
    count = arithmetic(jax.grad(problem.loss), params).times(gradients)
    yield from bounds(gradients, count, loop, fastest())


def program() -> Iterator[Table | str]:
    """Compare lanes under vmap, lanes one at a time on each device, and a loop in Python."""
    most = min(2, len(measured(accelerators)) or 2)  # a CPU is split into as many as are needed
    found = {count: measured(ways, count, devices=count) for count in range(1, most + 1)}
    plain = found[1]
    compiled_each, loop = plain["one"][0] * MANY, plain["loop"][1]
    once = plain["one"][0] + loop * (MANY - 1) / MANY
    rows: list[list[Cell]] = [
        ["loop, a compilation for each", None, None, compiled_each, once / compiled_each],
        ["loop, compiled once", loop, 1.0, once, 1.0],
    ]
    for count, seconds in found.items():
        for label, key in (("", "all"), (", one lane at a time", "single")):
            first, after = seconds[key]
            entries = (after, loop / after, first, once / first)
            rows.append([f"{of_devices(count)}{label}", *entries])
    title = f"{MANY} learning rates: stable and rod flow of Adam, {MANY_STEPS} steps"
    columns = ["", "compiled before, s", "speed-up", "with compiling, s", "speed-up with it"]
    yield Table(title, columns, rows)
    count, rate = Arithmetic(*plain["arithmetic"]), Arithmetic(*plain["fastest"])
    yield from bounds(plain["gradients"], count, loop, rate)


def ways(devices: int) -> dict:
    """Time the first call and another one of each way to run many lanes with the default flows.

    The ways are `one` lane, the `loop` on the first device, and sweeps over all devices that vmap
    `all` lanes of a device, or `single` ones. Beside their seconds are the number of `gradients` of
    the loop, their `arithmetic`, and the `fastest` rates of this machine.
    """
    problem, params = default_problem()
    member = tracked(None, MANY_STEPS, problem, params)
    grid = rates(MANY)
    mesh = jax.make_mesh((devices,), ("lanes",))
    one = jax.jit(member)
    runs = {
        "one": lambda: whole(one({"learning_rate": grid["learning_rate"][0]})),
        "loop": lambda: [whole(one({"learning_rate": x})) for x in grid["learning_rate"]],
        "all": lambda: whole(rodflow.sweep(member, grid, mesh)),
        "single": lambda: whole(rodflow.sweep(member, grid, mesh, chunk=1)),
    }
    seconds = {name: [timed(run)[1], timed(run)[1]] for name, run in runs.items()}
    per_step = [flow.gradients.mean() for run in runs["loop"]() for flow in run.flows.values()]
    gradients = MANY_STEPS * (MANY + float(sum(per_step)))
    count = arithmetic(jax.grad(problem.loss), params).times(gradients)
    return seconds | {"gradients": gradients, "arithmetic": count, "fastest": fastest()}


def processes() -> Iterator[Table | str]:
    """Time the command of a sweep on one core, and that of two processes on a core each."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield "processes: left out, there are no two cores to give them"
        return
    first, second, *_ = cores
    rows: list[list[Cell]] = []
    with tempfile.TemporaryDirectory() as place:
        swept(Path(place) / "compiled", [first], 1)
        for on in ([first], [first, second]):
            seconds = swept(Path(place) / str(len(on)), on, SHARED)
            rows.append([str(len(on)), *seconds])
    columns = ["processes, a core each", "from start to end", "without starting Python"]
    yield Table(f"Processes: seconds of a sweep of {SHARED} lanes", columns, rows)


def swept(folder: Path, on: list[int], count: int) -> tuple[float, float]:
    """Time a sweep with a process on each core, from its start and from its first segment."""
    axis = f"optimizer.learning_rate=geometric(2e-4,2e-3,{count})"
    command = [sys.executable, "-m", "experiments", "sweep", f"hydra.run.dir={folder}"]
    command += ["num_steps=200", "sweep.segment=2", "sweep.chunk=1", f"sweep.axes=['{axis}']"]
    begin = time.time()  # by the clock that files are dated by
    running = [
        subprocess.Popen(
            command,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.DEVNULL,
            preexec_fn=partial(os.sched_setaffinity, 0, [core]),
        )
        for core in on
    ]
    if any([process.wait() for process in running]):
        raise RuntimeError(f"a sweep failed: {' '.join(command)}")
    end = (folder / "results.nc").stat().st_mtime
    return end - begin, end - (folder / "job.json").stat().st_mtime


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


def of_devices(count: int) -> str:
    """Return the name of a row, a column or a line."""
    return f"{count} device{'s' * (count > 1)}"


def bounds(gradients: float, count: Arithmetic, seconds: float, rate: Arithmetic) -> Iterator[str]:
    """Say how much faster than a loop of `seconds` a program of its gradients could be.

    One sentence is the bound by their arithmetic, `count`, at the fastest rates; on CPUs, another
    is the estimate by their matrix products.
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
