"""Tables and findings of the study: losses above the infimum, and the place of Adam."""

import numpy as np
import xarray as xr

from experiments.analysis.numbers import number
from experiments.analysis.table import Table
from experiments.studies.beyond_networks.methods import ADAM_DEFAULT, LARGEST_STEP, METHODS


def tables(found: xr.Dataset) -> list[Table]:
    """Tabulate final losses, accuracies, learning rates and evaluations."""
    losses, accuracies, rates, costs = [], [], [], []
    means = found[["accuracy", "gradients", "losses"]].mean("seed")
    for regime in found.regime.values:
        for problem in found.problem.values:
            at = {"problem": problem, "regime": regime}
            name, one, mean = f"{problem}, {regime}", found.sel(at), means.sel(at)
            final = one.final.values
            losses.append([name, *(_bold(x, np.nanmin(final)) for x in final)])
            if mean.accuracy.notnull().any():
                right = 100 * mean.accuracy.values
                accuracies.append([name, *(_or_dash(f"{x:.1f}", x) for x in right)])
            tuned = one.learning_rate.where(one.searched > 0).values
            rates.append([name, *(_or_dash(number(x), x) for x in tuned)])
            pairs = zip(mean.gradients.values, mean.losses.values, strict=True)
            costs.append([name, *(_or_dash(f"{g:.0f} + {e:.0f}", g) for g, e in pairs)])
    ranks = found.place.mean(["problem", "regime"]).values
    rows = {
        "Loss above its infimum at the end (geometric mean of the test seeds)": [
            *losses,
            ["mean rank", *map(number, ranks)],
        ],
        "Accuracy on samples held out, %": accuracies,
        "Tuned learning rates": rates,
        "Evaluations of the run: gradients + losses": costs,
    }
    columns = ["", *map(str, found.label.values)]
    return [Table(title, columns, body) for title, body in rows.items()]


def _bold(value: float, best: float) -> str:
    text = _or_dash("diverged" if np.isinf(value) else number(value), value)
    return f"**{text}**" if value == best else text


def _or_dash(text: str, value: float | np.floating) -> str:
    return "-" if np.isnan(value) else text


def findings(found: xr.Dataset) -> list[str]:
    """Describe the place of Adam, by default and tuned."""
    settings = found.sizes["problem"] * found.sizes["regime"]
    best = found.final.min("method")
    default, tuned = (found.sel({"method": key}) for key in ("adam_default", "adam"))
    sentences = []
    for one in (default, tuned):
        ratio = number(float(np.median(one.final / best)))
        sentences.append(
            f"{one.label.item()}: mean rank {number(float(one.place.mean()))} of {len(METHODS)}, "
            f"lowest loss (or equal to it) in {int((one.final == best).sum())} of {settings} "
            f"settings, the loss above the infimum {ratio} times the best in the median."
        )
    ranks = found.place.mean(["problem", "regime"])
    first = ranks.isel(method=int(np.argmin(ranks.values)))
    leader = METHODS[str(first.method.item())].label
    sentences.append(f"The lowest mean rank has {leader} ({number(float(first))}).")
    rates = tuned.learning_rate
    low, high = (number(float(x) / ADAM_DEFAULT) for x in (rates.min(), rates.max()))
    gain = default.final / tuned.final
    sentences.append(
        f"Adam's tuned learning rate is {low} to {high} times its default "
        f"({number(ADAM_DEFAULT)}); tuning divides the loss above the infimum by "
        f"{number(float(np.median(gain)))} in the median, by more than 10 in "
        f"{int((gain > 10).sum())} of {settings} settings."
    )
    classified = found.accuracy.notnull().any(["seed", "method", "regime"])
    largest = number(float(found.learning_rate.where(classified).max()))
    open_ends = int((found.interior == 0).sum()) or "No"
    stand = (
        "of the tuned learning rates stand" if open_ends != "No" else "tuned learning rate stands"
    )
    return [
        *sentences,
        "On data that can be separated the logistic loss has no minimizer and rewards steps that "
        f"grow without end: tuned learning rates reach {largest}, where the methods that choose "
        f"their step themselves are held to {LARGEST_STEP:g}.",
        f"{open_ends} {stand} at an end of what was searched.",
        "Small problems, one data set each, float32: the order of the methods here is no statement "
        "about others, and the claim of co-evolution is not tested by it.",
    ]
