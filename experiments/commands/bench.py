"""Print the numbers that the README quotes: `python -m experiments bench [PART ...]`.

Times are the best of several, so that they can be compared on a busy machine.
"""

import argparse
from collections.abc import Sequence

from experiments.benchmarks import PARTS, part
from experiments.commands.arguments import Parser


def known(name: str) -> str:
    """Return the name of a part, or refuse one that does not exist."""
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"{name}: choose from {', '.join(PARTS)}")
    return name


def main(arguments: Sequence[str]) -> None:
    """Measure the parts that the arguments name, all of them if they name none."""
    listed = "\n".join(f"  {name:17} {subject}" for name, subject in PARTS.items())
    parser = Parser("bench", __doc__, f"parts, all of them if none is named:\n{listed}")
    parser.add_argument("parts", metavar="PART", nargs="*", default=list(PARTS), type=known)
    chosen = parser.parse_args(arguments).parts

    import jax
    from rich.console import Console

    from experiments.report.terminal import as_table
    from experiments.setup import runtime
    from experiments.setup.clock import timed

    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=120)  # wide enough for a file
    for note in runtime.configure():
        console.print(note, style="dim")
    # Compilation is part of what is measured: nothing is taken from an earlier run.
    jax.config.update("jax_enable_compilation_cache", False)

    def show(name: str) -> None:
        for shown in part(name)():
            said = isinstance(shown, str)
            console.print(shown if said else as_table(shown), highlight=not said)

    for name in chosen:
        _, seconds = timed(lambda name=name: show(name))
        console.print(f"[{name}: {seconds:.0f} s]", style="dim", markup=False)
