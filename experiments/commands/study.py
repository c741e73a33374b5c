"""Studies that are no grid of tracked runs: `python -m experiments study experiment=NAME`.

Any key can be set as `experiment.KEY=VALUE`. One configuration in, one run folder out:
`config.yaml` and `results.nc`, beside the figures. The same command continues a study that was
killed, and shows one that is finished again.
"""

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments.commands import job as command_line
from experiments.configuration import config as configuration
from experiments.storage.files import write_atomically
from experiments.storage.locks import alone_in


@hydra.main(config_path=str(configuration.CONFIGS), config_name="study", version_base="1.3")
def app(composed: DictConfig) -> None:
    """Run the study that a composed configuration describes."""
    with command_line.job() as folder:
        config = configuration.checked(composed)
        resolved = OmegaConf.to_yaml(composed, resolve=True)
        from experiments.setup import runtime

        console = Console()
        for note in runtime.configure():
            console.print(note, style="dim")
        runtime.use_all_cores()

        from experiments.analysis.style import rendered
        from experiments.report import terminal
        from experiments.studies import running as parts
        from experiments.studies.study import shown_of

        with alone_in(folder):
            study = instantiate(config.experiment)
            with terminal.progress("parts") as report:
                results = parts.run(study, folder, resolved, report)
            shown = shown_of(results)
            for name, figure in shown.figures().items():
                write_atomically(folder / f"{name}.png", rendered(figure, "png"))
        for table in shown.tables:
            console.print(terminal.as_table(table))
        for sentence in shown.findings:
            console.print(sentence, highlight=False)
        console.print(f"run folder: {folder}", soft_wrap=True, highlight=False)


def main() -> None:
    """Entry point."""
    command_line.start(app)


if __name__ == "__main__":
    main()
