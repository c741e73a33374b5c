"""Tables and named numbers of a grid, for a file of results that a reader computes with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.analysis import comparison, summary
from experiments.analysis.numbers import median
from experiments.analysis.style import style
from experiments.analysis.table import Cell, Table
from experiments.analysis.verdicts import Divergence, Summary, Verdict

IMPROVEMENTS = {"rod": "improvement, rod", "covariance_1": "improvement, published rod"}
FLOORS = {"rod": "rod / floor", "stable": "stable / floor"}


def tables(cells: summary.Cells) -> list[Table]:
    """Summarize the flows, the optimizers and each flow; compare the models if there are twins."""
    made = [*medians(_grids(cells)), *(matrix(cells, x) for x in summary.flows(cells))]
    if not _compared(cells):
        return made
    distances, models = comparison.tables(cells)
    # The distances of a grid that is not made for this comparison stand in the table of its cells.
    every = all("flow_effective_sharpness" in cell for cell in cells)
    return [*([distances] if every else []), _filled(models), *made]


def medians(of: Mapping[str, summary.Grid]) -> list[Table]:
    """Make the tables of the flows and of the optimizers from the grid of each flow."""
    return [_flows(of), _optimizers(of)]


def _grids(cells: summary.Cells) -> dict[str, summary.Grid]:
    return {flow: summary.grid(cells, flow) for flow in ("stable", *summary.flows(cells))}


def matrix(cells: summary.Cells, flow: str) -> Table:
    """Make the table of a flow, a row for each architecture."""
    rows, columns, entries = summary.grid(cells, flow)
    body = [[row, *(summary.entry(entries.get((row, name))) for name in columns)] for row in rows]
    title = (
        f"{flow}: improvement of the {style(flow).label} (in brackets its distance / floor; "
        "bold is below 1, † not at the edge, ‡ diverged from a seed)"
    )
    return Table(title, ["", *columns], body)


def _flows(of: Mapping[str, summary.Grid]) -> Table:
    rows: list[list[Cell]] = []
    for flow, found in of.items():
        entries = list(found.entries.values())
        at_edge = [each for each in entries if each.at_edge]
        values = [each.improvement for each in at_edge]
        ahead = None if flow == "stable" else sum(value > 1 for value in values)
        floors, errors = _medians(at_edge, "over_floor"), _medians(at_edge, "loss_error")
        rows.append([flow, median(values), ahead, len(values), len(entries), floors, errors])
    columns = ["", "improvement", "cells ahead of stable", "cells at the edge", "cells"]
    title = "Flows: medians over the cells at the edge of stability"
    return Table(title, [*columns, "distance / floor", "loss error"], rows)


def _optimizers(of: Mapping[str, summary.Grid]) -> Table:
    improved = {flow: name for flow, name in IMPROVEMENTS.items() if flow in of}
    rows = []
    for optimizer in (*of["stable"].columns, None):
        chosen = {
            flow: [x for (_, name), x in grid.entries.items() if optimizer in (None, name)]
            for flow, grid in of.items()
        }
        improvements = [_medians(chosen[flow], "improvement") for flow in improved]
        floors = [_medians(chosen[flow], "over_floor") for flow in FLOORS]
        rows.append([optimizer or "all", *improvements, *floors])
    title = "Optimizers: medians over the architectures of improvement and of distance / floor"
    return Table(title, ["", *improved.values(), *FLOORS.values()], rows)


def every(cells: summary.Cells) -> Table:
    """Tabulate every flow on every cell."""
    columns = [
        *("problem", "optimizer", "flow", "learning rate", "at the edge", "sharpness", "verdict"),
        *("improvement", "distance / floor", "loss error"),
        *("distance to the mean / floor", "at the end", "onset, steps late", "gradients", "time"),
    ]
    rows, compares = [], _compared(cells)
    for flow in ("stable", *summary.flows(cells)):
        grid = summary.grid(cells, flow)
        for place, cell in zip(summary.places(cells), cells, strict=True):
            if place not in grid.entries:
                continue
            one = grid.entries[place]
            row = [*place, flow, float(cell.learning_rate) if "learning_rate" in cell else None]
            row += ["yes" if one.at_edge else "no", float(np.fmax.reduce(one.sharpness))]
            row += [str(one.verdict), one.improvement, one.over_floor, one.loss_error]
            if compares:
                model = comparison.compare(cell, flow)
                delay = None if flow == "stable" else model.delay
                row += [model.distance, model.end, delay, model.gradients, model.time]
            rows.append(row)
    width = len(columns) if compares else len(columns) - 5
    return Table("Cells: every flow on every problem", columns[:width], rows)


def grid(table: Table, flow: str) -> summary.Grid:
    """Return the grid of a flow from the table of every cell, as a map of it needs it."""
    rows, columns, entries = {}, {}, {}
    for row in table.rows:
        one: dict[str, Any] = dict(zip(table.columns, row, strict=True))
        problem, optimizer = one["problem"], one["optimizer"]
        rows[problem] = columns[optimizer] = None
        if one["flow"] == flow:
            lost = (Divergence("iterates", 0, 0),) * (one["verdict"] == Verdict.DIVERGED)
            improvement, floors, error, sharpness = (
                np.nan if one[name] is None else one[name]
                for name in ("improvement", "distance / floor", "loss error", "sharpness")
            )
            entries[problem, optimizer] = Summary(
                *(optimizer, problem, flow, (0,), (improvement,), floors, error, (sharpness,)),
                divergences=lost,
                catapults=(),
            )
    return summary.Grid(list(rows), list(columns), entries)


def numbers(cells: summary.Cells) -> dict[str, Cell]:
    """Name what texts quote besides entries of the tables."""
    stable = list(summary.grid(cells, "stable").entries.values())
    found: dict[str, Cell] = {
        "cells": len(stable),
        "cells at the edge": sum(each.at_edge for each in stable),
        "minutes": sum(float(cell.attrs.get("seconds", np.nan)) for cell in cells) / 60,
    }
    flows = _flows(_grids(cells))
    for flow, improvement, *_, floors, _ in flows.rows:
        found |= {f"{flow} median improvement": improvement, f"{flow} floors": floors}
    for flow in summary.flows(cells):
        values = [x.improvement for x in summary.grid(cells, flow).entries.values() if x.at_edge]
        if known := [value for value in values if not np.isnan(value)]:
            found |= {f"{flow} least improvement": min(known), f"{flow} largest": max(known)}
    return found


def _medians(entries: Sequence[Summary], name: str) -> float:
    return median([getattr(each, name) for each in entries])


def _filled(table: Table) -> Table:
    """Leave out the columns without any number."""
    kept = [
        index
        for index, column in enumerate(zip(*table.rows, strict=True))
        if any(isinstance(x, str) or (x is not None and not np.isnan(x)) for x in column)
    ]
    rows = [[row[index] for index in kept] for row in table.rows]
    return table._replace(columns=[table.columns[index] for index in kept], rows=rows)


def _compared(cells: summary.Cells) -> bool:
    return bool(cells) and all("ensemble_distance" in cell for cell in cells)
