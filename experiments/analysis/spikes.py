"""Spikes of a series, which a loss has, and the running median that they are measured by."""

import numpy as np
from jaxtyping import Bool, Float

SPIKE = 1.5
"""A spike is a loss above so many times its running median."""
WINDOW = 100
"""Values before a spike that the running median is of."""


def running_median(values: Float[np.ndarray, " steps"], window: int = WINDOW) -> np.ndarray:
    """Return the median of the values before each; NaN before the tenth."""
    found = np.full(len(values), np.nan)
    for i in range(10, len(values)):
        past = values[max(0, i - window) : i]
        past = past[np.isfinite(past)]
        found[i] = np.median(past) if past.size else np.nan
    return found


def spikes(values: Float[np.ndarray, " steps"], window: int = WINDOW) -> list[int]:
    """Return where spikes begin: a loss above 1.5 times its running median, or no longer finite.

    What follows within a tenth of the window belongs to the same spike.
    """
    high: Bool[np.ndarray, " steps"] = values > SPIKE * running_median(values, window)
    high[1:] |= ~np.isfinite(values[1:]) & np.isfinite(values[:-1])
    return [first for first, _ in stretches(high, window // 10)]


def stretches(high: Bool[np.ndarray, " steps"], gap: int) -> list[tuple[int, int]]:
    """Return the first and the last index of each stretch of True; gaps up to `gap` belong to it.

    A gap is the distance from one True to the next.
    """
    found: list[tuple[int, int]] = []
    for i in map(int, np.flatnonzero(high)):
        if found and i - found[-1][1] <= gap:
            found[-1] = (found[-1][0], i)
        else:
            found.append((i, i))
    return found
