"""Hook of hatchling: the README as the description of the package, for pages outside a clone.

Links of the README are relative: they lead to files of the repository. On a page of a package index
there are no such files. The links become absolute there if `[project.urls]` of `pyproject.toml` has
a `Repository`; as long as it has none, their texts stay without a link, and images are left out.
"""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = re.compile(r"(!?)\[([^]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


def described(readme: str, repository: str | None, version: str) -> str:
    """Return the README with absolute links to a version in a repository, or without links.

    Args:
        readme: in Markdown, with links relative to the root of the repository.
        repository: its address, None if it has none.
        version: whose tag is `v` and the version.
    """

    def absolute(found: re.Match[str]) -> str:
        image, text, path = found.groups()
        if repository is None:
            return "" if image else text
        kind = "raw" if image else "blob"
        return f"{image}[{text}]({repository.rstrip('/')}/{kind}/v{version}/{path})"

    return re.sub(r"\n{3,}", "\n\n", RELATIVE.sub(absolute, readme))


class ReadmeHook(MetadataHookInterface):
    """Sets the field `readme`."""

    def update(self, metadata: dict) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": described(text, repository, metadata["version"]),
        }
