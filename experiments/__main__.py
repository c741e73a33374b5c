"""The one entry point of the application: `python -m experiments COMMAND [ARGUMENT ...]`."""

import sys
from importlib import import_module

COMMANDS = {
    "run": "experiments.commands.run",
    "study": "experiments.commands.study",
    "search": "experiments.commands.search",
    "bench": "experiments.commands.bench",
    "report": "experiments.report.__main__",
}


def main() -> None:
    """Run the command that the first argument names on the remaining ones."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        raise SystemExit(f"usage: python -m experiments {{{','.join(COMMANDS)}}} [ARGUMENT ...]")
    name = sys.argv.pop(1)
    import_module(COMMANDS[name]).main()


if __name__ == "__main__":
    main()
