"""Files of a release: they agree on the version, and the README stays one that is read."""

import re
from pathlib import Path

import yaml

import rodflow

ROOT = Path(__file__).resolve().parents[1]


def test_citation_and_changelog_are_of_the_version_of_the_package():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == rodflow.__version__
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    (dated,) = (line for line in headings if line.startswith(rodflow.__version__))
    assert dated == f"{rodflow.__version__} - {cited['date-released']}"


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 130 and max(map(len, lines)) <= 250


def test_links_of_the_readme_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    local = [link for link in links if "://" not in link]
    assert len(local) > 10
    for link in local:
        assert (ROOT / link).is_file(), link
