"""The figures of a paper: what the iterates did and what the flows made of it; a study as a map.

Okabe & Ito's palette, which colour-blind readers can tell apart; line styles say it twice.
"""

from io import BytesIO
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from experiments.analysis import comparison, summary
from experiments.analysis.verdicts import Summary, Verdict, number


class Style(NamedTuple):
    """How a flow is drawn: on paper and, for plotly, on a page."""

    label: str
    color: str
    linestyle: Any
    dash: str


FLOWS = {
    "stable": Style("stable flow", "#0072B2", (0, (5, 2)), "7px,3px"),
    "corrected": Style("corrected stable flow", "#56B4E9", (0, (6, 1.5, 1, 1.5)), "9px,2px,2px"),
    "rod": Style("rod flow", "#D55E00", "-", "solid"),
    "covariance_1": Style("covariance rod, rank 1", "#CC79A7", (0, (1.5, 1)), "2px,2px"),
    "covariance_4": Style("covariance rod, rank 4", "#009E73", (0, (3, 1, 1, 1)), "dashdot"),
    "rod_one_step": Style("rod flow, one-step", "#882255", (0, (2, 1)), "3px,1px"),
    "rod_at_rest": Style("rod flow from rest", "#AA4499", (0, (4, 1)), "4px,1px"),
    "central": Style("central flow", "#117733", (0, (8, 2)), "8px,2px"),
    "edge": Style("Edge Flow", "#000000", (0, (1, 1)), "1px,1px"),
    "free_energy": Style("free-energy flow", "#8A6D00", (0, (2, 2)), "4px,4px"),
}  # fmt: skip
ITERATES = {"color": "#000000", "linewidth": 3.5, "alpha": 0.35}
LARGEST = {"color": "#000000", "linewidth": 1.1, "zorder": 3}
SECOND = {"color": "#8C8C8C", "linewidth": 0.9}
FURTHER = {"color": "#C4C4C4", "linewidth": 0.7}
FLOOR = {"color": "#7F7F7F", "linewidth": 1.1, "linestyle": ":"}
LOST = "the iterates diverged before the first record"
EDGE = {"color": "#7F7F7F", "linewidth": 0.9, "linestyle": "--"}
# log10 of the improvement from -2 to 2: vermilion below 0, blue above.
IMPROVEMENT = LinearSegmentedColormap.from_list(
    "improvement", ["#D55E00", "#F2B48C", "#F7F7F7", "#9CCBE8", "#2F8AC4"]
)
DECADES = 2
MARKERS = "osDv^<>P"

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # TrueType, which journals ask for
}
DPI = 200


def png(results: xr.Dataset) -> bytes:
    """Draw the figure of a run as a PNG."""
    with mpl.rc_context(STYLE):
        return rendered(overview(results), "png")


def rendered(figure: Figure, kind: str) -> bytes:
    """Turn a figure into the bytes of a file, the same every time: "png" or "pdf"."""
    content = BytesIO()
    dated = {"CreationDate": None} if kind == "pdf" else None
    with mpl.rc_context(STYLE):
        figure.savefig(content, format=kind, dpi=DPI, metadata=dated)
    figure.set_layout_engine("none")  # found already; in the next format it need not be again
    return content.getvalue()


def style(flow: str) -> Style:
    """How a flow is drawn; those without a style of their own share one."""
    return FLOWS.get(flow, Style(f"{flow} flow", "#E69F00", "-.", "longdash"))


def colour(improvement: int | float) -> str:
    """Colour of an improvement as `#rrggbb`; black text can be read on each of them."""
    with np.errstate(divide="ignore"):
        decades = np.log10(improvement)
    return to_hex(IMPROVEMENT((decades + DECADES) / (2 * DECADES)))


