"""The figures of a co-evolution study."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.report.figures import EDGE, MARKERS, STYLE

COLORS = (
    *("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7"),
    *("#000000", "#8A6D00", "#882255", "#44AA99"),
)


def figures(results: xr.Dataset) -> dict[str, Figure]:
    """Draw every figure of a study: name of a file -> figure."""
    draws = {"transfer": transfer, "learning_rates": learning_rates, "sharpness": sharpness}
    with mpl.rc_context(STYLE):
        return {f"coevolution_{name}": draw(results) for name, draw in draws.items()}


def transfer(results: xr.Dataset) -> Figure:
    """Draw the transfer matrix, its interaction, and what each optimizer gains from its own."""
    names = [label(str(name)) for name in results.trained_with.values]
    count = len(names)
    figure = Figure(figsize=(7.2, 1.3 + 2.1 * max(count, 6) / 6), layout="constrained")
    table, interaction, own = figure.subplots(1, 3, width_ratios=(1, 1, 0.55))
    _matrix(table, -results.transfer.values, "viridis_r", None, names)
    table.set_title("$\\bf{a}$  log$_{10}$ final loss")
    table.set_ylabel("selected under")
    largest = float(abs(results.interaction).max())
    _matrix(interaction, results.interaction.values, "RdBu", largest, names)
    interaction.set_title("$\\bf{b}$  interaction, decades")
    interaction.set_yticks([])
    for axes in (table, interaction):
        axes.set_xlabel("trained with")

    places = np.arange(count)
    own.axvline(0, **EDGE)
    _with_interval(own, results, "advantage_of_own", places, "#0072B2")
    own.set_title("$\\bf{c}$  its diagonal")
    own.set_xlabel("decades")
    own.set_yticks(places, [])
    own.set_ylim(count - 0.5, -0.5)
    own.set_box_aspect(1 / 0.55)
    return figure


def learning_rates(results: xr.Dataset) -> Figure:
    """Draw for each optimizer its score over the learning rate, one line an architecture."""
    names = [str(name) for name in results.optimizer.values]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(7.2, 0.5 + 1.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    test = list(np.atleast_1d(results.attrs["test_seeds"]))
    ended = np.minimum(results.loss, results.initial).sel(seed=test)
    ended = np.log10(ended.where(results.initial.sel(seed=test).notnull())).mean("seed")
    for axes, name in zip(panels.flat, names, strict=False):
        one = ended.sel(optimizer=name)
        rates = results.learning_rate.sel(optimizer=name).values
        for row in one.transpose("architecture", "point").values:
            axes.plot(rates, row, color="#B9B9B9", linewidth=0.4)
        # Beyond the grid that all have, the median would be one of other architectures.
        common = one.notnull().all("architecture").values
        middle = one.median("architecture").values
        axes.plot(rates[common], middle[common], color="#0072B2", linewidth=1.6)
        axes.set_title(label(name))
        axes.set_xscale("log")
        counted = np.bincount(
            abs(np.log(results.tuned_rate.sel(optimizer=name).values[:, None] / rates)).argmin(
                axis=1
            ),
            minlength=len(rates),
        )
        seen = counted > 0
        span = float(ended.max() - ended.min())
        floor = float(ended.min()) - 0.1 * span
        axes.scatter(
            rates[seen],
            np.full(seen.sum(), floor),
            s=4 * counted[seen],
            color="#D55E00",
            linewidths=0,
        )
    for axes in list(panels.flat)[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel(
        "learning rate (dots: where it is best, by the number of architectures)",
        fontsize=STYLE["font.size"],
    )
    figure.supylabel("log$_{10}$ final loss", fontsize=STYLE["font.size"])
    return figure


def sharpness(results: xr.Dataset) -> Figure:
    """Draw the final loss over the effective sharpness at the end, and the variance's shares."""
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    scatter, shift, shares = figure.subplots(1, 3, width_ratios=(1.5, 1, 0.8))
    scatter.axvline(1, **EDGE)
    for index, name in enumerate(results.optimizer.values):
        one = results.sel(optimizer=name)
        values = one.sharpness.mean("test_seed").values
        if np.isnan(values).all():
            continue
        scatter.scatter(
            values,
            -one.score.mean("test_seed").values,
            s=9,
            color=COLORS[index % len(COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            linewidths=0,
            alpha=0.8,
            label=label(str(name)),
        )
    scatter.set_xscale("log")
    scatter.set_xlabel("effective sharpness at the end")
    scatter.set_ylabel("log$_{10}$ final loss")
    scatter.set_title("$\\bf{a}$  At the best rate (dashed: the edge)")
    figure.legend(loc="outside upper center", ncols=5, handletextpad=0.1)

    names = [label(str(name)) for name in results.trained_with.values]
    places = np.arange(len(names))
    shift.axvline(0, **EDGE)
    _with_interval(shift, results, "rank_shift", places, "#D55E00")
    shift.set_yticks(places, names)
    shift.set_ylim(len(names) - 0.5, -0.5)
    shift.set_xlabel("own rank, selected $-$ random")
    shift.set_title("$\\bf{b}$  Change of rank")

    sources = [str(source) for source in results.source.values]
    places = np.arange(len(sources))
    _with_interval(shares, results, "shares", places, "#009E73")
    shares.set_yticks(places, sources)
    shares.set_ylim(len(sources) - 0.5, -0.5)
    shares.set_xlim(0, 1)
    shares.set_xlabel("share")
    shares.set_title("$\\bf{c}$  Variance")
    return figure


def label(name: str) -> str:
    """Write the name of an optimizer as in a text."""
    return name.replace("_", " ")


def _matrix(axes: Axes, values: np.ndarray, cmap: str, largest: float | None, names: list) -> None:
    least = None if largest is None else -largest
    image = axes.imshow(values, cmap=cmap, vmin=least, vmax=largest)
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = image.to_rgba(value)
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")
        color = "#000000" if light else "#FFFFFF"
        bold = "bold" if row == column else "normal"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=6, weight=bold)
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _with_interval(
    axes: Axes, results: xr.Dataset, name: str, places: np.ndarray, color: str
) -> None:
    value, low, high = (results[name + end].values for end in ("", "_low", "_high"))
    axes.hlines(places, low, high, color=color, linewidth=1.4)
    axes.plot(value, places, "o", color=color, markersize=3.5)
