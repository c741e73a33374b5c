"""The report as one HTML file that opens from the disk and never asks the network for anything."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import xarray as xr
from plotly.offline import get_plotlyjs

from experiments import figures, summary
from experiments.report import tables
from experiments.report.cells import slugs
from experiments.report.markup import Node, document, node
from experiments.report.series import series
from experiments.verdicts import number, representative

# The browser itself refuses whatever is not in the file.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
EXPLANATION = (
    "Improvement: mean distance of the stable flow to the iterates over that of the flow, the "
    "median of the seeds; more than 1 is better than the stable flow. A seed counts as 0 if the "
    "flow diverged where the iterates did not. Floor: the distance between runs that start one "
    "rounding unit apart, which no model can be asked to beat by much. Hatched: the run did not "
    "reach the edge of stability, where the flows differ."
)


def render(cells: summary.Cells) -> str:
    """Make the page of a study."""
    names = slugs(cells)
    rows = summary.rows(cells)
    links = {
        (row, str(cell.attrs["optimizer"])): name
        for row, cell, name in zip(rows, cells, names, strict=True)
    }
    flows = summary.flows(cells)
    title = "How well do the flows follow the iterates?"
    body = node(
        "body",
        node("header", node("h1", title), node("p", _made(cells), class_="dim"), id="top"),
        node("main", _switch(flows), node("p", *_legend(), class_="dim")),
        node("script", series(cells), type="application/json", id="data"),
        node("script", get_plotlyjs()),
        node("script", _beside("page.js")),
    )
    main = body[1]
    main.extend([tables.overview(cells, flow, links) for flow in flows])
    main.extend([section(*each) for each in zip(names, rows, cells, strict=True)])
    for hidden in list(main.iter("div")):
        if hidden.get("data-flow") in flows[1:]:
            hidden.set("hidden", "hidden")
    head = node(
        "head",
        node("meta", charset="utf-8"),
        Node("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}),
        node("meta", name="viewport", content="width=device-width"),
        node("title", f"{title} {len(cells)} cells"),
        node("style", _beside("page.css")),
        node("script", _beside("errors.js")),
    )
    return document(node("html", head, body, lang="en"))


def section(name: str, row: str, cell: xr.Dataset) -> Node:
    """One cell: what was run, what each flow made of it, and the place for its panels."""
    facts = {
        "learning rate": f"{float(cell.learning_rate):g}" if "learning_rate" in cell else None,
        "data": cell.attrs.get("data"),
        "time": f"{number(cell.attrs['seconds'])} s" if "seconds" in cell.attrs else None,
        "device": cell.attrs.get("device"),
        "software": cell.attrs.get("source"),
    }
    known = " · ".join(f"{key} {value}" for key, value in facts.items() if value is not None)
    chosen = representative(cell)
    seeds = [
        node("label", _radio(f"seed-{name}", str(i), i == chosen), f" {seed}")
        for i, seed in enumerate(cell.seed.values)
    ]
    return node(
        "section",
        node("h2", f"{row}, {cell.attrs['optimizer']} ", node("a", "↑ table", href="#top")),
        node("p", known, class_="dim"),
        node("div", tables.flows(cell), class_="wide"),
        node("fieldset", node("legend", "seed"), *seeds, class_="seeds"),
        node("div", class_="plot"),
        node(
            "details",
            node("summary", "configuration"),
            node("pre", str(cell.attrs.get("configuration", "not recorded"))),
        ),
        id=name,
    )


def _made(cells: summary.Cells) -> str:
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    seeds = sum(cell.sizes["seed"] for cell in cells)
    sources = sorted({str(cell.attrs["source"]) for cell in cells if "source" in cell.attrs})
    computed = f" · computed with {'; '.join(sources)}" if sources else ""
    return (
        f"{len(cells)} cells, {seeds} runs{computed} · made {when} with rodflow "
        f"{version('rodflow')}, plotly {version('plotly')}"
    )


def _switch(flows: list[str]) -> Node:
    labels = [
        node("label", _radio("flow", flow, flow == flows[0]), f" {figures.style(flow).label}")
        for flow in flows
    ]
    return node("fieldset", node("legend", "flow"), *labels, id="switch")


def _legend() -> list[Node | str]:
    scale = [0.01, 0.1, 1, 10, 100]
    swatches = [
        node("i", f"{value:g}", class_="swatch", style=f"background:{figures.colour(value)}")
        for value in scale
    ]
    return [*swatches, node("i", "not at the edge", class_="swatch away"), " ", EXPLANATION]


def _radio(name: str, value: str, checked: bool) -> Node:
    box = node("input", type="radio", name=name, value=value)
    if checked:
        box.set("checked", "checked")
    return box


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