def overview(results: xr.Dataset) -> Figure:
    """Draw loss, effective sharpness, distance and rod extent over the optimizer steps.

    Of a data set with several seeds it is the first one.
    """
    results = results.isel(seed=0) if "seed" in results.dims else results
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.8), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True)
        draws = (draw_loss, draw_sharpness, draw_distance, draw_extent)
        for letter, panel, draw in zip("abcd", axes.flat, draws, strict=True):
            draw(panel, results)
            panel.set_title(f"$\\bf{{{letter}}}$  {panel.get_title(loc='left')}")
            panel.margins(x=0)
            if results.mean_loss.isnull().all():
                panel.tick_params(axis="y", which="both", left=False, labelleft=False)
                center = {"x": 0.5, "y": 0.5, "ha": "center", "va": "center"}
                panel.text(s=LOST, transform=panel.transAxes, color=FLOOR["color"], **center)
        axes.flat[0].set_xlim(0, results.step.values[-1])
        # One legend for the panels that share their curves, where it can hide none of them.
        curves = {}
        for panel in (axes.flat[0], axes.flat[2]):
            curves |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
        columns = min(len(curves), 4)
        figure.legend(curves.values(), curves.keys(), loc="outside upper center", ncols=columns)
        figure.supxlabel("optimizer steps", fontsize=STYLE["font.size"])
    return figure


def draw_loss(axes: Axes, results: xr.Dataset) -> None:
    """Three-step average of the iterates' loss, and what the flows predict for it."""
    axes.set_title("Training loss")
    axes.plot(results.step, results.mean_loss, label="iterates (3-step average)", **ITERATES)
    _plot_flows(axes, results.flow_loss)
    if results.mean_loss.max() > 10 * results.mean_loss.min():
        axes.set_yscale("log")


def draw_sharpness(axes: Axes, results: xr.Dataset) -> None:
    """Leading effective sharpnesses of the iterates, with the edge."""
    axes.set_title("Effective sharpness of the iterates")
    axes.axhline(1.0, label="edge of stability", **EDGE)
    leading = results.effective_sharpness.sortby("mode")
    known = [("largest", LARGEST), ("second", SECOND), ("further", FURTHER)]
    for i, mode in enumerate(leading.mode.values):
        label, line = known[min(i, 2)]
        axes.plot(results.step, leading.sel(mode=mode), label=label if i < 3 else None, **line)
    room_for_legend = 1.25
    axes.set_ylim(0, room_for_legend * float(leading.max().fillna(1.0).clip(min=1.0)))
    tight = {"columnspacing": 0.9, "handlelength": 1.3, "handletextpad": 0.4}
    axes.legend(loc="upper center", ncols=4, borderaxespad=0, **tight)


def draw_distance(axes: Axes, results: xr.Dataset) -> None:
    """Distance of the flows to the iterates, with the floor that the iterates themselves set."""
    axes.set_title("Distance to the iterates")
    _plot_flows(axes, results.distance)
    if "floor" in results:
        label = "floor (set by rounding)"
        axes.plot(results.step, results.floor.where(results.floor > 0), label=label, **FLOOR)
    axes.set_yscale("log")


def draw_extent(axes: Axes, results: xr.Dataset) -> None:
    """Half-length of the rods in parameter space; flows without one have extent 0."""
    axes.set_title("Half-length of the rod")
    _plot_flows(axes, results.extent.where(results.extent > 0).dropna("flow", how="all"))
    axes.set_yscale("log")


def _plot_flows(axes: Axes, values: xr.DataArray) -> None:
    for name in values.flow.values:
        label, color, linestyle, _ = style(str(name))
        line = {"color": color, "linestyle": linestyle, "linewidth": 1.3}
        axes.plot(values.step, values.sel(flow=name), label=label, **line)


def models(cells: summary.Cells) -> Figure:
    """Draw how far each model is from the mean of the runs, in units of the floor, on each cell."""
    compared = comparison.table(cells)
    names = summary.rows(cells)
    labels = [f"{row}, {cell.attrs['optimizer']}" for row, cell in zip(names, cells, strict=True)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.5, 1.0 + 0.24 * len(cells)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(cells))
        for index, (flow, column) in enumerate(compared.items()):
            offset = 0.5 * (index / (len(compared) - 1) - 0.5)
            values = [np.nan if entry is None else entry.distance for entry in column]
            marker = MARKERS[index % len(MARKERS)]
            line: dict[str, Any] = {"color": style(flow).color, "marker": marker, "linestyle": ""}
            axes.plot(values, places + offset, label=style(flow).label, markersize=4, **line)
        axes.axvline(1, **EDGE)
        axes.set_xscale("log")
        axes.set_xlabel("mean distance to the mean of the runs, over the floor")
        axes.set_yticks(places, labels)
        axes.set_ylim(len(cells) - 0.5, -0.5)
        axes.grid(axis="y", color="#EEEEEE", linewidth=7, zorder=0)
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper left", ncols=4)
    return figure


