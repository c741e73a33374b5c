"""Logs of any training loop: its loss, its meters of the edge, and each layer, in one figure.

The columns that are known are those that `rodflow.monitored` keeps:

    realized_edge, directional_sharpness, effective_sharpness, fluctuation, batch_sharpness
        the meters, in units where 1 is the edge
    alignment, descent
        the other factors of realized_edge = effective_sharpness * alignment / descent
    effective_sharpness/LAYER, fluctuation/LAYER
        the same of each layer, drawn as a heat map over the steps
    loss (or value), learning_rate
"""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.numbers import number
from experiments.analysis.spikes import running_median, spikes
from experiments.analysis.style import EDGE, MARKERS, STYLE, WIDTH, lettered
from experiments.analysis.table import Table
from experiments.report.figures import readable

METERS = {
    "realized_edge": ("realized edge", "#D55E00"),
    "directional_sharpness": ("directional sharpness", "#E69F00"),
    "effective_sharpness": ("effective sharpness", "#0072B2"),
    "fluctuation": ("fluctuation meter", "#009E73"),
    "batch_sharpness": ("batch sharpness", "#CC79A7"),
}
"""Column -> the name and the colour of a meter."""
FACTORS = {
    "effective_sharpness": ("effective sharpness", "#0072B2"),
    "alignment": ("alignment", "#56B4E9"),
    "descent": ("1 / descent", "#CC79A7"),
}
"""The factors of the realized edge; the last one divides."""
AHEAD = (50, 10, 1)


def loss_of(log: xr.Dataset) -> str | None:
    """Return the column of the loss, None without one."""
    return next((name for name in ("loss", "value", "train_loss") if name in log), None)


def sentence(log: xr.Dataset) -> str:
    """Describe a log: its steps, its spikes, and the largest reading of each meter."""
    steps = log.step.values
    parts = [f"{len(steps)} lines from step {steps[0]:g} to {steps[-1]:g}"]
    if name := loss_of(log):
        begun = spikes(log[name].values)
        parts.append(f"{len(begun)} spikes" if len(begun) != 1 else "one spike")
    for column, (label, _) in METERS.items():
        if column in log and np.isfinite(log[column]).any():
            values = log[column].values
            beyond = np.mean(values[np.isfinite(values)] > 1)
            largest = number(np.nanmax(values))
            parts.append(f"{label} at most {largest}, beyond the edge in {beyond:.0%} of readings")
    if log.attrs.get("ignored"):
        parts.append(f"columns without a number: {log.attrs['ignored']}")
    return "; ".join(parts) + "."


def before_spikes(log: xr.Dataset, most: int = 12) -> Table | None:
    """Tabulate the meters 50, 10 and 1 steps before each of the first spikes; None without one."""
    name = loss_of(log)
    begun = spikes(log[name].values)[:most] if name else []
    known = [column for column in METERS if column in log]
    if not begun or not known:
        return None
    columns = ["spike at step", "loss / median"]
    columns += [f"{METERS[column][0]}, {n} before" for column in known for n in AHEAD]
    values = log[name].values
    medians = running_median(values)
    rows = [
        [
            f"{log.step.values[i]:g}",
            float(values[i] / medians[i]),
            *(_reading(log, column, log.step.values[i] - n) for column in known for n in AHEAD),
        ]
        for i in begun
    ]
    return Table("Readings before spikes: the last ones at that step", columns, rows)


def _reading(log: xr.Dataset, column: str, step: float) -> float | None:
    """Return the last finite reading of a meter at or before a step."""
    past = log[column].sel(step=slice(None, step)).values
    past = past[np.isfinite(past)]
    return float(past[-1]) if past.size else None


def figure(log: xr.Dataset) -> Figure:
    """Draw a log: the loss, the meters, the factors of the realized edge, rates and layers."""
    panels: list[tuple[str, Any]] = []
    if name := loss_of(log):
        panels.append(("Loss", lambda axes: _draw_loss(axes, log, name)))
    if any(column in log for column in METERS):
        panels.append(("Distance from the edge", lambda axes: _draw_meters(axes, log)))
    if all(column in log for column in ("realized_edge", *FACTORS)):
        panels.append(("Factors of the realized edge", lambda axes: _draw_stack(axes, log)))
    if "learning_rate" in log:
        panels.append(("Learning rate", lambda axes: _draw_rates(axes, log)))
    for column in ("effective_sharpness", "fluctuation"):
        if layers := [str(name) for name in log.data_vars if str(name).startswith(f"{column}/")]:
            title = f"{METERS[column][0].capitalize()} of each layer"
            panels.append((title, lambda axes, layers=layers: _draw_layers(axes, log, layers)))
    if not panels:
        columns = [str(name) for name in log.data_vars]
        panels = [("All columns", lambda axes: _draw_all(axes, log, columns))]
    with mpl.rc_context(STYLE):
        made = Figure(figsize=(WIDTH, 0.5 + 1.75 * len(panels)), layout="constrained")
        drawn = made.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        lettered(drawn, [title for title, _ in panels])
        for axes, (_, draw) in zip(drawn, panels, strict=True):
            draw(axes)
            axes.margins(x=0)
        drawn[-1].set_xlabel("optimizer steps")
    return made


