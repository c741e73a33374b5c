"""Every continuous-time model on the default problem, in double precision.

A run agrees there with its twins until late, so that models can be told apart. Distances are to the
run, and to the mean of the run and seven twins; the floor is the distance of the twins themselves.
The time of a flow is what it adds to the iterates, in units of theirs.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

import rodflow
from experiments import problems
from experiments.analysis.comparison import onset
from experiments.analysis.numbers import number
from experiments.analysis.table import Cell, Table
from experiments.configuration import config
from experiments.setup.clock import best_seconds
from experiments.setup.flows import FLOWS

TWINS = 7
EVERY = 10
COLUMNS = ["model", "distance", "to the mean", "at the end", "loss error", "onset", "gradients"]
COLUMNS += ["HVPs", "thirds", "time"]
MODELS = {name: make(None) for name, make in FLOWS.items()} | {
    "rod_at_rest, 1e-3": FLOWS["rod_at_rest"](1e-3)
}


class Case(NamedTuple):
    """Chain, steps before tracking, steps tracked, and the models that do not apply."""

    tx: optax.GradientTransformation
    warmup: int
    num_steps: int
    without: tuple[str, ...] = ()


def cases() -> dict[str, Case]:
    """Return the runs by name: gradient descent, RMSProp, its scalar form, and Adam."""
    adam = optax.adam(1e-3, b2=0.99)
    rmsprop = partial(optax.rmsprop, decay=0.99, eps_in_sqrt=False, bias_correction=True)
    return {
        "gd(.2)": Case(optax.sgd(0.2), 0, 1200),
        "rmsprop(2e-4)": Case(rmsprop(2e-4), 10, 800),
        "scalar_rmsprop(.02)": Case(rodflow.scalar_rmsprop(0.02, b2=0.99), 10, 800),
        # The field of the correction is singular at the first step of Adam, and the free energy is
        # not defined with momentum.
        "adam(1e-3)": Case(adam, 20, 800, ("corrected", "free_energy")),
        # From shortly before the edge, where momentum has left little of an earlier oscillation.
        "adam(1e-3) from step 220": Case(adam, 220, 600, ("corrected", "free_energy")),
    }


def double_precision() -> Iterator[Table]:
    """Compare the models on every case."""
    for name, case in cases().items():
        with jax.enable_x64(True):
            shown = compared(name, case)
        yield shown


def compared(name: str, case: Case) -> Table:
    """Track a case with all models that apply to it, and time each model."""
    problem = problems.raveled(problems.configured(config.load()))
    params = problem.init(jax.random.key(0)).astype(jnp.float64)
    flows = {label: flow for label, flow in MODELS.items() if label not in case.without}
    tracker = rodflow.Tracker(problem.loss, case.tx, flows, every=EVERY, twins=TWINS)
    _, tracking = tracker.run(tracker.init(params, case.warmup), case.num_steps // EVERY)
    alone = {label: {label: flow} for label, flow in flows.items()} | {"iterates": {}}
    runs = {label: _last_steps(problem.loss, params, case, flow) for label, flow in alone.items()}
    return table(name, jax.tree.map(np.asarray, tracking), best_seconds(runs))


def table(name: str, tracking: Any, seconds: Mapping[str, float]) -> Table:
    """Tabulate a tracking with twins, and the seconds of the iterates and with each flow."""
    began = onset(tracking.oscillation, tracking.steps)
    rows: list[list[Cell]] = []
    for label, flow in tracking.flows.items():
        rows.append(
            [
                label,
                float(np.mean(flow.distance)),
                float(np.mean(flow.ensemble_distance)),
                float(flow.ensemble_distance[-1]),
                float(np.mean(flow.ensemble_loss_error)),
                _began(flow.extent, tracking.steps),
                *(float(np.mean(x)) for x in (flow.gradients, flow.hessians, flow.thirds)),
                (seconds[label] - seconds["iterates"]) / seconds["iterates"],
            ]
        )
    floor = f"floor {number(np.mean(tracking.floor))} in the mean, {number(tracking.floor[-1])}"
    title = f"{name}: {floor} at the end; oscillation from step {began:.0f}"
    return Table(title, COLUMNS, rows, {"onset": ".0f"})


def _began(extent: np.ndarray, steps: np.ndarray) -> Cell:
    """Return the step at which the oscillation of a flow begins; None if it cannot oscillate."""
    began = onset(extent, steps)
    return None if not extent.any() else "never" if np.isnan(began) else began


def _last_steps(
    loss: Callable[[PyTree], Array], params: PyTree, case: Case, flows: Mapping
) -> Callable[[], PyTree]:
    """Return a run of the last hundred steps, where a flow has the most to do."""
    tracker = rodflow.Tracker(loss, case.tx, flows, every=EVERY)
    state = tracker.init(params, case.warmup)
    for _ in range(case.num_steps // 100 - 1):
        state, _ = tracker.run(state, 10)
    return partial(tracker.run, state, 10)
