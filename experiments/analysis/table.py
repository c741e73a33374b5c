"""Tables of numbers and texts, which a terminal, a page and a README render each in its own way."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from experiments.analysis.numbers import number

Cell = str | int | float | None
"""An entry of a table; None and NaN are shown as empty ones."""


class Table(NamedTuple):
    """A table; the first column names the rows.

    Attributes:
        title: its first words, up to a comma, a colon, a semicolon or a bracket, are its name.
        columns: headings.
        rows: entries, as numbers where they are numbers.
        formats: of some columns, how their numbers are shown, as in `format(value, ".1f")`; others
            are shown with three significant digits.
    """

    title: str
    columns: list[str]
    rows: Sequence[Sequence[Cell]]
    formats: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def by_column(cls, title: str, names: Sequence[str], columns: Mapping[str, Sequence[Cell]]):
        """Make a table from the names of its rows and the entries of each further column."""
        rows = [list(row) for row in zip(names, *columns.values(), strict=True)]
        return cls(title, ["", *columns], rows)

    @property
    def name(self) -> str:
        """The first words of the title, in lower case."""
        return re.split(r"[,:;]| \(", self.title)[0].strip().lower()

    def texts(self) -> list[list[str]]:
        """Return the rows as texts."""
        formats = [self.formats.get(name) for name in self.columns]
        return [[shown(*pair) for pair in zip(row, formats, strict=True)] for row in self.rows]


def shown(value: Cell, spec: str | None = None) -> str:
    """Return an entry as a text: a number by a format, or with three significant digits."""
    if isinstance(value, str):
        return value
    if value is None or np.isnan(value):
        return ""
    if spec is not None:
        return format(value, spec)
    return str(value) if isinstance(value, int) else number(value)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], rule: str = "---") -> str:
    """Render a table as Markdown; `rule` aligns every column but the first."""
    lines = [columns, ["---", *[rule] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
