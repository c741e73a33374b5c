"""Search of the learning rate of every architecture, on a grid that is continued at its ends."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from experiments.studies.coevolution import scores
from experiments.studies.coevolution.training import Outcome

Index = Int[np.ndarray, " runs"]


class Ladder(NamedTuple):
    """A grid of points around 0, and its continuation."""

    points: int  # of the grid that all architectures have, an odd number
    widening: int  # points that it is continued by where the best is at an end
    widenings: int  # how often at most

    @property
    def places(self) -> Int[np.ndarray, " places"]:
        """Every point that a grid can come to have."""
        reach = self.points // 2 + self.widening * self.widenings
        return np.arange(-reach, reach + 1)


def searched(
    train: Callable[[Index, Index, Index], Outcome],
    ladder: Ladder,
    architectures: int,
    seeds: int,
    search_seeds: int,
) -> Outcome:
    """Train on the grid of every architecture, and continue it where its best is at an end.

    Args:
        train: indices of architectures, places and seeds, one of each a run -> outcomes.
        ladder: the grid.
        architectures: their number.
        seeds: their number.
        search_seeds: the number of seeds, the first ones, by which the best is found.

    Returns:
        The outcomes (architectures, places, seeds); NaN where nothing was tried.
    """
    shape = (architectures, len(ladder.places), seeds)
    found = Outcome(*(np.full(shape, np.nan) for _ in Outcome._fields))
    wanted = np.tile(abs(ladder.places) <= ladder.points // 2, (architectures, 1))
    for turn in range(ladder.widenings + 1):
        rows, columns = np.nonzero(wanted & np.isnan(found.initial[..., 0]))
        every = np.tile(np.arange(seeds), len(rows))
        outcome = train(np.repeat(rows, seeds), np.repeat(columns, seeds), every)
        for whole, part in zip(found, outcome, strict=True):
            whole[rows, columns] = part.reshape(len(rows), -1)
        final, initial = (x[..., :search_seeds] for x in (found.final, found.initial))
        low, high = scores.at_ends(scores.score(final, initial), initial)
        if turn == ladder.widenings or not (low | high).any():
            break
        for row in np.flatnonzero(low | high):
            first, last = np.flatnonzero(wanted[row])[[0, -1]]
            reach = ladder.widening * np.array([low[row], high[row]])
            wanted[row, first - reach[0] : last + 1 + reach[1]] = True
    return found
