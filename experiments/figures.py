"""The figure of a run: what the iterates did, and what the flows made of it."""

from io import BytesIO
from typing import Any

import matplotlib as mpl
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito's palette, which colour-blind readers can tell apart; line styles say it twice.
ITERATES = {"color": "#000000", "linewidth": 3.5, "alpha": 0.35}
STABLE = {"color": "#0072B2", "linewidth": 1.3, "linestyle": (0, (5, 2))}
ROD = {"color": "#D55E00", "linewidth": 1.3}
LARGEST = {"color": "#000000", "linewidth": 1.1, "zorder": 3}
SECOND = {"color": "#009E73", "linewidth": 0.9}
FLOOR = {"color": "#7F7F7F", "linewidth": 1.1, "linestyle": ":"}
EDGE = {"color": "#7F7F7F", "linewidth": 0.9, "linestyle": "--"}

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
}
DPI = 200


def png(results: xr.Dataset) -> bytes:
    """Draw the figure of a run as a PNG."""
    content = BytesIO()
    with mpl.rc_context(STYLE):
        overview(results).savefig(content, format="png", dpi=DPI)
    return content.getvalue()


def overview(results: xr.Dataset) -> Figure:
    """Draw loss, effective sharpness, distance and rod extent over the optimizer steps."""
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    loss, sharpness, distance, extent = axes.flat
    steps = results.step.values
    draw_loss(loss, results)
    draw_sharpness(sharpness, results)
    draw_distance(distance, results)
    draw_extent(extent, results)
    for letter, panel in zip("abcd", axes.flat, strict=True):
        panel.set_title(f"$\\bf{{{letter}}}$  {panel.get_title(loc='left')}")
        panel.margins(x=0)
    loss.set_xlim(0, steps[-1])
    # One legend for the panels that share their curves, where it can hide none of them.
    curves = dict(zip(*reversed(loss.get_legend_handles_labels()), strict=True))
    curves |= dict(zip(*reversed(distance.get_legend_handles_labels()), strict=True))
    figure.legend(curves.values(), curves.keys(), loc="outside upper center", ncols=len(curves))
    figure.supxlabel("optimizer steps", fontsize=STYLE["font.size"])
    return figure


def draw_loss(axes: Axes, results: xr.Dataset) -> None:
    """Three-step average of the iterates' loss, and what the flows predict for it."""
    axes.set_title("Training loss")
    axes.plot(results.step, results.mean_loss, label="iterates (3-step average)", **ITERATES)
    axes.plot(results.step, results.flow_loss.sel(flow="stable"), label="stable flow", **STABLE)
    axes.plot(results.step, results.flow_loss.sel(flow="rod"), label="rod flow", **ROD)
    if results.mean_loss.max() > 10 * results.mean_loss.min():
        axes.set_yscale("log")


def draw_sharpness(axes: Axes, results: xr.Dataset) -> None:
    """Leading effective sharpnesses of the iterates, with the edge."""
    axes.set_title("Effective sharpness of the iterates")
    axes.axhline(1.0, label="edge of stability", **EDGE)
    leading = results.effective_sharpness
    for mode, style, label in ((1, LARGEST, "largest"), (2, SECOND, "second")):
        axes.plot(results.step, leading.sel(mode=mode), label=label, **style)
    room_for_legend = 1.25
    axes.set_ylim(0, room_for_legend * float(leading.max().fillna(1.0).clip(min=1.0)))
    axes.legend(loc="upper center", ncols=3, borderaxespad=0)


def draw_distance(axes: Axes, results: xr.Dataset) -> None:
    """Distance of the flows to the iterates, with the floor that the iterates themselves set."""
    axes.set_title("Distance to the iterates")
    distance = results.distance
    axes.plot(results.step, distance.sel(flow="stable"), label="stable flow", **STABLE)
    axes.plot(results.step, distance.sel(flow="rod"), label="rod flow", **ROD)
    if "floor" in results:
        label = "floor (iterates that started one rounding unit apart)"
        axes.plot(results.step, results.floor.where(results.floor > 0), label=label, **FLOOR)
    axes.set_yscale("log")


def draw_extent(axes: Axes, results: xr.Dataset) -> None:
    """Half-length of the rod in parameter space."""
    axes.set_title("Half-length of the rod")
    extent = results.extent.sel(flow="rod")
    axes.plot(results.step, extent.where(extent > 0), **ROD)
    axes.set_yscale("log")
