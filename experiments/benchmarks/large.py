"""Memory and time of large networks: Adam on a causal transformer that sorts, one flow at a time.

Each flow follows a few steps in a process of its own, whose peak memory is read at its end.
*Allotted* is the memory that XLA asks for, in floats per parameter: three of them are the
parameters and moments of Adam.
"""

import resource
from collections.abc import Iterator
from functools import partial

import jax

import rodflow
from experiments import problems
from experiments.analysis.table import Table
from experiments.benchmarks.memory import allotted, compiled
from experiments.benchmarks.process import measured
from experiments.configuration import config
from experiments.configuration.functions import FlowName
from experiments.setup import optimizers
from experiments.setup.clock import timed

WIDTHS = (80, 256, 800)  # 1e5, 1e6 and 1e7 parameters
FLOWS = ("none", "stable", "rod")
STEPS = 2
COLUMNS = ["parameters", "flow", "allotted: floats each", "peak, GB", "s per step"]


def large() -> Iterator[Table]:
    """Measure every width with every flow."""
    rows = []
    for width in WIDTHS:
        for flow in FLOWS:
            found = measured(followed, width, flow)
            floats, peak, seconds = (found[key] for key in ("floats", "peak", "seconds"))
            row = f"{floats:.1f}", f"{peak:.2f}", f"{seconds:.3g}"
            rows.append([f"{found['parameters']:.3g}", flow, *row])
    yield Table("Adam on a transformer, one flow at a time", COLUMNS, rows)


def followed(width: int, flow: str) -> dict[str, int | float]:
    """Track a network of a width with one flow, and return its size, memory, time and distance."""
    sorting = ["data=sorting", "data.size=16"]
    chosen = config.load(["model=transformer", f"model.width={width}", *sorting])
    problem = problems.configured(chosen)
    flows = {} if flow == "none" else {flow: FlowName[flow](None)}
    tracker = rodflow.Tracker(
        problem.loss, optimizers.configured(chosen.optimizer), flows, every=STEPS
    )
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
