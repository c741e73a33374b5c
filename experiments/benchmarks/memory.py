"""How large a network can be tracked: `python -m experiments bench memory [WIDTH ...]`.

A causal transformer that sorts, trained by Adam for a few steps and followed by one flow at a time,
each in a process of its own, whose peak memory is read at its end. *Allotted* is what XLA asks for
the compiled run, in floats per parameter: three of them are the parameters and moments of Adam.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import jax
from rich.console import Console
from rich.table import Table

import rodflow
from experiments import problems
from experiments.configuration import config
from experiments.configuration.functions import FlowName
from experiments.setup import optimizers

WIDTHS = (80, 256, 800)  # 1e5, 1e6 and 1e7 parameters
DATA = ("data=sorting", "data.size=16")
FLOWS = ("none", "stable", "rod")
STEPS = 2


def measure(width: int, flow: str) -> dict[str, float]:
    """Track a network of that width with one flow, and say what it took."""
    chosen = config.load(["model=transformer", f"model.width={width}", *DATA])
    problem = problems.configured(chosen)
    flows = {} if flow == "none" else {flow: FlowName[flow](None)}
    tx = optimizers.configured(chosen.optimizer)
    tracker = rodflow.Tracker(problem.loss, tx, flows, every=STEPS)
    state = tracker.init(jax.jit(problem.init)(jax.random.key(0)), chosen.warmup)
    size = sum(leaf.size for leaf in jax.tree.leaves(state.start))
    # Donated, the old state makes room for the new.
    run = jax.jit(lambda s: tracker.run(s, 1), donate_argnums=0).lower(state).compile()
    analysis = run.memory_analysis()
    assert analysis is not None  # some backends do not tell
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    allotted = held - analysis.alias_size_in_bytes + analysis.temp_size_in_bytes
    begin = time.perf_counter()
    state, tracking = jax.block_until_ready(run(state))
    seconds = time.perf_counter() - begin
    distance = float(tracking.flows[flow].distance[0]) if flows else 0.0
    return {
        "parameters": size,
        "floats": allotted / 4 / size,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "seconds": seconds / STEPS,
        "distance": distance,
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("widths", nargs="*", type=int, help="of the network; default: %(default)s")
    parser.add_argument("--flow", choices=FLOWS, help="measure one width here, and print JSON")
    arguments = parser.parse_args()
    widths = arguments.widths or list(WIDTHS)
    if arguments.flow is not None:
        print(json.dumps(measure(widths[0], arguments.flow)))
        return
    table = Table(title="Adam on a transformer, one flow at a time")
    for heading in ("parameters", "flow", "allotted: floats each", "peak, GB", "s per step"):
        table.add_column(heading, justify="right")
    for width in widths:
        for flow in FLOWS:
            command = [
                sys.executable,
                "-m",
                "experiments.benchmarks.memory",
                str(width),
                "--flow",
                flow,
            ]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(printed.splitlines()[-1])
            floats, peak, seconds = (found[key] for key in ("floats", "peak", "seconds"))
            row = f"{floats:.1f}", f"{peak:.2f}", f"{seconds:.3g}"
            table.add_row(f"{found['parameters']:.3g}", flow, *row)
    console = Console()
    console.print(table)


if __name__ == "__main__":
    main()
