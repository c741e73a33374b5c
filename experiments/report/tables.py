"""Tables of the page: architectures by optimizers, the worst cells, the flows of one cell."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.analysis import summary
from experiments.analysis.numbers import number
from experiments.analysis.style import style
from experiments.analysis.table import Table
from experiments.analysis.verdicts import Divergence, Summary, Verdict, summarize
from experiments.report import markup
from experiments.report.maps import colour
from experiments.report.markup import Node, node

FIRST = 10  # of the worst cells are shown at once


def overview(cells: summary.Cells, flow: str, links: dict[tuple[str, str], str]) -> Node:
    """Make the summary of a flow: one sentence, the table, and the worst cells."""
    rows, columns, entries = summary.grid(cells, flow)
    places = {row: [(row, column) for column in columns] for row in rows}
    body = [
        [row, *(entry(entries.get(at), links.get(at, "")) for at in along)]
        for row, along in places.items()
    ]
    table = markup.table(["", *columns], body, "map")
    return node(
        "div",
        node("p", summary.overall(cells, flow), class_="overall"),
        node("div", table, class_="wide"),
        node("h2", "Worst first"),
        *worst(cells, flow, links),
        data_flow=flow,
    )


def entry(summarized: Summary | None, link: str) -> Node:
    """Make one place of the table, coloured by the logarithm of the improvement."""
    if summarized is None:
        return node("td", class_="none")
    lines = [node("b", number(summarized.improvement))]
    if not np.isnan(summarized.over_floor):
        lines.append(node("span", f"{number(summarized.over_floor, 2)} times floor"))
    lines += [node("span", text) for text in divergences(summarized)]
    if not summarized.at_edge:
        lines.append(node("span", str(Verdict.NOT_AT_THE_EDGE)))
    looks = {"class_": "cell" if summarized.at_edge else "cell away"}
    if summarized.at_edge and not np.isnan(summarized.improvement):
        looks["style"] = f"background:{colour(summarized.improvement)}"
    return node("td", node("a", *lines, href=f"#{link}", title=summarized.reason), **looks)


def divergences(summarized: Summary) -> Iterator[str]:
    """Describe divergences and their steps, a line for each model, short enough for the table."""
    by_name: dict[str, list[Divergence]] = {}
    for divergence in summarized.divergences:
        by_name.setdefault(divergence.who, []).append(divergence)
    for who, marks in by_name.items():
        name = "" if who == "iterates" else f"{who} flow "
        yield f"{name}diverged at step {', '.join(str(mark.step) for mark in marks)}"


def worst(cells: summary.Cells, flow: str, links: dict[tuple[str, str], str]) -> list[Node]:
    """List all cells, the least improvement first; all but the first ones are folded away."""
    items = [
        node(
            "li",
            node("a", f"{row}, {each.optimizer}", href=f"#{links[row, each.optimizer]}"),
            f" {number(each.improvement)}: {each.reason}",
        )
        for row, each in summary.worst(cells, flow)
    ]
    nodes = [node("ol", *items[:FIRST])]
    if rest := items[FIRST:]:
        more = node("ol", *rest, start=str(FIRST + 1))
        nodes.append(node("details", node("summary", f"the other {len(rest)} cells"), more))
    return nodes


def flows(cell: xr.Dataset) -> Node:
    """Tabulate the flows of one cell."""
    columns = ["", "improvement", "of each seed", "distance / floor", "mean loss error", "remarks"]
    rows = []
    for name in map(str, cell.flow.values):
        each, look = summarize(cell, name), style(name)
        reason = each.reason if name != "stable" else "the baseline"
        rows.append(
            [
                node("th", node("i", style=f"border-color:{look.color}"), look.label, scope="row"),
                number(each.improvement),
                ", ".join(number(value) for value in each.improvements),
                number(each.over_floor, 2),
                number(each.loss_error, 2),
                node("td", reason, class_="text"),
            ]
        )
    return markup.table(columns, rows, "flows")


def plain(table: Table) -> Node:
    """Render a table of a study."""
    return markup.table(table.columns, table.texts(), "flows", node("caption", table.title))
