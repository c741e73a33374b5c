"""The wheel holds the typed library alone; the source distribution holds what the tests need."""

import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import venv
import zipfile
from pathlib import Path

import hatchling.build
import pytest

import rodflow

ROOT = Path(__file__).parents[1]

# Runs in an environment that has the wheel and what it depends on, and nothing else.
IMPORT_EVERYTHING = textwrap.dedent("""
    import importlib, importlib.util, pkgutil
    import rodflow

    for absent in ("experiments", "configs", "hydra", "flax", "xarray", "matplotlib"):
        assert importlib.util.find_spec(absent) is None, absent
    packages = [rodflow]
    for found in pkgutil.walk_packages(rodflow.__path__, "rodflow."):
        module = importlib.import_module(found.name)
        if found.ispkg and not found.name.rpartition(".")[2].startswith("_"):
            packages.append(module)
    names = 0
    for package in packages:
        public = [name for name in vars(package) if not name.startswith("_")]
        for name in public:
            exec(f"from {package.__name__} import {name}")
        names += len(public)
    assert (importlib.resources.files(rodflow) / "py.typed").is_file()
    print(len(packages), names)
""").replace("import importlib,", "import importlib, importlib.resources,")


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Build in this process by the hooks of PEP 517; `kind` is "wheel" or "sdist"."""
    monkeypatch.chdir(ROOT)

    def build(kind):
        return tmp_path / getattr(hatchling.build, f"build_{kind}")(str(tmp_path))

    return build


def test_the_wheel_holds_the_library_alone(built):
    names = zipfile.ZipFile(built("wheel")).namelist()
    tops = {name.partition("/")[0] for name in names}
    (metadata,) = tops - {"rodflow"}
    assert metadata.endswith(".dist-info")
    assert {"rodflow/__init__.py", "rodflow/py.typed"} <= set(names)
    held = {name for name in names if name.startswith("rodflow/")}
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "rodflow").rglob("*.py")}
    assert held == here | {"rodflow/py.typed"}
    assert f"{metadata}/licenses/LICENSE" in names


def test_the_source_distribution_holds_what_the_tests_need(built):
    with tarfile.open(built("sdist")) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    tops = {"rodflow", "experiments", "configs", "tests", ".ci", "Makefile", "pyproject.toml"}
    tops |= {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE", "docs"}
    for top in tops:
        path = ROOT / top
        files = [path] if path.is_file() else [x for x in path.rglob("*") if x.is_file()]
        needed = {
            str(x.relative_to(ROOT)) for x in files if not {"__pycache__", "_build"} & {*x.parts}
        }
        assert needed <= held, needed - held


LINK = re.compile(r"\]\(([^)]+)\)")


def description(wheel):
    """Return the long description of a wheel."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (x for x in archive.namelist() if x.endswith(".dist-info/METADATA"))
    return archive.read(name).decode().partition("\n\n")[2]


def test_a_package_index_shows_the_readme_without_links_that_lead_nowhere(built):
    text = description(built("wheel"))
    assert "## The library in ten lines" in text and "](https://arxiv.org" in text
    assert all(link.startswith("https://") for link in LINK.findall(text)), LINK.findall(text)


def test_links_of_the_readme_are_absolute_where_the_repository_has_an_address(
    tmp_path, monkeypatch
):
    for name in ("README.md", "LICENSE", "hatch_build.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "rodflow", tmp_path / "rodflow")
    project = tmp_path / "pyproject.toml"
    address = '[project.urls]\nRepository = "https://code.example/rodflow/"\n'
    project.write_text(project.read_text().replace("[project.urls]\n", address, 1))
    monkeypatch.chdir(tmp_path)
    text = description(tmp_path / hatchling.build.build_wheel(str(tmp_path)))
    own = [link for link in LINK.findall(text) if link.startswith("https://code.example")]
    relative = [x for x in LINK.findall((ROOT / "README.md").read_text()) if "://" not in x]
    kinds = {True: "raw", False: "blob"}
    base = "https://code.example/rodflow"
    version = rodflow.__version__
    assert own == [f"{base}/{kinds[x.endswith('.png')]}/v{version}/{x}" for x in relative]
    assert "](docs/_static/edge.png)" not in text and f"({base}/raw/v{version}/docs" in text


@pytest.mark.slow
def test_a_wheel_is_installed_and_imported_without_the_extras(tmp_path):
    build = [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,), (source,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    assert wheel.stem.startswith(source.name.removesuffix(".tar.gz"))
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    done = subprocess.run(
        [python, "-I", "-c", IMPORT_EVERYTHING], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    packages, names = map(int, done.stdout.split())
    assert packages >= 7 and names >= 60  # rodflow and its subpackages


@pytest.mark.slow
def test_a_source_distribution_collects_the_same_tests_and_passes_some(built, tmp_path):
    with tarfile.open(built("sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())

    def pytest_in(folder, *arguments):
        cache = f"cache_dir={tmp_path / 'cache'}"
        command = [sys.executable, "-m", "pytest", "-q", "-o", cache, *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True)

    ours, theirs = (
        [
            line.replace(str(folder), "")  # some parameters of tests are paths
            for line in pytest_in(folder, "--collect-only", "-m", "").stdout.splitlines()
            if "::" in line
        ]
        for folder in (ROOT, unpacked)
    )
    assert len(ours) > 500 and theirs == ours
    done = pytest_in(unpacked, "tests/experiments/configuration", "tests/linalg/test_trees.py")
    assert done.returncode == 0, done.stdout
