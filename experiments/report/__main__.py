"""`python -m experiments report RUN... [--output FILE]`: one offline page and the paper's figures.

A RUN is a folder; every `results.nc` at or below it is one cell, an optimizer on an architecture,
or one study of another kind. The page is one HTML file that needs no network. Beside it come
`summary.png` and `summary.pdf`, and in `figures/` a PNG and a PDF of each cell, of the seed whose
improvement is the median, and of each figure of the other studies.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from experiments.configuration.errors import reported_in_one_line
from experiments.storage.files import write_atomically


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
        if chosen.markdown:
            print_markdown(chosen.runs)
            return
        output = chosen.output or chosen.runs[0] / "report.html"
        write(chosen.runs, output, with_figures=not chosen.no_figures)


def print_markdown(runs: Sequence[Path]) -> None:
    """Print the summary table of each flow and the tables of each study, as a README has them."""
    from experiments.analysis import comparison, summary
    from experiments.report import cells
    from experiments.studies.study import markdown

    loaded, studies = cells.load_all(runs)
    if loaded and all("ensemble_distance" in cell for cell in loaded):
        print(comparison.markdown(loaded))
    for flow in summary.flows(loaded):
        print(f"**{flow}.** {summary.overall(loaded, flow)}\n")
        print(summary.markdown(loaded, flow))
    for study in studies:
        print(markdown(study))


def write(runs: Sequence[Path], output: Path, with_figures: bool = True) -> None:
    """Write the report of some runs.

    Args:
        runs: folders that hold `results.nc` at or below them.
        output: the page; its folder is made if there is none.
        with_figures: whether to draw the figures as well.

    Raises:
        ValueError: a run has no results, or they are not those of a cell or a study.
        OSError: something could not be read or written.
    """
    from experiments.report import (
        cells,
        page,  # what follows imports JAX, which takes a while
    )

    loaded = cells.load_all(runs)
    output.parent.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False, soft_wrap=True)
    write_atomically(output, page.render(*loaded).encode(errors="backslashreplace"))
    console.print(f"report: {output}", markup=False)
    if with_figures:
        files = draw(*loaded, output.parent)
        console.print(f"figures: {len(files)} files in {output.parent}", markup=False)


def draw(loaded: Sequence[xr.Dataset], studies: Sequence[xr.Dataset], folder: Path) -> list[Path]:
    """Draw the map of the cells, the overview of each, and the figures of the other studies."""
    from experiments.analysis import summary
    from experiments.analysis.verdicts import representative
    from experiments.report import figures
    from experiments.report.cells import distinct, slugs
    from experiments.studies.study import study_of

    (folder / "figures").mkdir(exist_ok=True)
    files = []

    def save(name: str, figure: Figure) -> None:
        for kind in ("png", "pdf"):
            files.append(folder / f"{name}.{kind}")
            write_atomically(files[-1], figures.rendered(figure, kind))

    if flows := summary.flows(loaded):
        save("summary", figures.map_of(loaded, flows[0]))
        if all("ensemble_distance" in cell for cell in loaded):
            save("models", figures.models(loaded))
        shown = [cell for cell in loaded if "flow_effective_sharpness" in cell]
        if figures.latest(shown, "covariance_1"):
            save("onset", figures.onset(shown))
    terminal = Console(stderr=True)
    named = list(zip(slugs(loaded), loaded, strict=True))
    for name, cell in track(
        named, "figures", console=terminal, transient=True, disable=not terminal.is_terminal
    ):
        save(f"figures/{name}", figures.overview(cell.isel(seed=representative(cell))))
    drawn = [each for results in studies for each in study_of(results).figures(results).items()]
    for name, (_, figure) in zip(distinct(name for name, _ in drawn), drawn, strict=True):
        save(f"figures/{name}", figure)
    return files


if __name__ == "__main__":
    main()
