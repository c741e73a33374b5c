"""The main job: train a network, follow it with the stable flow and the rod flow, and time each."""

import inspect
import time
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import optax
import xarray as xr
from jaxtyping import Array, Float, PyTree

import rodflow
from experiments import problems, results
from experiments.config import OptimizerConfig, RunConfig

MODES = 2  # leading eigenvalues that a run records
CHUNKS = 20  # pieces that the progress bar moves in, at least


def optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Build the Optax chain that a configuration names.

    Raises:
        ValueError: there is no such optimizer, or it has no such hyperparameter.
    """
    if config.name not in rodflow.OPTIMIZERS:
        allowed = ", ".join(rodflow.OPTIMIZERS)
        raise ValueError(f"optimizer.name={config.name}: no such optimizer; choose from {allowed}")
    constructor = rodflow.OPTIMIZERS[config.name]
    known = [name for name in inspect.signature(constructor).parameters if name != "learning_rate"]
    for name in config.hyperparameters:
        if name not in known:
            raise ValueError(
                f"optimizer.hyperparameters.{name}: {config.name} has no such hyperparameter; "
                f"it has {', '.join(known)}"
            )
    return constructor(config.learning_rate, **config.hyperparameters)


def run(config: RunConfig, report: Callable[[str, int, int], None]) -> xr.Dataset:
    """Run the main job.

    The numbers come from one program in which the iterates, their twins and both flows move in
    lockstep. The times come from smaller programs, each run once to compile and once for the clock.

    Args:
        config: what to run.
        report: called with what is being done, the steps done, and the steps in total.

    Returns:
        The labelled results.
    """
    problem = problems.configured(config)
    tx = optimizer(config.optimizer)
    rod = partial(rodflow.RodFlow, closure=rodflow.SignedRod(seed=jnp.asarray(config.kappa)))
    flows = {"stable": rodflow.StableFlow, "rod": rod}
    key = jax.random.key(config.seed)
    params = problem.init(key)

    def observe(state: rodflow.PhaseState) -> Float[Array, " modes"]:
        return rodflow.effective_sharpness(problem.loss, tx, state, k=MODES)

    def start(**options):
        tracker = rodflow.Tracker(problem.loss, tx, every=config.every, **options)
        state = tracker.init(params, warmup=config.warmup, key=jax.random.fold_in(key, 1))
        return tracker, state

    def clock(label: str, flows: dict) -> float:
        tracker, state = start(flows=flows)
        jax.block_until_ready(tracker.run(state, _chunk(config)))
        begin = time.perf_counter()
        for _ in _advance(tracker, state, config, partial(report, label)):
            pass
        return time.perf_counter() - begin

    report("compiling", 0, config.num_steps)
    tracker, state = start(flows=flows, twins=config.twins, observe=observe)
    parts = list(_advance(tracker, state, config, partial(report, "tracking")))
    tracking = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)

    seconds = {"discrete": clock("timing the iterates", {})}
    for name, flow in flows.items():
        seconds[name] = clock(f"timing the {name} flow", {name: flow}) - seconds["discrete"]
    return results.dataset(config, tracking, seconds)


def _chunk(config: RunConfig) -> int:
    """Records in a piece: all pieces are of one size, so that they share one compiled program."""
    records = config.num_steps // config.every
    return max(n for n in range(1, max(1, records // CHUNKS) + 1) if records % n == 0)


def _advance(
    tracker: rodflow.Tracker,
    state: PyTree,
    config: RunConfig,
    report: Callable[[int, int], None],
) -> Iterator[rodflow.Tracking]:
    chunk = _chunk(config)
    for done in range(chunk, config.num_steps // config.every + 1, chunk):
        state, tracking = tracker.run(state, chunk)
        yield jax.block_until_ready(tracking)
        report(done * config.every, config.num_steps)
