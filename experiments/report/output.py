"""The files of a report: one offline page and the figures of a paper.

The page is one HTML file that needs no network. Beside it come `summary.png` and `summary.pdf`, and
in `figures/` a PNG and a PDF of each cell, of the seed whose improvement is the median, and of each
figure of the sweeps and studies.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from experiments.analysis import comparison, summary
from experiments.analysis.style import rendered
from experiments.analysis.verdicts import representative
from experiments.report import animation, cells, figures, logs, maps, page, sweeps
from experiments.storage.files import write_atomically
from experiments.studies import study


def markdown(folders: Sequence[Path]) -> str:
    """Render the summary of each flow and the tables of each study, as a README has them.

    Raises:
        ValueError: a folder has no results, or they are not those of a cell or a study.
        OSError: something could not be read.
    """
    loaded = cells.load_all(folders)
    texts = []
    if loaded.cells and all("ensemble_distance" in cell for cell in loaded.cells):
        texts.append(comparison.markdown(loaded.cells))
    for flow in summary.flows(loaded.cells):
        texts.append(f"**{flow}.** {summary.overall(loaded.cells, flow)}\n")
        texts.append(summary.markdown(loaded.cells, flow))
    for swept in loaded.sweeps:
        texts.append(f"**{swept.attrs['folder']}.** {sweeps.sentence(swept)}\n")
    for log in loaded.logs:
        texts.append(f"**{log.attrs['folder']}.** {logs.sentence(log)}\n")
    return "\n".join([*texts, *map(study.markdown, loaded.studies)])


def write(
    folders: Sequence[Path], output: Path, with_figures: bool = True, animated: bool = False
) -> None:
    """Write the report of the results in some folders.

    Args:
        folders: they hold `results.nc` at or below them.
        output: the page; its folder is made if there is none.
        with_figures: True to draw the figures as well.
        animated: True to make a GIF of the plane of each run.

    Raises:
        ValueError: a folder has no results, or they are not those of a cell or a study.
        OSError: something could not be read or written.
    """
    loaded = cells.load_all(folders)
    drawn = [shown.figures() for shown in loaded.studies]
    output.parent.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False, soft_wrap=True)
    studies = list(zip(loaded.studies, drawn, strict=True))
    text = page.render(loaded.cells, studies, loaded.sweeps, loaded.logs)
    write_atomically(output, text.encode(errors="backslashreplace"))
    console.print(f"report: {output}", markup=False)
    if animated:
        moving = [(name, cell) for name, cell in _named(loaded.cells) if "path" in cell]
        (output.parent / "figures").mkdir(exist_ok=True)
        for name, cell in moving:
            file = output.parent / "figures" / f"{name}.gif"
            write_atomically(file, animation.gif(cell.isel(seed=representative(cell))))
            console.print(f"animation: {file}", markup=False)
        if not moving:
            console.print("animation: none, for no run here has recorded its path on a plane")
    if with_figures:
        others = [{str(x.attrs["folder"]): sweeps.figure(x)} for x in loaded.sweeps]
        others += [{str(x.attrs["title"]): logs.figure(x)} for x in loaded.logs]
        files = draw(loaded.cells, [*drawn, *others], output.parent)
        console.print(f"figures: {len(files)} files in {output.parent}", markup=False)


def _named(shown: summary.Cells) -> list[tuple[str, xr.Dataset]]:
    return list(zip(cells.slugs(shown), shown, strict=True))


def draw(shown: summary.Cells, studies: Sequence[Mapping[str, Figure]], folder: Path) -> list[Path]:
    """Draw the map of the cells and the overview of each, and save the figures of the studies."""
    (folder / "figures").mkdir(exist_ok=True)
    files = []

    def save(name: str, figure: Figure) -> None:
        for kind in ("png", "pdf"):
            files.append(folder / f"{name}.{kind}")
            write_atomically(files[-1], rendered(figure, kind))

    for name, figure in maps.maps(shown).items():
        save(name, figure)
    console = Console(stderr=True)
    hidden = not console.is_terminal
    for name, cell in track(
        _named(shown), "figures", console=console, transient=True, disable=hidden
    ):
        save(f"figures/{name}", figures.overview(cell.isel(seed=representative(cell))))
    drawn = [pair for each in studies for pair in each.items()]
    for name, (_, figure) in zip(cells.distinct(name for name, _ in drawn), drawn, strict=True):
        save(f"figures/{name}", figure)
    return files
