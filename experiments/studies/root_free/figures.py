"""Figures of the study of root-free methods."""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis import style
from experiments.analysis.style import EDGE
from experiments.studies.root_free.measures import EXPONENTS, LABELS, Measures

COLORS = {
    "sgd": "#000000",
    "adamw": "#E69F00",
    "rf_adamw": "#D55E00",
    "rmsprop": "#56B4E9",
    "rf_rmsprop": "#0072B2",
    "if_shampoo": "#009E73",
}
SHADES = ("#9ECAE1", "#4292C6", "#084594", "#031A36")
THEORY = {"color": "#7F7F7F", "linewidth": 0.9, "linestyle": "--"}
PRECISIONS = {"": ("float32", -0.14, "#595959"), "half_": ("bfloat16, compensated", 0.14, "white")}
"""Prefix -> label, shift of the row, and colour within the mark of a legend."""


def draws(found: Measures) -> dict[str, Callable[[], Figure]]:
    """Name the figures, and the functions that draw them."""
    return {
        "accuracy": partial(_accuracy, found),
        "batch-size": partial(_batch_size, found),
        "edge": partial(_edge, found.results),
        "first-step": partial(_first_step, found.results),
    }


def _accuracy(found: Measures) -> Figure:
    models = list(map(str, found.results.model.values))
    figure = style.page_wide(2.6)
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for axes, model in zip(panels, models, strict=True):
        one = found.results.sel(model=model)
        for place, method in enumerate(LABELS):
            color, intervals = COLORS[method], found.tested[model, method].accuracy
            for prefix, (_, shift, _) in PRECISIONS.items():
                if np.isnan(intervals[prefix].value):
                    continue
                values = 100 * one[f"{prefix}test_accuracy"].sel({"method": method}).values
                at = place + shift
                dots = {"color": color, "alpha": 0.3, "markersize": 3}
                axes.plot(values, np.full(len(values), at), ".", **dots)
                mean, low, high = (100 * x for x in intervals[prefix])
                marks = {"mfc": "white" if prefix else color, "markersize": 4.5, "linewidth": 1.2}
                ends = [[mean - low], [high - mean]]
                axes.errorbar(mean, at, xerr=ends, fmt="o", color=color, **marks)
        axes.set_xlabel("test accuracy, %")
        axes.set_yticks(range(len(LABELS)), LABELS.values())
        axes.tick_params(axis="y", length=0)
    panels[0].invert_yaxis()
    style.lettered(panels, models)
    for label, _, fill in PRECISIONS.values():
        panels[0].plot([], [], "o", color="#595959", mfc=fill, markersize=4.5, label=label)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _batch_size(found: Measures) -> Figure:
    figure = style.page_wide(2.5)
    *curves, summary = figure.subplots(1, 3)
    sizes = found.results.batch_size.values
    for axes, (method, (best, _, slope)) in zip(curves, found.best.items(), strict=True):
        one = found.results.sel(scaled=method)
        for shade, size, rate in zip(SHADES, sizes, best, strict=False):
            losses = np.exp(np.log(one.scaling_loss.sel(batch_size=size)).mean("scaling_seed"))
            losses = losses.where(np.isfinite(losses))
            axes.plot(one.scaling_rate, losses, color=shade, linewidth=1.2, label=f"B = {size}")
            axes.axvline(rate, color=shade, linewidth=0.8, linestyle=":")
        axes.set(xlabel="learning rate", xscale="log", yscale="log")
        color, expected = COLORS[method], EXPONENTS[method]
        label = f"{LABELS[method]}: {slope:z.2f}"
        summary.plot(sizes, best / best[0], "o", color=color, markersize=4.5, label=label)
        law = (sizes / sizes[0]) ** expected
        line = {"color": color, "linewidth": 1.0, "linestyle": "--"}
        summary.plot(sizes, law, label=f"expected: {expected:g}", **line)
    curves[0].set_ylabel("final training loss")
    summary.set_xscale("log", base=2)
    summary.set_yscale("log", base=2)
    summary.set_xlabel("batch size B")
    for axes in (curves[0], summary):
        axes.legend(fontsize=6.5)
    style.lettered(figure.axes, [*(LABELS[m] for m in EXPONENTS), "Best rate, over the first"])
    return figure


def _edge(results: xr.Dataset) -> Figure:
    figure = style.page_wide(4.6)
    (sharp, losses), (along, single) = figure.subplots(2, 2)
    _quadratic(results, sharp, losses)
    for method, label in LABELS.items():
        one = results.sel({"method": method})
        look = {"color": COLORS[method], "linewidth": 1.1, "label": label}
        along.plot(one.time, one.sharpness, **look)
        values = np.sort(one.single_sharpness.values[np.isfinite(one.single_sharpness.values)])
        if len(values):
            single.plot(values, (np.arange(len(values)) + 0.5) / len(values), **look)
    along.axhline(1, **EDGE)
    along.set(ylim=(0, 2), xlabel="optimizer steps")
    along.legend(fontsize=6, ncols=2)
    single.axvline(1, **EDGE)
    single.set_xscale("symlog", linthresh=1e-3)
    single.set(xlabel="effective sharpness of a coordinate", ylabel="share below")
    titles = (
        "Quadratic: effective sharpness",
        "Quadratic: loss",
        "Network: effective sharpness",
        "Network: single coordinates at the end",
    )
    style.lettered(figure.axes, titles)
    return figure


def _quadratic(results: xr.Dataset, sharp: Axes, losses: Axes) -> None:
    for method, marker in (("rmsprop", "s"), ("rf_rmsprop", "o")):
        one = results.sel(scaled=method)
        look = {"color": COLORS[method], "markersize": 4, "label": LABELS[method]}
        sharp.plot(one.curvature, one.quadratic_sharpness, marker, **look)
        losses.plot(one.curvature, one.quadratic_loss, marker, **look)
    rate, lam = float(results.quadratic_rate), results.curvature.values
    losses.plot(lam, lam * rate**2 / 8, **THEORY)
    losses.plot(lam, np.maximum(rate / 2 - 1e-4 / lam, 0) / 2, label="theory", **THEORY)
    for axes in (sharp, losses):
        axes.set(xscale="log", xlabel="curvature of the coordinate")
        axes.legend(fontsize=6.5)
    losses.set_yscale("log")
    sharp.axhline(1, **EDGE)
    sharp.set_ylim(0, max(1.5, 1.1 * float(results.quadratic_sharpness.max())))


def _first_step(results: xr.Dataset) -> Figure:
    figure, panels = style.grid(len(LABELS), 3, height=1.3, margin=0.0, sharex=True)
    width = float(results.bin[1] - results.bin[0])
    for axes, method in zip(panels, LABELS, strict=True):
        counts = results.first_update.sel({"method": method})
        axes.bar(results.bin, counts / counts.sum(), width=width, color=COLORS[method])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    style.lettered(panels, LABELS.values())
    figure.supxlabel("$\\log_{10}$ of the first update of a coordinate, over the root mean square")
    return figure
