"""The tables of the page: architectures by optimizers, the worst cells, the flows of one cell."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.analysis import summary
from experiments.analysis.verdicts import Divergence, Summary, Verdict, number, summarize
from experiments.report import figures
from experiments.report.markup import Node, node
from experiments.studies.study import Table

FIRST = 10  # of the worst cells are shown at once


def overview(cells: summary.Cells, flow: str, links: dict[tuple[str, str], str]) -> Node:
    """The summary of a flow: one sentence, the table, and the worst cells."""
    rows, columns, entries = summary.grid(cells, flow)
    head = node("tr", node("th"), *(node("th", name, scope="col") for name in columns))
    body = [
        node(
            "tr",
            node("th", row, scope="row"),
            *(entry(entries.get(at := (row, column)), links.get(at, "")) for column in columns),
        )
        for row in rows
    ]
    table = node("table", node("thead", head), node("tbody", *body), class_="map")
    return node(
        "div",
        node("p", summary.overall(cells, flow), class_="overall"),
        node("div", table, class_="wide"),
        node("h2", "Worst first"),
        *worst(cells, flow, links),
        data_flow=flow,
    )


def entry(summarized: Summary | None, link: str) -> Node:
    """One place of the table, coloured by the logarithm of the improvement."""
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
        looks["style"] = f"background:{figures.colour(summarized.improvement)}"
    return node("td", node("a", *lines, href=f"#{link}", title=summarized.reason), **looks)


def divergences(summarized: Summary) -> Iterator[str]:
    """Who diverged at which steps, a line each, short enough for a place in the table."""
    by_name: dict[str, list[Divergence]] = {}
    for divergence in summarized.divergences:
        by_name.setdefault(divergence.who, []).append(divergence)
    for who, marks in by_name.items():
        name = "" if who == "iterates" else f"{who} flow "
        yield f"{name}diverged at step {', '.join(str(mark.step) for mark in marks)}"


def worst(cells: summary.Cells, flow: str, links: dict[tuple[str, str], str]) -> list[Node]:
    """A list of all cells, the least improvement first; what comes later is folded away."""
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
    """What each flow made of one cell."""
    headings = (
        *("", "improvement", "of each seed", "distance / floor", "mean loss error"),
        "remarks",
    )
    rows = []
    for name in map(str, cell.flow.values):
        each = summarize(cell, name)
        numbers = (
            number(each.improvement),
            ", ".join(number(value) for value in each.improvements),
            number(each.over_floor, 2),
            number(each.loss_error, 2),
        )
        key = node("i", style=f"border-color:{figures.style(name).color}")
        rows.append(
            node(
                "tr",
                node("th", key, figures.style(name).label, scope="row"),
                *(node("td", text) for text in numbers),
                node("td", each.reason if name != "stable" else "the baseline", class_="text"),
            )
        )
    head = node("tr", *(node("th", text, scope="col") for text in headings))
    return node("table", node("thead", head), node("tbody", *rows), class_="flows")


def plain(table: Table) -> Node:
    """A table of a study."""
    head = node("tr", *(node("th", text, scope="col") for text in table.columns))
    body = [
        node("tr", node("th", row[0], scope="row"), *(node("td", text) for text in row[1:]))
        for row in table.rows
    ]
    caption = node("caption", table.title)
    return node("table", caption, node("thead", head), node("tbody", *body), class_="flows")
