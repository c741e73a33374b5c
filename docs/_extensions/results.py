"""Sphinx extension that shows what is in `results/`, so that no page has numbers of its own.

    ```{results} NAME [TABLE, TABLE ...]
    :findings:
    :without-tables:
    ```

shows the question that `results/NAME.json` answers, its tables or some of them, or with
`:without-tables:` none, with `:findings:` its findings too, and below them when, where and by which
command it was measured. The role

    {measured}`NAME:KEY`    {measured}`NAME:KEY:.1f`

prints one number: KEY is its name, or `TABLE/ROW/COLUMN` of an entry of a table. What is missing is
a warning that names it and the command that makes it.
"""

from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from experiments.analysis.table import Table, markdown
from experiments.report import published
from experiments.report.published import Published
from experiments.storage.measured import changed_since

logger = logging.getLogger(__name__)
STYLE = Path(__file__).with_suffix(".css")


class Results(SphinxDirective):
    """Show tables of a file, and the circumstances of their measurement."""

    required_arguments = 1
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {
        "findings": directives.flag,
        "without-tables": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        name, *chosen = self.arguments
        try:
            found = loaded(self.env, name)
            # Names of tables end before the first comma of a title.
            names = chosen[0].split(",") if chosen else list(found.tables)
            shown = [] if "without-tables" in self.options else names
            tables = [found.table(each.strip()) for each in shown]
        except (OSError, ValueError, KeyError) as error:
            logger.warning(str(error.args[0]), location=self.get_location())
            return []
        lines = [found.answers, ""]
        for each in tables:
            lines += [f"*{escaped(each.title)}*", "", *table_lines(each), ""]
        if "findings" in self.options:
            lines += [f"- {escaped(sentence)}" for sentence in found.findings]
        above = self.parse_text_to_nodes("\n".join(lines))
        below = self.parse_text_to_nodes(circumstances(found))
        measured = nodes.container("", *below, classes=["measured"])
        return [nodes.container("", *above, classes=["results"]), measured]


class Measured(SphinxRole):
    """Print a number of a file."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        name, _, key = self.text.partition(":")
        try:
            text = loaded(self.env, name).quoted(key)
        except (OSError, ValueError, KeyError) as error:
            logger.warning(str(error.args[0]), location=self.get_location())
            return [nodes.problematic(self.rawtext, self.text)], []
        return [nodes.Text(text)], []


def loaded(env: BuildEnvironment, name: str) -> Published:
    """Read a file; a page that asks for it is built anew when it or its data set changes."""
    folder = Path(env.config.results_folder)
    env.note_dependency(str(folder / f"{name}.json"))
    if (drawn := folder / f"{name}.data.json").exists():
        env.note_dependency(str(drawn))
    return published.load(name, folder)


def table_lines(table: Table) -> list[str]:
    """Return the lines of a table in Markdown."""
    columns = list(map(escaped, table.columns))
    rows = [list(map(escaped, row)) for row in table.texts()]
    return markdown(columns, rows, "---:").splitlines()


def escaped(text: str) -> str:
    """Return a text so that Markdown shows it as it is, but for bold."""
    for sign in "\\`|<$[":
        text = text.replace(sign, f"\\{sign}")
    return text


def circumstances(found: Published) -> str:
    """Say in Markdown when, where and by which command a file was measured."""
    about = found.circumstances
    commits = ", ".join(f"{x[:7]}{' with changes' * x.endswith('+')}" for x in about.commits)
    changed = any(changed_since(commit.rstrip("+")) for commit in about.commits)
    return (
        f"Measured on {about.date} at commit {commits} on {escaped(about.machine)} with jax "
        f"{about.versions['jax']}: `{found.command}`." + " The code has changed since." * changed
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive, the role and the look of what they show."""
    app.add_config_value("results_folder", str(published.FOLDER), "env", types=(str,))
    app.add_directive("results", Results)
    app.add_role("measured", Measured())
    app.connect("config-inited", lambda _, config: config.html_static_path.append(str(STYLE)))
    app.add_css_file(STYLE.name)
    return {"parallel_read_safe": True, "version": "1"}
