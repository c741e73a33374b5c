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

        from experiments.report import figures, terminal
        from experiments.studies import running
        from experiments.studies.study import being_shown

        study = instantiate(config.experiment)
        with terminal.progress("parts") as report:
            results = running.run(study, folder, resolved, report)
        with being_shown(results):
            drawn = study.figures(results)
            tables, findings = study.tables(results), study.findings(results)
        for name, figure in drawn.items():
            write_atomically(folder / f"{name}.png", figures.rendered(figure, "png"))
        for table in tables:
            console.print(terminal.as_table(table))
        for sentence in findings:
            console.print(sentence, highlight=False)
        console.print(f"run folder: {folder}", soft_wrap=True, highlight=False)


def main() -> None:
    """Entry point."""
    command_line.start(app)


if __name__ == "__main__":
    main()
