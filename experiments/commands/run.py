"""The main job as a Hydra application: `python -m experiments run [KEY=VALUE ...]`.

One configuration in, one run folder out: `config.yaml`, `results.nc` and `figure.png`; for a study
of many cells (`study=papers`) a folder for each, and the same command continues where it was
killed. A mistake of the user is reported in one line; with HYDRA_FULL_ERROR=1 in the environment,
with a traceback.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments.commands import job as command_line
from experiments.configuration import config as configuration
from experiments.storage.files import write_atomically
from experiments.storage.locks import alone_in


@hydra.main(config_path=str(configuration.CONFIGS), config_name="run", version_base="1.3")
def app(composed: DictConfig) -> None:
    """Run the study that a composed configuration describes."""
    with command_line.job() as folder:
        config = configuration.checked(composed)
        # First of all, so that a folder that cannot be written costs no minutes of computing.
        resolved = OmegaConf.to_yaml(composed, resolve=True)
        # Imported only now: a mistake in the configuration should not have to wait for JAX.
        from experiments.setup import runtime

        console = Console()
        if config.sweep is None and config.grid is None:
            write_atomically(folder / "config.yaml", resolved.encode())
        for note in runtime.configure():
            console.print(note, style="dim")
        if config.sweep is not None:
            with runtime.joined(config.distributed):
                sweep_into(folder, config, console, resolved)
        elif config.grid is None:
            edge_into(folder, config, console)
        else:
            grid_into(folder, config, console, resolved)


def edge_into(folder: Path, config: configuration.RunConfig, console: Console) -> None:
    """Run the main job, print its table and leave its results and figure in a folder."""
    from experiments.report import figures, terminal
    from experiments.runs import single as edge
    from experiments.storage import results

    with terminal.progress("steps") as progress:
        measured = edge.run(config, progress)
    results.save(measured, folder / "results.nc")
    write_atomically(folder / "figure.png", figures.png(measured))
    console.print(terminal.table(measured))
    console.print(terminal.remarks(measured), highlight=False)
    console.print(f"run folder: {folder}", soft_wrap=True, highlight=False)


def grid_into(
    folder: Path, config: configuration.RunConfig, console: Console, resolved: str
) -> None:
    """Run or continue a study of many cells, and print its tables."""
    from experiments.report import terminal
    from experiments.runs import cell, grid

    assert config.grid is not None
    cells = grid.cells_of(config, folder)
    with alone_in(folder):
        for each in cells:
            cell.check(each)
        write_atomically(folder / "config.yaml", resolved.encode())
        with terminal.cell_progress(console, cells) as progress:
            done = grid.run(cells, config.grid.workers, progress)
    console.print(terminal.grid_table(done))
    console.print(terminal.grid_remarks(done), highlight=False)
    console.print(f"run folder: {folder}", soft_wrap=True, highlight=False)


def sweep_into(
    folder: Path, config: configuration.RunConfig, console: Console, resolved: str
) -> None:
    """Take part in a sweep until it is finished, and print its table."""
    from experiments.report import terminal
    from experiments.runs import sweep

    swept = sweep.sweep_of(config, folder)
    with terminal.progress("segments") as progress:
        done = sweep.run(swept, resolved, lambda *counts: progress("sweep", *counts))
    console.print(terminal.sweep_table(done))
    console.print(f"run folder: {folder}", soft_wrap=True, highlight=False)


def main() -> None:
    """Entry point."""
    command_line.start(app)


if __name__ == "__main__":
    main()
