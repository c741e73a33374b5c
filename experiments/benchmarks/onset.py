"""The start of the oscillation: the alternating part of the iterates, and that of the rod.

Both are measured along the sharpest direction (the top eigenvector of P^-1 H at the iterates), on
the MLP of `study=papers` at the learning rates of the study. The alternating part of w[t] is

    (-1)^t (w[t] - 8 w[t+1] + 28 w[t+2] - .. + w[t+8]) / 2^8,

an eighth difference, which removes a smooth motion but for its eighth derivative. The x of the
signed rod is the same quantity (`rodflow.flows.rod`); it starts from its seed if that is larger.
"""

from collections.abc import Iterator
from math import comb
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import rodflow
from experiments import problems
from experiments.analysis.table import Table
from experiments.configuration import config
from experiments.setup import optimizers

OPTIMIZERS = ("adam", "scalar_adam")
ORDER = 8  # of the difference
EVERY, RECORDS = 10, 20
MODES = 4  # in the search for the sharpest one
COLUMNS = ["step", "effective sharpness", "iterates", "rod"]
FORMATS = {"iterates": ".1e", "rod": ".1e"}


class Onset(NamedTuple):
    """Effective sharpness at a step, and lengths along the sharpest direction."""

    step: int
    sharpness: float
    iterates: float
    rod: float


def alternating(path: Float[np.ndarray, "steps n"], step: int) -> Float[np.ndarray, " n"]:
    """Return the alternating part of w[t] at t = `step` up to its sign; `path` has all w[t]."""
    weights = [(-1) ** n * comb(ORDER, n) / 2**ORDER for n in range(ORDER + 1)]
    return np.tensordot(np.array(weights), path[step : step + ORDER + 1].astype(np.float64), axes=1)


def sharpest(
    iteration: rodflow.Iteration, state: rodflow.PhaseState
) -> tuple[Float[Array, ""], Float[Array, " n"]]:
    """Return the effective sharpness, and the covector that measures along its direction."""
    modes = rodflow.CentralFlow(modes=MODES).init(iteration, state)  # it finds those of a start
    vector, scale = modes.basis[0], modes.scale
    return modes.sharpness[0], vector / scale * jnp.linalg.norm(scale * vector)


def followed(
    problem: problems.Problem, name: str, rate: float, warmup: int, records: int = RECORDS
) -> Iterator[Onset]:
    """Follow the iterates of an optimizer and their rod flow; `problem` is raveled."""
    tx = optimizers.configured(
        config.load([f"optimizer={name}", f"optimizer.learning_rate={rate}"]).optimizer
    )
    tracker = rodflow.Tracker(problem.loss, tx, {"rod": rodflow.RodFlow()}, every=EVERY)
    iteration = rodflow.Iteration(problem.loss, tx)
    params = problem.init(jax.random.key(0))
    state = jax.jit(lambda p: tracker.init(p, warmup))(params)
    after = records * EVERY + ORDER

    def step(z: rodflow.PhaseState, _: None) -> tuple[rodflow.PhaseState, rodflow.PhaseState]:
        return iteration.step(z), z

    start, _ = jax.lax.scan(step, iteration.init(params), length=warmup)
    _, path = jax.jit(lambda z: jax.lax.scan(step, z, length=after + 1))(start)
    places = np.asarray(path.params)
    look = jax.jit(lambda z: sharpest(iteration, z))
    run = jax.jit(lambda state: tracker.run(state, 1)[0])
    for record in range(records + 1):
        at = record * EVERY
        sharpness, covector = look(jax.tree.map(lambda x, at=at: x[at], path))
        x = state.flows["rod"].y.x.params
        lengths = (abs(float(np.dot(covector, d))) for d in (alternating(places, at), x))
        yield Onset(at, float(sharpness), *lengths)
        state = run(state)


def onset() -> Iterator[Table]:
    """Follow the alternating parts of each optimizer."""
    study = config.load_study(["study=papers"])
    assert study.grid is not None
    problem = problems.raveled(problems.configured(config.load(study.grid.definitions["mlp"])))
    for name in OPTIMIZERS:
        rate = study.grid.learning_rates["mlp"][name]
        rows = [list(x) for x in followed(problem, name, rate, study.warmup)]
        title = f"{name}: alternating part along the sharpest direction of the mlp, lr {rate:g}"
        yield Table(title, COLUMNS, rows, FORMATS)
