from dataclasses import dataclass
from typing import ClassVar

import matplotlib as mpl
import pytest
import xarray as xr
from matplotlib.figure import Figure

from experiments.analysis.style import STYLE
from experiments.analysis.table import Table
from experiments.studies import study
from experiments.studies.rectification.study import Rectification
from experiments.studies.study import AbstractStudy, Shown, along, markdown, shown_of, study_of

NAME = "experiments.studies.rectification.study.Rectification"


def test_results_name_their_study():
    assert study_of(xr.Dataset(attrs={"study": NAME})) is Rectification


@pytest.mark.parametrize("name", ["os.system", "experiments.studies.none.None", ""])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="study="):
        study_of(xr.Dataset(attrs={"study": name}))


@dataclass(frozen=True)
class Cubes(AbstractStudy):
    """A study in one file."""

    title: ClassVar[str] = "How large are cubes?"
    numbers: list[int]

    def parts(self):
        return {str(n): lambda n=n: xr.Dataset({"cube": n**3}) for n in self.numbers}

    def joined(self, parts):
        return along("number", parts)

    @staticmethod
    def show(results):
        cubes = results["cube"].values
        rows = [[str(n), str(x)] for n, x in zip(results.number.values, cubes, strict=True)]
        table = Table("Cubes", ["number", "cube"], rows)
        drawn = {"cubes": lambda: Figure(figsize=(mpl.rcParams["font.size"], results.cube.size))}
        return Shown(results, [table], [f"The largest is {results.cube.max().item()}."], drawn)


@pytest.fixture
def results(monkeypatch):
    monkeypatch.setattr(study, "get_class", lambda name: Cubes)
    cubes = Cubes([2, 10])
    joined = cubes.joined({name: compute() for name, compute in cubes.parts().items()})
    return joined.assign_attrs(study="experiments.studies.cubes.Cubes")


def test_parts_are_joined_under_their_whole_names(results):
    assert list(results.number.values) == ["2", "10"]


def test_markdown_has_the_question_the_tables_and_the_findings(results):
    assert markdown(shown_of(results)) == (
        "**How large are cubes?**\n\n*Cubes*\n\n| number | cube |\n| --- | ---: |\n"
        "| 2 | 8 |\n| 10 | 1000 |\n\n- The largest is 1000.\n"
    )
    told = markdown(shown_of(results.assign_attrs(folder="runs")))
    assert told.startswith("**How large are cubes?** (runs)\n")


def test_figures_are_drawn_in_the_style_of_the_others(results):
    (figure,) = shown_of(results).figures().values()
    assert figure.get_size_inches().tolist() == [STYLE["font.size"], 2]


@pytest.mark.parametrize("gone", [["cube"], ["number"]])
def test_results_of_another_version_are_named(results, gone):
    old = results.drop_vars(gone).assign_attrs(folder="old")
    if gone == ["number"]:  # a coordinate without which there is an index all the same
        old = old.rename(number="other")
    with pytest.raises(ValueError, match=r"^cannot show the results in old: they are of another"):
        shown_of(old)


def test_an_error_of_the_study_itself_stays_what_it_is(results, monkeypatch):
    monkeypatch.setattr(Cubes, "show", lambda results: {}["key"])
    with pytest.raises(KeyError, match="key"):
        shown_of(results)


def test_a_figure_of_another_version_is_named_too(results, monkeypatch):
    draws = {"cubes": lambda: results.squares}
    monkeypatch.setattr(Cubes, "show", lambda results: Shown(results, [], [], draws))
    with pytest.raises(ValueError, match="cannot show the results: they are of another version"):
        shown_of(results).figures()
