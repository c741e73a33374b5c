"""Measures of the study, made once from its results: climbs, and the readings that foretell them.

A *run* is one arm at one learning rate from one initial weights. Its readings are the medians of
spread and sharpness over the measurements within the first steps. It *climbs* by the ratio of the
largest loss on the training set to the loss at the start. (The least loss so far is no reference:
where it is 1e-3, single batches multiply it by large factors.) A reading is judged by the share of
the pairs of runs with different climbs in which the run that climbs further has the larger reading,
ties being half: 1 foretells climbs, 1/2 says nothing. The learning rate foretells them too, but not
within pairs of runs at the same one.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

FIRST = 10  # steps: where Liu et al. see gradients vanish, and the memory of the momentum
READINGS = {"spread": "variance of the ratio", "sharpness": "effective sharpness"}
RUNS = ("arm", "gradients", "learning_rate", "init")


class Order(NamedTuple):
    """Share of the pairs that a reading puts in order, ties being half; and their number."""

    share: float
    pairs: int


class Measures(NamedTuple):
    """Everything that is shown.

    Attributes:
        results: of the study.
        rate: the learning rate whose curves are drawn.
        runs: results with an adaptive ratio, with `climb`, and the readings `early_spread` and
            `early_sharpness` of each run.
        magnitude: median of log10 |g| with minibatches at `rate` (arm, step), to a bin, of the mean
            histogram of all initial weights.
        orders: reading -> pairs of runs -> how far the reading puts them in order.
    """

    results: xr.Dataset
    rate: float
    runs: xr.Dataset
    magnitude: xr.DataArray
    orders: dict[str, dict[str, Order]]


def measured(results: xr.Dataset) -> Measures:
    """Compute all measures."""
    rate = float(results.attrs["shown"])
    runs = results.drop_sel(arm="SGD")
    early = runs[list(READINGS)].where(runs.time <= FIRST, drop=True).median("time")
    runs = runs.merge(early.rename({name: f"early_{name}" for name in READINGS}))
    runs["climb"] = climb(runs)
    histogram = results.histogram.sel(gradients="minibatch", learning_rate=rate)
    return Measures(results, rate, runs, magnitude(histogram), _orders(runs))


def climb(results: xr.Dataset) -> xr.DataArray:
    """Return the largest loss over that at the start; infinite for a run that diverged."""
    loss = results.loss.where(np.isfinite(results.loss), np.inf)
    return loss.max("step") / loss.isel(step=0, drop=True)


def magnitude(histogram: xr.DataArray) -> xr.DataArray:
    """Return the median of a histogram of log10 |g|, of the mean of all initial weights."""
    cumulative = histogram.mean("init").cumsum("bin")
    reached = (cumulative >= 0.5 * cumulative.isel(bin=-1)).argmax("bin")
    return histogram.bin[reached].drop_vars("bin")


def concordance(values: np.ndarray, climbs: np.ndarray, groups: np.ndarray | None = None) -> Order:
    """Compare the order of a reading with that of the climbs.

    Args:
        values: the reading of each run.
        climbs: the climb of each run; pairs of equal climbs do not count.
        groups: group of each run; pairs are of one group only, if given.
    """
    pairs = climbs[:, None] > climbs[None, :]
    if groups is not None:
        pairs &= groups[:, None] == groups[None, :]
    above = (values[:, None] > values[None, :]) + 0.5 * (values[:, None] == values[None, :])
    count = int(pairs.sum())
    return Order(float(above[pairs].mean()) if count else float("nan"), count)


def _orders(runs: xr.Dataset) -> dict[str, dict[str, Order]]:
    climbs = runs.climb.transpose(*RUNS)

    def flat(values: xr.DataArray) -> np.ndarray:
        return values.broadcast_like(climbs).transpose(*RUNS).values.ravel()

    happened, rate, gradients = map(flat, (climbs, runs.learning_rate, runs.gradients))
    readings = {label: flat(runs[f"early_{name}"]) for name, label in READINGS.items()}
    everything = np.ones(happened.size, bool)
    cases = {
        "all pairs": (everything, np.zeros_like(rate)),
        "pairs of one lr": (everything, rate),
        "minibatch, of one lr": (gradients == "minibatch", rate),
        "full batch, of one lr": (gradients == "full batch", rate),
    }
    return {
        label: {
            case: concordance(values[chosen], happened[chosen], groups[chosen])
            for case, (chosen, groups) in cases.items()
        }
        for label, values in (readings | {"learning rate": rate}).items()
    }
