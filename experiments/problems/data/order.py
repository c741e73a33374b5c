"""Orders of the samples of a data set, such that every prefix of them represents the whole."""

import numpy as np
from jaxtyping import Int

GOLDEN_RATIO = (1 + 5**0.5) / 2


def alternating(labels: Int[np.ndarray, " samples"]) -> Int[np.ndarray, " samples"]:
    """Return an order of the samples in which the classes alternate: 0, 1, 2, ..., 0, 1, 2, ...

    Within a class the samples keep their order. Once a class has no more samples, the others go on.
    """
    rank_in_class = np.empty_like(labels)
    for label in np.unique(labels):
        members = labels == label
        rank_in_class[members] = np.arange(members.sum())
    return np.lexsort((labels, rank_in_class))


def spread(count: int) -> Int[np.ndarray, " count"]:
    """Return an order of `range(count)` whose every prefix lies evenly in it.

    The k-th number is the rank of the fractional part of k times the golden ratio, a sequence that
    fills the unit interval evenly.
    """
    return np.argsort(np.argsort(np.arange(count) * GOLDEN_RATIO % 1))
