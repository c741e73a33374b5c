"""Logs of a training loop: scalars by step, as a CSV file or as JSON lines.

Every line has one step, a dictionary of scalars. Nested dictionaries become names with slashes, so
that `{"effective_sharpness": {"head": 0.9}}` is the column `effective_sharpness/head`. The column
`step` numbers the lines; without it they are counted from 0. Of lines with the same step, such as a
run that was resumed leaves, the last one counts.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import xarray as xr

SUFFIXES = (".csv", ".jsonl", ".json")
"""Endings of the files that can be read."""


def read(path: Path) -> xr.Dataset:
    """Read a log, with a variable over `step` for each column that has numbers.

    Columns without a number are named in the attribute `ignored`.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file has another ending, is no log, or has no number.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: a log ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file) if path.suffix == ".csv" else _objects(path, file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: no text of lines ({error})") from error
    names = list(dict.fromkeys(name for line in lines for name in line if name is not None))
    columns = {name: np.array([_number(line.get(name)) for line in lines]) for name in names}
    numbered = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    steps = numbered.pop("step", np.arange(len(lines), dtype=float))
    if not numbered:
        raise ValueError(f"{path}: no column has a number")
    if np.isnan(steps).any():
        line = int(np.flatnonzero(np.isnan(steps))[0]) + 1
        raise ValueError(f"{path}: entry {line} has no number for its step")
    ignored = ", ".join(name for name in names if name not in [*numbered, "step"])
    # The first of the reversed ones is the last of each step.
    _, kept = np.unique(steps[::-1], return_index=True)
    kept = len(steps) - 1 - kept
    variables = {name: ("step", column[kept]) for name, column in numbered.items()}
    attrs = {"title": path.stem, "folder": path.name, "ignored": ignored}
    return xr.Dataset(variables, {"step": steps[kept]}, attrs)


def _number(value: object) -> float:
    """Return a scalar as a number; NaN for a text, a list or nothing."""
    try:
        return float(value) if isinstance(value, str | int | float) else np.nan
    except ValueError:
        return np.nan


def _objects(path: Path, file: TextIO) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise ValueError(f"{path}, line {number}: no JSON object, which each line has to be")
        yield dict(_flat(entry))


def _flat(entry: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in entry.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value
