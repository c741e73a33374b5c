"""Tables of the README: each stands between two markers, and comes from a file of results.

<!-- results: NAME TABLE -->
... written by `python -m experiments results --readme`
<!-- end of results -->
"""

import re
from collections.abc import Collection
from pathlib import Path

from experiments.analysis.table import markdown
from experiments.report import published
from experiments.storage.files import write_atomically

README = Path(__file__).resolve().parents[2] / "README.md"
MARKED = re.compile(r"(<!-- results: (\w+) (.+?) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def rewritten(
    text: str, folder: Path = published.FOLDER, names: Collection[str] | None = None
) -> str:
    """Return a text with the present results between its markers.

    Args:
        text: with markers.
        folder: of the files of results.
        names: of the files whose tables are rewritten, all of them by default.

    Raises:
        FileNotFoundError: a file of results is missing.
        KeyError: a file lacks a table.
    """

    def table(found: re.Match[str]) -> str:
        begin, name, title, end = found.groups()
        if names is not None and name not in names:
            return found[0]
        results = published.load(name, folder)
        shown, about = results.table(title), results.circumstances
        commits = ", ".join(commit[:7] for commit in about.commits)
        made = f"Measured on {about.date} at {commits} by `{results.command}`."
        changed = f"`git diff {about.commits[-1][:7]} -- rodflow` shows what changed since."
        lines = markdown(shown.columns, shown.texts(), "---:")
        return f"{begin}{lines}\n{made}\n{changed}\n{end}"

    return MARKED.sub(table, text)


def write(names: Collection[str] | None = None) -> None:
    """Write the present results, all or those of some files, between the markers of the README."""
    text = README.read_text(encoding="utf-8")
    if (new := rewritten(text, names=names)) != text:
        write_atomically(README, new.encode())