def latest(cells: summary.Cells, flow: str) -> dict[str, xr.Dataset]:
    """For each optimizer, the cell in which the oscillation of `flow` sets in latest, or never.

    Of those in which the oscillation of the iterates sets in, from the first seed, and `flow` does
    not diverge; of several that are equally late the one furthest away, in distances of the rod.
    """
    found: dict[str, tuple[tuple[float, float], xr.Dataset]] = {}
    for cell in cells:
        began = comparison.onset(cell.oscillation.isel(seed=0).values, cell.step.values)
        if flow not in cell.flow.values or np.isnan(began):
            continue
        distance, *_, delay = comparison.compare(cell, flow)[:4]
        away = distance / comparison.compare(cell, "rod").distance
        name = str(cell.attrs["optimizer"])
        if not np.isnan(away) and (name not in found or (delay, away) > found[name][0]):
            found[name] = (delay, away), cell
    return {name: cell for name, (_, cell) in found.items()}


def onset(cells: summary.Cells) -> Figure:
    """Draw the published rod beside the signed rod where the published one is latest.

    Of each optimizer the cell with the latest onset, of that the first seed: the sharpness at the
    centre of both flows, and their oscillation, against those of the iterates.
    """
    chosen = latest(cells, "covariance_1")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.8 + 2.2 * len(chosen), 4.2), layout="constrained")
        panels = figure.subplots(2, len(chosen), sharex="col", squeeze=False)
        for (above, below), (name, cell) in zip(panels.T, chosen.items(), strict=True):
            one = cell.isel(seed=0)
            above.set_title(f"{cell.attrs['problem']}, {name}")
            above.axhline(1.0, label="edge of stability", **EDGE)
            iterates = ITERATES | {"label": "iterates"}
            above.plot(one.step, one.effective_sharpness.max("mode"), **iterates)
            below.plot(one.step, one.oscillation, **iterates)
            flows = one.sel(flow=["rod", "covariance_1"])
            _plot_flows(above, flows.flow_effective_sharpness)
            _plot_flows(below, flows.extent)
            below.set_yscale("log")
            for axes in (above, below):
                axes.margins(x=0)
        panels[0, 0].set_ylabel("largest effective sharpness")
        panels[1, 0].set_ylabel("half-length of the oscillation")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)
        figure.supxlabel("optimizer steps", fontsize=STYLE["font.size"])
    return figure


def map_of(cells: summary.Cells, flow: str = "rod") -> Figure:
    """Draw the improvements of a study, architectures by optimizers, coloured by their log10."""
    rows, columns, entries = summary.grid(cells, flow)
    with mpl.rc_context(STYLE):
        size = (max(3.6, 0.9 + 0.7 * len(columns)), 1.3 + 0.45 * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_title(f"Improvement of the {style(flow).label} over the stable flow", pad=8)
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
        figure.legend([hatched], [label], loc="outside lower left", fontsize=7)
    return figure


def _draw_entry(axes: Axes, x: int, y: int, entry: Summary) -> None:
    corner, gap = (x - 0.48, y - 0.47), {"edgecolor": "white", "linewidth": 0}
    blank = np.isnan(entry.improvement) or not entry.at_edge
    face = "#E6E6E6" if blank else colour(entry.improvement)
    if not entry.at_edge:
        gap = {"hatch": "////", "edgecolor": "#BDBDBD", "linewidth": 0}
    axes.add_patch(Rectangle(corner, 0.96, 0.94, facecolor=face, **gap))
    ratio = "" if np.isnan(entry.over_floor) else f"({number(entry.over_floor, 2)})"
    mark = "div." if entry.verdict is Verdict.DIVERGED else ""
    axes.text(x, y - 0.16, number(entry.improvement), ha="center", va="center", fontsize=7.5)
    axes.text(x, y + 0.22, f"{ratio} {mark}".strip(), ha="center", va="center", fontsize=5.5)
