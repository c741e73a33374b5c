"""Figures of a grid: the improvements as a map, the models, and the onset of oscillations."""

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from experiments.analysis import comparison, summary
from experiments.analysis.numbers import number
from experiments.analysis.style import EDGE, ITERATES, MARKERS, STYLE, style
from experiments.analysis.table import Table
from experiments.analysis.verdicts import Summary, Verdict
from experiments.report.figures import plot_flows

# log10 of the improvement from -2 to 2: vermilion below 0, blue above.
IMPROVEMENT = LinearSegmentedColormap.from_list(
    "improvement", ["#D55E00", "#F2B48C", "#F7F7F7", "#9CCBE8", "#2F8AC4"]
)
DECADES = 2


def maps(cells: summary.Cells) -> dict[str, Figure]:
    """Draw every figure of a grid that its cells allow: name of a file -> figure."""
    flows = summary.flows(cells)
    if not flows:
        return {}
    drawn = {"summary": map_of(summary.grid(cells, flows[0]), flows[0])}
    if all("ensemble_distance" in cell for cell in cells):
        drawn["models"] = models(comparison.tables(cells)[0])
    shown = [cell for cell in cells if "flow_effective_sharpness" in cell]
    if chosen := latest(shown, "covariance_1"):
        drawn["onset"] = onset(chosen)
    return drawn


def colour(improvement: int | float) -> str:
    """Return the colour of an improvement as `#rrggbb`; black text can be read on each of them."""
    with np.errstate(divide="ignore"):
        decades = np.log10(improvement)
    return to_hex(IMPROVEMENT((decades + DECADES) / (2 * DECADES)))


def models(distances: Table) -> Figure:
    """Draw how far each model is from the mean of the runs, in units of the floor, on each cell.

    Args:
        distances: the first table of `experiments.analysis.comparison.tables`.
    """
    names, *columns = zip(*distances.rows, strict=True)
    flows = distances.columns[1:]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.5, 1.0 + 0.24 * len(names)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(names))
        for index, (flow, column) in enumerate(zip(flows, columns, strict=True)):
            offset = 0.5 * (index / (len(flows) - 1) - 0.5)
            values = [entry if isinstance(entry, int | float) else np.nan for entry in column]
            line: dict[str, Any] = {"color": style(flow).color, "linestyle": "", "markersize": 4}
            line |= {"marker": MARKERS[index % len(MARKERS)], "label": style(flow).label}
            axes.plot(values, places + offset, **line)
        axes.axvline(1, **EDGE)
        axes.set_xscale("log")
        axes.set_xlabel("mean distance to the mean of the runs, over the floor")
        axes.set_yticks(places, list(map(str, names)))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(axis="y", color="#EEEEEE", linewidth=7, zorder=0)
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper left", ncols=4)
    return figure


def latest(cells: summary.Cells, flow: str) -> dict[str, xr.Dataset]:
    """Find for each optimizer the cell in which the oscillation of `flow` sets in latest, or never.

    Only cells count in which the oscillation of the iterates sets in, from the first seed, and
    `flow` does not diverge; of several that are equally late the one furthest away is taken, in
    distances of the rod.
    """
    found: dict[str, tuple[tuple[float, float], xr.Dataset]] = {}
    for cell in cells:
        began = comparison.onset(cell.oscillation.isel(seed=0).values, cell.step.values)
        if flow not in cell.flow.values or np.isnan(began):
            continue
        compared = comparison.compare(cell, flow)
        away = compared.distance / comparison.compare(cell, "rod").distance
        name, late = str(cell.attrs["optimizer"]), (compared.delay, away)
        if not np.isnan(away) and (name not in found or late > found[name][0]):
            found[name] = late, cell
    return {name: cell for name, (_, cell) in found.items()}


