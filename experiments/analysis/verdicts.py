"""Summaries of one flow on one cell: numbers and a verdict.

A *cell* is one optimizer on one architecture, run from several seeds: a data set with dimensions
`seed`, `flow`, `step` and `mode`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import xarray as xr

from experiments.analysis.numbers import median, number

EDGE = 0.95  # the effective sharpness from which on a run counts as at the edge, which is at 1
CATAPULT = 2.0  # the growth of the loss between two records that counts as a catapult


class Verdict(StrEnum):
    """The outcome of a flow on a cell; the first that applies."""

    DIVERGED = "diverged"
    NO_NUMBER = "no number"
    NOT_AT_THE_EDGE = "not at the edge"
    BELOW_ONE = "below 1"
    OK = "ok"


class Divergence(NamedTuple):
    """The divergence of the iterates or of a flow, from a seed, at an optimizer step."""

    who: str
    seed: int
    step: int


@dataclass(frozen=True)
class Summary:
    """One flow on one cell.

    Attributes:
        improvements: mean distance of the stable flow over that of this flow, for each seed. 0 if
            the flow diverged where the iterates did not; NaN if there is no such number.
        over_floor: mean distance over mean floor, the median of the seeds; NaN without a floor.
        loss_error: mean relative error of the loss, the median of the seeds.
        sharpness: the largest effective sharpness of each seed.
        divergences: of the iterates, of this flow, and of the stable flow as its baseline.
        catapults: number of leaps of the loss, for each seed.
    """

    optimizer: str
    problem: str
    flow: str
    seeds: tuple[int, ...]
    improvements: tuple[float, ...]
    over_floor: float
    loss_error: float
    sharpness: tuple[float, ...]
    divergences: tuple[Divergence, ...]
    catapults: tuple[int, ...]

    @property
    def improvement(self) -> float:
        """Median over the seeds that have a number."""
        return median(self.improvements)

    @property
    def at_edge(self) -> bool:
        """True if at least half of the seeds reached the edge of stability."""
        return sum(value >= EDGE for value in self.sharpness) * 2 >= len(self.sharpness)

    @property
    def verdict(self) -> Verdict:
        if any(who in ("iterates", self.flow) for who, _, _ in self.divergences):
            return Verdict.DIVERGED
        if np.isnan(self.improvement):
            return Verdict.NO_NUMBER
        if not self.at_edge:
            return Verdict.NOT_AT_THE_EDGE
        return Verdict.BELOW_ONE if self.improvement < 1 else Verdict.OK

    @property
    def reason(self) -> str:
        """The verdict with its causes, for a reader."""
        parts = [
            f"{who if who == 'iterates' else f'{who} flow'} diverged at step {step} (seed {seed})"
            for who, seed, step in self.divergences
        ]
        if not self.at_edge:
            largest = number(np.fmax.reduce(self.sharpness), 2)
            parts.append(f"not at the edge: effective sharpness {largest} at most")
        if below := sum(value < 1 for value in self.improvements):
            parts.append(f"below 1 for {below} of {len(self.seeds)} seeds")
        if leapt := sum(count > 0 for count in self.catapults):
            parts.append(f"a catapult for {leapt} of {len(self.seeds)} seeds")
        return "; ".join(parts) or str(self.verdict)


def summarize(cell: xr.Dataset, flow: str) -> Summary:
    """Summarize one flow on a cell."""
    seeds = [int(seed) for seed in cell.seed.values]
    marks = {"iterates": _by_step(cell, "diverged_at")}
    marks |= {name: _by_step(cell, "flow_diverged_at", name) for name in ("stable", flow)}
    steps = {who: mark.max(axis=1) for who, mark in marks.items()}
    failed = (steps[flow] >= 0) & (steps["iterates"] < 0)
    ratios = np.full(len(seeds), np.nan)
    if "floor" in cell:
        ratios = _mean_ratios(_by_step(cell, "distance", flow), _by_step(cell, "floor"))
        ratios = np.where(failed, np.inf, ratios)
    return Summary(
        optimizer=str(cell.attrs["optimizer"]),
        problem=str(cell.attrs["problem"]),
        flow=flow,
        seeds=tuple(seeds),
        improvements=tuple(np.where(failed, 0.0, cell.improvement.sel(flow=flow).values).tolist()),
        over_floor=median(ratios),
        loss_error=median([_mean(errors) for errors in _by_step(cell, "loss_error", flow)]),
        sharpness=tuple(_largest_sharpness(cell).tolist()),
        divergences=tuple(
            Divergence(who, seed, int(step))
            for who, marked in steps.items()
            for seed, step in zip(seeds, marked, strict=True)
            if step >= 0
        ),
        catapults=tuple(_catapults(cell).tolist()),
    )


def representative(cell: xr.Dataset, flow: str = "rod") -> int:
    """Return the index of the seed whose improvement is the median one, or else of the first."""
    if flow not in cell.flow.values:
        return 0
    values = np.asarray(summarize(cell, flow).improvements)
    order = [i for i in np.argsort(values) if not np.isnan(values[i])]
    return int(order[(len(order) - 1) // 2]) if order else 0


def _by_step(cell: xr.Dataset, name: str, flow: str | None = None) -> np.ndarray:
    # NumPy from here on: with xarray a report of sixty cells would take half a minute.
    values = cell[name] if flow is None else cell[name].sel(flow=flow)
    return values.transpose("seed", "step").values


def _mean_ratios(distance: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Return the ratio of the means over the records that both have, for each seed."""
    both = np.isfinite(distance) & np.isfinite(floor)
    ratios = [
        (_mean(mine[ours]), _mean(theirs[ours]))
        for mine, theirs, ours in zip(distance, floor, both, strict=True)
    ]
    return np.array([mine / theirs if theirs > 0 else np.nan for mine, theirs in ratios])


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


def _largest_sharpness(cell: xr.Dataset) -> np.ndarray:
    values = cell.effective_sharpness.sel(mode=1).transpose("seed", "step").values
    return np.fmax.reduce(values, axis=1)  # ignores NaN unless there is nothing else


def _catapults(cell: xr.Dataset) -> np.ndarray:
    if "catapults" in cell:
        return cell.catapults.values.astype(int)
    losses = [_by_step(cell, name) for name in ("loss", "mean_loss")]
    leaps = [loss[:, 1:] > CATAPULT * loss[:, :-1] for loss in losses]
    return np.logical_or(*leaps).sum(axis=1)
