"""Random search with the same budget for every method."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.studies.root_free.methods import Hyperparameters
from experiments.studies.root_free.training import Outcome, Trainer


def drawn(ranges: Mapping[str, Sequence[float]], count: int, seed: int) -> Hyperparameters:
    """Draw configurations, log-uniform within `ranges`: name of a hyperparameter -> (least, most).

    All methods are given the same places in their ranges, one sequence of uniform numbers.
    """
    places = np.random.default_rng(seed).random((count, len(Hyperparameters._fields)))
    values = []
    for name, place in zip(Hyperparameters._fields, places.T, strict=True):
        least, most = ranges[name]
        values.append(least * (most / least) ** place)
    return Hyperparameters(*values)


class Search(NamedTuple):
    """Outcomes of a search `(configurations, seeds)`, and the index of the best configuration."""

    outcome: Outcome
    best: int


def search(train: Trainer, configurations: Hyperparameters, seeds: Sequence[int]) -> Search:
    """Train all configurations from all seeds, and find that of the best mean validation accuracy.

    Of equal ones it is the one with the lowest validation loss.
    """
    count = len(configurations.learning_rate)
    repeated = Hyperparameters(*(np.repeat(x, len(seeds)) for x in configurations))
    flat = train(repeated, np.tile(np.asarray(seeds), count))
    outcome = Outcome(*(x.reshape(count, len(seeds)) for x in flat))
    accuracy = outcome.validation_accuracy.mean(axis=1)
    order = np.lexsort((outcome.validation_loss.mean(axis=1), -accuracy))
    return Search(outcome, int(order[0]))


def chosen(configurations: Hyperparameters, index: int, runs: int) -> Hyperparameters:
    """Repeat one configuration for so many runs."""
    return Hyperparameters(*(np.full(runs, x[index]) for x in configurations))
