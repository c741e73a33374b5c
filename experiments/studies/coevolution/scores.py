"""Scores of trainings, and the ends of grids of learning rates."""

import numpy as np
from jaxtyping import Bool, Float

from experiments.studies.lanes import Numbers

SMALLEST = float(np.finfo(np.float32).tiny)
ROUNDING = 1e-6  # decades of loss that are within the rounding of single precision

Runs = Float[Numbers, "*many points seeds"]


def score(final: Numbers, initial: Numbers) -> np.ndarray:
    """Return -log10 of the final loss, at most the initial one; NaN where nothing was run."""
    ended = np.where(np.isfinite(final), np.minimum(final, initial), initial)
    return -np.log10(np.maximum(ended, SMALLEST))


def learned(scores: Runs, initial: Runs) -> Bool[np.ndarray, "*many"]:
    """Return True where the best point is below the loss at initialization."""
    return np.nanmax((scores + np.log10(initial)).mean(axis=-1), axis=-1) > ROUNDING


def at_ends(
    scores: Runs, initial: Runs
) -> tuple[Bool[np.ndarray, "*many"], Bool[np.ndarray, "*many"]]:
    """Return True where the best point is the first, and where it is the last, that was tried.

    It is neither if no point led below the loss at initialization.
    """
    mean = scores.mean(axis=-1)
    tried = ~np.isnan(mean)
    best = np.where(tried, mean, -np.inf).argmax(axis=-1)
    first = tried.argmax(axis=-1)
    last = tried.shape[-1] - 1 - tried[..., ::-1].argmax(axis=-1)
    moved = learned(scores, initial)
    return moved & (best == first), moved & (best == last)
