"""The main job as a Hydra application: `python -m experiments.run [KEY=VALUE ...]`.

One configuration in, one run folder out: `config.yaml`, `results.nc` and `figure.png`. A mistake of
the user is reported in one line; with HYDRA_FULL_ERROR=1 in the environment, with a traceback.
"""

import contextlib
import io
import os
import sys
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from experiments import config as configuration
from experiments.errors import USER_ERRORS, one_line
from experiments.storage import write_atomically


@hydra.main(config_path=str(configuration.CONFIGS), config_name="run", version_base="1.3")
def app(composed: DictConfig) -> None:
    """Run the study that a composed configuration describes."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    # Caught in here, because Hydra adds lines of its own to an exception that leaves a job.
    with reported_in_one_line(), removed_if_empty(folder):
        config = configuration.checked(composed)
        # First of all, so that a folder that cannot be written costs no minutes of computing.
        resolved = OmegaConf.to_yaml(composed, resolve=True)
        write_atomically(folder / "config.yaml", resolved.encode())
        study_into(folder, config)


def study_into(folder: Path, config: configuration.RunConfig) -> None:
    """Run the study, print its table and leave its results and figure in a folder."""
    # Imported only now: a mistake in the configuration should not have to wait for JAX.
    from rich.console import Console

    from experiments import runtime, terminal

    console = Console()
    for note in runtime.configure():
        console.print(note, style="dim")

    from experiments import figures, results, study

    with terminal.progress() as progress:
        measured = study.run(config, progress)
    results.save(measured, folder / "results.nc")
    write_atomically(folder / "figure.png", figures.png(measured))
    console.print(terminal.table(measured))
    console.print(terminal.remarks(measured), highlight=False)
    console.print(f"run folder: {folder}", soft_wrap=True, highlight=False)


@contextlib.contextmanager
def removed_if_empty(folder: Path):
    """Leave no empty folder behind after a failure; Hydra makes it before it calls the job."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


@contextlib.contextmanager
def reported_in_one_line():
    """Turn a mistake of the user into one line on standard error and exit code 1."""
    try:
        yield
    except USER_ERRORS as error:
        if _TRACEBACKS_WANTED:
            raise
        raise SystemExit(f"error: {one_line(error)}") from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def check_flags() -> None:
    """Refuse an unknown `--flag`, for which Hydra would print its whole usage."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            get_args_parser().parse_args()
    except SystemExit:
        reason = said.getvalue().strip().rpartition("error: ")[2]
        raise ValueError(f"{reason}; settings are written KEY=VALUE, without dashes") from None


_TRACEBACKS_WANTED = os.environ.get("HYDRA_FULL_ERROR") == "1"


def main() -> None:
    """Entry point."""
    # Without it Hydra prints errors itself, over several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    configuration.register()
    with reported_in_one_line():
        check_flags()
        app()


if __name__ == "__main__":
    main()
