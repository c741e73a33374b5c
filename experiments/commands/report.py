"""The command `python -m experiments report PLACE ...`: one offline page and its figures.

Every `results.nc` at or below a folder is shown: a run, a cell of a grid, a sweep or a study. A
file is the log of a training loop of your own, scalars by step as CSV or JSON lines: its loss, its
spikes and the meters of `rodflow.monitored`. The page is one HTML file that needs no network.
Beside it come `summary.png` and `summary.pdf`, and in `figures/` a PNG and a PDF of each cell, of
the seed whose improvement is the median, and of each figure of the sweeps, studies and logs. With
`--animation` there is a GIF of each run too, and `--edge FILE` draws the figure of the README,
which needs no results.
"""

from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import Parser
from experiments.configuration.errors import reported_in_one_line


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = Parser(
        "report",
        __doc__,
        "examples:\n  python -m experiments report runs/papers_small\n"
        "  python -m experiments report runs/tiny runs/warmup --output page.html\n"
        "  python -m experiments report my_run.jsonl",
    )
    parser.add_argument(
        "places",
        metavar="PLACE",
        nargs="*",
        type=Path,
        help="a folder with results, or a log (.csv, .jsonl)",
    )
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="the page; report.html in the first folder"
    )
    parser.add_argument("--no-figures", action="store_true", help="leave out the PNGs and PDFs")
    parser.add_argument(
        "--markdown", action="store_true", help="print the table of each flow, and write nothing"
    )
    parser.add_argument(
        "--edge", metavar="FILE", type=Path, help="draw the figure of the README into a PNG"
    )
    parser.add_argument(
        "--animation", action="store_true", help="make a GIF of the plane of each run as well"
    )
    chosen = parser.parse_args(arguments)
    if not chosen.places and not chosen.edge:
        parser.error("name at least one PLACE with results")
    with reported_in_one_line():
        from experiments.report import edge, output  # imports JAX, which takes a while
        from experiments.storage.files import write_atomically

        if chosen.edge:
            write_atomically(chosen.edge, edge.png())
        if not chosen.places:
            return
        if chosen.markdown:
            print(output.markdown(chosen.places))
        else:
            first = chosen.places[0]
            page = chosen.output or (first.parent if first.is_file() else first) / "report.html"
            output.write(chosen.places, page, not chosen.no_figures, chosen.animation)
