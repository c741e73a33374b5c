"""What a study is: parts that are computed one by one, and a way to show what came of them.

A part is one compiled program or a few, a minute's work rather than an hour's; each is stored when
it is done, so that a study that is killed loses one part. What is shown is made from the joined
results alone, which are all that a report has.
"""

import abc
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, NamedTuple

import xarray as xr
from hydra.utils import get_class
from matplotlib.figure import Figure

PACKAGE = "experiments.studies."


class Table(NamedTuple):
    """A table of texts; the first column names the rows."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class AbstractStudy(abc.ABC):
    """A study; its fields are the keys of its configuration, from which it is instantiated."""

    title: ClassVar[str]
    """The question, as a heading of the report."""

    @abc.abstractmethod
    def parts(self) -> Mapping[str, Callable[[], xr.Dataset]]:
        """Name the parts, in the order in which they are computed."""

    @abc.abstractmethod
    def joined(self, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """Join the results of all parts into one labelled data set."""

    @staticmethod
    @abc.abstractmethod
    def tables(results: xr.Dataset) -> list[Table]:
        """Summarize the results in tables."""

    @staticmethod
    @abc.abstractmethod
    def figures(results: xr.Dataset) -> dict[str, Figure]:
        """Draw the results: name of a file -> figure."""

    @staticmethod
    @abc.abstractmethod
    def findings(results: xr.Dataset) -> list[str]:
        """Say in sentences what the results support, at this scale, and what they do not."""


def study_of(results: xr.Dataset) -> type[AbstractStudy]:
    """Return the study that made some results.

    Raises:
        ValueError: none of this package did.
    """
    name = str(results.attrs.get("study", ""))
    if not name.startswith(PACKAGE):
        raise ValueError(f"study={name!r}: results of a study name a class in {PACKAGE[:-1]}")
    try:
        return get_class(name)
    except Exception as error:  # ImportError inside of errors of Hydra's
        raise ValueError(f"study={name!r}: there is no such study") from error


@contextlib.contextmanager
def being_shown(results: xr.Dataset) -> Iterator[None]:
    """Say which results cannot be shown: those of another version lack what this one looks for.

    Raises:
        ValueError: something was looked for that is not among the results.
    """
    try:
        yield
    except (KeyError, AttributeError) as error:
        named = str(error.args[0]).startswith("No variable named")  # results["x"]
        dotted = isinstance(getattr(error, "obj", None), xr.Dataset)  # results.x
        if not (named or dotted):
            raise
        place = f" in {results.attrs['folder']}" if "folder" in results.attrs else ""
        raise ValueError(
            f"cannot show the results{place}: they are of another version ({error.args[0]}); "
            "compute them anew, in another folder"
        ) from error


def markdown(results: xr.Dataset) -> str:
    """Show the tables and findings of a study as a README has them."""
    study = study_of(results)
    folder = f" ({results.attrs['folder']})" if "folder" in results.attrs else ""
    lines = [f"**{study.title}**{folder}", ""]
    with being_shown(results):
        tables, findings = study.tables(results), study.findings(results)
    for table in tables:
        rule = ["---"] + ["---:"] * (len(table.columns) - 1)
        rows = [table.columns, rule, *table.rows]
        lines += [f"*{table.title}*", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([*lines, *(f"- {sentence}" for sentence in findings), ""])
