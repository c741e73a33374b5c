"""The figures of the study of warmup."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.report.figures import EDGE, ITERATES, STYLE
from experiments.studies.warmup import readings as readings
from rodflow.transforms import rectification

# Warmups are blue, the longer the darker; the last of the others is gradient descent.
WARMUPS = ("#9CCBE8", "#56B4E9", "#0072B2", "#004B7A")
OTHERS = ("#000000", "#D55E00", "#E69F00", "#CC79A7", "#009E73", "#8C8C8C")
STYLES = {"minibatch": "-", "full batch": (0, (3, 1))}


def figures(results: xr.Dataset) -> dict[str, Figure]:
    """Draw what gradients, accuracies and both readings do."""
    with mpl.rc_context(STYLE):
        return {
            "warmup-gradients": _gradients(results),
            "warmup-accuracy": _accuracy(results),
            "warmup-readings": _curves(results),
            "warmup-climbs": _climbs(results),
        }


def _colored(results: xr.Dataset) -> list[tuple[str, str]]:
    arms = [str(arm) for arm in results.arm.values]
    warmups = iter(WARMUPS * len(arms))
    others = iter(OTHERS)
    return [(arm, next(warmups if arm.startswith("Adam, warmup") else others)) for arm in arms]


def _lettered(figure: Figure, titles: list[str]) -> None:
    for letter, axes, title in zip("abcdefghijklmnop", figure.axes, titles, strict=False):
        axes.set_title(f"$\\bf{{{letter}}}$  {title}")


def _gradients(results: xr.Dataset) -> Figure:
    """The histogram of log |g| at every step, side by side."""
    rate = float(results.attrs["shown"])
    shown = results.sel(gradients="minibatch", learning_rate=rate).histogram.mean("init")
    arms = [str(arm) for arm in results.arm.values]
    rows = -(-len(arms) // 3)
    figure = Figure(figsize=(7.2, 0.7 + 1.5 * rows), layout="constrained")
    panels = figure.subplots(rows, 3, sharex=True, sharey=True, squeeze=False)
    width = float(results.bin[1] - results.bin[0])
    visible = shown.sum(["arm", "step"]).cumsum("bin")
    inside = (visible > 0.01 * visible[-1]) & (visible < (1 - 1e-4) * visible[-1])
    floor, top = (float(x) for x in (results.bin[inside].min(), results.bin[inside].max()))
    edges = 10 ** np.append(results.bin - width / 2, results.bin[-1] + width / 2)
    # The cell of step t lies around it on the logarithmic axis.
    steps = np.append(results.step - 0.5, results.step[-1] + 0.5)
    mesh = None
    for axes, arm in zip(panels.flat, arms, strict=False):
        one = shown.sel(arm=arm).transpose("bin", "step")
        mesh = axes.pcolormesh(
            steps, edges, one / width, cmap="Blues", vmin=0, vmax=0.8, rasterized=True
        )
        middle = [
            10
            ** float(
                readings.magnitude(
                    results.sel(gradients="minibatch", learning_rate=rate, arm=arm), int(step)
                )
            )
            for step in results.step
        ]
        axes.plot(results.step, middle, color="#D55E00", linewidth=1.2)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(10 ** (floor - 0.5), 10 ** (top + 0.5))
        axes.set_xlim(0.5, float(results.step[-1]))
    for axes in panels.flat[len(arms) :]:
        axes.set_visible(False)
    assert mesh is not None
    figure.colorbar(mesh, ax=panels, fraction=0.02, pad=0.01, label="density per decade")
    _lettered(figure, arms)
    figure.supxlabel(f"step, lr {rate:g} (orange: median)", fontsize=STYLE["font.size"])
    figure.supylabel("magnitude of gradients, $|g|$", fontsize=STYLE["font.size"])
    return figure


def _accuracy(results: xr.Dataset) -> Figure:
    """What is reached, over the learning rate."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    drawn = results.sel(gradients="minibatch").sortby("learning_rate")
    lines = {}
    for axes, name in zip(panels, ("accuracy", "train_loss"), strict=True):
        for arm, color in _colored(results):
            values = drawn[name].sel(arm=arm).stack(run=("init", "member"))
            mean = values.mean("run")
            lines[arm] = axes.plot(
                drawn.learning_rate, mean, color=color, marker="o", markersize=3, linewidth=1.2
            )[0]
            spread = (values.min("run"), values.max("run"))
            axes.fill_between(drawn.learning_rate, *spread, color=color, alpha=0.08, linewidth=0)
        axes.set_xscale("log")
    panels[1].set_yscale("log")
    _lettered(figure, ["Test accuracy", "Training loss"])
    figure.supxlabel("learning rate (shaded: all runs)", fontsize=STYLE["font.size"])
    figure.legend(lines.values(), lines.keys(), loc="outside right center", fontsize=6.5)
    return figure


