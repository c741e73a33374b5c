"""Files of results made from the run folder of a study or a grid."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from omegaconf import OmegaConf

from experiments.analysis import grids, summary
from experiments.analysis.style import style
from experiments.analysis.table import Cell, Table
from experiments.configuration import config as configuration
from experiments.report import cells, maps
from experiments.report.published import Circumstances, Published
from experiments.storage import files
from experiments.storage.job import seconds_beside
from experiments.studies.study import shown_of, study_of

IDLE = ("grid.workers", "grid.segment")
"""Keys that no number depends on."""


def finished(folder: Path) -> bool:
    """Return True if a folder has all the results of the study or the grid that it is of."""
    return (folder / "config.yaml").exists() and all(map(Path.exists, _paths(folder)))


def made(name: str, answers: str, folder: Path) -> tuple[Published, xr.Dataset | None]:
    """Make the content of a file of results, and return the data set to draw from beside it.

    That is what a study shows, or of the grid of models what its onset is drawn from.

    Args:
        name: of a file of `configs/study/`.
        answers: the question that a grid answers; a study has its own.
        folder: a run folder of it.

    Raises:
        ValueError: the folder has no results, not all of them, or those of something else.
        OSError: something could not be read.
    """
    if not (folder / "config.yaml").exists():
        raise ValueError(f"{folder} is no run folder: it has no config.yaml")
    paths = _paths(folder)
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} is missing; finish it with: {command(name, folder)}")
    found = [cells.load(path) for path in paths]
    about = circumstances(map(_measured, paths, found))
    shared = {"command": command(name, folder), "circumstances": about}
    if "grid" in _configuration(folder):
        shown = [cell for cell in found if "flow_effective_sharpness" in cell]
        chosen = maps.latest(shown, "covariance_1")
        return _of_grid(name, answers, found, shared), maps.joined(chosen) if chosen else None
    shown = shown_of(found[0])
    minutes: dict[str, Cell] = {"minutes": float(found[0].attrs["seconds"]) / 60}
    tables = named([one._replace(rows=numeric(one.rows)) for one in shown.tables])
    published = Published(
        name, shown.title, **shared, tables=tables, findings=shown.findings, numbers=minutes
    )
    return published, study_of(found[0]).shown_part(found[0])


def _of_grid(
    name: str, answers: str, found: Sequence[xr.Dataset], shared: dict[str, Any]
) -> Published:
    flows = summary.flows(found)
    return Published(
        name,
        answers,
        **shared,
        tables=named(grids.tables(found)),
        findings=[f"{style(flow).label}: {summary.overall(found, flow)}" for flow in flows],
        numbers=grids.numbers(found),
        cells=grids.every(found),
    )


def named(tables: Sequence[Table]) -> dict[str, Table]:
    """Return tables by their names.

    Raises:
        ValueError: two have the same name.
    """
    found = {table.name: table for table in tables}
    if len(found) < len(tables):
        names = [table.name for table in tables]
        raise ValueError(f"tables need different names; they are {', '.join(names)}")
    return found


def numeric(rows: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """Return rows with numbers for the texts behind the first column that are no more than one."""

    def parsed(entry: Cell) -> Cell:
        if isinstance(entry, str):
            for kind in (int, float):
                try:
                    return kind(entry)
                except ValueError:
                    continue
        return entry

    return [[row[0], *map(parsed, row[1:])] for row in rows]


def command(name: str, folder: Path) -> str:
    """Return the command that computes what a folder is of, from its configuration."""
    default = OmegaConf.to_yaml(configuration.composed("study", [f"study={name}"]), resolve=True)
    usual = dict(_flat(OmegaConf.to_container(OmegaConf.create(default))))
    stored = dict(_flat(_configuration(folder)))
    changed = {
        key: value
        for key, value in stored.items()
        if key not in IDLE and (key not in usual or usual[key] != value)
    }
    texts = [
        f"{key}={json.dumps(value, separators=(',', ':')).replace(chr(34), '')}"
        for key, value in changed.items()
    ]
    return " ".join(["python -m experiments study", f"study={name}", *map(shlex.quote, texts)])


def circumstances(measured: Iterator[Mapping[str, Any]]) -> Circumstances:
    """Join the circumstances of several jobs, the newest first."""
    found = sorted(measured, key=lambda each: each["date"], reverse=True)
    commits, machines = (
        list(dict.fromkeys(str(each[key]) for each in found)) for key in ("commit", "machine")
    )
    return Circumstances(commits, found[0]["date"], "; ".join(machines), found[0]["versions"])


def _measured(path: Path, found: xr.Dataset) -> Mapping[str, Any]:
    told = seconds_beside(path, found)
    if "measured" not in told:
        raise ValueError(
            f"{path} does not say when and by which code it was measured; delete it to have it "
            "computed again"
        )
    return told["measured"]


def _paths(folder: Path) -> list[Path]:
    grid = _configuration(folder).get("grid")
    if grid is None:
        return [folder / "results.nc"]
    return [folder / at / by / "results.nc" for at in grid["problems"] for by in grid["optimizers"]]


def _configuration(folder: Path) -> dict[str, Any]:
    found = OmegaConf.to_container(OmegaConf.create(files.load_text(folder / "config.yaml")))
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
