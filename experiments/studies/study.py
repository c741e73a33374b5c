"""Protocol of a study: parts that are computed one by one, and a way to show their results.

A part is one compiled program or a few, a minute's work rather than an hour's; each is stored when
it is done, so that a study that is killed loses one part. Everything that is shown is made from the
joined results alone, which are all that a report has.
"""

import abc
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import matplotlib as mpl
import pandas as pd
import xarray as xr
from hydra.utils import get_class
from matplotlib.figure import Figure

from experiments.analysis import table
from experiments.analysis.style import STYLE
from experiments.analysis.table import Table

PACKAGE = "experiments.studies."


@dataclass(frozen=True)
class Shown:
    """The tables, findings and figures of a study.

    Attributes:
        results: joined results of the study.
        tables: summary of the results.
        findings: sentences on what the results support at this scale, and what they do not.
        draws: name of a file -> function that draws the figure.
    """

    results: xr.Dataset
    tables: list[Table]
    findings: list[str]
    draws: Mapping[str, Callable[[], Figure]]

    @property
    def title(self) -> str:
        """The question of the study."""
        return study_of(self.results).title

    def figures(self) -> dict[str, Figure]:
        """Draw every figure: name of a file -> figure."""
        with _of_this_version(self.results), mpl.rc_context(STYLE):
            return {name: draw() for name, draw in self.draws.items()}


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
    def shown_part(results: xr.Dataset) -> xr.Dataset:
        """Return the joined results without the numbers that `show` does not use."""
        return results

    @staticmethod
    @abc.abstractmethod
    def show(results: xr.Dataset) -> Shown:
        """Compute everything that is shown from the joined results, once."""


def along(dimension: str, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Stack data sets with the same coordinates; their names label the new dimension."""
    # An index, because an array would cut the names to the length of the first.
    index = pd.Index(list(parts), name=dimension)
    return xr.concat(list(parts.values()), index, join="exact", combine_attrs="drop")


def study_of(results: xr.Dataset) -> type[AbstractStudy]:
    """Return the study that made some results.

    Raises:
        ValueError: the results name no study of this package.
    """
    name = str(results.attrs.get("study", ""))
    if not name.startswith(PACKAGE):
        raise ValueError(f"study={name!r}: results of a study name a class in {PACKAGE[:-1]}")
    try:
        return get_class(name)
    except Exception as error:  # Hydra wraps an ImportError in errors of its own
        raise ValueError(f"study={name!r}: there is no such study") from error


def shown_of(results: xr.Dataset) -> Shown:
    """Make what is shown of some results, by the study that made them.

    Raises:
        ValueError: no study of this package made the results, or another version of it did.
    """
    study = study_of(results)
    with _of_this_version(results):
        return study.show(results)


@contextlib.contextmanager
def _of_this_version(results: xr.Dataset) -> Iterator[None]:
    """Raise a one-sentence error if something is looked for that the results do not have."""
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


def markdown(shown: Shown) -> str:
    """Render the tables and findings of a study as a README has them."""
    folder = f" ({shown.results.attrs['folder']})" if "folder" in shown.results.attrs else ""
    tables = [
        f"*{one.title}*\n\n{table.markdown(one.columns, one.texts(), '---:')}"
        for one in shown.tables
    ]
    findings = "".join(f"- {sentence}\n" for sentence in shown.findings)
    return "\n".join([f"**{shown.title}**{folder}\n", *tables, findings])
