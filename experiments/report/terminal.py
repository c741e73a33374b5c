"""Tables of runs, grids, sweeps and studies for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from rich.box import SIMPLE
from rich.table import Table

from experiments.analysis import summary
from experiments.analysis import table as tables
from experiments.analysis.numbers import number, trimmed


def grid_table(cells: Sequence[xr.Dataset]) -> Table:
    """Summarize a grid: a row for each problem, a column for each optimizer."""
    found = summary.grid(cells, "rod")
    # Two lines a cell, so that nine optimizers fit a terminal of 80 columns.
    title = "Rod flow: improvement over the stable flow,\nand below it distance / floor"
    rows = Table(title=title, box=SIMPLE, padding=(0, 1, 1, 0))
    rows.add_column("")
    for column in found.columns:
        rows.add_column(column.replace("_", "\n"), justify="right")
    for name, entries in found.along_rows().items():
        pairs = [(number(e.improvement), number(e.over_floor, 2)) if e else None for e in entries]
        texts = [f"{pair[0]}\n[dim]{pair[1]}[/dim]" if pair else "" for pair in pairs]
        rows.add_row(name.replace(", ", "\n"), *texts)
    return rows


def grid_remarks(cells: Sequence[xr.Dataset]) -> str:
    """Describe in a sentence for each flow how it did where the edge was reached."""
    flows = summary.flows(cells)
    return "\n".join(f"{flow}: {summary.overall(cells, flow)}" for flow in flows)


def as_table(table: tables.Table) -> Table:
    """Render a table."""
    shown = Table(title=table.title)
    for index, heading in enumerate(table.columns):
        shown.add_column(heading, justify="right" if index else "left")
    for row in table.texts():
        shown.add_row(*row)
    return shown


def table(results: xr.Dataset) -> Table:
    """Summarize a run of one seed: a row for the iterates and one for each flow."""
    results = results.isel(seed=0)
    floor = trimmed(results.floor[-1]) + " (floor)" if "floor" in results else ""
    rows = [["iterates", "", floor, "", "1", trimmed(results.discrete_seconds)]]
    for name in results.flow.values:
        flow = results.sel(flow=name)
        numbers = (flow.improvement, flow.distance[-1], flow.loss_error.mean())
        work = (trimmed(flow.gradients.mean()), trimmed(flow.seconds))
        rows.append([str(name), *map(trimmed, numbers), *work])
    columns = [
        *("", "improvement\nover stable", "final\ndistance", "mean\nloss error"),
        *("gradients\nper step", "seconds"),
    ]
    return as_table(tables.Table(results.attrs["title"], columns, rows))


def remarks(results: xr.Dataset) -> str:
    """Describe how far the run got to the edge of stability, and divergences on the way."""
    results = results.isel(seed=0)
    sharpness = results.effective_sharpness.sel(mode=1)
    lines = [
        f"effective sharpness (edge: 1): {trimmed(sharpness[0])} at first, "
        f"{trimmed(sharpness.max())} at most, {trimmed(sharpness[-1])} at last"
    ]
    marks = {"the iterates": results.diverged_at}
    marks |= {f"the {f} flow": results.flow_diverged_at.sel(flow=f) for f in results.flow.values}
    for name, diverged_at in marks.items():
        if (step := int(diverged_at.max())) >= 0:
            lines.append(f"{name} diverged at step {step}")
    return "\n".join(lines)


def sweep_table(results: xr.Dataset) -> Table:
    """Summarize a sweep: how far its lanes got, and a row for each flow over all lanes."""
    diverged_at = results.diverged_at.isel(step=-1)
    axes = ", ".join(f"{name} {size}" for name, size in diverged_at.sizes.items())
    at_edge = int((results.effective_sharpness.sel(mode=1).max("step") >= 1).sum())
    rows = []
    for flow in results.flow.values:
        known = results.improvement.sel(flow=flow).values
        known = known[np.isfinite(known)]
        quantiles = np.quantile(known, [0.5, 0.1, 0.9]) if known.size else [np.nan] * 3
        lost = int((results.flow_diverged_at.sel(flow=flow).isel(step=-1) >= 0).sum())
        rows.append([str(flow), *map(trimmed, quantiles), str(lost)])
    title = (
        f"{results.attrs['title']}: {diverged_at.size} lanes ({axes}), "
        f"{int((diverged_at >= 0).sum())} diverged, {at_edge} at the edge"
    )
    columns = ["", "improvement\nover stable", "lowest\ntenth", "highest\ntenth", "lanes\ndiverged"]
    return as_table(tables.Table(title, columns, rows))
