"""The report as one HTML file that opens from the disk and never asks the network for anything."""

import gzip
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import plotly
import xarray as xr
from matplotlib.figure import Figure
from plotly.offline import get_plotlyjs

import rodflow
from experiments.analysis import summary
from experiments.analysis.numbers import number
from experiments.analysis.style import rendered, style
from experiments.analysis.verdicts import representative
from experiments.report import data, logs, sweeps, tables
from experiments.report.cells import slugs
from experiments.report.maps import colour
from experiments.report.markup import Node, document, node
from experiments.report.series import series
from experiments.studies.study import Shown, study_of

Drawn = tuple[Shown, Mapping[str, Figure]]
"""A study with its figures by name."""

# Makes the browser refuse everything that is not in the file.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
EXPLANATION = (
    "Improvement: mean distance of the stable flow to the iterates over that of the flow, the "
    "median of the seeds; more than 1 is better than the stable flow. A seed counts as 0 if the "
    "flow diverged where the iterates did not, or was too stiff to be solved; if that is the "
    "stable flow, there is no number. Floor: the distance between runs that start one rounding "
    "unit apart, which no model can be asked to beat by much. Hatched: the run did not reach the "
    "edge of stability, where the flows differ."
)


def render(
    cells: summary.Cells,
    studies: Sequence[Drawn] = (),
    swept: Sequence[xr.Dataset] = (),
    logged: Sequence[xr.Dataset] = (),
) -> str:
    """Make the page of cells, of studies with their figures, of sweeps, and of logs."""
    links = dict(zip(summary.places(cells), slugs(cells), strict=True))
    flows = summary.flows(cells)
    title = "How well do the flows follow the iterates?" if cells else "Studies, sweeps and logs"
    body = node(
        "body",
        node(
            "header",
            node("h1", title),
            node("p", _made(cells, studies, swept, logged), class_="dim"),
            id="top",
        ),
        node("main", *((_switch(flows), node("p", *_legend(), class_="dim")) if cells else ())),
        node("script", series(cells), type="application/json", id="data"),
        node("script", _packed(get_plotlyjs()), type="application/gzip", id="plotly"),
        node("script", _beside("plane.js")),
        node("script", _beside("page.js")),
    )
    main = body[1]
    main.extend([tables.overview(cells, flow, links) for flow in flows])
    main.extend([study_section(*drawn) for drawn in studies])
    main.extend([sweep_section(sweep) for sweep in swept])
    main.extend([log_section(log) for log in logged])
    sections = zip(links.items(), cells, strict=True)
    main.extend([section(name, row, cell) for ((row, _), name), cell in sections])
    for hidden in list(main.iter("div")):
        if hidden.get("data-flow") in flows[1:]:
            hidden.set("hidden", "hidden")
    head = node(
        "head",
        node("meta", charset="utf-8"),
        Node("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}),
        node("meta", name="viewport", content="width=device-width"),
        node("title", f"{title} {len(cells) + len(studies) + len(swept) + len(logged)} results"),
        node("style", _beside("page.css")),
        node("script", _beside("errors.js")),
    )
    return document(node("html", head, body, lang="en"))


def section(name: str, row: str, cell: xr.Dataset) -> Node:
    """Make the section of a cell: its setting, a table of the flows, and a place for its panels."""
    rate = f"{float(cell.learning_rate):g}" if "learning_rate" in cell else None
    chosen = representative(cell)
    seeds = [
        node("label", _radio(f"seed-{name}", str(i), i == chosen), f" {seed}")
        for i, seed in enumerate(cell.seed.values)
    ]
    return node(
        "section",
        node("h2", f"{row}, {cell.attrs['optimizer']} ", node("a", "↑ table", href="#top")),
        _facts(cell, {"learning rate": rate, "data": cell.attrs.get("data")}),
        node("div", tables.flows(cell), class_="wide"),
        node("fieldset", node("legend", "seed"), *seeds, class_="seeds"),
        node("div", class_="plot"),
        node("p", _button("data of these panels (CSV)", "data-of-panels")),
        *([_plane(cell)] if "path" in cell else []),
        _configuration(cell),
        id=name,
    )


def study_section(shown: Shown, figures: Mapping[str, Figure]) -> Node:
    """Make the section of a study: its findings, tables and figures, and the data of these."""
    images = {
        name: "data:image/png;base64," + b64encode(rendered(figure, "png")).decode()
        for name, figure in figures.items()
    }
    drawn = data.text(study_of(shown.results).shown_part(shown.results), packed=False)
    folder = str(shown.results.attrs.get("folder", "study"))
    link = {"href": f"data:application/gzip;base64,{_packed(drawn)}"}
    return node(
        "section",
        node("h2", shown.title),
        _facts(shown.results, {"folder": shown.results.attrs.get("folder")}),
        node("ul", *(node("li", sentence) for sentence in shown.findings)),
        *(node("div", tables.plain(table), class_="wide") for table in shown.tables),
        *(node("img", src=image, alt=name, class_="figure") for name, image in images.items()),
        node("p", node("a", "data of these figures (JSON)", download=f"{folder}.json.gz", **link)),
        _configuration(shown.results),
    )


def sweep_section(sweep: xr.Dataset) -> Node:
    """Make the section of a sweep: its lanes in a sentence, its figure, and the data of that."""
    folder = str(sweep.attrs.get("folder", "sweep"))
    return node(
        "section",
        node("h2", f"Sweep: {sweep.attrs['title']}"),
        _facts(sweep, {"folder": folder}),
        node("p", sweeps.sentence(sweep)),
        *_figure(sweeps.figure(sweep), sweeps.csv(sweep), folder),
        _configuration(sweep),
    )


def log_section(log: xr.Dataset) -> Node:
    """Make the section of a log: a sentence, readings before its spikes, its figure and data."""
    table = logs.before_spikes(log)
    return node(
        "section",
        node("h2", f"Log: {log.attrs['title']}"),
        _facts(log, {"file": log.attrs["folder"]}),
        node("p", logs.sentence(log)),
        *([node("div", tables.plain(table), class_="wide")] if table else []),
        *_figure(logs.figure(log), logs.csv(log), log.attrs["title"]),
    )


def _figure(figure: Figure, numbers: str, name: str) -> list[Node]:
    """Make an image of a figure, and a link to its data."""
    image = b64encode(rendered(figure, "png")).decode()
    text = b64encode(numbers.encode()).decode()
    link = {"href": f"data:text/csv;base64,{text}", "download": f"{name}.csv"}
    return [
        node("img", src=f"data:image/png;base64,{image}", alt=name, class_="figure"),
        node("p", node("a", "data of this figure (CSV)", **link)),
    ]


def _facts(results: xr.Dataset, first: dict[str, str | None]) -> Node:
    attrs = results.attrs
    facts = first | {
        "time": f"{number(attrs['seconds'])} s" if "seconds" in attrs else None,
        "device": attrs.get("device"),
        "software": attrs.get("source"),
    }
    known = " · ".join(f"{key} {value}" for key, value in facts.items() if value is not None)
    return node("p", known, class_="dim")


def _plane(cell: xr.Dataset) -> Node:
    """Make the place of the plane: its meaning, a slider over the steps and a button to play."""
    axes = str(cell.attrs.get("plane", "leading modes at the end"))
    return node(
        "div",
        node("h3", "The rod on a plane"),
        node("p", f"Axes: {axes}. The rod connects two consecutive iterates.", class_="dim"),
        node("div", class_="stage"),
        node(
            "p",
            _button("play", "play"),
            node("input", **{"type": "range", "min": "0", "aria-label": "step"}),
            node("output"),
            node("label", node("input", type="checkbox"), " whole path"),
            _button("data of this figure (CSV)", "data-of-plane"),
            class_="controls",
        ),
        class_="plane",
    )


def _button(text: str, class_: str) -> Node:
    return node("button", text, type="button", class_=class_)


def _packed(source: str) -> str:
    """Compress a text, the same every time; the page unpacks its scripts."""
    return b64encode(gzip.compress(source.encode(), mtime=0)).decode()


def _configuration(results: xr.Dataset) -> Node:
    text = str(results.attrs.get("configuration", "not recorded"))
    if "seed" in results.dims:
        seeds = ", ".join(str(seed) for seed in results.seed.values)
        text = re.sub(r"^seed: .*$", f"seed: {seeds}", text, flags=re.MULTILINE)
    return node("details", node("summary", "configuration"), node("pre", text))


def _made(
    cells: summary.Cells,
    studies: Sequence[Drawn],
    swept: Sequence[xr.Dataset],
    logged: Sequence[xr.Dataset],
) -> str:
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    seeds = sum(cell.sizes["seed"] for cell in cells)
    every = [*cells, *(shown.results for shown, _ in studies), *swept]
    sources = sorted({str(each.attrs["source"]) for each in every if "source" in each.attrs})
    computed = f" · computed with {'; '.join(sources)}" if sources else ""
    counted = [
        (len(cells), "cell", "cells"),
        (seeds, "run", "runs"),
        (len(studies), "study", "studies"),
        (len(swept), "sweep", "sweeps"),
        (len(logged), "log", "logs"),
    ]
    counts = ", ".join(f"{n} {one if n == 1 else many}" for n, one, many in counted if n)
    return (
        f"{counts}{computed} · made {when} with rodflow "
        f"{rodflow.__version__}, plotly {plotly.__version__}"
    )


def _switch(flows: list[str]) -> Node:
    labels = [
        node("label", _radio("flow", flow, flow == flows[0]), f" {style(flow).label}")
        for flow in flows
    ]
    return node("fieldset", node("legend", "flow"), *labels, id="switch")


def _legend() -> list[Node | str]:
    scale = [0.01, 0.1, 1, 10, 100]
    swatches = [
        node("i", f"{value:g}", class_="swatch", style=f"background:{colour(value)}")
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
