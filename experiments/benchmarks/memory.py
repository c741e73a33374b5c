"""Memory of tracked runs: on each architecture, and of large networks.

On an architecture it is that beyond a gradient at two points, in units of the parameters and the
optimizer state. Large networks are causal transformers that sort. One flow at a time follows them
for a few steps, in a process of its own, whose peak memory is read at its end. *Allotted* is the
memory that XLA asks for, in floats per parameter: three of them are the parameters and moments.
"""

import resource
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp

import rodflow
from experiments import problems
from experiments.analysis.table import Table
from experiments.benchmarks.process import measured
from experiments.configuration import config
from experiments.setup import optimizers
from experiments.setup.clock import timed
from experiments.setup.flows import flow as made

WIDTHS = (80, 256, 800)  # 1e5, 1e6 and 1e7 parameters
FLOWS = ("none", "stable", "rod")
STEPS = 2


def memory() -> Iterator[Table]:
    """Compile Adam with flows on each architecture and ask XLA for the memory that it needs."""
    grid = config.load_study(["study=papers"]).grid
    assert grid is not None
    rows = []
    for name in grid.problems:
        chosen = config.load(grid.definitions[name])
        problem = problems.raveled(problems.configured(chosen))
        tx = optimizers.configured(chosen.optimizer)
        params = problem.init(jax.random.key(0))
        gradient = allotted(compiled(jax.vmap(jax.grad(problem.loss)), jnp.stack([params, params])))
        held, beyond = 0, []
        for flows in ({"rod": rodflow.RodFlow()}, None):
            tracker = rodflow.Tracker(problem.loss, tx, flows)
            state = jax.eval_shape(tracker.init, params)
            held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.run.state))
            tracked = allotted(compiled(partial(tracker.run, num_records=1), state))
            beyond.append((tracked - gradient) / held)
        rows.append([name, held / 1e3, gradient / 1e3, *beyond])
    columns = ["problem", "params and state, kB", "doubled gradient, kB", "rod", "stable and rod"]
    title = (
        "Memory of Adam on each architecture; of flows: beyond the gradient, in units of "
        "parameters and state"
    )
    yield Table(title, columns, rows, dict.fromkeys(columns[3:], ".1f"))


def large() -> Iterator[Table]:
    """Measure every width with every flow."""
    rows = []
    for width in WIDTHS:
        for flow in FLOWS:
            found = measured(followed, width, flow)
            floats, peak, seconds = (found[key] for key in ("floats", "peak", "seconds"))
            millions = found["parameters"] / 1e6
            rows.append([f"{millions:.3g} million, {flow}", floats, peak, seconds])
    columns = ["parameters, flow", "allotted floats each", "peak, GB", "s per step"]
    title = "Large networks: Adam on a transformer, one flow at a time"
    yield Table(title, columns, rows, {"allotted floats each": ".1f"})


def followed(width: int, flow: str, *settings: str) -> dict[str, int | float]:
    """Track a network of a width with one flow, and return its size, memory, time and distance."""
    sorting = ["data=sorting", "data.size=16"]
    chosen = config.load(["model=transformer", f"model.width={width}", *sorting, *settings])
    problem = problems.configured(chosen)
    flows = {} if flow == "none" else {flow: made(flow, None)}
    tx = optimizers.configured(chosen.optimizer)
    tracker = rodflow.Tracker(problem.loss, tx, flows, every=STEPS)
    state = tracker.init(jax.jit(problem.init)(jax.random.key(0)), chosen.warmup)
    size = sum(leaf.size for leaf in jax.tree.leaves(state.start))
    run = compiled(partial(tracker.run, num_records=1), state)
    (_, tracking), seconds = timed(lambda: run(state))
    return {
        "parameters": size,
        "floats": allotted(run) / 4 / size,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "seconds": seconds / STEPS,
        "distance": float(tracking.flows[flow].distance[0]) if flows else 0.0,
    }


def compiled(function, argument) -> jax.stages.Compiled:
    """Compile a function that gives its argument away: an old state makes room for the new one."""
    return jax.jit(function, donate_argnums=0).lower(argument).compile()


def allotted(program: jax.stages.Compiled, arguments: bool = True) -> int:
    """Return the bytes of a program's results, temporary arrays and, if wanted, arguments."""
    analysis = program.memory_analysis()
    assert analysis is not None  # some backends do not tell
    taken = analysis.output_size_in_bytes + analysis.temp_size_in_bytes
    if not arguments:
        return taken
    return taken + analysis.argument_size_in_bytes - analysis.alias_size_in_bytes
