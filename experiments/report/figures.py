"""The figure of a run: loss, effective sharpness, distance and extent over the optimizer steps."""

import matplotlib as mpl
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.style import (
    EDGE,
    FLOOR,
    FURTHER,
    ITERATES,
    LARGEST,
    SECOND,
    STYLE,
    lettered,
    page_wide,
    rendered,
    style,
)

LOST = "the iterates diverged before the first record"


def png(results: xr.Dataset) -> bytes:
    """Draw the figure of a run as a PNG."""
    return rendered(overview(results), "png")


def overview(results: xr.Dataset) -> Figure:
    """Draw loss, effective sharpness, distance and rod extent over the optimizer steps.

    Of several seeds, the first is drawn.
    """
    results = results.isel(seed=0) if "seed" in results.dims else results
    with mpl.rc_context(STYLE):
        figure = page_wide(4.8)
        axes = figure.subplots(2, 2, sharex=True)
        draws = {
            "Training loss": _loss,
            "Effective sharpness of the iterates": _sharpness,
            "Distance to the iterates": _distance,
            "Half-length of the rod": _extent,
        }
        lettered(axes.flat, draws)
        for panel, draw in zip(axes.flat, draws.values(), strict=True):
            draw(panel, results)
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
        figure.supxlabel("optimizer steps")
    return figure


def _loss(axes: Axes, results: xr.Dataset) -> None:
    """Draw the three-step average of the iterates' loss, and the flows' predictions of it."""
    axes.plot(results.step, results.mean_loss, label="iterates (3-step average)", **ITERATES)
    plot_flows(axes, results.flow_loss)
    if results.mean_loss.max() > 10 * results.mean_loss.min():
        axes.set_yscale("log")


def _sharpness(axes: Axes, results: xr.Dataset) -> None:
    """Draw the leading effective sharpnesses of the iterates, with the edge."""
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


def _distance(axes: Axes, results: xr.Dataset) -> None:
    """Draw the distance of the flows to the iterates, with the floor that the iterates set."""
    plot_flows(axes, results.distance)
    if "floor" in results:
        label = "floor (set by rounding)"
        axes.plot(results.step, results.floor.where(results.floor > 0), label=label, **FLOOR)
    axes.set_yscale("log")


def _extent(axes: Axes, results: xr.Dataset) -> None:
    """Draw the half-length of the rods in parameter space; flows without one have extent 0."""
    plot_flows(axes, results.extent.where(results.extent > 0).dropna("flow", how="all"))
    axes.set_yscale("log")


def plot_flows(axes: Axes, values: xr.DataArray) -> None:
    """Draw a quantity of the flows over the optimizer steps, each flow in its style."""
    for name in values.flow.values:
        label, color, linestyle, _ = style(str(name))
        line = {"color": color, "linestyle": linestyle, "linewidth": 1.3}
        axes.plot(values.step, values.sel(flow=name), label=label, **line)
