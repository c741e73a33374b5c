"""Figures of the study."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.report.figures import EDGE, STYLE
from experiments.studies.root_free import measures
from experiments.studies.root_free.tuning import interval

COLORS = {
    "sgd": "#000000",
    "adamw": "#E69F00",
    "rf_adamw": "#D55E00",
    "rmsprop": "#56B4E9",
    "rf_rmsprop": "#0072B2",
    "if_shampoo": "#009E73",
}
SHADES = ("#9ECAE1", "#4292C6", "#084594", "#031A36")


def figures(results: xr.Dataset) -> dict[str, Figure]:
    """Accuracies, scaling with the batch size, the edge, and the first step."""
    drawn = {
        "accuracy": _accuracy,
        "batch-size": _batch_size,
        "edge": _edge,
        "first-step": _first_step,
    }
    with mpl.rc_context(STYLE):
        return {name: draw(results) for name, draw in drawn.items()}


def _lettered(figure: Figure, titles) -> None:
    for letter, axes, title in zip("abcdef", figure.axes, titles, strict=False):
        axes.set_title(f"$\\bf{{{letter}}}$  {title}")


def _accuracy(results: xr.Dataset) -> Figure:
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    panels = figure.subplots(1, results.sizes["model"], squeeze=False, sharey=True)[0]
    for axes, model in zip(panels, results.model.values, strict=True):
        for place, method in enumerate(measures.LABELS):
            for name, shift, fill in (("", -0.14, True), ("half_", 0.14, False)):
                at = {"model": model, "method": method}
                values = 100 * results[f"{name}test_accuracy"].sel(at).values
                if np.isnan(values).all():
                    continue
                mean, low, high = interval(values)
                color = COLORS[method]
                axes.plot(values, np.full(len(values), place + shift), ".", color=color,
                          alpha=0.3, markersize=3)  # fmt: skip
                axes.errorbar(mean, place + shift, xerr=[[mean - low], [high - mean]], fmt="o",
                              color=color, mfc=color if fill else "white", markersize=4.5,
                              linewidth=1.2)  # fmt: skip
        axes.set_xlabel("test accuracy, %")
        axes.set_yticks(range(len(measures.LABELS)), measures.LABELS.values())
        axes.tick_params(axis="y", length=0)
    panels[0].invert_yaxis()
    _lettered(figure, results.model.values)
    for label, fill in (("float32", "#595959"), ("bfloat16, compensated", "white")):
        panels[0].plot([], [], "o", color="#595959", mfc=fill, markersize=4.5, label=label)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _batch_size(results: xr.Dataset) -> Figure:
    figure = Figure(figsize=(7.2, 2.5), layout="constrained")
    *curves, summary = figure.subplots(1, 3)
    sizes = results.batch_size.values
    for axes, method in zip(curves, measures.EXPONENTS, strict=True):
        one = results.sel(scaled=method)
        best, _ = measures.best_rates(results, method)
        for shade, size, rate in zip(SHADES, sizes, best, strict=False):
            losses = np.exp(np.log(one.scaling_loss.sel(batch_size=size)).mean("scaling_seed"))
            losses = losses.where(np.isfinite(losses))
            axes.plot(one.scaling_rate, losses, color=shade, linewidth=1.2, label=f"B = {size}")
            axes.axvline(rate, color=shade, linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("learning rate")
        color = COLORS[method]
        slope, expected = measures.exponent(results, method), measures.EXPONENTS[method]
        label = f"{measures.LABELS[method]}: {slope:z.2f}"
        summary.plot(sizes, best / best[0], "o", color=color, markersize=4.5, label=label)
        law = (sizes / sizes[0]) ** expected
        summary.plot(sizes, law, color=color, linewidth=1.0, linestyle="--",
                     label=f"expected: {expected:g}")  # fmt: skip
    curves[0].set_ylabel("final training loss")
    curves[0].legend(fontsize=6.5)
    summary.set_xscale("log", base=2)
    summary.set_yscale("log", base=2)
    summary.set_xlabel("batch size B")
    summary.legend(fontsize=6.5)
    names = [measures.LABELS[method] for method in measures.EXPONENTS]
    _lettered(figure, [*names, "Best rate, over the first"])
    return figure


def _edge(results: xr.Dataset) -> Figure:
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    (sharp, losses), (along, single) = figure.subplots(2, 2)
    for method, marker in (("rmsprop", "s"), ("rf_rmsprop", "o")):
        one = results.sel(scaled=method)
        look = {"color": COLORS[method], "markersize": 4, "label": measures.LABELS[method]}
        sharp.plot(one.curvature, one.quadratic_sharpness, marker, **look)
        losses.plot(one.curvature, one.quadratic_loss, marker, **look)
    rate, lam = float(results.quadratic_rate), results.curvature.values
    line = {"color": "#7F7F7F", "linewidth": 0.9, "linestyle": "--"}
    losses.plot(lam, lam * rate**2 / 8, **line)
    losses.plot(lam, np.maximum(rate / 2 - 1e-4 / lam, 0) / 2, label="theory", **line)
    for axes in (sharp, losses):
        axes.set_xscale("log")
        axes.set_xlabel("curvature of the coordinate")
        axes.legend(fontsize=6.5)
    losses.set_yscale("log")
    sharp.axhline(1, **EDGE)
    sharp.set_ylim(0, max(1.5, 1.1 * float(results.quadratic_sharpness.max())))
    for method, label in measures.LABELS.items():
        one = results.sel({"method": method})
        look = {"color": COLORS[method], "linewidth": 1.1, "label": label}
        along.plot(one.time, one.sharpness, **look)
        values = np.sort(one.single_sharpness.values[np.isfinite(one.single_sharpness.values)])
        if len(values):
            single.plot(values, (np.arange(len(values)) + 0.5) / len(values), **look)
    along.axhline(1, **EDGE)
    along.set_ylim(0, 2)
    along.set_xlabel("optimizer steps")
    along.legend(fontsize=6, ncols=2)
    single.axvline(1, **EDGE)
    single.set_xscale("symlog", linthresh=1e-3)
    single.set_xlabel("effective sharpness of a coordinate")
    single.set_ylabel("share below")
    _lettered(
        figure,
        (
            "Quadratic: effective sharpness",
            "Quadratic: loss",
            "Network: effective sharpness",
            "Network: single coordinates at the end",
        ),
    )
    return figure


def _first_step(results: xr.Dataset) -> Figure:
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True)
    for axes, method in zip(panels.flat, measures.LABELS, strict=True):
        counts = results.first_update.sel({"method": method})
        share = counts / counts.sum()
        width = float(results.bin[1] - results.bin[0])
        axes.bar(results.bin, share, width=width, color=COLORS[method])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    _lettered(figure, measures.LABELS.values())
    figure.supxlabel("$\\log_{10}$ of the first update of a coordinate, over the root mean square",
                     fontsize=8)  # fmt: skip
    return figure
