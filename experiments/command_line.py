"""What the Hydra applications share: mistakes in one line, and no empty folder left behind."""

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path

from hydra._internal.utils import get_args_parser

from experiments import config as configuration
from experiments.errors import reported_in_one_line


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
def removed_if_empty(folder: Path):
    """Leave no empty folder behind after a failure; Hydra makes it before it calls the job."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
