"""Numbers that follow from the paths of a run on its plane."""

import numpy as np
from jaxtyping import Float

WINDOW = 9  # steps of a running mean

_Path = Float[np.ndarray, "steps axes"]


def alternation(path: _Path) -> _Path:
    """Return w[t] - wmid[t] for the coordinates w, and NaN at the first and the last step.

    wmid[t] = (w[t-1] + 2 w[t] + w[t+1]) / 4 is the midpoint of the iterates.
    """
    found = np.full_like(path, np.nan)
    found[1:-1] = (2 * path[1:-1] - path[:-2] - path[2:]) / 4
    return found


def variance(displacements: _Path) -> _Path:
    """Return the running mean of the squares; shorter windows at the ends."""
    squares = np.square(displacements)
    known = np.isfinite(squares)
    ones = np.ones(WINDOW)

    def summed(column: np.ndarray) -> np.ndarray:
        return np.convolve(column, ones, "same")[: len(column)]

    total = np.apply_along_axis(summed, 0, np.where(known, squares, 0.0))
    count = np.apply_along_axis(summed, 0, known.astype(float))
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0.5)
    return np.where(known, mean, np.nan)


def first_burst(path: _Path, width: int) -> slice:
    """Return a window of so many steps around the first large oscillation of the iterates.

    Large is half of the largest. A third of the window comes before it.
    """
    sizes = np.nan_to_num(np.linalg.norm(alternation(path), axis=1), nan=0.0)
    large = int(np.argmax(2 * sizes >= sizes.max()))
    first = max(0, min(large - width // 3, len(path) - width))
    return slice(first, min(first + width, len(path)))
