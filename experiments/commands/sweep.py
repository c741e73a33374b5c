"""The command `python -m experiments sweep sweep.axes=[...] [KEY=VALUE ...]`: a run with lanes.

The same command continues a sweep that was killed, on any number of hosts that share the folder.
"""

from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from experiments.commands.job import job, said_where, set_up, start
from experiments.configuration.config import CONFIGS


@hydra.main(config_path=str(CONFIGS), config_name="sweep", version_base="1.3")
def app(composed: DictConfig) -> None:
    """Take part in a sweep until it is finished, and print its table."""
    with job(composed) as run:
        set_up(run.console)

        from experiments.setup import runtime

        with runtime.joined(run.config.distributed):
            from experiments.commands.progress import progress
            from experiments.report import terminal
            from experiments.runs import sweep

            swept = sweep.sweep_of(run.config, run.folder)
            with progress("segments") as report:
                done = sweep.run(swept, run.resolved, lambda *counts: report("sweep", *counts))
        run.console.print(terminal.sweep_table(done))
        said_where(run)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    start(app, "sweep", arguments)
