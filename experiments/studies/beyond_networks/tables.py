"""Tables, figures and findings of the study: excess losses, and the place of Adam among methods."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import rankdata

from experiments.analysis.verdicts import number
from experiments.report.figures import STYLE
from experiments.studies.beyond_networks.methods import ADAM_DEFAULT, LARGEST_STEP, METHODS
from experiments.studies.study import Table

RESOLUTION = 1e-6
"""Of a loss in float32, relative to its infimum: what is closer is at the infimum."""
TINY = 1e-12  # ... and where the infimum is 0
LINES = {
    "sgd": ("#56B4E9", "-"),
    "heavy_ball": ("#0072B2", (0, (5, 1))),
    "adam_default": ("#E69F00", (0, (2, 1))),
    "adam": ("#D55E00", "-"),
    "armijo": ("#009E73", "-"),
    "polyak": ("#CC79A7", (0, (4, 1, 1, 1))),
    "cocob": ("#8C8C8C", (0, (1, 1))),
    "lbfgs": ("#000000", (0, (6, 2))),
}


def excess(results: xr.Dataset) -> xr.DataArray:
    """Losses above their infimum, at least what can be told from it; infinite if diverged."""
    least = np.maximum(RESOLUTION * results.infimum, TINY)
    above = (results.loss - results.infimum).fillna(np.inf)
    ran = results.passes.isel(record=0).notnull()
    return np.maximum(above, least).where(ran)


def geometric_mean(values: xr.DataArray) -> xr.DataArray:
    """Geometric mean of the test seeds."""
    return np.exp(xr.apply_ufunc(np.log, values).mean("seed", skipna=False))


def finals(results: xr.Dataset) -> xr.DataArray:
    """Excess loss at the end, the geometric mean of the test seeds."""
    return geometric_mean(excess(results).isel(record=-1))


def ranks(results: xr.Dataset) -> xr.DataArray:
    """Place of each method on each problem, 1 the lowest loss; equal ones share their places."""
    final = finals(results).transpose("problem", "regime", "method")
    places = rankdata(final.values, axis=-1, nan_policy="omit")
    return final.copy(data=np.where(final.isnull(), np.nan, places))


def _settings(results: xr.Dataset) -> list[tuple[str, str]]:
    return [(str(p), str(r)) for r in results.regime.values for p in results.problem.values]


def tables(results: xr.Dataset) -> list[Table]:
    """Final losses, accuracies, learning rates and what was spent."""
    labels = [METHODS[str(key)].label for key in results.method.values]
    final, place = finals(results), ranks(results)
    losses, accuracies, rates, costs = [], [], [], []
    for problem, regime in _settings(results):
        at = {"problem": problem, "regime": regime}
        name = f"{problem}, {regime}"
        row = final.sel(at).values
        losses.append([name, *(_bold(x, np.nanmin(row)) for x in row)])
        one = results.sel(at)
        right = one.accuracy.mean("seed").values
        if not np.isnan(right).all():
            accuracies.append([name, *(_or_dash(f"{100 * x:.1f}", x) for x in right)])
        tuned = one.learning_rate.where(one.searched > 0).values
        rates.append([name, *(_or_dash(number(x), x) for x in tuned)])
        counts = [one[key].mean("seed").values for key in ("gradients", "losses")]
        pairs = zip(*counts, strict=True)
        costs.append([name, *(_or_dash(f"{g:.0f} + {e:.0f}", g) for g, e in pairs)])
    mean = place.mean(["problem", "regime"]).values
    rank_row = ["mean rank", *(number(x) for x in mean)]
    columns = ["", *labels]
    return [
        Table("Loss above its infimum at the end (geometric mean of the test seeds)", columns,
              [*losses, rank_row]),
        Table("Accuracy on samples held out, %", columns, accuracies),
        Table("Tuned learning rates", columns, rates),
        Table("Evaluations of the run: gradients + losses", columns, costs),
    ]  # fmt: skip


def _bold(value: float, best: float) -> str:
    text = _or_dash("diverged" if np.isinf(value) else number(value), value)
    return f"**{text}**" if value == best else text


def _or_dash(text: str, value: float) -> str:
    return "-" if np.isnan(value) else text


def figures(results: xr.Dataset) -> dict[str, Figure]:
    """Losses against passes for each regime, and the places of the methods."""
    drawn = {}
    for regime in results.regime.values:
        one = results.sel(regime=regime)
        drawn[f"losses-{regime}".replace(" ", "-")] = _losses(one)
    drawn["ranks"] = _ranks(results)
    return drawn


def _losses(results: xr.Dataset) -> Figure:
    above = excess(results)
    columns = 4
    rows = -(-(results.sizes["problem"] + 1) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.1 * rows + 0.3), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for letter, axes, problem in zip(
            "abcdefghijk", panels.flat, results.problem.values, strict=False
        ):
            for key in results.method.values:
                color, dashes = LINES[str(key)]
                curve = above.sel({"problem": problem, "method": key})
                if curve.isnull().all():
                    continue
                passes = results.passes.sel({"problem": problem, "method": key}).mean("seed")
                middle = geometric_mean(curve)
                middle = middle.where(np.isfinite(middle))
                line = {"color": color, "linestyle": dashes, "linewidth": 1.2}
                axes.plot(passes, middle, label=METHODS[str(key)].label, **line)
            axes.set_title(f"$\\bf{{{letter}}}$  {problem}")
            axes.set_yscale("log")
            # What blows up would leave no room for the rest.
            start = float(above.sel(problem=problem).isel(record=0).max())
            axes.set_ylim(top=3 * start)
            axes.margins(x=0)
        free = panels.flat[results.sizes["problem"]]
        for axes in panels.flat[results.sizes["problem"] :]:
            axes.axis("off")
        free.legend(*panels.flat[0].get_legend_handles_labels(), loc="center left", fontsize=7.5)
        figure.supxlabel("passes over the samples, gradients and losses", fontsize=8)
        figure.supylabel("loss above its infimum", fontsize=8)
    return figure


def _ranks(results: xr.Dataset) -> Figure:
    place = ranks(results)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.9), layout="constrained")
        panels = figure.subplots(1, results.sizes["regime"], sharey=True, squeeze=False)[0]
        for letter, axes, regime in zip("ab", panels, results.regime.values, strict=False):
            grid = place.sel(regime=regime).transpose("method", "problem").values
            axes.imshow(grid, cmap="Blues_r", vmin=-7, vmax=len(METHODS) + 0.5, aspect="auto")
            for (row, column), value in np.ndenumerate(grid):
                text = "-" if np.isnan(value) else f"{value:g}"
                axes.text(column, row, text, ha="center", va="center", fontsize=7)
            axes.set_xticks(range(grid.shape[1]), results.problem.values, rotation=35, ha="right")
            axes.set_title(f"$\\bf{{{letter}}}$  {regime}")
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
        labels = [METHODS[str(key)].label for key in results.method.values]
        panels[0].set_yticks(range(len(labels)), labels)
        figure.suptitle("Place among the methods by the final loss", fontsize=8.5)
    return figure


def findings(results: xr.Dataset) -> list[str]:
    """Say where Adam stands, by default and tuned."""
    final, place = finals(results), ranks(results)
    settings = final.sizes["problem"] * final.sizes["regime"]
    best = final.min("method")
    sentences = []
    for key in ("adam_default", "adam"):
        mine = final.sel({"method": key})
        rank = number(float(place.sel({"method": key}).mean()))
        sentences.append(
            f"{METHODS[key].label}: mean rank {rank} of {len(METHODS)}, lowest loss (or equal to "
            f"it) in {int((mine == best).sum())} of {settings} settings, the loss above the "
            f"infimum {number(float(np.median(mine / best)))} times the best in the median."
        )
    leaders = place.mean(["problem", "regime"])
    first = str(leaders.method.values[int(np.argmin(leaders.values))])
    least = number(float(leaders.min()))
    sentences.append(f"The lowest mean rank has {METHODS[first].label} ({least}).")
    rates = results.learning_rate.sel({"method": "adam"})
    low, high = (number(float(x) / ADAM_DEFAULT) for x in (rates.min(), rates.max()))
    gain = final.sel({"method": "adam_default"}) / final.sel({"method": "adam"})
    sentences.append(
        f"Adam's tuned learning rate is {low} to {high} times its default "
        f"({number(ADAM_DEFAULT)}); tuning divides the loss above the infimum by "
        f"{number(float(np.median(gain)))} in the median, by more than 10 in "
        f"{int((gain > 10).sum())} of {settings} settings."
    )
    classified = results.accuracy.notnull().any(["seed", "method", "regime"])
    largest = number(float(results.learning_rate.where(classified).max()))
    sentences.append(
        "On data that can be separated the logistic loss has no minimizer and rewards steps that "
        f"grow without end: tuned learning rates reach {largest}, where the methods that choose "
        f"their step themselves are held to {LARGEST_STEP:g}."
    )
    open_ends = int((results.interior == 0).sum())
    sentences.append(
        f"{open_ends} of the tuned learning rates stand at an end of what was searched."
        if open_ends
        else "No tuned learning rate stands at an end of what was searched."
    )
    sentences.append(
        "Small problems, one data set each, float32: the order of the methods here is no statement "
        "about others, and the claim of co-evolution is not tested by it."
    )
    return sentences
