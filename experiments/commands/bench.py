"""The command `python -m experiments bench [PART ...]`: the numbers that the README quotes.

All parts run unless some are named. Times are the best of several, so that they can be compared on
a busy machine.
"""

import argparse
import time
from collections.abc import Mapping, Sequence

PARTS = {
    "tracking": "every optimizer and chain on the default problem, three seeds as lanes",
    "covariance": "the published rod flow at ranks 1 and 4",
    "cost": "wall clock relative to the discrete run",
    "sweep": "lanes under vmap against runs one after the other",
    "memory": "a tracked run against its optimizer and one gradient",
    "peers": "every continuous-time model in double precision",
    "onset": "what starts the oscillation",
    "epochs": "an epoch of minibatches, as a map",
    "scaling": "lanes, devices, parameters, steps and processes, with a figure",
}


def add_parts(parser: argparse.ArgumentParser, parts: Mapping[str, str]) -> None:
    """Let a command take the names of what it should do, as `parts`; none is all of them."""

    def part(name: str) -> str:
        if name not in parts:
            raise argparse.ArgumentTypeError(f"{name}: choose from {', '.join(parts)}")
        return name

    lines = "\n".join(f"  {name:<12}{told}" for name, told in parts.items())
    parser.description = f"{parser.description}\nparts:\n{lines}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("parts", metavar="PART", nargs="*", default=list(parts), type=part)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        "python -m experiments bench",
        description=__doc__,
        epilog="example:\n  python -m experiments bench cost memory",
    )
    add_parts(parser, PARTS)
    chosen = parser.parse_args(arguments).parts

    import jax
    from rich.console import Console

    from experiments import problems
    from experiments.benchmarks.__main__ import PARTS as measure
    from experiments.commands.job import set_up
    from experiments.configuration import config

    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=120)  # wide enough for a file
    set_up(console)
    # Compilation is part of what `sweep` measures: nothing is taken from an earlier run.
    jax.config.update("jax_enable_compilation_cache", False)
    problem = problems.configured(config.load())
    for part in chosen:
        begin = time.perf_counter()
        measure[part](problem, console)
        console.print(f"[{part}: {time.perf_counter() - begin:.0f} s]", style="dim", markup=False)
