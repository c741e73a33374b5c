"""Measure parts of the benchmark, and print them: `python -m experiments bench [PART ...]`.

Times are the best of several, so that they can be compared on a busy machine. `python -m
experiments results PART` keeps what is measured in a file of `results/`, too.
"""

import argparse
from collections.abc import Sequence

from rich.console import Console

from experiments.analysis.table import Table
from experiments.benchmarks import PARTS, Note, part
from experiments.commands.arguments import Parser


def known(name: str) -> str:
    """Return the name of a part, or refuse one that does not exist."""
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"{name}: choose from {', '.join(PARTS)}")
    return name


def set_up() -> Console:
    """Set JAX up for measuring, and return a terminal that is wide enough."""
    import jax

    from experiments.setup import runtime

    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=120)  # wide enough for a file
    for note in runtime.configure():
        console.print(note, style="dim")
    # Compilation is part of what is measured: nothing is taken from an earlier run.
    jax.config.update("jax_enable_compilation_cache", False)
    return console


def measured(name: str, console: Console) -> list[Table | str]:
    """Measure a part, print what it finds as soon as it is found, and return it without notes."""
    from experiments.report.terminal import as_table
    from experiments.setup.clock import timed

    found = []

    def measure() -> None:
        for each in part(name)():
            said = isinstance(each, str)
            console.print(each if said else as_table(each), highlight=not said)
            if not isinstance(each, Note):
                found.append(each)

    _, seconds = timed(measure)
    console.print(f"[{name}: {seconds:.0f} s]", style="dim", markup=False)
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure the parts that the arguments name, all of them if they name none."""
    listed = "\n".join(f"  {name:17} {told.subject}" for name, told in PARTS.items())
    parser = Parser("bench", __doc__, f"parts, all of them if none is named:\n{listed}")
    parser.add_argument("parts", metavar="PART", nargs="*", default=list(PARTS), type=known)
    chosen = parser.parse_args(arguments).parts
    console = set_up()
    for name in chosen:
        measured(name, console)
