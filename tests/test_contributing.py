"""The examples of CONTRIBUTING.md, added to a copy of the repository and run as a user would."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FILES = re.findall(r"^`(\S+/\S+)`\n\n```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository with the files of all examples, none of which was there before."""
    root = tmp_path_factory.mktemp("clone")
    for name in ("rodflow", "experiments", "configs", "pyproject.toml", "README.md"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    for path, content in FILES:
        assert not (root / path).exists()
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return root


def run(copy, *command):
    environment = os.environ | {"PYTHONPATH": str(copy), "XDG_CACHE_HOME": str(copy / "cache")}
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_kind_has_an_example_of_one_file_a_test_and_a_group_where_there_is_one():
    paths = [path for path, _ in FILES]
    kinds = ("flows/", "transforms/", "models/", "data/", "studies/")
    sources = [p for p in paths if p.startswith(("rodflow/", "experiments/"))]
    assert [kind for kind in kinds for p in sources if kind in p] == list(kinds)
    assert sum(path.startswith("tests/") for path in paths) == len(kinds)
    groups = sorted(Path(p).parts[1] for p in paths if p.startswith("configs/"))
    assert groups == ["data", "model", "optimizer", "study"]


def test_tests_of_the_examples_pass(copy):
    tests = [path for path, _ in FILES if path.startswith("tests/")]
    said = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert f"{len(tests)} passed" in said


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_examples_run(copy, command):
    python, *arguments = command.split()
    assert python == "python"
    assert "folder: " in run(copy, *arguments)