def onset(chosen: Mapping[str, xr.Dataset]) -> Figure:
    """Draw the published rod beside the signed rod where the published one is latest.

    Of the cell of each optimizer the first seed: the sharpness at the centre of both flows, and
    their oscillation, against those of the iterates.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.8 + 2.2 * len(chosen), 4.2), layout="constrained")
        panels = figure.subplots(2, len(chosen), sharex="col", squeeze=False)
        for (above, below), (name, cell) in zip(panels.T, chosen.items(), strict=True):
            one = _first_seed(cell)
            above.set_title(f"{one.problem.item()}, {name}")
            above.axhline(1.0, label="edge of stability", **EDGE)
            iterates = ITERATES | {"label": "iterates"}
            above.plot(one.step, one.effective_sharpness.max("mode"), **iterates)
            below.plot(one.step, one.oscillation, **iterates)
            flows = one.sel(flow=["rod", "covariance_1"])
            plot_flows(above, flows.flow_effective_sharpness)
            plot_flows(below, flows.extent)
            below.set_yscale("log")
            for axes in (above, below):
                axes.margins(x=0)
        panels[0, 0].set_ylabel("largest effective sharpness")
        panels[1, 0].set_ylabel("half-length of the oscillation")
        handles = panels[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=4)
        figure.supxlabel("optimizer steps")
    return figure


def joined(chosen: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join what `onset` draws of the cells of several optimizers into one small data set."""
    found = [_first_seed(cell).expand_dims(optimizer=[name]) for name, cell in chosen.items()]
    return xr.concat(found, "optimizer", combine_attrs="drop")


def parted(data: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return what was joined, by optimizer."""
    return {name: data.sel(optimizer=name) for name in map(str, data.optimizer.values)}


def _first_seed(cell: xr.Dataset) -> xr.Dataset:
    if "seed" not in cell.dims:
        return cell
    drawn = ["effective_sharpness", "oscillation", "flow_effective_sharpness", "extent"]
    one = cell[drawn].isel(seed=0, drop=True).sel(flow=["rod", "covariance_1"])
    return one.drop_attrs().assign(problem=str(cell.attrs["problem"]))


def map_of(grid: summary.Grid, flow: str = "rod") -> Figure:
    """Draw the improvements of a grid, architectures by optimizers, coloured by their log10."""
    rows, columns, entries = grid
    with mpl.rc_context(STYLE):
        size = (max(3.6, 0.9 + 0.7 * len(columns)), 1.3 + 0.45 * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        title = f"Improvement of the {style(flow).label} over the stable flow"
        axes.set_title("\n".join(textwrap.wrap(title, int(11 * size[0]))), pad=8)
        axes.set_xticks(range(len(columns)), [name.replace("_", "\n") for name in columns])
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(length=0, labelsize=7)
        axes.spines[:].set_visible(False)
        for (row, column), entry in entries.items():
            _draw_entry(axes, columns.index(column), rows.index(row), entry)
        scale = ScalarMappable(LogNorm(10**-DECADES, 10**DECADES), IMPROVEMENT)
        figure.colorbar(scale, ax=axes, extend="both", fraction=0.03, pad=0.01, aspect=18)
        hatched = Patch(facecolor="#E6E6E6", edgecolor="#9A9A9A", hatch="////")
        label = "not at the edge;  in brackets: distance over the floor;  div.: a seed diverged"
        # A narrow figure has room for fewer letters in a line.
        label = "\n".join(textwrap.wrap(label, int(15 * size[0])))
        figure.legend([hatched], [label], loc="outside lower left", fontsize=7)
    return figure


def _draw_entry(axes: Axes, x: int, y: int, entry: Summary) -> None:
    blank = np.isnan(entry.improvement) or not entry.at_edge
    look = {"facecolor": "#E6E6E6" if blank else colour(entry.improvement), "linewidth": 0}
    look |= {"edgecolor": "white"} if entry.at_edge else {"hatch": "////", "edgecolor": "#BDBDBD"}
    axes.add_patch(Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, **look))
    ratio = "" if np.isnan(entry.over_floor) else f"({number(entry.over_floor, 2)})"
    mark = "div." if entry.verdict is Verdict.DIVERGED else ""
    axes.text(x, y - 0.16, number(entry.improvement), ha="center", va="center", fontsize=7.5)
    axes.text(x, y + 0.22, f"{ratio} {mark}".strip(), ha="center", va="center", fontsize=5.5)
