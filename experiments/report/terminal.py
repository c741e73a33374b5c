"""Tables of results for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from rich.box import SIMPLE
from rich.table import Table

from experiments.analysis import summary
from experiments.analysis import table as tables


def study_table(cells: Sequence[xr.Dataset]) -> Table:
    """Summarize a study: a row for each problem, a column for each optimizer."""
    names, columns, entries = summary.grid(cells, "rod")
    # Two lines a cell, so that nine optimizers fit a terminal of 80 columns.
    title = "Rod flow: improvement over the stable flow,\nand below it distance / floor"
    rows = Table(title=title, box=SIMPLE, padding=(0, 1, 1, 0))
    rows.add_column("")
    for column in columns:
        rows.add_column(column.replace("_", "\n"), justify="right")
    for name in names:
        found = [entries.get((name, column)) for column in columns]
        texts = [
            f"{summary.number(e.improvement)}\n[dim]{summary.number(e.over_floor, 2)}[/dim]"
            if e
            else ""
            for e in found
        ]
        rows.add_row(name.replace(", ", "\n"), *texts)
    return rows


def study_remarks(cells: Sequence[xr.Dataset]) -> str:
    """Say in a sentence for each flow how it did where the edge was reached."""
    flows = summary.flows(cells)
    return "\n".join(f"{flow}: {summary.overall(cells, flow)}" for flow in flows)


def as_table(table: tables.Table) -> Table:
    """A table of a study, whose first column names the rows."""
    shown = Table(title=table.title)
    for index, heading in enumerate(table.columns):
        shown.add_column(heading, justify="right" if index else "left")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def table(results: xr.Dataset) -> Table:
    """Summarize a run of one seed: a row for the iterates and one for each flow."""
    results = results.isel(seed=0)
    rows = Table(title=results.attrs["title"])
    rows.add_column("")
    for heading in (
        "improvement\nover stable",
        "final\ndistance",
        "mean\nloss error",
        "gradients\nper step",
        "seconds",
    ):
        rows.add_column(heading, justify="right")
    floor = _number(results.floor[-1]) + " (floor)" if "floor" in results else ""
    rows.add_row("iterates", "", floor, "", "1", _number(results.discrete_seconds))
    for name in results.flow.values:
        flow = results.sel(flow=name)
        rows.add_row(
            str(name),
            _number(flow.improvement),
            _number(flow.distance[-1]),
            _number(flow.loss_error.mean()),
            _number(flow.gradients.mean()),
            f"+ {_number(flow.seconds)}",
        )
    return rows


def remarks(results: xr.Dataset) -> str:
    """Say how far the run got to the edge of stability, and what diverged on the way."""
    results = results.isel(seed=0)
    sharpness = results.effective_sharpness.sel(mode=1)
    lines = [
        f"effective sharpness (edge: 1): {_number(sharpness[0])} at first, "
        f"{_number(sharpness.max())} at most, {_number(sharpness[-1])} at last"
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
    rows = Table(
        title=f"{results.attrs['title']}: {diverged_at.size} lanes ({axes}), "
        f"{int((diverged_at >= 0).sum())} diverged, {at_edge} at the edge"
    )
    rows.add_column("")
    for heading in ("improvement\nover stable", "lowest\ntenth", "highest\ntenth"):
        rows.add_column(heading, justify="right")
    rows.add_column("lanes\ndiverged", justify="right")
    for flow in results.flow.values:
        known = results.improvement.sel(flow=flow).values
        known = known[np.isfinite(known)]
        quantiles = np.quantile(known, [0.5, 0.1, 0.9]) if known.size else [np.nan] * 3
        lost = int((results.flow_diverged_at.sel(flow=flow).isel(step=-1) >= 0).sum())
        rows.add_row(str(flow), *map(_number, quantiles), str(lost))
    return rows


def _number(value: xr.DataArray | float) -> str:
    """Three significant digits, never in scientific notation unless tiny."""
    number = float(value)
    if not np.isfinite(number):
        return "nan" if np.isnan(number) else "inf"
    if number == 0 or abs(number) >= 1e-4:
        return np.format_float_positional(number, precision=3, fractional=False, trim="-")
    return f"{number:.2g}"