def _curves(results: xr.Dataset) -> Figure:
    """Loss and both readings along the same runs."""
    rate = float(results.attrs["shown"])
    runs = readings.adaptive(results).sel(learning_rate=rate)
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    panels = figure.subplots(3, 2, sharex=True, sharey="row")
    lines = {}
    for column, gradients in enumerate(STYLES):
        for arm, color in _colored(results):
            if arm not in runs.arm.values:
                continue
            one = runs.sel(arm=arm, gradients=gradients).median("init")
            line = {"color": color, "linewidth": 1.2}
            lines[arm] = panels[0, column].plot(one.step, one.loss, **line)[0]
            marked = line | {"marker": "o", "markersize": 2.5}
            panels[1, column].plot(one.time, one.sharpness, **marked)
            panels[2, column].plot(one.time, one.spread.where(one.spread > 0), **marked)
        panels[1, column].axhline(1.0, **EDGE)
    rho, _ = rectification(runs.time.values, float(results.attrs["b2"]))
    known = np.asarray(rho > 4)
    panels[2, 0].plot(runs.time[known], 1 / (2 * (np.asarray(rho)[known] - 4)), **ITERATES)
    lines["Adam's, if gradients were centred"] = panels[2, 0].lines[-1]
    panels[2, 1].text(
        0.5, 0.5, "no sampling: 0", transform=panels[2, 1].transAxes, ha="center", color="#7F7F7F"
    )
    for axes in panels.flat:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.margins(x=0.02)
    _lettered(
        figure,
        [
            f"{title}, {gradients}"
            for title in ("Training loss", "Effective sharpness", "Variance of the ratio")
            for gradients in STYLES
        ],
    )
    figure.supxlabel(f"optimizer steps, lr {rate:g}", fontsize=STYLE["font.size"])
    figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=4)
    return figure


def _climbs(results: xr.Dataset) -> Figure:
    """How far the loss climbs, against each reading; a point is a run."""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    runs = readings.adaptive(results)
    climbs = readings.climb(runs)
    most = float(climbs.where(np.isfinite(climbs)).max())
    for axes, name in zip(panels, readings.READINGS, strict=True):
        values = readings.first(runs, name)
        least = float(values.where(values > 0).min())
        _scatter(axes, results, values.clip(min=least / 10), climbs.clip(max=2 * most))
        axes.set_xscale("log")
        axes.set_yscale("log")
    panels[1].axvline(1.0, **EDGE)
    panels[0].set_ylabel("largest loss over that at the start")
    _lettered(figure, ["Variance of the ratio (0: at the left)", "Effective sharpness"])
    figure.supxlabel(f"median over the first {readings.FIRST} steps", fontsize=STYLE["font.size"])
    marks = [
        Line2D([], [], color=color, marker="o", linestyle="", markersize=4, label=arm)
        for arm, color in _colored(results)
        if arm in runs.arm.values
    ] + [
        Line2D([], [], color="#8C8C8C", marker="o", linestyle="", markersize=4, label="minibatch"),
        Line2D(
            [],
            [],
            color="#8C8C8C",
            marker="o",
            linestyle="",
            markersize=4,
            markerfacecolor="none",
            label="full batch",
        ),
    ]
    figure.legend(handles=marks, loc="outside right center", fontsize=6.5)
    return figure


def _scatter(axes: Axes, results: xr.Dataset, values: xr.DataArray, climbs: xr.DataArray) -> None:
    for arm, color in _colored(results):
        if arm not in values.arm.values:
            continue
        for gradients in STYLES:
            chosen = {"arm": arm, "gradients": gradients}
            order = ("learning_rate", "init")
            axes.plot(
                values.sel(chosen).transpose(*order).values.ravel(),
                climbs.sel(chosen).transpose(*order).values.ravel(),
                linestyle="",
                marker="o",
                markersize=3.5,
                color=color,
                markeredgewidth=0.8,
                markerfacecolor=color if gradients == "minibatch" else "none",
            )
