"""Progress of the commands: bars on standard error if that is a terminal, and Ctrl-C in between.

Work reports to a bar after each piece, which is where Ctrl-C ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.analysis import summary
from experiments.analysis.verdicts import number
from experiments.commands.interruption import deferred
from experiments.commands.job import one_of_many
from experiments.runs.cell import Cell


def _bar(unit: str, console: Console, **options) -> Progress:
    """Return a bar that counts `unit`; it is hidden where no one, or another job, would see it."""
    return Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}, left"),
        TimeRemainingColumn(),
        console=console,
        disable=one_of_many() or not console.is_terminal,
        **options,
    )


@contextmanager
def progress(unit: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each thing that is done.

    Args:
        unit: what is counted, in the plural.

    Yields:
        A function of what is being done, the units done, and the units in total.
    """
    with deferred() as check, _bar(unit, Console(stderr=True), transient=True) as bar:
        tasks = {}

        def report(doing: str, done: int, total: int) -> None:
            check()
            if doing not in tasks:
                tasks[doing] = bar.add_task(doing, total=total)
            bar.update(tasks[doing], completed=done)

        yield report


@contextmanager
def cell_progress(
    console: Console, cells: Sequence[Cell]
) -> Iterator[Callable[[Cell, int, xr.Dataset | None], None]]:
    """Show a bar over the segments of all cells, and a line for each cell that is finished.

    Yields:
        A function of a cell, its segments that are complete, and its results once there are.
    """
    complete = dict.fromkeys((cell.name for cell in cells), 0)
    finished = 0
    # Segments are minutes apart: their mean rate so far tells the time left.
    with deferred() as check, _bar("segments", console, speed_estimate_period=1e6) as bar:
        task = bar.add_task("", total=sum(cell.segments for cell in cells))

        def report(cell: Cell, segments: int, results: xr.Dataset | None) -> None:
            nonlocal finished
            check()
            complete[cell.name] = segments
            if results is not None:
                finished += 1
                place = f"[{finished}/{len(cells)}] {cell.name}"
                bar.console.print(f"{place}: {outcome(results)}", markup=False, soft_wrap=True)
            bar.update(task, completed=sum(complete.values()), description=f"{finished} cells done")

        yield report


def outcome(results: xr.Dataset) -> str:
    """Summarize a finished cell in one line."""
    short = summary.summarize(results, "rod") if "rod" in results.flow.values else None
    if short is None:
        return "finished"
    sharpness = number(results.effective_sharpness.max().item())
    improvement = f"improvement {number(short.improvement)}, {number(short.over_floor)} x floor"
    return f"{improvement}, effective sharpness up to {sharpness}, {short.verdict}"