def csv(log: xr.Dataset) -> str:
    """Return the log as comma-separated values, a line for each step."""
    return log.to_dataframe().to_csv()


def _draw_loss(axes: Axes, log: xr.Dataset, name: str) -> None:
    values, steps = log[name].values, log.step.values
    axes.plot(steps, values, color="#000000", linewidth=0.8)
    if begun := spikes(values):
        finite = np.where(np.isfinite(values[begun]), values[begun], np.nanmax(values))
        look: dict[str, Any] = {"linestyle": "", "marker": "v", "color": "#D55E00"}
        axes.plot(steps[begun], finite, markersize=5, label="spike", **look)
        axes.legend(loc="upper right")
    if np.nanmin(values) > 0:
        axes.set_yscale("log")
        readable(axes)
    axes.set_ylabel("loss")


def _draw_meters(axes: Axes, log: xr.Dataset) -> None:
    largest = 1.0
    for index, (column, (label, color)) in enumerate(METERS.items()):
        if column not in log:
            continue
        known = log[column].dropna("step")
        sparse = len(known) < 0.5 * len(log.step)
        look: dict[str, Any] = {"marker": MARKERS[index], "markersize": 2.5} if sparse else {}
        width = 1.2 if sparse else 0.6
        axes.plot(known.step, known, label=label, color=color, linewidth=width, **look)
        if len(known):
            largest = max(largest, float(np.quantile(known, 0.995)))
    axes.axhline(1, **EDGE)
    axes.set_ylim(0, 1.15 * largest)
    axes.set_ylabel("1 is the edge")
    axes.legend(loc="upper left", ncols=3)


def _draw_stack(axes: Axes, log: xr.Dataset) -> None:
    """Stack the logarithms of the factors, from the edge up or down to the realized edge.

    Geometric means over a 200th of the log, as factors of single batches differ by much.
    """
    known = log[["realized_edge", *FACTORS]].dropna("step")
    known = known.where((known > 0).to_array().all("variable"), drop=True)
    size = max(1, known.sizes["step"] // 200)
    known = np.exp(np.log(known).coarsen(step=size, boundary="trim").mean())
    low = np.ones(known.sizes["step"])
    for column, (label, color) in FACTORS.items():
        high = low * (1 / known[column] if column == "descent" else known[column]).values
        axes.fill_between(known.step, low, high, color=color, alpha=0.6, linewidth=0, label=label)
        low = high
    axes.plot(
        known.step, known.realized_edge, color="#000000", linewidth=1.0, label="realized edge"
    )
    axes.axhline(1, **EDGE)
    axes.set_yscale("log")
    readable(axes)
    axes.set_ylabel("factor")
    axes.legend(loc="lower left", ncols=2)


def _draw_rates(axes: Axes, log: xr.Dataset) -> None:
    axes.plot(log.step, log.learning_rate, color="#000000", linewidth=1.0, label="learning rate")
    if "effective_sharpness" in log:
        known = (log.learning_rate / log.effective_sharpness).dropna("step")
        known = known.where(known > 0, drop=True)
        axes.plot(known.step, known, label="rate at the edge", **EDGE)
        axes.legend(loc="upper right")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("learning rate")


def _draw_layers(axes: Axes, log: xr.Dataset, layers: Sequence[str]) -> None:
    known = log[list(layers)].dropna("step", how="all")
    image = np.stack([known[name].values for name in layers])
    steps = known.step.values
    edges = np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:]])
    rows = np.arange(len(layers) + 1) - 0.5
    look: dict[str, Any] = {"cmap": "RdBu_r", "vmin": 0, "vmax": 2, "shading": "flat"}
    mesh = axes.pcolormesh(edges, rows, np.ma.masked_invalid(image), rasterized=True, **look)
    axes.set_yticks(range(len(layers)), [name.partition("/")[2] for name in layers], fontsize=6.5)
    axes.invert_yaxis()
    axes.figure.colorbar(mesh, ax=axes, fraction=0.05, pad=0.01, label="1 is the edge")


def _draw_all(axes: Axes, log: xr.Dataset, columns: Sequence[str]) -> None:
    for column in columns:
        axes.plot(log.step, log[column], label=column, linewidth=0.9)
    axes.legend(ncols=3)
