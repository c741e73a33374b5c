"""The reference: every public name is there, with an example, and cites pages that exist."""

import importlib
import inspect
import re
from pathlib import Path
from types import GenericAlias

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGES = ("maps", "flows", "solvers", "tracking", "curvature", "linalg", "transforms")
REFERENCE = "\n".join(path.read_text() for path in sorted((DOCS / "reference").glob("*.md")))


def public():
    """Yield (full name, value) of what a user imports, each value by its shortest name."""
    known = []
    for package in ("rodflow", *(f"rodflow.{name}" for name in PACKAGES)):
        for name, value in vars(importlib.import_module(package)).items():
            ours = not name.startswith("_") and not isinstance(value, type(importlib))
            if ours and not any(value is other for other in known):
                known.append(value)
                yield f"{package}.{name}", value


def modules():
    """Yield the modules that a package exports as a whole."""
    for package in PACKAGES:
        exported = importlib.import_module(f"rodflow.{package}")
        source = inspect.getsource(exported)
        for name in re.findall(r"^from rodflow\.\w+ import (\w+) as \1$", source, re.MULTILINE):
            yield f"rodflow.{package}.{name}", getattr(exported, name)


PUBLIC = dict(public())
STATE = "rodflow.tracking.TrackerState"
MODULES = dict(modules())


@pytest.mark.parametrize("name", [*PUBLIC, *MODULES])
def test_a_public_name_is_in_the_reference(name):
    assert re.search(rf"^ *\.\. (auto|py:)\w+:: {re.escape(name)}$", REFERENCE, re.MULTILINE), name


def test_the_reference_names_nothing_twice():
    names = re.findall(
        r"^ *\.\. (?:auto|py:)(?!currentmodule)\w+:: (\S+)$", REFERENCE, re.MULTILINE
    )
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, value in PUBLIC.items()
        # The alias of a type has no docstring; the state is in the example of its tracker.
        if callable(value) and not isinstance(value, GenericAlias) and name != STATE
    ],
)
def test_a_public_name_has_an_example(name):
    assert ">>> " in (inspect.getdoc(PUBLIC[name]) or "")


def test_paths_of_pages_in_docstrings_exist():
    cited = {
        (path, page)
        for path in sorted((ROOT / "rodflow").rglob("*.py"))
        for page in re.findall(r"\bdocs/\S+?\.md\b", path.read_text())
    }
    assert cited
    assert [(path, page) for path, page in cited if not (ROOT / page).is_file()] == []
