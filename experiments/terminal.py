"""What a run shows in the terminal: a progress bar while it works, a table when it is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar on standard error, if that is a terminal.

    Yields:
        A function of what is being done, the steps done, and the steps in total.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps, left"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        tasks = {}

        def report(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = bar.add_task(doing, total=total)
            bar.update(tasks[doing], completed=done)

        yield report


def table(results: xr.Dataset) -> Table:
    """Summarize a run: a row for the iterates and one for each flow."""
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


def _number(value: xr.DataArray | float) -> str:
    """Three significant digits, never in scientific notation unless tiny."""
    number = float(value)
    if not np.isfinite(number):
        return "nan" if np.isnan(number) else "inf"
    if number == 0 or abs(number) >= 1e-4:
        return np.format_float_positional(number, precision=3, fractional=False, trim="-")
    return f"{number:.2g}"
