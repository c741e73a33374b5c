"""What tables, figures and findings of the study are made of: numbers from its results."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from experiments.studies.root_free.tuning import interval

LABELS = {
    "sgd": "SGD",
    "adamw": "AdamW",
    "rf_adamw": "RF-AdamW",
    "rmsprop": "RMSProp",
    "rf_rmsprop": "RF-RMSProp",
    "if_shampoo": "IF-Shampoo",
}
PARENTS = {"rf_adamw": "adamw", "rf_rmsprop": "rmsprop"}
EXPONENTS = {"rmsprop": 0.5, "rf_rmsprop": 1.0}
HALVES = {"half_": True, "bare_half_": False}
"""Names of what is of runs in bfloat16 -> whether what rounding takes is compensated."""


class Interval(NamedTuple):
    """A mean with its 95 % bootstrap interval over the test seeds."""

    mean: float
    low: float
    high: float

    def text(self, factor: int | float = 1, digits: int = 1) -> str:
        """As `mean [low, high]`."""
        mean, low, high = (f"{factor * x:.{digits}f}" for x in self)
        return f"{mean} [{low}, {high}]"


def values(results: xr.Dataset, name: str, model: str, method: str) -> np.ndarray:
    """Return a quantity of the runs of a method on a model."""
    return results[name].sel({"model": model, "method": method}).values


def mean(results: xr.Dataset, name: str, model: str, method: str) -> Interval:
    """Return the mean of a quantity over the test seeds."""
    return Interval(*interval(values(results, name, model, method)))


def gap(results: xr.Dataset, model: str, method: str, other: str) -> Interval:
    """Test accuracy of a method minus that of another from the same seeds."""
    pair = (values(results, "test_accuracy", model, key) for key in (method, other))
    return Interval(*interval(np.subtract(*pair)))


def half_ratios(results: xr.Dataset, model: str, method: str) -> list[float]:
    """Mean final training loss in bfloat16 over that in float32, for each of `HALVES`."""

    def loss(prefix: str) -> float:
        return float(values(results, f"{prefix}train_loss", model, method).mean())

    return [loss(prefix) / loss("") for prefix in HALVES]


def best_rates(results: xr.Dataset, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Best learning rate at each batch size, and whether there are worse ones on both sides.

    The vertex of the parabola through the logarithms of the lowest loss and its neighbours.
    """
    one = results.sel(scaled=method)
    rates = np.log(one.scaling_rate.values)
    found, interior = [], []
    for size in one.batch_size.values:
        losses = np.log(one.scaling_loss.sel(batch_size=size)).mean("scaling_seed").values
        at = int(np.argmin(losses))
        inside = 0 < at < len(rates) - 1
        vertex = rates[at]
        if inside and np.isfinite(losses[at - 1 : at + 2]).all():
            left, middle, right = losses[at - 1 : at + 2]
            bend = left - 2 * middle + right
            if bend > 0:
                vertex += (rates[at + 1] - rates[at]) * (left - right) / (2 * bend)
        found.append(np.exp(vertex))
        interior.append(inside)
    return np.array(found), np.array(interior)


def exponent(results: xr.Dataset, method: str) -> float:
    """Slope of the logarithm of the best learning rate in that of the batch size."""
    rates, _ = best_rates(results, method)
    return float(np.polyfit(np.log(results.batch_size.values), np.log(rates), 1)[0])


def improvement(results: xr.Dataset, method: str) -> float:
    """Mean distance of the stable flow to the iterates over that of the rod flow."""
    one = results.sel({"method": method})
    return float(one.stable_distance.mean(skipna=False) / one.rod_distance.mean(skipna=False))
