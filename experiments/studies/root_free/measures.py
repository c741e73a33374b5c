"""Measures of the study, made once from its results: means with intervals, exponents, ratios."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from experiments.analysis.numbers import Interval, mean_interval

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
"""Expected exponents of the best learning rate in the batch size."""
HALVES = {"half_": True, "bare_half_": False}
"""Prefixes of the names of runs in bfloat16 -> True if rounding is compensated in them."""


class Tested(NamedTuple):
    """The test runs of a method on a model.

    Attributes:
        accuracy: of the test set in float32 and, by the prefixes of `HALVES`, in bfloat16.
        above: test accuracy minus that of SGD and of the parent, from the same seeds.
        loss: of the test set.
        train_loss: the mean of the seeds.
        half_ratios: mean training loss in bfloat16 over that in float32, for each of `HALVES`.
        learning_rate: of the chosen configuration.
    """

    accuracy: dict[str, Interval]
    above: dict[str, Interval]
    loss: Interval
    train_loss: float
    half_ratios: list[float]
    learning_rate: float


class BestRates(NamedTuple):
    """Best learning rate at each batch size, and its exponent in the batch size.

    `interior` is True where there are worse learning rates on both sides.
    """

    rates: np.ndarray
    interior: np.ndarray
    exponent: float


class Measures(NamedTuple):
    """Everything that is shown.

    Attributes:
        results: of the study.
        tested: (model, method) -> test runs.
        best: method -> best learning rates.
        improvement: method -> mean distance of the stable flow over that of the rod flow.
    """

    results: xr.Dataset
    tested: dict[tuple[str, str], Tested]
    best: dict[str, BestRates]
    improvement: dict[str, float]


def measured(results: xr.Dataset) -> Measures:
    """Compute all measures."""
    distances = results[["stable_distance", "rod_distance"]].mean("time", skipna=False)
    ratio = distances.stable_distance / distances.rod_distance
    tested = {
        (str(model), method): _tested(results.sel(model=model), method)
        for model in results.model.values
        for method in LABELS
    }
    best = {method: best_rates(results.sel(scaled=method)) for method in EXPONENTS}
    return Measures(results, tested, best, {m: float(ratio.sel({"method": m})) for m in LABELS})


def _tested(results: xr.Dataset, method: str) -> Tested:
    one = results.sel({"method": method})
    others = dict.fromkeys(["sgd", PARENTS.get(method, "sgd")])
    accuracies = {name: results.test_accuracy.sel({"method": name}).values for name in others}
    losses = {prefix: float(one[f"{prefix}train_loss"].mean()) for prefix in ("", *HALVES)}
    return Tested(
        {prefix: mean_interval(one[f"{prefix}test_accuracy"].values) for prefix in ("", *HALVES)},
        {name: mean_interval(one.test_accuracy.values - x) for name, x in accuracies.items()},
        mean_interval(one.test_loss.values),
        losses[""],
        [losses[prefix] / losses[""] for prefix in HALVES],
        float(one.drawn_learning_rate[int(one.best)]),
    )


def best_rates(one: xr.Dataset) -> BestRates:
    """Find the best learning rates of a method.

    Each is the vertex of the parabola through the logarithms of the lowest loss and its neighbours.
    """
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
    slope = np.polyfit(np.log(one.batch_size.values), np.log(found), 1)[0]
    return BestRates(np.array(found), np.array(interior), float(slope))
