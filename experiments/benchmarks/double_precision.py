"""Every continuous-time model on the problem of MATH.md section 8, in double precision.

There a run agrees with its twins until late, so that models can be told apart: their distances are
to the run, and to the mean of the run and seven twins, beside the distance of the twins themselves.
A flow's time is what it takes on top of the iterates, in units of theirs.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import rodflow
from experiments import problems
from experiments.analysis.comparison import onset
from experiments.analysis.numbers import number
from experiments.configuration import config
from experiments.configuration.functions import FlowName
from experiments.setup.clock import best_seconds

TWINS = 7
EVERY = 10

MODELS = {name.name: name(None) for name in FlowName} | {
    "rod_at_rest, 1e-3": FlowName.rod_at_rest(1e-3)
}


class Case(NamedTuple):
    """A chain, the steps before tracking, the steps tracked, and the models that do not apply."""

    tx: optax.GradientTransformation
    warmup: int
    num_steps: int
    without: tuple[str, ...] = ()


def cases() -> dict[str, Case]:
    """The runs of MATH.md section 8 in double precision, and Adam."""
    adam = optax.adam(1e-3, b2=0.99)
    rmsprop = partial(optax.rmsprop, decay=0.99, eps_in_sqrt=False, bias_correction=True)
    return {
        "gd(.2)": Case(optax.sgd(0.2), 0, 1200),
        "rmsprop(2e-4)": Case(rmsprop(2e-4), 10, 800),
        "scalar_rmsprop(.02)": Case(rodflow.scalar_rmsprop(0.02, b2=0.99), 10, 800),
        # No correction: its field has a singularity at the first step. No free energy: momentum.
        "adam(1e-3)": Case(adam, 20, 800, ("corrected", "free_energy")),
        # From shortly before the edge: the oscillation that is there is what momentum left of it.
        "adam(1e-3), late start": Case(adam, 220, 600, ("corrected", "free_energy")),
    }


def peers(console: Console) -> None:
    """Print a table for each optimizer."""
    with jax.enable_x64(True):
        problem = problems.raveled(problems.configured(config.load()))
        params = problem.init(jax.random.key(0)).astype(jnp.float64)
        for name, case in cases().items():
            flows = {label: flow for label, flow in MODELS.items() if label not in case.without}
            console.print(_table(name, problem.loss, params, case, flows))


def _table(name, loss, params, case, flows) -> Table:
    tracker = rodflow.Tracker(loss, case.tx, flows, every=EVERY, twins=TWINS)
    state = tracker.init(params, case.warmup)
    _, tracking = tracker.run(state, case.num_steps // EVERY)
    tracking = jax.tree.map(np.asarray, tracking)
    seconds = best_seconds(
        {label: _timed(loss, params, case, {label: flows[label]}) for label in flows}
        | {"iterates": _timed(loss, params, case, {})}
    )
    floor = np.mean(tracking.floor)
    began = onset(tracking.oscillation, tracking.steps)
    table = Table(
        title=f"{name}: floor {number(floor)} in the mean, "
        f"{number(tracking.floor[-1])} at the end; oscillation from step {began:.0f}"
    )
    headings = ("distance", "to the mean", "at the end", "loss error", "onset", "gradients", "HVPs")
    table.add_column("model")
    for heading in (*headings, "thirds", "time"):
        table.add_column(heading, justify="right")
    for label, flow in tracking.flows.items():
        table.add_row(
            label,
            number(np.mean(flow.distance)),
            number(np.mean(flow.ensemble_distance)),
            number(flow.ensemble_distance[-1]),
            number(np.mean(flow.ensemble_loss_error)),
            f"{onset(flow.extent, tracking.steps):.0f}" if flow.extent.any() else "-",
            *(number(np.mean(work)) for work in (flow.gradients, flow.hessians, flow.thirds)),
            number((seconds[label] - seconds["iterates"]) / seconds["iterates"]),
        )
    return table


def _timed(loss, params, case, flows) -> Callable[[], object]:
    """The last hundred steps, where a flow has the most to do; one program for each call."""
    tracker = rodflow.Tracker(loss, case.tx, flows, every=EVERY)
    state = tracker.init(params, case.warmup)
    state, _ = tracker.run(state, 10)
    for _ in range(case.num_steps // 100 - 2):
        state, _ = tracker.run(state, 10)
    return partial(tracker.run, state, 10)
