"""The entry point of the application: `python -m experiments COMMAND [ARGUMENT ...]`."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence

from experiments.commands import COMMANDS

# Imported by one command or another. Looked for at the beginning: that a package is missing should
# not be noticed when its turn comes, after the computing.
PACKAGES = ("jax", "flax", "hydra", "xarray", "netCDF4", "sklearn", "matplotlib", "rich", "plotly")


def main(arguments: Sequence[str]) -> None:
    """Run the command that the first argument names on the remaining ones."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"error: {', '.join(missing)} cannot be imported; "
            'install what experiments need with: pip install -e ".[experiments]"'
        )
    name, *rest = arguments or ["--help"]
    if name in ("--help", "-h"):
        from experiments.commands import help as helping

        print(helping.overview())
    elif name not in COMMANDS:
        raise SystemExit(f"error: {name}: no such command; choose from {', '.join(COMMANDS)}")
    else:
        importlib.import_module(f"experiments.commands.{name}").main(rest)


def unread(run: Callable[[], None]) -> None:
    """Call a function, and end quietly if whatever reads the output stops: `... --help | head`."""
    try:
        try:
            run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python writes what is left when it ends, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


if __name__ == "__main__":
    try:
        unread(lambda: main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None
