"""The statistics of a co-evolution study, beside its table and with their uncertainties."""

from functools import partial

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from experiments.studies.coevolution import interaction
from experiments.studies.coevolution.contenders import CONTROLS
from experiments.studies.coevolution.genome import Many
from experiments.studies.coevolution.interaction import Scores, Statistics

SMALLEST = float(np.finfo(np.float32).tiny)
ROUNDING = 1e-6  # decades of loss that are within the rounding of single precision
SEED = 0  # of bootstrap and permutations
# name -> dimensions beside those of the ends of its interval
DIMENSIONS = {
    "transfer": ("selected_under", "trained_with"),
    "interaction": ("selected_under", "trained_with"),
    "random": ("trained_with",),
    "advantage_of_own": ("trained_with",),
    "rank_shift": ("trained_with",),
    "lead_of_shift": ("trained_with",),
    "regret": ("trained_with",),
    "breadth": ("trained_with",),
    "shares": ("source",),
    "diagonal_advantage": (),
    "joint": (),
    "control_advantage_of_own": (),
    "control_rank_shift": (),
    "basis_everywhere": (),
    "basis_selected": (),
}


def score(final: Many, initial: Many) -> np.ndarray:
    """Return -log10 of the final loss, at most the initial one; NaN where nothing was run."""
    ended = np.where(np.isfinite(final), np.minimum(final, initial), initial)
    return -np.log10(np.maximum(ended, SMALLEST))


def scores(results: xr.Dataset) -> xr.DataArray:
    """Return the score of every run."""
    return xr.apply_ufunc(score, results.loss, results.initial)


def at_ends(
    scores: Float[np.ndarray, "*many points seeds"],
    initial: Float[Many, "*many points seeds"],
) -> tuple[Bool[np.ndarray, "*many"], Bool[np.ndarray, "*many"]]:
    """Whether the best point is the first, or the last, that was tried.

    Neither, if no point led below the loss at initialization.
    """
    mean = scores.mean(axis=-1)
    tried = ~np.isnan(mean)
    best = np.where(tried, mean, -np.inf).argmax(axis=-1)
    first = tried.argmax(axis=-1)
    last = tried.shape[-1] - 1 - tried[..., ::-1].argmax(axis=-1)
    learned = gains(scores, initial) > ROUNDING
    return learned & (best == first), learned & (best == last)


def gains(
    scores: Float[np.ndarray, "*many points seeds"],
    initial: Float[Many, "*many points seeds"],
) -> Float[np.ndarray, "*many"]:
    """By how many decades the best point is below the loss at initialization."""
    return np.nanmax((scores + np.log10(initial)).mean(axis=-1), axis=-1)


def sides(table: xr.DataArray, search: list[int], test: list[int]) -> tuple[Scores, Scores]:
    """Return the scores on search and on test seeds as (architecture, optimizer, point, seed)."""
    ordered = table.transpose("architecture", "optimizer", "point", "seed")
    return ordered.sel(seed=search).values, ordered.sel(seed=test).values


def analysed(results: xr.Dataset) -> xr.Dataset:
    """Add the statistics, each with the ends of its 95 % interval as `NAME_low` and `NAME_high`."""
    attrs = results.attrs
    search_seeds, test_seeds = list(attrs["search_seeds"]), list(attrs["test_seeds"])
    table = scores(results)
    search, test = sides(table, search_seeds, test_seeds)
    names = [str(name) for name in results.optimizer.values]
    contenders = [name for name in names if name not in CONTROLS]
    statistic = partial(
        _statistics, names, k=attrs["selected"], tolerance=np.log10(attrs["tolerance"])
    )
    rng = np.random.default_rng(SEED)
    low, high = interaction.bootstrap(statistic, search, test, attrs["draws"], rng)
    found = {"": statistic(search, test), "_low": low, "_high": high}
    results = results.assign_coords(
        selected_under=contenders,
        trained_with=contenders,
        source=list(interaction.Shares._fields),
    )
    for suffix, values in found.items():
        for name, value in values.items():
            # An interval that ends at the rounding of 0 does not exclude it.
            value = np.where(np.abs(value) < ROUNDING, 0, value)
            results[name + suffix] = (DIMENSIONS[name], value)

    tuned = interaction.tuned(search, test)
    results["score"] = (("architecture", "optimizer", "test_seed"), tuned.score)
    results = results.assign_coords(test_seed=test_seeds)
    results["tuned_rate"] = (("architecture", "optimizer"), _rates(results, tuned.rate))
    results["tuned_accuracy"] = _at(results.accuracy.sel(seed=test_seeds), tuned.rate)
    ends = at_ends(search, np.broadcast_to(_initial(results, search_seeds), search.shape))
    results["edge_hit"] = (("architecture", "optimizer"), ends[0] | ends[1])
    learned = gains(search, np.broadcast_to(_initial(results, search_seeds), search.shape))
    results["learned"] = (("architecture", "optimizer"), learned > ROUNDING)
    tried = results.initial.isel(seed=0).notnull().sum("point")
    results["learning_rate_count"] = tried
    among = [names.index(name) for name in contenders]
    chosen = interaction.selected(tuned.fitness[:, among], attrs["selected"])
    members = (np.arange(len(search))[:, None] == chosen[:, None, :]).any(axis=-1)
    results["is_selected"] = (("selected_under", "architecture"), members)
    return _with_nulls(results, tuned, among, rng)


