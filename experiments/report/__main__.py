"""`python -m experiments report RUN... [--output FILE]`: one offline page and the paper's figures.

A RUN is a folder; every `results.nc` at or below it is one cell, an optimizer on an architecture,
or one study.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.configuration.errors import reported_in_one_line


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser("python -m experiments report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="a folder with results")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="the page; report.html in the first RUN if none"
    )
    parser.add_argument("--no-figures", action="store_true", help="leave out the PNGs and PDFs")
    parser.add_argument(
        "--markdown", action="store_true", help="print the table of each flow, and write nothing"
    )
    chosen = parser.parse_args(arguments)
    with reported_in_one_line():
        from experiments.report import output  # imports JAX, which takes a while

        if chosen.markdown:
            print(output.markdown(chosen.runs))
        else:
            page = chosen.output or chosen.runs[0] / "report.html"
            output.write(chosen.runs, page, with_figures=not chosen.no_figures)
