"""Arguments of the commands that take no configuration; a mistake in them is one line."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser with errors like those of the other commands, and help as it is written."""

    def __init__(self, command: str, description: str | None, epilog: str):
        super().__init__(
            f"python -m experiments {command}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 1."""
        self.exit(1, f"error: {message}\n")
