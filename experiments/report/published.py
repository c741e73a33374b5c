"""Results as data: one small JSON file for each measurement, in `results/`.

A file holds one sentence on the question that it answers, the command that measured it and in which
circumstances, tables, findings, and named numbers. Pages and the README quote numbers from it. Its
last entry is a checksum of all others, so that a number that was edited is not read.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.analysis.table import Cell, Table, shown
from experiments.storage.files import with_checksum, without_checksum, write_atomically

FOLDER = Path(__file__).resolve().parents[2] / "results"
DIGITS = 4  # of measured numbers: no further one is the same in a second run


@dataclass(frozen=True)
class Circumstances:
    """Circumstances of a measurement.

    Attributes:
        commits: hashes of the code that measured, the newest first, and more than one if parts were
            measured by different code; a `+` behind one stands for changes that were not committed.
        date: of the newest part.
        machine: processor, cores and accelerators.
        versions: of Python and of packages.
    """

    commits: list[str]
    date: str
    machine: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Published:
    """The content of a file.

    Attributes:
        name: of the file, and of the part of the benchmark or of the study.
        answers: the question, as a sentence.
        command: the command that measured.
        circumstances: when, where and by which code it measured.
        tables: by name.
        findings: sentences on what the results support.
        numbers: by name, what texts quote besides entries of tables.
        cells: of a grid, a table with a row for each cell and flow.
    """

    name: str
    answers: str
    command: str
    circumstances: Circumstances
    tables: Mapping[str, Table]
    findings: list[str] = field(default_factory=list)
    numbers: Mapping[str, Cell] = field(default_factory=dict)
    cells: Table | None = None

    def table(self, name: str) -> Table:
        """Return a table by its name.

        Raises:
            KeyError: there is no such table.
        """
        tables = dict(self.tables) | ({"cells": self.cells} if self.cells else {})
        if name not in tables:
            raise KeyError(f"{self.name} has no table {name!r}; it has {', '.join(tables)}")
        return tables[name]

    def value(self, key: str) -> tuple[Cell, str | None]:
        """Return a value and the format of its column.

        Args:
            key: the name of a number, or `TABLE/ROW/COLUMN`.

        Raises:
            KeyError: there is no such value.
        """
        if key in self.numbers:
            return self.numbers[key], None
        named, _, place = key.partition("/")
        if "/" not in place:
            raise KeyError(f"{self.name} has no number {key!r}; it has {', '.join(self.numbers)}")
        table = self.table(named)
        # Names of columns and rows may have a slash themselves, as "distance / floor" has.
        ends = [name for name in table.columns if place.endswith(f"/{name}")]
        column = max(ends, key=len, default=place.rpartition("/")[2])
        row = place.removesuffix(f"/{column}")
        found = [each for each in table.rows if str(each[0]) == row]
        if len(found) != 1:
            names = ", ".join(dict.fromkeys(str(each[0]) for each in table.rows))
            raise KeyError(f"{self.name}, {named}: not one row {row!r}; there are {names}")
        if column not in table.columns:
            names = ", ".join(table.columns)
            raise KeyError(f"{self.name}, {named}: no column {column!r}; there are {names}")
        return found[0][table.columns.index(column)], table.formats.get(column)

    def quoted(self, key: str) -> str:
        """Return a value as a text: `KEY`, or `KEY:FORMAT` as in `rod median improvement:.1f`.

        Raises:
            KeyError: there is no such value.
            ValueError: it has no such format.
        """
        parts = re.fullmatch(r"(.*?)(?::([+,]*\d*(?:\.\d+)?[defgE%]))?", key)
        assert parts is not None  # the first group takes everything
        value, spec = self.value(parts[1])
        return shown(value, parts[2] or spec)


def command_for(name: str) -> str:
    """Return the command that makes or refreshes a file."""
    return f"python -m experiments results {name}"


def load(name: str, folder: Path = FOLDER) -> Published:
    """Read a file.

    Raises:
        FileNotFoundError: there is none; the message says how to make it.
        ValueError: it is no file of results, or not as the command wrote it.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; make it with: {command_for(name)}")
    try:
        read = without_checksum(json.loads(path.read_text(encoding="utf-8")))
        return Published(
            read["name"],
            read["answers"],
            read["command"],
            Circumstances(*(read[key] for key in ("commits", "date", "machine", "versions"))),
            {key: Table(**entry) for key, entry in read["tables"].items()},
            read["findings"],
            read["numbers"],
            Table(**read["cells"]) if "cells" in read else None,
        )
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path} is not as a command wrote it ({error}); restore it, or make it with: "
            f"{command_for(name)}"
        ) from error


def save(published: Published, folder: Path = FOLDER) -> Path:
    """Write a file atomically, and return its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{published.name}.json"
    write_atomically(path, text(published).encode())
    return path


def text(published: Published) -> str:
    """Return the content of a file, with a line for each row of a table."""
    content: dict[str, Any] = {"name": published.name, "answers": published.answers}
    content |= {"command": published.command, **asdict(published.circumstances)}
    content["findings"] = published.findings
    content["numbers"] = {key: rounded(value) for key, value in published.numbers.items()}
    content["tables"] = {key: _entry(table) for key, table in published.tables.items()}
    if published.cells:
        content["cells"] = _entry(published.cells)
    return _indented(with_checksum(content)) + "\n"


def rounded(value: Cell) -> Cell:
    """Round a measured number, so that JSON can hold it; a missing number is None."""
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return None
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else "infinite"


def _entry(table: Table) -> dict[str, Any]:
    rows = [[rounded(value) for value in row] for row in table.rows]
    entry = {"title": table.title, "columns": table.columns, "rows": rows}
    return entry | ({"formats": dict(table.formats)} if table.formats else {})


def _indented(value: Any, indent: str = "") -> str:
    """Write JSON in which lists of plain values stand in one line."""
    inner = f"{indent} "
    if isinstance(value, dict) and value:
        items = [f"{inner}{json.dumps(k)}: {_indented(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(x, list) or len(str(x)) > 60 for x in value):
        items = [f"{inner}{_indented(x, inner)}" for x in value]
        return "[\n" + ",\n".join(items) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)
