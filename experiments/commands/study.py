"""The command `python -m experiments study study=NAME [KEY=VALUE ...]`: a question or a grid.

A question is a study of its own, with keys `study.KEY`; a grid is optimizers x problems, with the
keys of a run and `grid.KEY`. The same command continues a study that was killed, and shows one
that is finished again.
"""

from collections.abc import Sequence

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from experiments.commands.job import Job, job, said_where, set_up, start
from experiments.configuration.config import CONFIGS, GridStudyConfig
from experiments.storage.files import write_atomically


@hydra.main(config_path=str(CONFIGS), config_name="study", version_base="1.3")
def app(composed: DictConfig) -> None:
    """Run or continue the study that a composed configuration describes, and show it."""
    with job(composed) as run:
        set_up(run.console)
        grid(run) if isinstance(run.config, GridStudyConfig) else question(run)
        said_where(run)


def question(run: Job) -> None:
    """Compute the parts of a study, and print its tables and findings."""
    from experiments.setup import runtime

    runtime.use_all_cores()

    from experiments.analysis.style import rendered
    from experiments.commands.progress import progress
    from experiments.report import terminal
    from experiments.studies import running
    from experiments.studies.study import shown_of

    study = instantiate(run.config.study, _recursive_=False)  # it builds its data and models
    with progress("parts") as report:
        results = running.run(study, run.folder, run.resolved, report)
    shown = shown_of(results)
    for name, figure in shown.figures().items():
        write_atomically(run.folder / f"{name}.png", rendered(figure, "png"))
    for table in shown.tables:
        run.console.print(terminal.as_table(table))
    for sentence in shown.findings:
        run.console.print(sentence, highlight=False)


def grid(run: Job) -> None:
    """Compute the cells of a grid, and print its tables."""
    from experiments.commands.progress import cell_progress
    from experiments.report import terminal
    from experiments.runs import grid

    cells = grid.cells_of(run.config, run.folder)
    with cell_progress(run.console, cells) as progress:
        done = grid.run(cells, run.folder, run.resolved, run.config.grid.workers, progress)
    run.console.print(terminal.grid_table(done))
    run.console.print(terminal.grid_remarks(done), highlight=False)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    start(app, "study", arguments)
