"""The content of a report: cells of grids, runs, studies and logs, read from their files."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from experiments.analysis import summary
from experiments.storage import logs, results
from experiments.storage.job import Kind, seconds_beside
from experiments.studies.study import Shown, shown_of, study_of

NEEDED = {
    "dimension": {"seed", "flow", "step", "mode"},
    "variable": {
        *("loss", "mean_loss", "diverged_at", "effective_sharpness", "flow_loss", "distance"),
        *("loss_error", "extent", "flow_diverged_at", "improvement"),
    },
    "attribute": {"optimizer", "problem"},
}
NEEDED_OF_SWEEPS = {
    *("improvement", "distance", "effective_sharpness", "mean_loss", "diverged_at"),
}


def find(runs: Sequence[Path]) -> list[Path]:
    """List every `results.nc` at or below some folders, each once.

    Raises:
        ValueError: a folder does not exist or has no results.
    """
    found = {}
    for run in runs:
        if not run.is_dir():
            raise ValueError(f"{run}: no such file or folder")
        below = sorted(run.rglob("results.nc"))
        if not below:
            raise ValueError(f"{run}: there is no results.nc at or below it")
        found |= {path.resolve(): path for path in below if path.resolve() not in found}
    return list(found.values())


class Loaded(NamedTuple):
    """Results that were found: cells (a run is one of one seed), studies, sweeps, and logs."""

    cells: list[xr.Dataset]
    studies: list[Shown]
    sweeps: list[xr.Dataset]
    logs: list[xr.Dataset]


def load_all(places: Sequence[Path]) -> Loaded:
    """Read every `results.nc` at or below some folders, and logs, which are files.

    Raises:
        OSError: a file cannot be read, or is no netCDF file.
        ValueError: a folder has no results, a file has other results, or is no log.
    """
    files = [place for place in places if place.is_file()]
    loaded = list(map(load, find([place for place in places if place not in files])))
    of_others = (Kind.STUDY, Kind.SWEEP)
    return Loaded(
        [results for results in loaded if results.attrs.get("kind") not in of_others],
        [shown_of(results) for results in loaded if results.attrs.get("kind") == Kind.STUDY],
        [results for results in loaded if results.attrs.get("kind") == Kind.SWEEP],
        list(map(logs.read, files)),
    )


def load(path: Path) -> xr.Dataset:
    """Read the results of a cell, a run, a study or a sweep.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged, or has other results.
    """
    loaded = results.load(path)
    kind = loaded.attrs.get("kind")
    if kind == Kind.SWEEP:
        if missing := sorted(NEEDED_OF_SWEEPS - set(map(str, loaded.data_vars))):
            raise ValueError(f"cannot use {path}: it lacks the variable {', '.join(missing)}")
        return loaded.assign_attrs(folder=path.resolve().parent.name)
    if kind == Kind.STUDY:
        study_of(loaded)
        return _timed(loaded.assign_attrs(folder=path.resolve().parent.name), path)
    _check_cell(loaded, path)
    return _timed(loaded, path)


def _check_cell(cell: xr.Dataset, path: Path) -> None:
    present = {
        "dimension": set(map(str, cell.dims)),
        "variable": set(map(str, cell.data_vars)),
        "attribute": set(map(str, cell.attrs)),
    }
    for kind, names in NEEDED.items():
        if missing := sorted(names - present[kind]):
            raise ValueError(f"cannot use {path}: it lacks the {kind} {', '.join(missing)}")
    if "stable" not in cell.flow.values or not cell.sizes["step"] or not cell.sizes["seed"]:
        raise ValueError(f"cannot use {path}: it has no stable flow, no seed or no step")


def _timed(loaded: xr.Dataset, path: Path) -> xr.Dataset:
    # Beside the results, so that these are the same bits whenever they are computed.
    taken = seconds_beside(path, loaded)
    if "seconds" in taken:
        loaded = loaded.assign_attrs(seconds=float(taken["seconds"]))
    if per_step := taken.get("per_step"):
        flows = [per_step[str(flow)] / per_step["iterates"] for flow in loaded.flow.values]
        loaded = loaded.assign(relative_time=("flow", flows))
    return loaded


def slugs(cells: summary.Cells) -> list[str]:
    """Name each cell for a file or a link, all names different, whatever the letter case."""
    return distinct(
        re.sub(r"[^\w.]+", "-", f"{row}-{cell.attrs['optimizer']}").strip("-.")
        for row, cell in zip(summary.rows(cells), cells, strict=True)
    )


def distinct(names: Iterable[str]) -> list[str]:
    """Number the names that are empty, or differ from an earlier one by letter case at most."""
    found: list[str] = []
    for name in names:
        new, repeat = name, 1
        while not new or new.lower() in {other.lower() for other in found}:
            repeat += 1
            new = f"{name}-{repeat}"
        found.append(new)
    return found
