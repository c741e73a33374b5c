"""The statistics of a co-evolution study, beside its table and with their uncertainties."""

from functools import partial

import numpy as np
import xarray as xr

from experiments.analysis.numbers import ENDS
from experiments.studies.coevolution import interaction
from experiments.studies.coevolution.contenders import CONTROLS
from experiments.studies.coevolution.interaction import Scores, Statistics
from experiments.studies.coevolution.scores import ROUNDING, at_ends, learned, score

SEED = 0  # of bootstrap and permutations
CELL = ("architecture", "optimizer")
# name -> dimensions; statistics that are not listed have one value for each optimizer
DIMENSIONS = {
    "transfer": ("selected_under", "trained_with"),
    "interaction": ("selected_under", "trained_with"),
    "shares": ("source",),
    "diagonal_advantage": (),
    "joint": (),
    "control_advantage_of_own": (),
    "control_rank_shift": (),
    "basis_everywhere": (),
    "basis_selected": (),
}


def analysed(results: xr.Dataset) -> xr.Dataset:
    """Add the statistics, each with the ends of its 95 % interval as `NAME_low` and `NAME_high`."""
    attrs = results.attrs
    seeds = {side: list(attrs[f"{side}_seeds"]) for side in ("search", "test")}
    ordered = results[["loss", "initial"]].transpose(*CELL, "point", "seed")
    table = ordered.loss.copy(data=score(ordered.loss.values, ordered.initial.values))
    search, test = (table.sel(seed=seeds[side]).values for side in ("search", "test"))
    names = [str(name) for name in results.optimizer.values]
    contenders = [name for name in names if name not in CONTROLS]
    statistic = partial(
        _statistics, names, k=attrs["selected"], tolerance=np.log10(attrs["tolerance"])
    )
    rng = np.random.default_rng(SEED)
    low, high = interaction.bootstrap(statistic, search, test, attrs["draws"], rng)
    results = results.assign_coords(
        selected_under=contenders,
        trained_with=contenders,
        source=list(interaction.Shares._fields),
        test_seed=seeds["test"],
    )
    for suffix, values in {"": statistic(search, test), "_low": low, "_high": high}.items():
        for name, value in values.items():
            # An interval that ends at the rounding of 0 does not exclude it.
            value = np.where(np.abs(value) < ROUNDING, 0, value)
            results[name + suffix] = (DIMENSIONS.get(name, ("trained_with",)), value)
    tuned = interaction.tuned(search, test)
    results["score"] = ((*CELL, "test_seed"), tuned.score)
    at = xr.DataArray(tuned.rate, dims=CELL)
    results["tuned_rate"] = results.learning_rate.isel(point=at).drop_vars("point").transpose(*CELL)
    accuracy = results.accuracy.sel(seed=seeds["test"]).isel(point=at)
    results["tuned_accuracy"] = accuracy.mean("seed").drop_vars("point")
    initial = ordered.initial.sel(seed=seeds["search"]).values
    results["edge_hit"] = (CELL, np.logical_or(*at_ends(search, initial)))
    results["learned"] = (CELL, learned(search, initial))
    results["learning_rate_count"] = results.initial.isel(seed=0).notnull().sum("point")
    among = [names.index(name) for name in contenders]
    chosen = interaction.selected(tuned.fitness[:, among], attrs["selected"])
    members = (np.arange(len(search))[:, None] == chosen[:, None, :]).any(axis=-1)
    results["is_selected"] = (("selected_under", "architecture"), members)
    fitness, scores = tuned.fitness[:, among], tuned.score[:, among].mean(axis=-1)
    return results.assign(_against_chance(results, fitness, scores, rng))


def _against_chance(
    results: xr.Dataset,
    fitness: interaction.Cells,
    scores: interaction.Cells,
    rng: np.random.Generator,
) -> dict:
    """Compute p values by permutation, and the diagonal advantage with shuffled fitness."""
    settings = (fitness, scores, results.attrs["selected"], results.attrs["draws"], rng)
    permuted = interaction.permuted(*settings)
    placebo = interaction.placebo(*settings).diagonal_advantage
    own = zip(results.advantage_of_own.values, permuted.advantage_of_own.T, strict=True)
    observed = float(results.diagonal_advantage)
    low, high = np.quantile(placebo, ENDS)
    return {
        "p_value": interaction.p_value(observed, permuted.diagonal_advantage),
        "p_value_of_own": ("trained_with", [interaction.p_value(*each) for each in own]),
        "placebo_diagonal_advantage": placebo.mean(),
        "placebo_diagonal_advantage_low": low,
        "placebo_diagonal_advantage_high": high,
    }


def _statistics(
    names: list[str], search: Scores, test: Scores, k: int, tolerance: float
) -> Statistics:
    """Compute the statistics of the contenders, and of a control in the place of its original."""
    contenders = [name for name in names if name not in CONTROLS]
    among = [names.index(name) for name in contenders]
    found = interaction.statistics(search[:, among], test[:, among], k, tolerance)
    shift, count = found["rank_shift"], len(among)
    # Each shift minus the mean of the others' shifts.
    found["lead_of_shift"] = shift - (shift.sum() - shift) / (count - 1)
    for control, original in CONTROLS.items():
        if not {control, original} <= set(names):
            continue
        place = contenders.index(original)
        instead = [names.index(control if name == original else name) for name in contenders]
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
