"""The command `python -m experiments run [KEY=VALUE ...]`: one optimizer on one problem.

One configuration in, one run folder out: `config.yaml`, `results.nc` and `figure.png`.
"""

from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from experiments.commands.job import job, said_where, set_up, start
from experiments.configuration.config import CONFIGS
from experiments.storage.files import write_atomically


@hydra.main(config_path=str(CONFIGS), config_name="run", version_base="1.3")
def app(composed: DictConfig) -> None:
    """Run what a composed configuration describes, and print its table."""
    with job(composed) as run:
        set_up(run.console)

        from experiments.commands.progress import progress
        from experiments.report import figures, terminal
        from experiments.runs import single

        with progress("steps") as report:
            measured = single.run_in(run.folder, run.config, run.resolved, report)
        write_atomically(run.folder / "figure.png", figures.png(measured))
        run.console.print(terminal.table(measured))
        run.console.print(terminal.remarks(measured), highlight=False)
        said_where(run)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    start(app, "run", arguments)
