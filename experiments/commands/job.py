"""The frame of the commands that take a configuration, each a Hydra application.

A mistake of the user is one line on standard error, and leaves no folder behind. With
HYDRA_FULL_ERROR=1 in the environment it is a traceback.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments.commands import help as helping
from experiments.commands.interruption import at_once
from experiments.configuration import config as configuration
from experiments.configuration.errors import reported_in_one_line, told_in_one_line

# Of Hydra's command line, https://hydra.cc/docs/advanced/hydra-command-line-flags/.
FLAGS = {"--multirun", "-m", "--run", "-r", "--cfg", "-c", "--resolve", "--package", "-p"}
FLAGS |= {"--info", "-i", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"}
FLAGS |= {"--hydra-help", "--version", "--experimental-rerun"}


class Job(NamedTuple):
    """The configuration of a job, checked and as YAML, the folder of its results, the terminal."""

    config: Any
    resolved: str
    folder: Path
    console: Console


def start(app: Callable[[], None], command: str, arguments: Sequence[str]) -> None:
    """Run a Hydra application on arguments, or show its help."""
    if {"--help", "-h"} & set(arguments):
        print(helping.page(command))
        return
    # Without it Hydra prints errors itself, over several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv[1:] = arguments
    with reported_in_one_line():
        for argument in arguments:
            if argument.startswith("-") and argument.partition("=")[0] not in FLAGS:
                raise ValueError(
                    f"{argument}: no such option; settings are written KEY=VALUE, without dashes"
                )
        settings = [each for each in arguments if "=" in each and not each.startswith("-")]
        configuration.check_overrides(settings)
        configuration.register()
        app()


@contextlib.contextmanager
def job(composed: DictConfig) -> Iterator[Job]:
    """Yield a job, and tell what a user did wrong in one line.

    That is caught within the job, because Hydra adds lines of its own to an exception that leaves
    it. One of several jobs gives its line to Hydra instead, which lets the others end and then
    shows the first with the overrides of its job.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    alone = not one_of_many()
    with contextlib.ExitStack() as around:
        around.enter_context(reported_in_one_line() if alone else told_in_one_line())
        around.enter_context(left_clean(folder))
        if alone:
            around.enter_context(at_once(folder))
        config = configuration.checked(composed)
        yield Job(config, OmegaConf.to_yaml(composed, resolve=True), folder, Console())


def set_up(console: Console) -> None:
    """Set JAX up, which is imported only now: a mistake should not have to wait for it."""
    from experiments.setup import runtime

    for note in runtime.configure():
        console.print(note, style="dim")


def said_where(job: Job) -> None:
    """Print the folder of a job that is done."""
    job.console.print(f"folder: {job.folder}", soft_wrap=True, highlight=False, markup=False)


def one_of_many() -> bool:
    """Return True in a job of --multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


@contextlib.contextmanager
def left_clean(folder: Path) -> Iterator[None]:
    """Leave no empty folder behind after a failure; Hydra makes it before it calls the job."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
