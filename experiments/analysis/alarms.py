"""Alarms of a meter against spikes: how often it warns in time, how often in vain, and by chance.

A meter is *over its line* at a step, or it is not. An alarm is a stretch of such steps (with gaps
of up to a tenth of the window of the running median). With a horizon of H steps,

    an alarm is right        if a spike begins while it lasts, or within H steps after it
    a spike is foreseen      if the meter was over its line at any of the H steps before it
    ... with notice          if it was so at a step that is at least so many steps before it
    lead                     steps from the first of those H at which it was over its line

    precision = right / alarms          recall = foreseen / spikes

A meter that is over its line half of the time foresees nearly every spike. There are two levels of
chance, both exact expectations without draws. In the *same run*: for an alarm, the share of all
places of the run at which one that lasts as long would be right; for a spike, the share of all
steps that would have been foreseen, had they been spikes. A meter that is over its line in runs
with spikes, at any time, is no better than this. In *any run*: the share of the steps of all runs
that a spike follows within the horizon, and the share of these steps that would have been foreseen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.analysis.numbers import ENDS, RESAMPLES, Interval
from experiments.analysis.spikes import WINDOW, stretches

HORIZON = 50
NOTICE = 10
START = 10  # the first step at which a running median, and so a spike, can be


class Counts(NamedTuple):
    """Alarms and spikes of a run, and the numbers that chance gives.

    Attributes:
        alarms: number of alarms.
        right: those that are right.
        right_by_chance: expectation of that number.
        spikes: number of spikes.
        foreseen: those that are foreseen.
        foreseen_by_chance: expectation of that number.
        noticed: those that are foreseen with notice.
        noticed_by_chance: expectation of that number.
        times: steps at which a spike could have begun.
        followed: those that a spike follows within the horizon.
        noticed_times: those that would have been foreseen with notice.
    """

    alarms: float
    right: float
    right_by_chance: float
    spikes: float
    foreseen: float
    foreseen_by_chance: float
    noticed: float
    noticed_by_chance: float
    times: float
    followed: float
    noticed_times: float


class Foresight(NamedTuple):
    """Counts of a run, the lead of each spike that is foreseen, and how the readings rank.

    Attributes:
        counts: of alarms and spikes.
        leads: steps, of the spikes that are foreseen.
        ranks: of each spike, the share of the steps of the run at which the reading is lower than
            that `notice` steps before the spike; ties are half, and 1/2 is chance.
        warned: True if the meter was over its line before the first spike (at all, without one).
    """

    counts: Counts
    leads: list[int]
    ranks: list[float]
    warned: bool


def foresight(
    readings: Float[np.ndarray, " steps"],
    begun: Sequence[int],
    horizon: int = HORIZON,
    notice: int = NOTICE,
) -> Foresight:
    """Judge the readings of a run, whose line is at 1.

    Args:
        readings: what is known after each step; NaN is not over the line.
        begun: steps before which the loss has begun to spike, in ascending order.
        horizon: steps before a spike at which an alarm counts as a warning.
        notice: steps that a warning with notice has at least.
    """
    steps = len(readings)
    over = readings > 1
    noted = np.concatenate([[0], np.cumsum(over)])  # noted[t]: steps over the line before t
    spiked = np.concatenate([[0], np.cumsum(np.isin(np.arange(steps), begun))])
    times = np.arange(START, steps)

    def foreseen(at: np.ndarray, least: int) -> np.ndarray:
        ends = np.maximum(at - least + 1, 0)
        return noted[ends] > noted[np.minimum(np.maximum(at - horizon, 0), ends)]

    def right(first: np.ndarray, length: int) -> np.ndarray:
        return spiked[np.minimum(first + length + horizon + 1, steps)] > spiked[first + 1]

    alarms = stretches(over, WINDOW // 10)
    spikes = np.array(begun, int)
    kept = [(np.array([first]), last - first) for first, last in alarms]
    found = [foreseen(spikes, least) for least in (1, notice)]
    counts = Counts(
        len(alarms),
        sum(float(right(*alarm)[0]) for alarm in kept),
        sum(float(np.mean(right(np.arange(steps - length), length))) for _, length in kept),
        len(spikes),
        float(np.sum(found[0])),
        len(spikes) * _mean(foreseen(times, 1)),
        float(np.sum(found[1])),
        len(spikes) * _mean(foreseen(times, notice)),
        len(times),
        float(np.sum(right(times, 0))),
        float(np.sum(foreseen(times, notice))),
    )
    leads = [
        int(t - max(0, t - horizon) - np.argmax(over[max(0, t - horizon) : t]))
        for t in spikes[found[0]]
    ]
    before = readings[START : steps - notice]
    ranks = [_rank(float(readings[t - notice]), before) for t in spikes if t - notice >= START]
    warned = bool(np.any(over[: begun[0] if begun else steps]))
    return Foresight(counts, leads, [rank for rank in ranks if not np.isnan(rank)], warned)


def total(counts: Sequence[Counts]) -> Counts:
    """Add the counts of some runs."""
    return Counts(*np.sum(np.array(counts).reshape(-1, len(Counts._fields)), axis=0))


def gain(
    hits: Float[np.ndarray, " runs"],
    events: Float[np.ndarray, " runs"],
    chances: Float[np.ndarray, " runs"],
    times: Float[np.ndarray, " runs"],
) -> Interval:
    """Return sum(hits) / sum(events) - sum(chances) / sum(times), by a bootstrap over runs."""
    columns = np.stack([hits, events, chances, times])
    picks = np.random.default_rng(0).integers(len(hits), size=(RESAMPLES, len(hits)))

    def difference(sums: Float[np.ndarray, "4 *draws"]) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums[0] / sums[1] - sums[2] / sums[3])

    drawn = difference(np.sum(columns[:, picks], axis=2))
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, ENDS) if known.size else (np.nan, np.nan)
    return Interval(float(difference(columns.sum(axis=1))), float(low), float(high))


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else 0.0


def _rank(value: float, others: np.ndarray) -> float:
    others = others[~np.isnan(others)]
    if np.isnan(value) or not others.size:
        return float("nan")
    return float(np.mean(others < value) + np.mean(others == value) / 2)
