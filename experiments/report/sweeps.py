"""Figures of sweeps: a line for each observable along one axis, heat maps over two.

Of seeds, where they are not the only axis, and of axes beyond the second the median is drawn, of
the lanes that have a number. A place where a lane diverged is marked by a cross.
"""

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from experiments.analysis.numbers import median, number
from experiments.analysis.style import EDGE, ITERATES, STYLE, lettered, page_wide, style
from experiments.report.figures import readable
from experiments.report.maps import DECADES, IMPROVEMENT

_OF_LANES = ("improvement", "distance", "sharpness", "loss", "diverged")
_TITLES = {
    "improvement": "Improvement over the stable flow",
    "distance": "Mean distance to the iterates",
    "sharpness": "Largest effective sharpness",
    "loss": "Final loss",
}
_OVER_FLOOR = "Mean distance over the floor"


def observables(sweep: xr.Dataset) -> xr.Dataset:
    """Return a number of each lane: improvement, distance, sharpness, loss, and if it diverged.

    The distance is over the floor if the sweep has twins.
    """
    distance = sweep.distance.mean("step", skipna=False)
    distance = distance / sweep.floor.mean("step") if "floor" in sweep else distance
    values = (
        sweep.improvement,
        distance,
        sweep.effective_sharpness.sel(mode=1, drop=True).max("step"),
        sweep.mean_loss.isel(step=-1, drop=True),
        sweep.diverged_at.isel(step=-1, drop=True) >= 0,
    )
    named = dict(zip(_OF_LANES, values, strict=True))
    numbers = {name: value.where(np.isfinite(value)) for name, value in named.items()}
    return xr.Dataset(numbers | {"diverged": values[-1]}, attrs=sweep.attrs)


def sentence(sweep: xr.Dataset) -> str:
    """Describe a sweep: its lanes, how many diverged, and the improvement of each flow."""
    lanes = observables(sweep)
    axes = ", ".join(f"{name} {size}" for name, size in lanes.diverged.sizes.items())
    flows = [str(flow) for flow in sweep.flow.values if flow != "stable"]
    medians = [
        f"median improvement of the {style(flow).label} "
        f"{number(median(lanes.improvement.sel(flow=flow)))}"
        for flow in flows
    ]
    counts = (
        f"{lanes.diverged.size} lanes ({axes})",
        f"{int(lanes.diverged.sum())} diverged",
        f"{int((lanes.sharpness >= 1).sum())} reached the edge of stability",
    )
    return "; ".join([", ".join(counts), *medians]) + "."


def csv(sweep: xr.Dataset) -> str:
    """Return the numbers of all lanes, a line for each lane and flow."""
    return observables(sweep).to_dataframe().to_csv()


def figure(sweep: xr.Dataset) -> Figure:
    """Draw a sweep."""
    lanes = observables(sweep)
    axes = [str(name) for name in lanes.diverged.dims]
    apart = [name for name in axes if name != "seed"] or axes
    shown, left = apart[:2], [name for name in axes if name not in apart[:2]]
    reduced = lanes.drop_vars("diverged").median(left) if left else lanes.drop_vars("diverged")
    reduced["diverged"] = lanes.diverged.any(left)
    titles = _TITLES | ({"distance": _OVER_FLOOR} if "floor" in sweep else {})
    with mpl.rc_context(STYLE):
        made = page_wide(4.8)
        panels = list(made.subplots(2, 2).flat)
        flows = [str(flow) for flow in sweep.flow.values]
        best = next((flow for flow in flows if flow != "stable"), "stable")
        if len(shown) == 2:
            whose = style(best).label
            titles |= {"improvement": f"Improvement of the {whose}"}
            titles |= {"distance": titles["distance"].replace("distance", f"distance, {whose},")}
        lettered(panels, titles.values())
        for panel, name in zip(panels, titles, strict=True):
            if len(shown) == 1:
                _draw_line(panel, reduced, name, shown[0])
            else:
                _draw_map(panel, reduced, name, shown, best)
        handles = {}
        for panel in panels:
            handles |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
        if handles:
            made.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=5)
        if left:
            made.supxlabel(f"median over {', '.join(left)}")
    return made


