"""Figures of the study of warmup."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import rodflow
from experiments.analysis import style
from experiments.analysis.style import EDGE, ITERATES
from experiments.studies.warmup.measures import FIRST, READINGS, Measures

# Warmups are blue, the longer the darker; the last of the others is gradient descent.
WARMUPS = ("#9CCBE8", "#56B4E9", "#0072B2", "#004B7A")
OTHERS = ("#000000", "#D55E00", "#E69F00", "#CC79A7", "#009E73", "#8C8C8C")
GRADIENTS = ("minibatch", "full batch")


def draws(found: Measures) -> dict[str, Callable[[], Figure]]:
    """Name the figures, and the functions that draw them."""
    functions = {
        "gradients": _gradients,
        "accuracy": _accuracy,
        "readings": _readings,
        "climbs": _climbs,
    }
    return {f"warmup-{name}": partial(draw, found) for name, draw in functions.items()}


def _colors(results: xr.Dataset) -> dict[str, str]:
    """Return the colour of each arm."""
    arms = [str(arm) for arm in results.arm.values]
    warmups, others = iter(WARMUPS * len(arms)), iter(OTHERS)
    return {arm: next(warmups if arm.startswith("Adam, warmup") else others) for arm in arms}


def _gradients(found: Measures) -> Figure:
    """Draw the histogram of log |g| at every step, side by side."""
    results = found.results
    shown = results.sel(gradients="minibatch", learning_rate=found.rate).histogram.mean("init")
    arms = [str(arm) for arm in results.arm.values]
    shared = {"height": 1.5, "margin": 0.7, "sharex": True, "sharey": True}
    figure, panels = style.grid(len(arms), 3, **shared)
    width = float(results.bin[1] - results.bin[0])
    visible = shown.sum(["arm", "step"]).cumsum("bin")
    inside = results.bin[(visible > 0.01 * visible[-1]) & (visible < (1 - 1e-4) * visible[-1])]
    edges = 10 ** np.append(results.bin - width / 2, results.bin[-1] + width / 2)
    # The cell of step t lies around it on the logarithmic axis.
    steps = np.append(results.step - 0.5, results.step[-1] + 0.5)
    look = {"cmap": "Blues", "vmin": 0, "vmax": 0.8, "rasterized": True}
    for axes, arm in zip(panels, arms, strict=True):
        density = shown.sel(arm=arm).transpose("bin", "step") / width
        mesh = axes.pcolormesh(steps, edges, density, **look)
        middle = 10 ** found.magnitude.sel(arm=arm)
        axes.plot(results.step, middle, color="#D55E00", linewidth=1.2)
        axes.set(xscale="log", yscale="log", xlim=(0.5, float(results.step[-1])))
        axes.set_ylim(10 ** (float(inside.min()) - 0.5), 10 ** (float(inside.max()) + 0.5))
    figure.colorbar(mesh, ax=figure.axes, fraction=0.02, pad=0.01, label="density per decade")
    style.lettered(panels, arms)
    figure.supxlabel(f"step, lr {found.rate:g} (orange: median)")
    figure.supylabel("magnitude of gradients, $|g|$")
    return figure


def _accuracy(found: Measures) -> Figure:
    """Draw accuracy and loss at the end over the learning rate."""
    figure = style.page_wide(3.0)
    panels = figure.subplots(1, 2, sharex=True)
    drawn = found.results.sel(gradients="minibatch").sortby("learning_rate")
    rates = drawn.learning_rate
    for axes, name in zip(panels, ("accuracy", "train_loss"), strict=True):
        for arm, color in _colors(found.results).items():
            values = drawn[name].sel(arm=arm).stack(run=("init", "member"))
            line = {"color": color, "marker": "o", "markersize": 3, "linewidth": 1.2}
            axes.plot(rates, values.mean("run"), label=arm, **line)
            ends = (values.min("run"), values.max("run"))
            axes.fill_between(rates, *ends, color=color, alpha=0.08, linewidth=0)
        axes.set(xscale="log", yscale="log" if name == "train_loss" else "linear")
    style.lettered(panels, ["Test accuracy", "Training loss"])
    figure.supxlabel("learning rate (shaded: all runs)")
    lines = panels[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside right center", fontsize=6.5)
    return figure


def _readings(found: Measures) -> Figure:
    """Draw loss and both readings along the same runs."""
    runs = found.runs.sel(learning_rate=found.rate).median("init")
    figure = style.page_wide(5.6)
    panels = figure.subplots(3, 2, sharex=True, sharey="row")
    for (loss, sharp, spread), gradients in zip(panels.T, GRADIENTS, strict=True):
        for arm, color in _colors(found.results).items():
            if arm not in runs.arm.values:
                continue
            one = runs.sel(arm=arm, gradients=gradients)
            line = {"color": color, "linewidth": 1.2, "label": arm}
            loss.plot(one.step, one.loss, **line)
            marked = line | {"marker": "o", "markersize": 2.5}
            sharp.plot(one.time, one.sharpness, **marked)
            spread.plot(one.time, one.spread.where(one.spread > 0), **marked)
        sharp.axhline(1.0, **EDGE)
    rho = np.asarray(rodflow.rectification(runs.time.values, float(found.results.attrs["b2"]))[0])
    spread, nothing = panels[2]
    centred = {"label": "Adam's, if gradients were centred"} | ITERATES
    spread.plot(runs.time[rho > 4], 1 / (2 * (rho[rho > 4] - 4)), **centred)
    middle = {"x": 0.5, "y": 0.5, "transform": nothing.transAxes, "ha": "center"}
    nothing.text(s="no sampling: 0", color="#7F7F7F", **middle)
    for axes in panels.flat:
        axes.set(xscale="log", yscale="log", xmargin=0.02)
    titles = ("Training loss", "Effective sharpness", "Variance of the ratio")
    style.lettered(panels.flat, [f"{title}, {g}" for title in titles for g in GRADIENTS])
    figure.supxlabel(f"optimizer steps, lr {found.rate:g}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    handles.append(spread.lines[-1])
    figure.legend(handles, [*labels, centred["label"]], loc="outside upper center", ncols=4)
    return figure


def _climbs(found: Measures) -> Figure:
    """Draw how far the loss climbs against each reading; a point is a run."""
    figure = style.page_wide(3.2)
    panels = figure.subplots(1, 2, sharey=True)
    runs = found.runs.transpose(..., "learning_rate", "init")
    most = float(runs.climb.where(np.isfinite(runs.climb)).max())
    colors = {arm: c for arm, c in _colors(found.results).items() if arm in runs.arm.values}
    for axes, name in zip(panels, READINGS, strict=True):
        values = runs[f"early_{name}"]
        least = float(values.where(values > 0).min())
        shown = xr.Dataset({"x": values.clip(min=least / 10), "y": runs.climb.clip(max=2 * most)})
        for arm, color in colors.items():
            for gradients in GRADIENTS:
                _dots(axes, shown.sel(arm=arm, gradients=gradients), color, gradients)
        axes.set(xscale="log", yscale="log")
    panels[1].axvline(1.0, **EDGE)
    panels[0].set_ylabel("largest loss over that at the start")
    style.lettered(panels, ["Variance of the ratio (0: at the left)", "Effective sharpness"])
    figure.supxlabel(f"median over the first {FIRST} steps")
    mark: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 4}
    marks = [Line2D([], [], color=c, mfc=c, label=arm, **mark) for arm, c in colors.items()]
    for gradients, fill in zip(GRADIENTS, ("#8C8C8C", "none"), strict=True):
        marks.append(Line2D([], [], color="#8C8C8C", mfc=fill, label=gradients, **mark))
    figure.legend(handles=marks, loc="outside right center", fontsize=6.5)
    return figure


def _dots(axes: Axes, runs: xr.Dataset, color: str, gradients: str) -> None:
    look = {"linestyle": "", "marker": "o", "markersize": 3.5, "markeredgewidth": 0.8}
    fill = color if gradients == "minibatch" else "none"
    axes.plot(runs.x.values.ravel(), runs.y.values.ravel(), color=color, mfc=fill, **look)
