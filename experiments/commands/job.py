"""What commands share: mistakes in one line, no empty folder left behind, and parts by name."""

import argparse
import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from experiments.configuration import config as configuration
from experiments.configuration.errors import reported_in_one_line, told_in_one_line


def start(app: Callable[[], None]) -> None:
    """Run an application on the arguments of the command line."""
    # Without it Hydra prints errors itself, over several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    configuration.register()
    with reported_in_one_line():
        check_flags()
        app()


def check_flags() -> None:
    """Refuse an unknown `--flag`, for which Hydra would print its whole usage."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            get_args_parser().parse_args()
    except SystemExit:
        reason = said.getvalue().strip().rpartition("error: ")[2]
        raise ValueError(f"{reason}; settings are written KEY=VALUE, without dashes") from None


@contextlib.contextmanager
def job() -> Iterator[Path]:
    """Yield the folder of a job, and tell what a user did wrong in one line.

    That is caught within the job, because Hydra adds lines of its own to an exception that leaves
    it. One of several jobs gives its line to Hydra instead, which lets the others end and then
    shows the first with the overrides of its job.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    with told_in_one_line() if one_of_many() else reported_in_one_line(), removed_if_empty(folder):
        yield folder


def one_of_many() -> bool:
    """Whether this is a job of --multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


@contextlib.contextmanager
def removed_if_empty(folder: Path):
    """Leave no empty folder behind after a failure; Hydra makes it before it calls the job."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


def add_parts(parser: argparse.ArgumentParser, parts: Iterable[str]) -> None:
    """Let a command take the names of what it should do, as `parts`; none is all of them."""
    known = list(parts)

    def part(name: str) -> str:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name}: choose from {', '.join(known)}")
        return name

    told = f"one of {', '.join(known)}; all of them if none is named"
    parser.add_argument("parts", metavar="PART", nargs="*", default=known, type=part, help=told)
