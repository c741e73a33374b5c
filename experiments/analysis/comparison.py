"""Comparison of the models of a grid: which is closest, which is cheapest, when each begins.

Distances are to the mean of the run and its twins, in units of the floor, the distance of the twins
from each other: a difference smaller than 1 ranks nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from experiments.analysis import summary, table
from experiments.analysis.numbers import median
from experiments.analysis.table import Cell, Table

Cells = Sequence[xr.Dataset]


class Comparison(NamedTuple):
    """One model on one cell; the medians over the seeds. NaN: the model diverged, or has none.

    Attributes:
        distance: mean distance to the mean of run and twins, over the floor.
        end: the same distance at the end.
        loss_error: relative, against the mean loss of run and twins.
        delay: optimizer steps from the onset of the iterates' oscillation to that of the model's;
            infinite if the model's never sets in, NaN if that of the iterates does not.
        sharpness: the largest effective sharpness at the centre of the flow over the run.
        gradients: evaluations of gradients per optimizer step.
        hessians: products with the Hessian per optimizer step.
        thirds: products with third derivatives per optimizer step.
        time: wall clock in units of that of the iterates.
    """

    distance: float
    end: float
    loss_error: float
    delay: float
    sharpness: float
    gradients: float
    hessians: float
    thirds: float
    time: float


def onset(extent: np.ndarray, steps: np.ndarray) -> float:
    """Return the first step at which an oscillation is ten times the least before it, or NaN.

    Before the edge an oscillation decays, until rounding or the seed of a model holds it.
    """
    least = np.minimum.accumulate(extent)
    leapt = extent > 10 * np.concatenate([extent[:1], least[:-1]])
    return float(steps[np.argmax(leapt)]) if leapt.any() else float("nan")


def compare(cell: xr.Dataset, flow: str) -> Comparison:
    """Compare one model with the iterates on a cell with twins.

    Raises:
        ValueError: the cell was run without twins.
    """
    if "ensemble_distance" not in cell:
        raise ValueError("a comparison of models needs twins; run the grid with twins=7, say")
    one = cell.sel(flow=flow)
    floor = cell.floor.mean("step")
    extents, oscillations = (
        x.transpose("seed", "step").values for x in (one.extent, cell.oscillation)
    )
    work = {name: median(one[name].mean("step")) for name in ("gradients", "hessians", "thirds")}
    nan = float("nan")
    sharpest = one.get("flow_effective_sharpness")
    return Comparison(
        distance=median(one.ensemble_distance.mean("step", skipna=False) / floor),
        end=median(one.ensemble_distance.isel(step=-1) / cell.floor.isel(step=-1)),
        loss_error=median(one.ensemble_loss_error.mean("step", skipna=False)),
        delay=median(list(map(_delay, extents, oscillations, [cell.step.values] * len(extents)))),
        sharpness=nan if sharpest is None else median(sharpest.max("step", skipna=False)),
        **work,
        time=float(one.get("relative_time", nan)),
    )


def _delay(extent: np.ndarray, oscillation: np.ndarray, steps: np.ndarray) -> float:
    """Return the steps from the onset of the iterates' oscillation to that of the model's."""
    began = onset(oscillation, steps)
    return np.nan if np.isnan(began) else np.nan_to_num(onset(extent, steps), nan=np.inf) - began


def compared(cells: Cells) -> dict[str, list[Comparison | None]]:
    """Compare each model on all cells, the stable flow first; None where a cell lacks it."""
    return {
        flow: [compare(cell, flow) if flow in cell.flow.values else None for cell in cells]
        for flow in ("stable", *summary.flows(cells))
    }


def tables(cells: Cells) -> list[Table]:
    """Make two tables: the distance of each model on every cell, and medians over the cells."""
    found = compared(cells)
    rows = [
        [", ".join(place), *map(_distance, entries)]
        for place, *entries in zip(summary.places(cells), *found.values(), strict=True)
    ]
    title = "Distances: to the mean of a run and its twins, over the floor"
    return [Table(title, ["", *found], rows), _medians(found)]


def _medians(found: dict[str, list[Comparison | None]]) -> Table:
    rows = []
    for flow, column in found.items():
        present = [entry for entry in column if entry is not None]
        of = {name: [getattr(entry, name) for entry in present] for name in Comparison._fields}
        middle: dict[str, Cell] = {name: _middle(values) for name, values in of.items()}
        delay = median(of["delay"])
        middle["delay"] = None if flow == "stable" else "never" if np.isinf(delay) else delay
        middle |= {name: median(of[name]) for name in ("sharpness", "time")}
        middle["lost"] = int(sum(np.isnan(of["distance"])))
        rows.append([flow, *(middle[key] for key in _MEDIANS)])
    title = "Models: medians over the cells; the wall clock in units of that of the iterates"
    return Table(title, ["", *_MEDIANS.values()], rows, {_MEDIANS["delay"]: ".0f"})


def markdown(cells: Cells) -> str:
    """Render the tables of the models as a README has them, with the closest in bold."""
    distances, medians = tables(cells)
    rows = []
    for row, texts in zip(distances.rows, distances.texts(), strict=True):
        numbers = [value for value in row if isinstance(value, float)]
        closest = row.index(min(numbers)) if numbers else 0
        rows.append([f"**{x}**" if i == closest > 0 else x for i, x in enumerate(texts)])
    return "\n".join(
        [
            table.markdown(["distance / floor", *distances.columns[1:]], rows),
            table.markdown(["median", *medians.columns[1:]], medians.texts()),
        ]
    )


_MEDIANS = {
    "distance": "distance / floor",
    "end": "at the end",
    "loss_error": "loss error",
    "delay": "onset, steps late",
    "sharpness": "sharpness at most",
    "lost": "diverged",
    "gradients": "gradients",
    "hessians": "HVPs",
    "thirds": "thirds",
    "time": "time",
}


def _distance(entry: Comparison | None) -> Cell:
    if entry is None:
        return None
    return "diverged" if np.isnan(entry.distance) else entry.distance


def _middle(values: Sequence[float]) -> float:
    """Return the median, where a model that diverged is further away than all others."""
    return float(np.median([np.inf if np.isnan(value) else value for value in values]))
