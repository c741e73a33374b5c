"""The figure of a run: how well its flows agree with the iterates, in loss, place and motion."""

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from experiments.analysis import paths
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
from experiments.setup.plane import OF_THE_HESSIAN

LOST = "the iterates diverged before the first record"
NO_EDGE = "this optimizer has no linear edge"
SHOWN = 60  # steps on the plane


def png(results: xr.Dataset) -> bytes:
    """Draw the figure of a run as a PNG."""
    return rendered(overview(results), "png")


def overview(results: xr.Dataset) -> Figure:
    """Draw the panels that tell how well the flows follow a run.

    Loss, effective sharpness, distance and oscillation; and, if the paths of the run were recorded,
    the plane of its leading modes, the variance in each of them, and the norm of the gradient. Of
    several seeds, the first is drawn.
    """
    results = results.isel(seed=0) if "seed" in results.dims else results
    draws: dict[str, Callable[[Axes, xr.Dataset], None]] = {
        "Training loss": _loss,
        "Effective sharpness": _sharpness,
        "Distance to the iterates": _distance,
        "Oscillation": _oscillation,
    }
    if "path" in results:
        del draws["Oscillation"]
        draws |= {"Variance in the leading modes": _variance, "Gradient norm": _gradient}
        draws |= {"Plane of the leading modes": _plane}
    lost = bool(results.mean_loss.isnull().all())
    with mpl.rc_context(STYLE):
        figure = page_wide(4.8)
        panels = list(figure.subplots(2, len(draws) // 2).flat)
        lettered(panels, draws)
        for panel, draw in zip(panels, draws.values(), strict=True):
            draw(panel, results)
            if draw is not _plane:
                panel.margins(x=0)
                panel.set_xlim(0, results.step.values[-1])
                panel.set_xlabel("optimizer steps")
            if lost:
                panel.tick_params(axis="y", which="both", left=False, labelleft=False)
                center = {"x": 0.5, "y": 0.5, "ha": "center", "va": "center"}
                panel.text(s=LOST, transform=panel.transAxes, color=FLOOR["color"], **center)
            elif panel.get_yscale() == "log":
                readable(panel)
        # One legend for the panels that share their curves, where it can hide none of them.
        curves = {}
        for panel in panels:
            curves |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
        columns = min(len(curves), 5)
        figure.legend(curves.values(), curves.keys(), loc="outside upper center", ncols=columns)
    return figure


def _loss(axes: Axes, results: xr.Dataset) -> None:
    """Draw the three-step average of the iterates' loss, and the flows' predictions of it."""
    axes.plot(results.step, results.mean_loss, label="iterates", **ITERATES)
    plot_flows(axes, results.flow_loss)
    if results.mean_loss.max() > 10 * results.mean_loss.min():
        axes.set_yscale("log")


def _sharpness(axes: Axes, results: xr.Dataset) -> None:
    """Draw the leading effective sharpnesses of the iterates, with the edge."""
    axes.axhline(1.0, label="edge of stability", **EDGE)
    leading = results.effective_sharpness.sortby("mode")
    known = [("largest", LARGEST), ("second", SECOND), ("further", FURTHER)]
    drawn = []
    for i, mode in enumerate(leading.mode.values):
        label, line = known[min(i, 2)]
        (curve,) = axes.plot(results.step, leading.sel(mode=mode), **line)
        drawn += [(curve, label)] if i < 3 else []
    axes.set_ylim(0, 1.1 * float(leading.max().fillna(1.0).clip(min=1.0)))
    if leading.isnull().all() and results.mean_loss.notnull().any():
        axes.text(0.5, 0.4, NO_EDGE, transform=axes.transAxes, ha="center", color=FLOOR["color"])
    elif leading.notnull().any():
        axes.legend(*zip(*drawn, strict=True), loc="lower right", handlelength=1.3)


def _distance(axes: Axes, results: xr.Dataset) -> None:
    """Draw the distance of the flows to the iterates, with the floor that the iterates set."""
    plot_flows(axes, results.distance)
    if "floor" in results:
        label = "floor, set by rounding"
        axes.plot(results.step, results.floor.where(results.floor > 0), label=label, **FLOOR)
    axes.set_yscale("log")


def _oscillation(axes: Axes, results: xr.Dataset) -> None:
    """Draw the half-length of the rods beside the distance of the iterates to their midpoint."""
    if "oscillation" in results:
        axes.plot(results.step, results.oscillation, label="iterates", **ITERATES)
    plot_flows(axes, results.extent.where(results.extent > 0).dropna("flow", how="all"))
    axes.set_yscale("log")


def _variance(axes: Axes, results: xr.Dataset) -> None:
    """Draw the variance of the iterates about their midpoint, and of the rod, along each mode."""
    rod = style("rod")
    measured = paths.variance(paths.alternation(results.path.values))
    predicted = paths.variance(results.rod_path.sel(flow="rod").values)
    drawn = []
    for i, (width, alpha) in enumerate([(1.0, 1.0), (0.6, 0.5)]):
        thick = ITERATES | {"linewidth": 3.5 * width, "alpha": ITERATES["alpha"] * alpha}
        axes.plot(results.time, measured[:, i], **thick)
        line = {"color": rod.color, "linewidth": 1.3 * width, "alpha": alpha}
        drawn += axes.plot(results.time, predicted[:, i], **line)
    axes.legend(drawn, ["first", "second"], loc="upper left", handlelength=1.3)
    top = np.nanmax(measured, initial=0.0)
    axes.set_yscale("log")
    if top > 0:
        axes.set_ylim(1e-6 * top, 5 * top)


def _gradient(axes: Axes, results: xr.Dataset) -> None:
    """Draw the norm of the gradient at two consecutive iterates, at the ends of rod and stable."""
    axes.plot(results.step, results.alternating_gradient, label="iterates", **ITERATES)
    plot_flows(axes, results.flow_alternating_gradient)
    axes.set_yscale("log")


def _plane(axes: Axes, results: xr.Dataset) -> None:
    """Draw iterates, rods and the stable flow around the first burst of the oscillation."""
    shown = paths.first_burst(results.path.values, SHOWN)
    iterates = results.path.values[shown]
    flows = {name: results.flow_path.sel(flow=name).values[shown] for name in ("stable", "rod")}
    half = results.rod_path.sel(flow="rod").values[shown]
    ends = np.stack([flows["rod"] + half, flows["rod"] - half])
    rod, stable = style("rod"), style("stable")
    axes.plot(*iterates.T, color="#000000", linewidth=0.3, alpha=0.4)
    axes.plot(*ends.T.swapaxes(1, 2), color=rod.color, linewidth=0.9, alpha=0.55)
    axes.plot(*iterates.T, color="#000000", linestyle="", marker="o", markersize=1.6)
    axes.plot(*flows["rod"].T, color=rod.color, linewidth=1.6)
    inside = np.concatenate([iterates, *ends])
    if np.isfinite(inside).any():
        low, high = np.nanmin(inside, axis=0), np.nanmax(inside, axis=0)
        margin = 0.06 * (high - low) + 1e-12
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - 3 * margin[1], high[1] + margin[1])  # room for a line of text
    axes.plot(*flows["stable"].T, color=stable.color, linestyle=stable.linestyle, linewidth=1.5)
    steps = results.time.values[shown]
    axes.text(0.02, 0.02, f"steps {steps[0]} to {steps[-1]}", transform=axes.transAxes)
    title_plane(axes, results)


def title_plane(axes: Axes, results: xr.Dataset) -> None:
    """Say what the axes of the plane are, in powers of ten that fit their limits."""
    of = "mode" if results.attrs.get("plane") != OF_THE_HESSIAN else "eigenvector of the Hessian"
    axes.set_xlabel(f"first {of}{_in_powers(axes.xaxis)}")
    axes.set_ylabel(f"second {of}{_in_powers(axes.yaxis)}")


def _in_powers(axis: Axis) -> str:
    """Label an axis in a power of ten, and return that power as a part of its title."""
    power = int(np.floor(np.log10(max(map(abs, axis.get_view_interval())))))
    axis.set_major_locator(MaxNLocator(4))
    if -1 <= power <= 2:
        return ""
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 10.0**power:g}"))
    return f" ($10^{{{power}}}$)"


def readable(axes: Axes) -> None:
    """Label enough of a logarithmic axis that spans too few whole powers of ten."""
    low, high = axes.get_ylim()
    decades = np.log10(high / low)
    if decades < 1.5:
        near = LogLocator(subs=(1, 2, 5)) if decades > 0.8 else MaxNLocator(4)
        axes.yaxis.set_major_locator(near)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: number_on_axis(y)))
        axes.yaxis.set_minor_formatter(NullFormatter())


def number_on_axis(value: float) -> str:
    """Write a number of few digits, with a power of ten where it is tiny or huge."""
    if value <= 0 or 1e-3 <= value < 1e4:
        return f"{value:g}"
    power = int(np.floor(np.log10(value) + 1e-9))
    return f"${value / 10.0**power:g}\\times10^{{{power}}}$"


def plot_flows(axes: Axes, values: xr.DataArray) -> None:
    """Draw a quantity of the flows over the optimizer steps, each flow in its style."""
    for name in values.flow.values:
        label, color, linestyle, _ = style(str(name))
        line = {"color": color, "linestyle": linestyle, "linewidth": 1.3}
        axes.plot(values.step, values.sel(flow=name), label=label, **line)
