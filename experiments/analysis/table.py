"""Tables of texts, which a terminal, a page and a README render each in its own way."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A table of texts; the first column names the rows."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    @classmethod
    def by_column(cls, title: str, names: Sequence[str], columns: Mapping[str, Sequence[str]]):
        """Make a table from the names of its rows and the texts of each further column."""
        rows = [list(row) for row in zip(names, *columns.values(), strict=True)]
        return cls(title, ["", *columns], rows)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], rule: str = "---") -> str:
    """Render a table as Markdown; `rule` aligns every column but the first."""
    lines = [columns, ["---", *[rule] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