def _with_nulls(
    results: xr.Dataset, tuned: interaction.Tuned, among: list[int], rng: np.random.Generator
) -> xr.Dataset:
    fitness, score = tuned.fitness[:, among], tuned.score[:, among].mean(axis=-1)
    k, draws = results.attrs["selected"], results.attrs["draws"]
    permuted = interaction.permuted(fitness, score, k, draws, rng)
    placebo = interaction.placebo(fitness, score, k, draws, rng)
    observed = float(results.diagonal_advantage)
    results["p_value"] = interaction.p_value(observed, permuted.diagonal_advantage)
    results["p_value_of_own"] = (
        "trained_with",
        [
            interaction.p_value(value, null)
            for value, null in zip(
                results.advantage_of_own.values, permuted.advantage_of_own.T, strict=True
            )
        ],
    )
    results["placebo_diagonal_advantage"] = placebo.diagonal_advantage.mean()
    for suffix, q in (("_low", 0.025), ("_high", 0.975)):
        value = np.quantile(placebo.diagonal_advantage, q)
        results["placebo_diagonal_advantage" + suffix] = value
    return results


def _statistics(
    names: list[str], search: Scores, test: Scores, k: int, tolerance: float
) -> Statistics:
    """Compute the statistics of the contenders, and of a control in the place of its original."""
    among = [i for i, name in enumerate(names) if name not in CONTROLS]
    found = interaction.statistics(search[:, among], test[:, among], k, tolerance)
    shift, count = found["rank_shift"], len(among)
    # The mean of the others' shifts, subtracted from one's own.
    found["lead_of_shift"] = shift - (shift.sum() - shift) / (count - 1)
    for control, original in CONTROLS.items():
        if not {control, original} <= set(names):
            continue
        instead = [
            names.index(control if name == original else name)
            for name in names
            if name not in CONTROLS
        ]
        place = [name for name in names if name not in CONTROLS].index(original)
        other = interaction.statistics(search[:, instead], test[:, instead], k, tolerance)
        tuned = interaction.tuned(search, test)
        mean = tuned.score.mean(axis=-1)
        gain = mean[:, names.index(original)] - mean[:, names.index(control)]
        own = interaction.selected(tuned.fitness[:, among], k)[place]
        found |= {
            "control_advantage_of_own": other["advantage_of_own"][place],
            "control_rank_shift": other["rank_shift"][place],
            "basis_everywhere": gain.mean(),
            "basis_selected": gain[own].mean(),
        }
    return found


def _initial(results: xr.Dataset, seeds: list[int]) -> np.ndarray:
    ordered = results.initial.transpose("architecture", "optimizer", "point", "seed")
    return ordered.sel(seed=seeds).values


def _rates(results: xr.Dataset, index: np.ndarray) -> np.ndarray:
    rates = results.learning_rate.transpose("optimizer", "point").values
    return np.take_along_axis(rates[None], index[..., None], axis=-1)[..., 0]


def _at(values: xr.DataArray, index: np.ndarray) -> xr.DataArray:
    """Take the tuned point of each architecture and optimizer, and the mean over seeds."""
    chosen = xr.DataArray(index, dims=("architecture", "optimizer"))
    return values.isel(point=chosen).mean("seed").drop_vars("point")
