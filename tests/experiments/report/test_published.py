"""Files of results: what is written is read, and each value is found by its key."""

import json
import re

import pytest

from experiments.analysis.table import Table
from experiments.report import published
from experiments.report.published import Circumstances, Published

ABOUT = Circumstances(["0" * 40], "2026-01-31", "a machine, 2 cores", {"jax": "0.10.2"})
ROWS = [["a/b", 1.5, 2, 0.25], ["c", None, 3, 7.0]]
TABLE = Table("Speeds, of all", ["", "rate", "mean: low", "rate / floor"], ROWS)


@pytest.fixture
def made() -> Published:
    return Published(
        "speed",
        "How fast is it?",
        "python -m experiments bench speed",
        ABOUT,
        {"speeds": TABLE._replace(formats={"rate": ".2f"})},
        ["It is fast."],
        {"largest ratio": 123.456, "count": 7},
        Table("Cells", ["place", "x"], [["here", 1.0]]),
    )


def test_what_is_written_is_read(made, tmp_path):
    path = published.save(made, tmp_path / "results")
    assert path == tmp_path / "results" / "speed.json"
    read = published.load("speed", path.parent)
    assert read == published.load("speed", published.save(read, tmp_path).parent)
    assert read.tables == made.tables and read.circumstances == made.circumstances
    assert read.numbers == {"largest ratio": 123.5, "count": 7}


def test_a_number_that_was_edited_is_not_read(made, tmp_path):
    path = published.save(made, tmp_path)
    written = path.read_text()
    for found in re.finditer(r"(?<![\w.])\d+(\.\d+)?(?![\w.])", written):
        other = str(float(found[0]) + 1)
        path.write_text(f"{written[: found.start()]}{other}{written[found.end() :]}")
        with pytest.raises(ValueError, match=r"speed\.json is not as a command wrote it.*make it"):
            published.load("speed", tmp_path)


def test_measured_numbers_keep_four_digits_and_json_holds_all_of_them(made):
    values = [123456.7, 1.23456e-8, float("nan"), float("inf"), 123456, "text", None]
    assert list(map(published.rounded, values)) == [
        *(123500.0, 1.235e-8, None, "infinite", 123456, "text", None)
    ]
    assert json.loads(published.text(made))["tables"]["speeds"]["rows"][0] == ["a/b", 1.5, 2, 0.25]
    lines = [line.strip() for line in published.text(made).splitlines()]
    assert '["a/b", 1.5, 2, 0.25],' in lines and '["c", null, 3, 7.0]' in lines


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("largest ratio", "123"),
        ("largest ratio:.1f", "123.5"),
        ("count", "7"),
        ("speeds/a/b/rate", "1.50"),
        ("speeds/a/b/rate:.3f", "1.500"),
        ("speeds/c/mean: low", "3"),
        ("speeds/a/b/rate / floor", "0.250"),
        ("speeds/c/rate / floor:.1f", "7.0"),
        ("cells/here/x", "1.00"),
    ],
)
def test_values_are_quoted_by_their_keys(made, key, text):
    assert made.quoted(key) == text


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("smallest", "speed has no number 'smallest'; it has largest ratio, count"),
        ("sizes/c/rate", "speed has no table 'sizes'; it has speeds, cells"),
        ("speeds/d/rate", "speed, speeds: not one row 'd'; there are a/b, c"),
        (
            "speeds/c/size",
            "speed, speeds: no column 'size'; there are , rate, mean: low, rate / floor",
        ),
    ],
)
def test_values_that_are_missing_are_named(made, key, message):
    with pytest.raises(KeyError) as raised:
        made.quoted(key)
    assert raised.value.args[0] == message


def test_rows_of_one_name_have_no_keys(made):
    twice = Published("x", "", "", ABOUT, {"t": Table("T", ["", "a"], [["r", 1], ["r", 2]])})
    with pytest.raises(KeyError, match="not one row 'r'"):
        twice.quoted("t/r/a")


def test_a_file_that_is_missing_or_of_something_else_is_refused_with_the_remedy(tmp_path):
    remedy = "make it with: python -m experiments results speed"
    with pytest.raises(FileNotFoundError, match=rf"speed.json is missing; {remedy}"):
        published.load("speed", tmp_path)
    for content in ("no json", "[]", '{"name": "speed"}'):
        (tmp_path / "speed.json").write_text(content)
        with pytest.raises(ValueError, match=rf"is not as a command wrote it .*, or {remedy}"):
            published.load("speed", tmp_path)
