"""The extension of Sphinx that shows results, on a project of one page."""

import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from sphinx.testing.util import SphinxTestApp

from experiments.analysis.table import Table
from experiments.report import published
from experiments.report.published import Circumstances, Published
from experiments.storage import measured

DOCS = Path(__file__).parents[2] / "docs"
COMMIT = measured.commit().rstrip("+")
SPEED = Published(
    "speed",
    "How fast is it?",
    "python -m experiments bench speed",
    Circumstances([f"{COMMIT}+"], "2026-01-31", "a machine, 2 cores", {"jax": "0.10.2"}),
    {
        "speeds": Table("Speeds, of all", ["", "x_y | z"], [["a * b", 12.345], ["<c>", None]]),
        "sizes": Table("Sizes, of all", ["", "size"], [["small", 1]]),
    },
    ["It is *fast*."],
    {"largest ratio": 123.456},
    Table("Cells, all of them", ["place", "x"], [["here", 1.0]]),
)


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Build a page with the results of `speed`, and return its text and the warnings."""
    monkeypatch.syspath_prepend(str(DOCS / "_extensions"))
    source = tmp_path / "docs"
    source.mkdir()
    published.save(SPEED, tmp_path / "results")
    (source / "conf.py").write_text(
        'extensions = ["myst_parser", "results"]\n'
        f"results_folder = {str(tmp_path / 'results')!r}\n"
        'html_theme = "basic"\n'
    )

    def built(page: str | None = None) -> tuple[str, str]:
        if page is not None:
            (source / "index.md").write_text(f"# A page\n\n{page}\n")
        warnings = io.StringIO()
        app = SphinxTestApp("html", source, warning=warnings)
        try:
            app.build()
        finally:
            app.cleanup()
        return (app.outdir / "index.html").read_text(), warnings.getvalue()

    return built


def test_tables_stand_below_the_question_and_above_the_circumstances(build):
    page, warnings = build("```{results} speed\n```")
    assert not warnings
    order = ["How fast is it?", "Speeds, of all", "Sizes, of all", "Measured on 2026-01-31"]
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    for text in ("x_y | z", "a * b", "12.3", "&lt;c&gt;"):
        assert f"<p>{text}</p>" in page
    assert "Cells" not in page and "fast</em>" not in page
    said = re.sub(r"<[^>]+>", "", page)
    assert f"at commit {COMMIT[:7]} with changes on a machine, 2 cores with jax 0.10.2" in said
    assert "python -m experiments bench speed" in said


def test_one_table_or_the_cells_are_shown_with_findings_where_they_are_asked_for(build):
    both, _ = build("```{results} speed cells, sizes\n```")
    assert 0 < both.index("Cells, all of them") < both.index("Sizes, of all")
    assert "Speeds" not in both and both.count("How fast is it?") == 1
    page, warnings = build(
        "```{results} speed sizes\n:findings:\n```\n\n```{results} speed cells\n```"
    )
    assert not warnings
    assert "Sizes, of all" in page and "Speeds" not in page and "Cells, all of them" in page
    assert "<li><p>It is <em>fast</em>.</p></li>" in page


def test_figures_can_stand_below_a_question_without_its_tables(build):
    page, warnings = build("```{results} speed\n:without-tables:\n```")
    assert not warnings
    assert "How fast is it?" in page and "Measured on 2026-01-31" in page
    assert "Speeds" not in page and "Sizes" not in page


def test_numbers_are_printed_in_the_text(build):
    keys = ("largest ratio:.1f", "speeds/a * b/x_y | z")
    page, warnings = build("It is {}, {}.".format(*(f"{{measured}}`speed:{key}`" for key in keys)))
    assert not warnings
    assert "<p>It is 123.5, 12.3.</p>" in page


MISSING = "size.json is missing; make it with: python -m experiments results size"


@pytest.mark.parametrize(
    ("page", "warning"),
    [
        ("```{results} size\n```", MISSING),
        ("{measured}`size:x`", MISSING),
        ("```{results} speed rates\n```", "speed has no table 'rates'; it has speeds, sizes, cell"),
        ("{measured}`speed:least`", "speed has no number 'least'; it has largest ratio"),
    ],
)
def test_what_is_missing_is_a_warning_at_its_line(build, page, warning):
    _, warnings = build(page)
    assert warning in warnings
    assert "index.md:3: WARNING" in warnings


def test_a_page_is_built_again_when_its_results_change(build, tmp_path):
    build("{measured}`speed:largest ratio`")
    published.save(replace(SPEED, numbers={"largest ratio": 5.0}), tmp_path / "results")
    page, _ = build()
    assert "5.00" in page


def test_numbers_that_were_edited_are_a_warning_and_are_not_shown(build, tmp_path):
    path = tmp_path / "results" / "speed.json"
    written = path.read_text()
    assert "12.35" in written  # 12.345 with four digits
    path.write_text(written.replace("12.35", "82.35"))
    page, warnings = build("```{results} speed\n```\n\n{measured}`speed:largest ratio`")
    assert warnings.count("speed.json is not as a command wrote it") == 2
    assert "82.35" not in page and "82.4" not in page


def test_code_that_has_changed_since_is_told(build, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    git = shutil.which("git")
    assert git is not None

    def run(*arguments: str) -> str:
        told = ["-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        done = subprocess.run([git, *told], cwd=clone, capture_output=True, check=True, text=True)
        return done.stdout.strip()

    (clone / "rodflow").mkdir(parents=True)
    source = clone / "rodflow" / "a.py"
    source.write_text("1\n")
    run("init", "-q")
    run("add", ".")
    run("commit", "-qm", "one")
    about = SPEED.circumstances
    known = Circumstances([run("rev-parse", "HEAD")], about.date, about.machine, about.versions)
    made = Published("speed", "", "", known, SPEED.tables)
    published.save(made, tmp_path / "results")
    monkeypatch.setattr(measured, "ROOT", clone)
    page = "```{results} speed\n```\n"
    assert "The code has changed since." not in build(page)[0]
    source.write_text("2\n")
    assert "The code has changed since." in build(f"{page}\n")[0]
    monkeypatch.setattr(measured, "ROOT", tmp_path)  # no clone of a repository
    assert "The code has changed since." not in build(f"{page}\n\n")[0]
