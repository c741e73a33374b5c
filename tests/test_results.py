"""Files of `results/`, each complete, and what the documentation quotes of them."""

import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from experiments.analysis import grids
from experiments.analysis.table import Table
from experiments.benchmarks import PARTS
from experiments.commands.results import LARGEST
from experiments.configuration.config import CONFIGS
from experiments.report import data, published
from experiments.studies.study import shown_of

DOCS = Path(__file__).parents[1] / "docs"
KEPT = sorted(published.FOLDER.glob("*.json"))
FILES = [path for path in KEPT if not path.name.endswith(".data.json")]
DATA = [path for path in KEPT if path.name.endswith(".data.json")]
STUDIES = {path.stem for path in (CONFIGS / "study").glob("*.yaml")}
QUESTIONS = [  # those for accelerators aside, which have the figures of the smaller ones
    path.stem
    for path in sorted((CONFIGS / "study").glob("*.yaml"))
    if "_target_:" in path.read_text() and not path.stem.endswith("_large")
]
FIELDS = {
    *("name", "answers", "command", "commits", "date", "machine", "versions"),
    *("findings", "numbers", "tables"),
}
PAGES = {
    str(path.relative_to(DOCS)): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
    if "_build" not in path.parts
}
QUOTED = [
    (page, *found)
    for page, text in PAGES.items()
    for found in re.findall(r"\{measured\}`(\w+):([^`]+)`", text)
]
SHOWN = [
    (page, *found)
    for page, text in PAGES.items()
    for found in re.findall(r"^[`:]{3,}\{results\} *(\w+) *(.*)$", text, re.MULTILINE)
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_complete(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert FIELDS <= set(content) <= FIELDS | {"cells", "sha256"}
    assert content["name"] == path.stem
    assert path.stem in STUDIES | set(PARTS)
    assert content["answers"].endswith(("?", "."))
    assert content["command"].startswith("python -m experiments ")
    assert content["commits"]
    assert all(re.fullmatch(r"[0-9a-f]{40}\+?", commit) for commit in content["commits"])
    assert date.fromisoformat(content["date"]) >= date(2026, 1, 1)
    assert "cores" in content["machine"] and {"python", "jax"} <= set(content["versions"])
    assert "/tmp" not in path.read_text(encoding="utf-8")
    found = published.load(path.stem)
    assert found.tables or found.findings
    for name, table in found.tables.items():
        assert isinstance(table, Table) and table.name == name
        assert {len(row) for row in table.rows} <= {len(table.columns)}
        assert any(re.search(r"\d", str(x)) for row in table.rows for x in row[1:])
    assert path.read_text(encoding="utf-8") == published.text(found)


@pytest.mark.parametrize(
    "name", [path.stem for path in FILES if "cells" in json.loads(path.read_text())]
)
def test_medians_of_a_grid_follow_from_its_cells(name):
    found = published.load(name)
    flows = list(dict.fromkeys(row[2] for row in found.cells.rows))
    for again in grids.medians({flow: grids.grid(found.cells, flow) for flow in flows}):
        kept = found.table(again.name)
        assert kept.columns == again.columns and len(kept.rows) == len(again.rows) > 1
        for row, other in zip(kept.rows, again.rows, strict=True):
            assert row[0] == other[0]
            known = [np.nan if x is None else x for x in row[1:]]
            expected = [np.nan if x is None else x for x in other[1:]]
            assert known == pytest.approx(expected, rel=2e-3, nan_ok=True)


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_a_data_set_is_of_a_file_of_results(path):
    assert path.with_name(path.name.replace(".data.json", ".json")) in FILES
    assert data.load(path).data_vars
    assert path.stat().st_size <= LARGEST


@pytest.mark.parametrize(("page", "name", "key"), QUOTED, ids=map(":".join, QUOTED))
def test_a_number_that_a_page_quotes_exists(page, name, key):
    assert re.search(r"\d|never", published.load(name).quoted(key))


@pytest.mark.parametrize(("page", "name", "table"), SHOWN, ids=map(":".join, SHOWN))
def test_a_table_that_a_page_shows_exists(page, name, table):
    found = published.load(name)
    names = table.split(",") if table else list(found.tables)
    assert names and all(found.table(each.strip()).rows for each in names)


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_gallery_shows_the_figures_of_a_study(name):
    assert f'study("{name}")' in PAGES["gallery.md"]
    assert shown_of(data.load(published.FOLDER / f"{name}.data.json")).draws
