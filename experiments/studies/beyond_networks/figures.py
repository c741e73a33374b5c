"""Figures of the study: losses against passes in each regime, and the places of the methods."""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.analysis import style

LINES = {
    "sgd": ("#56B4E9", "-"),
    "heavy_ball": ("#0072B2", (0, (5, 1))),
    "adam_default": ("#E69F00", (0, (2, 1))),
    "adam": ("#D55E00", "-"),
    "armijo": ("#009E73", "-"),
    "polyak": ("#CC79A7", (0, (4, 1, 1, 1))),
    "cocob": ("#8C8C8C", (0, (1, 1))),
    "lbfgs": ("#000000", (0, (6, 2))),
}


def draws(found: xr.Dataset) -> dict[str, Callable[[], Figure]]:
    """Name the figures, and the functions that draw them."""
    regimes = {
        f"losses-{regime}".replace(" ", "-"): partial(_losses, found.sel(regime=regime))
        for regime in found.regime.values
    }
    return regimes | {"ranks": partial(_ranks, found)}


def _losses(found: xr.Dataset) -> Figure:
    figure, (*panels, free) = style.grid(found.sizes["problem"] + 1, 4, height=2.1, margin=0.3)
    for axes, problem in zip(panels, found.problem.values, strict=True):
        one = found.sel(problem=problem)
        for key in found.method.values:
            run = one.sel({"method": key})
            if run.excess.isnull().all():
                continue
            color, dashes = LINES[str(key)]
            line = {"color": color, "linestyle": dashes, "linewidth": 1.2}
            middle = run.middle.where(np.isfinite(run.middle))
            axes.plot(run.passes.mean("seed"), middle, label=run.label.item(), **line)
        # Losses that blow up would leave no room for the others.
        axes.set(yscale="log", xmargin=0)
        axes.set_ylim(top=3 * float(one.excess.isel(record=0).max()))
    style.lettered(panels, map(str, found.problem.values))
    free.axis("off")
    free.legend(*panels[0].get_legend_handles_labels(), loc="center left", fontsize=7.5)
    figure.supxlabel("passes over the samples, gradients and losses")
    figure.supylabel("loss above its infimum")
    return figure


def _ranks(found: xr.Dataset) -> Figure:
    figure = style.page_wide(2.9)
    panels = figure.subplots(1, found.sizes["regime"], sharey=True, squeeze=False)[0]
    for axes, regime in zip(panels, found.regime.values, strict=True):
        places = found.place.sel(regime=regime).transpose("method", "problem").values
        axes.imshow(places, cmap="Blues_r", vmin=-7, vmax=len(LINES) + 0.5, aspect="auto")
        for (row, column), value in np.ndenumerate(places):
            text = "-" if np.isnan(value) else f"{value:g}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7)
        axes.set_xticks(range(places.shape[1]), found.problem.values, rotation=35, ha="right")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    style.lettered(panels, map(str, found.regime.values))
    panels[0].set_yticks(range(found.sizes["method"]), map(str, found.label.values))
    figure.suptitle("Place among the methods by the final loss")
    return figure
