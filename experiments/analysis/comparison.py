"""What a study says about its models: which is closest, which is cheapest, when each begins.

Distances are to the mean of the run and its twins, in units of the floor, the distance of the twins
from each other: a difference smaller than 1 ranks nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from experiments.analysis import summary
from experiments.analysis.verdicts import median, number

Cells = Sequence[xr.Dataset]


class Comparison(NamedTuple):
    """One model on one cell; the medians over the seeds. NaN: the model diverged, or has none.

    - `distance`, `end`: to the mean of run and twins, over the floor: in the mean, and at the end.
    - `loss_error`: relative, against the mean loss of run and twins.
    - `delay`: optimizer steps from the onset of the iterates' oscillation to that of the model's;
        infinite if the model's never sets in, NaN if that of the iterates does not.
    - `sharpness`: the largest effective sharpness at the centre of the flow over the run.
    - `gradients`, `hessians`, `thirds`: evaluations per optimizer step.
    - `time`: wall clock in units of that of the iterates.
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
    """The first step at which an oscillation is ten times the least before it; NaN if none is.

    Before the edge an oscillation decays, until rounding or the seed of a model holds it.
    """
    least = np.minimum.accumulate(extent)
    leapt = extent > 10 * np.concatenate([extent[:1], least[:-1]])
    return float(steps[np.argmax(leapt)]) if leapt.any() else float("nan")


def _delay(extent: np.ndarray, oscillation: np.ndarray, steps: np.ndarray) -> float:
    """How many steps later the oscillation of a model sets in than that of the iterates."""
    began = onset(oscillation, steps)
    return np.nan if np.isnan(began) else np.nan_to_num(onset(extent, steps), nan=np.inf) - began


def compare(cell: xr.Dataset, flow: str) -> Comparison:
    """Reduce a cell with twins to what it says about one of its models.

    Raises:
        ValueError: the cell was run without twins.
    """
    if "ensemble_distance" not in cell:
        raise ValueError("a comparison of models needs twins; run the study with twins=7, say")
    one = cell.sel(flow=flow)
    floor = cell.floor.mean("step")
    last = cell.floor.isel(step=-1)
    extents, oscillations = one.extent.transpose("seed", "step"), cell.oscillation
    delays = [
        _delay(*pair, cell.step.values)
        for pair in zip(extents.values, oscillations.transpose("seed", "step").values, strict=True)
    ]
    work = {name: median(one[name].mean("step")) for name in ("gradients", "hessians", "thirds")}
    nan = float("nan")
    sharpest = one.get("flow_effective_sharpness")
    return Comparison(
        distance=median(one.ensemble_distance.mean("step", skipna=False) / floor),
        end=median(one.ensemble_distance.isel(step=-1) / last),
        loss_error=median(one.ensemble_loss_error.mean("step", skipna=False)),
        delay=median(delays),
        sharpness=nan if sharpest is None else median(sharpest.max("step", skipna=False)),
        **work,
        time=float(one.get("relative_time", nan)),
    )


def table(cells: Cells) -> dict[str, list[Comparison | None]]:
    """Each model on all cells, the stable flow first; None where a cell does not have it."""
    return {
        flow: [compare(cell, flow) if flow in cell.flow.values else None for cell in cells]
        for flow in ("stable", *summary.flows(cells))
    }


def markdown(cells: Cells) -> str:
    """Make two tables of a README: the models on every cell, and their medians over the cells."""
    compared = table(cells)
    names = [
        f"{row}, {cell.attrs['optimizer']}"
        for row, cell in zip(summary.rows(cells), cells, strict=True)
    ]
    lines = [["distance / floor", *compared], ["---"] * (len(compared) + 1)]
    for index, name in enumerate(names):
        entries = [column[index] for column in compared.values()]
        best = np.fmin.reduce([entry.distance for entry in entries if entry is not None])
        lines.append([name, *(_shown(entry, best) for entry in entries)])
    headings = (
        *("distance / floor", "at the end", "loss error", "onset, steps late"),
        *("sharpness at most", "diverged"),
    )
    costs = ("gradients", "HVPs", "thirds", "time")
    lines += [[], ["median", *headings, *costs], ["---"] * (1 + len(headings) + len(costs))]
    for flow, column in compared.items():
        present = [entry for entry in column if entry is not None]
        of = {name: [getattr(entry, name) for entry in present] for name in Comparison._fields}
        middle = {name: number(_middle(values)) for name, values in of.items()}
        middle["delay"] = "-" if flow == "stable" else number(median(of["delay"]), 2)
        lost = str(sum(np.isnan(of["distance"])))
        middle |= {name: number(median(of[name])) for name in ("sharpness", "time")}
        shown = [middle[name] for name in ("distance", "end", "loss_error", "delay", "sharpness")]
        work = [middle[name] for name in ("gradients", "hessians", "thirds", "time")]
        lines.append([flow, *shown, lost, *work])
    return "\n".join(f"| {' | '.join(line)} |" if line else "" for line in lines) + "\n"


def _shown(entry: Comparison | None, best: float) -> str:
    if entry is None:
        return ""
    text = "diverged" if np.isnan(entry.distance) else number(entry.distance)
    return f"**{text}**" if entry.distance == best else text


def _middle(values: Sequence[float]) -> float:
    """The median, where a model that diverged is further away than all others."""
    return float(np.median([np.inf if np.isnan(value) else value for value in values]))
