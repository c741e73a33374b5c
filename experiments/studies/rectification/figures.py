"""Figure of the study of rectification."""

import xarray as xr
from matplotlib.figure import Figure

from experiments.analysis import style
from experiments.analysis.style import COLORS, EDGE, ITERATES


def rectification(results: xr.Dataset) -> Figure:
    """Draw rho, r, and the variance of the adaptive ratio before and after rectification."""
    figure = style.page_wide(4.6)
    (lengths, factors), (plain, rectified) = figure.subplots(2, 2)
    for color, b2 in zip(COLORS, results.b2.values, strict=False):
        one = results.sel(b2=b2)
        lengths.plot(one.step, one.rho, color=color, label=f"$\\beta_2$ = {b2:g}")
        factors.plot(one.step, one.r, color=color)
    lengths.axhline(4, **EDGE)
    for color, mean in zip(COLORS, results["mean"].values, strict=False):
        one = results.sel(mean=mean)
        line = {"color": color, "linewidth": 1.2, "label": f"$\\mu$ = {mean:g}"}
        plain.plot(one.time, one.variance, **line)
        rectified.plot(one.time, one.rectified, **line)
    plain.plot(results.time, results.theory, label="theory", **ITERATES)
    rectified.plot(results.time, results.rectified_theory, **ITERATES)
    titles = (
        "Length of the average, $\\rho_t$ (dashed: 4)",
        "Rectification $r_t$",
        "Variance of the adaptive ratio",
        "The same, rectified",
    )
    style.lettered(figure.axes, titles)
    for axes in figure.axes:
        axes.set(xscale="log", yscale="linear" if axes is factors else "log", xmargin=0)
    for axes in (lengths, plain):
        axes.legend(loc="best", fontsize=6.5)
    figure.supxlabel("optimizer steps")
    return figure
