"""Distances of rod flows to the iterates of every optimizer and chain, from three seeds each.

The seeds are lanes of one program on the default problem. The floor, which no model can be asked to
be below, is the distance of twins of a run, which start one rounding unit apart.
"""

from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key

import rodflow
from experiments import problems
from experiments.analysis.table import Cell, Table
from experiments.benchmarks import Note
from experiments.configuration import config
from experiments.setup import optimizers

SEEDS = 3
# The improvement that each optimizer is held to, at the learning rate of its configuration.
TARGETS = {
    "gd": 15,
    "heavy_ball": 1,
    "nesterov": 1,
    "scalar_rmsprop": 20,
    "rmsprop": 20,
    "scalar_adam": 15,
    "adam": 20,
    "scalar_nadam": 20,
    "nadam": 20,
    "radam": 15,
    "adam_warmup": 15,
    "rf_rmsprop": 10,
    "rf_adamw": 1,
    "if_shampoo": 1,
}
# Chains that no configuration names, and the improvement they are held to.
CHAINS: dict[str, tuple[Callable[[], optax.GradientTransformation], int]] = {
    "sgd(.2, momentum=.5, nesterov)": (
        lambda: optax.sgd(0.2, momentum=0.5, nesterov=True),
        15,
    ),
    "sgd(.4, momentum=.5)": (lambda: optax.sgd(0.4, momentum=0.5), 4),
    "adamw(1e-3, weight_decay=.1)": (lambda: optax.adamw(1e-3, b2=0.99, weight_decay=0.1), 15),
    "adabelief(1e-3)": (lambda: optax.adabelief(1e-3, b2=0.99), 1),
    "clip + adam + cosine": (
        lambda: optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adam(optax.cosine_decay_schedule(1e-3, 620), b2=0.99),
        ),
        15,
    ),
    "lion(1e-4)": (lambda: optax.lion(1e-4), 3),
}
RODS = {"stable": rodflow.StableFlow(), "signed": rodflow.RodFlow()} | {
    f"rank {rank}": rodflow.RodFlow(closure=rodflow.CovarianceRod(rank=rank)) for rank in (1, 4)
}


def tracking() -> Iterator[Table | str]:
    """Track every chain with the stable flow, the rod flow and twins."""
    flows = {"stable": rodflow.StableFlow(), "rod": rodflow.RodFlow()}
    rows: list[list[Cell]] = []
    for name, target in targets().items():
        result = over_seeds(chain(name), flows)
        rows.append([name, *entries(result, target)])
        yield Note(f"{name}: {np.asarray(result.improvement()['rod'])}")
    columns = ["chain", *(f"seed {seed}" for seed in range(SEEDS)), "median", "target"]
    columns += ["stable / floor", "distance / floor"]
    title = "Improvement of the rod flow over the stable flow, for each seed"
    yield Table(title, columns, rows)


def covariance() -> Iterator[Table | str]:
    """Compare the distances of the rods on the nine optimizers of the papers."""
    rows: list[list[Cell]] = []
    for name in rodflow.OPTIMIZERS:
        ratios = distance_ratios(over_seeds(chain(name), RODS, twins=0))
        rows.append([name, *(ratio for pair in ratios.values() for ratio in pair)])
        yield Note(f"{name}: {rows[-1][1:]}")
    columns = [f"{flow}, {which}" for flow in list(RODS)[1:] for which in ("mean", "end")]
    title = f"Rods: the stable flow's distance over each one's, medians of {SEEDS} seeds"
    yield Table(title, ["optimizer", *columns], rows)


def targets() -> dict[str, int]:
    """Return every chain of the benchmark with its target."""
    return TARGETS | {name: target for name, (_, target) in CHAINS.items()}


def chain(name: str) -> optax.GradientTransformation:
    """Build a chain of the benchmark, the optimizers by their configurations."""
    if name in CHAINS:
        return CHAINS[name][0]()
    return optimizers.configured(config.load([f"optimizer={name}"]).optimizer)


def over_seeds(
    tx: optax.GradientTransformation, flows: Mapping, twins: int = 2
) -> rodflow.Tracking:
    """Track a chain on the default problem; leaves have shape (seeds, records)."""
    loss, init = problems.configured(config.load())

    @jax.jit
    @jax.vmap
    def lane(key: Key[Array, ""]) -> rodflow.Tracking:
        return rodflow.track(loss, tx, init(key), flows=flows, twins=twins)

    return lane(jax.vmap(jax.random.key)(jnp.arange(SEEDS)))


def entries(result: rodflow.Tracking, target: int) -> list[Cell]:
    """Return the improvement of each seed, its median and target, and distances over the floor."""
    improvement = np.asarray(result.improvement()["rod"])
    assert result.floor is not None  # there are twins
    floor = np.mean(np.asarray(result.floor), axis=-1)
    stable, rod = (np.mean(flow.distance, axis=-1) / floor for flow in result.flows.values())
    return [
        *map(float, improvement),
        float(np.median(improvement)),
        target,
        float(np.median(stable)),
        float(np.median(rod)),
    ]


def distance_ratios(result: rodflow.Tracking) -> dict[str, tuple[float, float]]:
    """Return medians over seeds of the stable flow's distance over that of each other flow.

    The first is the ratio of the means over the run, the second that at its end.
    """
    distance = {name: np.asarray(flow.distance) for name, flow in result.flows.items()}
    stable = distance.pop("stable")
    return {
        name: (
            float(np.median(stable.mean(-1) / each.mean(-1))),
            float(np.median(stable[:, -1] / each[:, -1])),
        )
        for name, each in distance.items()
    }
