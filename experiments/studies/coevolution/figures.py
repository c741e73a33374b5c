"""Figures of a co-evolution study."""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis import style
from experiments.analysis.style import EDGE, MARKERS, page_wide

COLORS = (
    *("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7"),
    *("#000000", "#8A6D00", "#882255", "#44AA99"),
)


def draws(results: xr.Dataset) -> dict[str, Callable[[], Figure]]:
    """Name the figures, and the functions that draw them."""
    functions = {"transfer": _transfer, "learning_rates": _rates, "sharpness": _sharpness}
    return {f"coevolution_{name}": partial(draw, results) for name, draw in functions.items()}


def _transfer(results: xr.Dataset) -> Figure:
    """Draw the transfer matrix, its interaction, and what each optimizer gains from its own."""
    names = _labels(results.trained_with)
    figure = page_wide(1.3 + 2.1 * max(len(names), 6) / 6)
    table, interaction, own = panels = figure.subplots(1, 3, width_ratios=(1, 1, 0.55))
    _matrix(table, -results.transfer.values, "viridis_r", None, names)
    table.set_ylabel("selected under")
    largest = float(abs(results.interaction).max())
    _matrix(interaction, results.interaction.values, "RdBu", largest, names)
    interaction.set_yticks([])
    for axes in (table, interaction):
        axes.set_xlabel("trained with")
    own.axvline(0, **EDGE)
    _with_interval(own, results, "advantage_of_own", [""] * len(names), "#0072B2")
    own.set(xlabel="decades", box_aspect=1 / 0.55)
    style.lettered(panels, ("log$_{10}$ final loss", "interaction, decades", "its diagonal"))
    return figure


def _rates(results: xr.Dataset) -> Figure:
    """Draw for each optimizer its score over the learning rate, one line an architecture."""
    names = [str(name) for name in results.optimizer.values]
    shared = {"height": 1.5, "margin": 0.5, "sharey": True}
    figure, panels = style.grid(len(names), min(4, len(names)), **shared)
    test = list(np.atleast_1d(results.attrs["test_seeds"]))
    ended = np.minimum(results.loss, results.initial).sel(seed=test)
    ended = np.log10(ended.where(results.initial.sel(seed=test).notnull())).mean("seed")
    least, most = float(ended.min()), float(ended.max())
    for axes, name in zip(panels, names, strict=True):
        one, chosen = ended.sel(optimizer=name), results.tuned_rate.sel(optimizer=name).values
        rates = results.learning_rate.sel(optimizer=name).values
        for row in one.transpose("architecture", "point").values:
            axes.plot(rates, row, color="#B9B9B9", linewidth=0.4)
        # Beyond the grid that all have, the median would be one of other architectures.
        common = one.notnull().all("architecture").values
        middle = one.median("architecture").values
        axes.plot(rates[common], middle[common], color="#0072B2", linewidth=1.6)
        axes.set(title=_label(name), xscale="log")
        nearest = abs(np.log(chosen[:, None] / rates)).argmin(axis=1)
        seen, counted = np.unique(nearest, return_counts=True)
        floor = np.full(len(seen), least - 0.1 * (most - least))
        axes.scatter(rates[seen], floor, s=4 * counted, color="#D55E00", linewidths=0)
    figure.supxlabel("learning rate (dots: where it is best, by the number of architectures)")
    figure.supylabel("log$_{10}$ final loss")
    return figure


def _sharpness(results: xr.Dataset) -> Figure:
    """Draw the final loss over the effective sharpness at the end, and the variance's shares."""
    figure = page_wide(2.9)
    scatter, shift, shares = panels = figure.subplots(1, 3, width_ratios=(1.5, 1, 0.8))
    scatter.axvline(1, **EDGE)
    for index, name in enumerate(results.optimizer.values):
        one = results[["sharpness", "score"]].sel(optimizer=name).mean("test_seed")
        if one.sharpness.isnull().all():
            continue
        look = {"color": COLORS[index % len(COLORS)], "marker": MARKERS[index % len(MARKERS)]}
        look |= {"s": 9, "linewidths": 0, "alpha": 0.8, "label": _label(str(name))}
        scatter.scatter(one.sharpness.values, -one.score.values, **look)
    labels = {"xlabel": "effective sharpness at the end", "ylabel": "log$_{10}$ final loss"}
    scatter.set(xscale="log", **labels)
    figure.legend(loc="outside upper center", ncols=5, handletextpad=0.1)
    shift.axvline(0, **EDGE)
    _with_interval(shift, results, "rank_shift", _labels(results.trained_with), "#D55E00")
    shift.set_xlabel("own rank, selected $-$ random")
    _with_interval(shares, results, "shares", list(map(str, results.source.values)), "#009E73")
    shares.set(xlim=(0, 1), xlabel="share")
    titles = ("At the best rate (dashed: the edge)", "Change of rank", "Variance")
    style.lettered(panels, titles)
    return figure


def _label(name: str) -> str:
    """Write the name of an optimizer as in a text."""
    return name.replace("_", " ")


def _labels(names: xr.DataArray) -> list[str]:
    return [_label(str(name)) for name in names.values]


def _matrix(
    axes: Axes, values: np.ndarray, cmap: str, largest: float | None, names: list[str]
) -> None:
    least = None if largest is None else -largest
    image = axes.imshow(values, cmap=cmap, vmin=least, vmax=largest)
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = image.to_rgba(value)
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")
        look = {"color": "#000000" if light else "#FFFFFF", "fontsize": 6}
        look["weight"] = "bold" if row == column else "normal"
        axes.text(column, row, text, ha="center", va="center", **look)
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _with_interval(
    axes: Axes, results: xr.Dataset, name: str, labels: list[str], color: str
) -> None:
    """Draw a statistic with its interval, a row for each label."""
    value, low, high = (results[name + end].values for end in ("", "_low", "_high"))
    places = np.arange(len(labels))
    axes.hlines(places, low, high, color=color, linewidth=1.4)
    axes.plot(value, places, "o", color=color, markersize=3.5)
    axes.set_yticks(places, labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
