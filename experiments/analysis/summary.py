"""Summary of a grid: its cells as tables, the worst of them, and one sentence.

The report, the terminal and the README take their numbers from here, so that they cannot disagree.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

import rodflow
from experiments.analysis import table
from experiments.analysis.numbers import median, number
from experiments.analysis.verdicts import Summary, Verdict, summarize

Cells = Sequence[xr.Dataset]


class Grid(NamedTuple):
    """Architectures by optimizers. A place without a cell has no entry."""

    rows: list[str]
    columns: list[str]
    entries: dict[tuple[str, str], Summary]

    def along_rows(self) -> dict[str, list[Summary | None]]:
        """Return the entries of each row, None where there is none."""
        return {row: [self.entries.get((row, name)) for name in self.columns] for row in self.rows}


def flows(cells: Cells) -> list[str]:
    """List the flows but the stable one: the rod flow first, then in order of appearance."""
    names = dict.fromkeys(str(name) for cell in cells for name in cell.flow.values)
    return sorted((name for name in names if name != "stable"), key=lambda name: name != "rod")


def rows(cells: Cells) -> list[str]:
    """Name each cell's row: its architecture, and what else it takes to tell the cells apart.

    That is the data if the grid has several, and a number for repeated runs.
    """
    several = len({cell.attrs.get("data") for cell in cells}) > 1
    found, taken = [], set()
    for cell in cells:
        name = str(cell.attrs["problem"]) + (f", {cell.attrs.get('data')}" if several else "")
        optimizer, repeat, row = cell.attrs["optimizer"], 1, name
        while (row, optimizer) in taken:
            repeat += 1
            row = f"{name} ({repeat})"
        taken.add((row, optimizer))
        found.append(row)
    return found


def places(cells: Cells) -> list[tuple[str, str]]:
    """Return the place of each cell: its row and its optimizer."""
    return [
        (row, str(cell.attrs["optimizer"])) for row, cell in zip(rows(cells), cells, strict=True)
    ]


def grid(cells: Cells, flow: str) -> Grid:
    """Summarize a flow on all cells that have it; optimizers in the order of the library."""
    known, found = list(rodflow.OPTIMIZERS), places(cells)
    present = {optimizer for _, optimizer in found}
    columns = [name for name in known if name in present] + sorted(present - set(known))
    pairs = [(at, cell) for at, cell in zip(found, cells, strict=True) if flow in cell.flow.values]
    entries = {at: summarize(cell, flow) for at, cell in pairs}
    return Grid(list(dict.fromkeys(row for row, _ in found)), columns, entries)


def worst(cells: Cells, flow: str = "rod") -> list[tuple[str, Summary]]:
    """List (row, summary) of all cells, the least improvement first.

    Those without a number come before all others.
    """
    entries = grid(cells, flow).entries
    listed = [(row, summary) for (row, _), summary in entries.items()]
    return sorted(listed, key=lambda item: np.nan_to_num(item[1].improvement, nan=-1.0))


def overall(cells: Cells, flow: str = "rod") -> str:
    """Describe in one sentence how the flow did on the cells at the edge of stability."""
    entries = grid(cells, flow).entries.values()
    values = [summary.improvement for summary in entries if summary.at_edge]
    if not values:
        return f"None of {len(entries)} cells reached the edge of stability."
    above = sum(value > 1 for value in values)
    text = (
        f"{len(values)} of {len(entries)} cells reached the edge of stability: "
        f"median improvement {number(median(values))}, above 1 in {above} of them."
    )
    lost = sum(np.isnan(value) for value in values)
    return text + (f" Without a number, so not in the median: {lost}." if lost else "")


def markdown(cells: Cells, flow: str = "rod") -> str:
    """Render the table of a README: "improvement (distance / floor)" for each cell.

    Bold is an improvement below 1, † a cell short of the edge, ‡ one of which a seed diverged.
    """
    found = grid(cells, flow)
    body = [[name, *map(entry, entries)] for name, entries in found.along_rows().items()]
    return table.markdown(["", *found.columns], body)


def entry(summary: Summary | None) -> str:
    """Write a place of the table of a README."""
    if summary is None:
        return ""
    text = number(summary.improvement)
    text = f"**{text}**" if summary.improvement < 1 else text
    text += "" if np.isnan(summary.over_floor) else f" ({number(summary.over_floor, 2)})"
    text += "" if summary.at_edge else " †"
    return text + (" ‡" if summary.verdict is Verdict.DIVERGED else "")
