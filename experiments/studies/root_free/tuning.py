"""Random search with the same budget for every method, and intervals of what was chosen."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.studies.root_free.methods import Hyperparameters
from experiments.studies.root_free.training import Outcome, Trainer

RESAMPLES = 10_000


def drawn(ranges: Mapping[str, Sequence[float]], count: int, seed: int) -> Hyperparameters:
    """Draw configurations, log-uniform within `ranges`: name of a hyperparameter -> (least, most).

    The same places in the ranges for every method: one sequence of uniform numbers.
    """
    places = np.random.default_rng(seed).random((count, len(Hyperparameters._fields)))
    values = []
    for name, place in zip(Hyperparameters._fields, places.T, strict=True):
        least, most = ranges[name]
        values.append(least * (most / least) ** place)
    return Hyperparameters(*values)


class Search(NamedTuple):
    """What a search found: outcomes `(configurations, seeds)`, and which configuration is best."""

    configurations: Hyperparameters
    outcome: Outcome
    best: int


def search(train: Trainer, configurations: Hyperparameters, seeds: Sequence[int]) -> Search:
    """Train all configurations from all seeds; best is the highest mean validation accuracy.

    Of equal ones it is the one with the lowest validation loss.
    """
    count = len(configurations.learning_rate)
    repeated = Hyperparameters(*(np.repeat(x, len(seeds)) for x in configurations))
    flat = train(repeated, np.tile(np.asarray(seeds), count))
    outcome = Outcome(*(x.reshape(count, len(seeds)) for x in flat))
    accuracy = outcome.validation_accuracy.mean(axis=1)
    order = np.lexsort((outcome.validation_loss.mean(axis=1), -accuracy))
    return Search(configurations, outcome, int(order[0]))


def chosen(configurations: Hyperparameters, index: int, runs: int) -> Hyperparameters:
    """One configuration for so many runs."""
    return Hyperparameters(*(np.full(runs, x[index]) for x in configurations))


def interval(
    values: Float[np.ndarray, " runs"],
    statistic: Callable[..., np.ndarray] = np.mean,
    seed: int = 0,
) -> tuple[float, float, float]:
    """The statistic of the values with its 95 % bootstrap interval over runs (percentiles)."""
    picks = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(statistic(values[picks], axis=1), [0.025, 0.975])
    return float(statistic(values)), float(low), float(high)