def _draw_line(axes: Axes, lanes: xr.Dataset, name: str, along: str) -> None:
    """Draw an observable along one axis, of each flow if it is one of flows."""
    label, x = _values(lanes, along)
    order = np.argsort(x)
    if "flow" in lanes[name].dims:
        for flow in map(str, lanes.flow.values):
            if name != "improvement" or flow != "stable":
                look = style(flow)
                line: dict[str, Any] = {"color": look.color, "linestyle": look.linestyle}
                y = lanes[name].sel(flow=flow).values[order]
                axes.plot(x[order], y, label=look.label, marker=".", linewidth=1.3, **line)
    else:
        axes.plot(x[order], lanes[name].values[order], label="iterates", marker=".", **ITERATES)
    if name in ("improvement", "sharpness"):
        axes.axhline(1, **EDGE)
    if name != "sharpness" and np.nanmax(lanes[name].values, initial=-1.0) > 0:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    if _geometric(x):
        axes.set_xscale("log")
    lost = x[lanes.diverged.values]
    low = {"transform": axes.get_xaxis_transform(), "clip_on": False, "linestyle": ""}
    cross = {"marker": "x", "color": "#000000", "markersize": 5, "label": "diverged"}
    if lost.size:
        axes.plot(lost, np.full(lost.size, 0.03), **low, **cross)
    if axes.get_yscale() == "log":
        readable(axes)
    axes.set_xlabel(label)


def _draw_map(axes: Axes, lanes: xr.Dataset, name: str, shown: list[str], flow: str) -> None:
    """Draw an observable over two axes, the first upwards, and cross out what diverged."""
    values = lanes[name].sel(flow=flow) if "flow" in lanes[name].dims else lanes[name]
    grid = values.transpose(*shown).values
    positive = grid[np.isfinite(grid) & (grid > 0)]
    look: dict[str, Any] = {"cmap": "viridis"}
    if name == "improvement":
        look = {"cmap": IMPROVEMENT, "norm": LogNorm(10**-DECADES, 10**DECADES)}
    elif name != "sharpness" and positive.size and positive.min() < positive.max():
        look["norm"] = LogNorm(positive.min(), positive.max())
    axes.set_facecolor("#E6E6E6")
    image = axes.imshow(np.ma.masked_invalid(grid), origin="lower", aspect="auto", **look)
    axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    lost = np.argwhere(lanes.diverged.transpose(*shown).values)
    if lost.size:
        line = {"linestyle": "", "marker": "x", "color": "#000000", "markersize": 4}
        axes.plot(lost[:, 1], lost[:, 0], label="diverged", **line)
    for axis, along in ((axes.yaxis, shown[0]), (axes.xaxis, shown[1])):
        label, x = _values(lanes, along)
        count = len(x) if len(x) < 9 else 5
        ticks = np.unique(np.linspace(0, len(x) - 1, count).round().astype(int))
        axis.set_ticks(ticks, [f"{x[tick]:.3g}" for tick in ticks])
        axis.set_label_text(label)


def _values(lanes: xr.Dataset, along: str) -> tuple[str, np.ndarray]:
    """Return the name and the values of an axis; of zipped ones, of the first."""
    if along in lanes.coords:
        return along.replace("_", " "), lanes[along].values.astype(float)
    first, *others = (str(key) for key, value in lanes.coords.items() if value.dims == (along,))
    label = f"{first} (with {', '.join(others)})" if others else first
    return label.replace("_", " "), lanes[first].values.astype(float)


def _geometric(x: np.ndarray) -> bool:
    return bool(x.min() > 0 and x.max() > 10 * x.min())
