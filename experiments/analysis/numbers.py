"""Numbers as texts, and statistics that leave missing values out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

ENDS = (0.025, 0.975)  # quantiles at the ends of a 95 % interval
RESAMPLES = 10_000


def number(value: int | float | np.floating, digits: int = 3) -> str:
    """Write so many significant digits; powers of ten only where the number is tiny or huge."""
    value = float(value)
    if np.isnan(value):
        return "n/a"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        decimals = digits - 1 - int(f"{value:.{digits - 1}e}".partition("e")[2])
        return f"{round(value, decimals):.{max(decimals, 0)}f}"
    return f"{value:.{digits}g}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")


def trimmed(value: xr.DataArray | float) -> str:
    """Write three significant digits without trailing zeros; powers of ten only if it is tiny."""
    value = float(value)
    if not np.isfinite(value):
        return "nan" if np.isnan(value) else "inf"
    if value == 0 or abs(value) >= 1e-4:
        return np.format_float_positional(value, precision=3, fractional=False, trim="-")
    return f"{value:.2g}"


def median(values: Sequence[float] | np.ndarray | xr.DataArray) -> float:
    """Return the median of the numbers among the values; NaN if there are none."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    return float(np.median(values)) if values.size else float("nan")


class Interval(NamedTuple):
    """A statistic with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, write: Callable[[float], str]) -> str:
        """Write `value [low, high]`."""
        value, low, high = map(write, self)
        return f"{value} [{low}, {high}]"


def mean_interval(values: Float[np.ndarray, " runs"]) -> Interval:
    """Return the mean of some runs with its interval, by a bootstrap over the runs."""
    picks = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(np.mean(values[picks], axis=1), ENDS)
    return Interval(float(np.mean(values)), float(low), float(high))
