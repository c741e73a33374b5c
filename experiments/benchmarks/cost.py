"""Wall clock of each flow relative to the discrete run, in programs that differ by the flow."""

from collections.abc import Iterator
from functools import partial

import jax

import rodflow
from experiments import problems
from experiments.analysis.table import Table
from experiments.benchmarks.tracking import chain
from experiments.configuration import config
from experiments.setup.clock import best_seconds

COLUMNS = ["optimizer", "discrete", "rod", "rod / discrete", "stable / discrete"]
FORMATS = {"rod / discrete": ".1f", "stable / discrete": ".1f"}
RUNS = {
    "discrete": {},
    "rod": {"rod": rodflow.RodFlow()},
    "stable": {"stable": rodflow.StableFlow()},
}


def cost() -> Iterator[Table]:
    """Time 600 steps of gradient descent and of Adam; a flow by what it adds to the iterates."""
    problem = problems.configured(config.load())
    params = problem.init(jax.random.key(0))
    rows = []
    for name in ("gd", "adam"):
        runs = {}
        for label, flows in RUNS.items():
            tracker = rodflow.Tracker(problem.loss, chain(name), flows)
            runs[label] = partial(tracker.run, tracker.init(params, warmup=20), 60)
        rows.append([name, *entries(best_seconds(runs))])
    title = "Cost of 600 steps: seconds, and wall clock relative to the discrete run"
    yield Table(title, COLUMNS, rows, FORMATS)


def entries(seconds: dict[str, float]) -> list[float]:
    """Return the seconds of the iterates and the rod flow, and both flows in units of the first."""
    alone = seconds["discrete"]
    rod, stable = (seconds[flow] - alone for flow in ("rod", "stable"))
    return [alone, rod, rod / alone, stable / alone]
