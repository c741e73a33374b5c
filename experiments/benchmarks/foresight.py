"""Tables and sentences on the foresight of meters, from the runs of the part `spikes`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.analysis.alarms import HORIZON, NOTICE, Counts, Foresight, gain, total
from experiments.analysis.numbers import Interval, median
from experiments.analysis.table import Cell, Table

METERS = {
    "realized_edge": "realized edge",
    "directional_sharpness": "directional sharpness",
    "effective_sharpness": "effective sharpness",
    "fluctuation": "fluctuation",
}
RIVALS = {"gradient": "gradient norm", "batch_loss": "loss of the batch"}


class Run(NamedTuple):
    """A run, its spikes and the foresight of each meter.

    Attributes:
        network: name of the network.
        optimizer: name of the optimizer.
        rate: learning rate after warmup.
        steps: number of steps until it ended or was lost.
        lost: True if the loss was not finite in the end.
        spikes: steps at which they begin.
        meters: name -> foresight.
    """

    network: str
    optimizer: str
    rate: float
    steps: int
    lost: bool
    spikes: list[int]
    meters: dict[str, Foresight]


def counted(runs: Sequence[Run]) -> Table:
    """Count runs and spikes of each network and optimizer."""
    rows: list[list[Cell]] = []
    for group in dict.fromkeys((run.network, run.optimizer) for run in runs):
        members = [run for run in runs if (run.network, run.optimizer) == group]
        rates = [run.rate for run in members]
        spiking = sum(bool(run.spikes) for run in members)
        spikes = sum(len(run.spikes) for run in members)
        numbers = [len(members), spiking, spikes, sum(run.lost for run in members)]
        rows.append([", ".join(group), min(rates), max(rates), *numbers])
    rows.append(["all", None, None, *(sum(int(row[i] or 0) for row in rows) for i in range(3, 7))])
    columns = ["network, optimizer", "least rate", "largest rate", "runs", "with a spike"]
    return Table("Runs, and spikes of the loss", [*columns, "spikes", "lost in the end"], rows)


def recalls(runs: Sequence[Run]) -> Table:
    """Compare how many spikes all meters and their means foresee."""
    rows: list[list[Cell]] = []
    for name in named():
        found = [run.meters[name] for run in runs]
        counts = total([each.counts for each in found])
        leads = [lead for each in found for lead in each.leads]
        ranks = [rank for each in found for rank in each.ranks]
        row: list[Cell] = [label(name), share(counts.foreseen, counts.spikes), *recall(counts)]
        row += [_signed(gain_of(found, any_run)) for any_run in (False, True)]
        rank = float(np.mean(ranks)) if ranks else None
        rows.append([*row, median(np.array(leads, float)), rank])
    columns = ["meter", "recall", f"recall, {NOTICE} steps ahead", "chance, same run"]
    columns += ["chance, any run", "beyond the same run", "beyond any run", "median lead", "rank"]
    formats = dict.fromkeys([*columns[1:5], "rank"], ".2f") | {"median lead": ".0f"}
    title = f"Spikes that are foreseen, by a reading over the line within {HORIZON} steps before"
    return Table(title, columns, rows, formats)


def precisions(runs: Sequence[Run]) -> Table:
    """Compare how many alarms of all meters and their means are right, and alarms of whole runs."""
    spiking, calm = ([run for run in runs if bool(run.spikes) is had] for had in (True, False))
    rows: list[list[Cell]] = []
    for name in named():
        counts = total([run.meters[name].counts for run in runs])
        false = sum(run.meters[name].counts.alarms for run in calm)
        row: list[Cell] = [label(name), int(counts.alarms), *precision(counts)]
        row.append(share(1000 * false, sum(run.steps for run in calm)))
        row += [share(sum(r.meters[name].warned for r in x), len(x)) for x in (spiking, calm)]
        rows.append(row)
    columns = ["meter", "alarms", "precision", "chance, same run", "chance, any run"]
    columns += ["alarms per 1000 steps without a spike", "runs with a spike, warned before it"]
    columns += ["runs without one, warned"]
    formats = dict.fromkeys(columns[2:5], ".2f") | dict.fromkeys(columns[6:], ".0%")
    title = f"Alarms that are right, with a spike at most {HORIZON} steps later, and whole runs"
    return Table(title, columns, rows, formats | {columns[5]: ".1f"})


def by_group(runs: Sequence[Run], by: str) -> Table:
    """Compare recalls with notice, and precisions, with chance for each network or optimizer."""
    groups = list(dict.fromkeys(getattr(run, by) for run in runs))
    rows: list[list[Cell]] = []
    for name in named():
        row: list[Cell] = [label(name)]
        for group in groups:
            found = [run.meters[name].counts for run in runs if getattr(run, by) == group]
            for value, same, any_run in (recall(total(found)), precision(total(found))):
                row.append(f"{_two(value)} ({_two(same)}, {_two(any_run)})")
        rows.append(row)
    columns = ["meter"]
    columns += [f"{group}, {what}" for group in groups for what in ("recall", "precision")]
    title = f"By {by}: recall {NOTICE} steps ahead and precision (chance in the same run, any run)"
    return Table(title, columns, rows)


def sentences(runs: Sequence[Run]) -> Iterator[str]:
    """Say for each meter if it foresees spikes with notice better than chance does."""
    for name in named():
        found = [run.meters[name] for run in runs]
        said = []
        for where, any_run in (("any", True), ("the same", False)):
            interval = gain_of(found, any_run)
            said.append(f"{_verdict(interval)} in {where} run ({_signed(interval)})")
        yield f"Recall {NOTICE} steps ahead of the {label(name)}: {', '.join(said)}."


def gain_of(found: Sequence[Foresight], any_run: bool) -> Interval:
    """Return the recall with notice beyond chance, with its interval over runs."""
    counts = np.array([each.counts for each in found]).T
    columns = dict(zip(Counts._fields, counts, strict=True))
    chance = ("noticed_times", "times") if any_run else ("noticed_by_chance", "spikes")
    return gain(*(columns[name] for name in ("noticed", "spikes", *chance)))


def recall(counts: Counts) -> tuple[float, float, float]:
    """Return the recall with notice, and its chance in the same run and in any."""
    return (
        share(counts.noticed, counts.spikes),
        share(counts.noticed_by_chance, counts.spikes),
        share(counts.noticed_times, counts.times),
    )


def precision(counts: Counts) -> tuple[float, float, float]:
    """Return the precision, and its chance in the same run and in any."""
    return (
        share(counts.right, counts.alarms),
        share(counts.right_by_chance, counts.alarms),
        share(counts.followed, counts.times),
    )


def share(part: int | float, whole: int | float) -> float:
    """Return a ratio, NaN of nothing."""
    return float(part / whole) if whole else float("nan")


def named() -> list[str]:
    """Return the names of all meters and rivals, each followed by its mean."""
    return [prefix + name for name in (*METERS, *RIVALS) for prefix in ("", "mean_")]


def label(name: str) -> str:
    """Return the name of a meter, or of its mean, in words."""
    known: Mapping[str, str] = METERS | RIVALS
    mean = name.removeprefix("mean_")
    return known[mean] + (", mean" if mean != name else "")


def _verdict(interval: Interval) -> str:
    if interval.low > 0:
        return "better than chance"
    return "worse than chance" if interval.high < 0 else "no better than chance"


def _signed(interval: Interval) -> str:
    return interval.text("{:+.2f}".format)


def _two(value: float) -> str:
    return "none" if np.isnan(value) else f"{value:.2f}"
