"""Tables between markers, in a made-up text and in the README."""

import pytest

from experiments.analysis.table import Table
from experiments.report import published, readme
from experiments.report.published import Circumstances, Published

TEXT = """Before.

<!-- results: grid optimizers -->
old
<!-- end of results -->

Between.
<!-- results: other speeds by size -->
<!-- end of results -->
"""
ABOUT = Circumstances(["a" * 40, "b" * 40 + "+"], "2026-01-31", "here", {"jax": "0.10.2"})


@pytest.fixture
def folder(tmp_path):
    rows = [["gd", 12.345, None], ["all", 7.0, 3]]
    tables = {"optimizers": Table("Optimizers", ["", "rod", "count"], rows)}
    published.save(Published("grid", "", "python -m grid", ABOUT, tables), tmp_path)
    speeds = {"speeds by size": Table("Speeds by size", ["", "s"], [["a", 1.0]])}
    published.save(Published("other", "", "python -m other", ABOUT, speeds), tmp_path)
    return tmp_path


def test_each_table_is_that_of_its_file(folder):
    new = readme.rewritten(TEXT, folder)
    assert (
        new
        == """Before.

<!-- results: grid optimizers -->
|  | rod | count |
| --- | ---: | ---: |
| gd | 12.3 |  |
| all | 7.00 | 3 |

Measured on 2026-01-31 at aaaaaaa, bbbbbbb by `python -m grid`.
`git diff bbbbbbb -- rodflow` shows what changed since.
<!-- end of results -->

Between.
<!-- results: other speeds by size -->
|  | s |
| --- | ---: |
| a | 1.00 |

Measured on 2026-01-31 at aaaaaaa, bbbbbbb by `python -m other`.
`git diff bbbbbbb -- rodflow` shows what changed since.
<!-- end of results -->
"""
    )
    assert readme.rewritten(new, folder) == new


def test_only_the_tables_of_the_files_that_are_named_are_rewritten(folder):
    (folder / "other.json").unlink()
    new = readme.rewritten(TEXT, folder, names=["grid"])
    assert "| gd | 12.3 |" in new and new.endswith(TEXT[TEXT.index("Between") :])
    with pytest.raises(FileNotFoundError, match=r"other\.json is missing"):
        readme.rewritten(TEXT, folder)


def test_the_readme_shows_the_results_that_are_kept():
    text = readme.README.read_text(encoding="utf-8")
    assert readme.rewritten(text) == text
