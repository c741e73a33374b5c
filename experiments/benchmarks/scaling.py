"""Print how sweeps and runs scale: `python -m experiments bench scaling`.

The parts are `lanes` (lanes per second against lanes and devices, and the memory of the lanes),
`cost` (time against parameters and steps, of the discrete run and with the rod flow beside it),
`program` (64 lanes in one program against a loop over compiled runs) and `processes` (one sweep by
one process and by two, a core each). All of them run unless some are named, and the first two draw
the figure.

Measurements run in processes of their own, so that each has the devices it asks for and compiles
all it needs: devices that the CPU is split into, or the accelerators there are (`processes` is of
cores in any case). Times are the least of several and exclude compilation unless it is named. A
power law is fitted where it should hold: to the larger half of the sizes, as a straight line
through logarithms.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from rich.console import Console
from rich.table import Table

from experiments.analysis import style
from experiments.benchmarks.scaling_process import LANES, LONG, MANY, SHORT, STEPS
from experiments.commands.job import add_parts
from experiments.setup.clock import Arithmetic, bound
from experiments.setup.runtime import cores
from experiments.storage.files import write_atomically

DEVICES = (1, 2, 4, 8)
FIGURE = Path("scaling.png")


def measured(part: str, devices: int = 1) -> dict:
    """Measure in a process of its own, with so many devices if they are the CPU's."""
    flag = f"--xla_force_host_platform_device_count={devices}"
    arguments = [part, str(devices)] if part in ("lanes", "program") else [part]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks.scaling_process", *arguments],
        env=os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def exponent(sizes, values) -> float:
    """Slope of the logarithms over the larger half of the sizes."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(values[half:]), 1)[0])


def accelerators() -> list[str]:
    """The kinds of the accelerators that JAX finds; none if it runs on the CPU."""
    return measured("accelerators")["kinds"]


def machine(cards: list[str]) -> str:
    """What JAX runs on: accelerators, the processor, the cores that may be used; its version."""
    model = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.exists():
        names = [x for x in about.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    kinds = [f"{count} x {kind}, " for kind, count in Counter(cards).items()]
    return f"{''.join(kinds)}{model}, {cores()} cores, jax {jax.__version__}"


def lanes(console: Console, axes: list, counts: list[int]) -> None:
    """Lanes per second against lanes and numbers of devices, and the memory of the lanes."""
    found = {count: measured("lanes", count) for count in counts}
    throughput, memory = axes[:2]
    table = Table(title=f"rod flow of Adam, {SHORT} steps: lanes per second")
    table.add_column("lanes", justify="right")
    for count in counts:
        table.add_column(of_devices(count), justify="right")
    table.add_column("MB, 1 device", justify="right")
    speeds = {n: np.array(LANES) / found[n]["seconds"] for n in counts}
    for i, count in enumerate(LANES):
        megabytes = found[1]["bytes"][i] / 1e6
        table.add_row(str(count), *(f"{speeds[n][i]:.3g}" for n in counts), f"{megabytes:.3g}")
    slopes = [f"{exponent(LANES, speeds[n]):.2f}" for n in counts]
    table.add_row("exponent", *slopes, f"{exponent(LANES, found[1]['bytes']):.2f}")
    console.print(table)
    for count, shade, marker in zip(counts, COLOURS, style.MARKERS, strict=False):
        line: dict[str, Any] = {"color": shade, "marker": marker, **LINE}
        throughput.plot(LANES, speeds[count], label=of_devices(count), **line)
        memory.plot(LANES, np.array(found[count]["bytes"]) / 1e6, **line)
    throughput.set(xlabel="lanes", ylabel="lanes per second")
    memory.set(xlabel="lanes", ylabel="memory on a device [MB]")


def of_devices(count: int) -> str:
    """What a column or a line is called."""
    return f"{count} device{'s' * (count > 1)}"


def cost(console: Console, axes: list, _: list[int]) -> None:
    """Time against parameters and steps."""
    found = measured("cost")
    sizes = found["parameters"]
    for panel, title, heading, places, values in (
        (axes[2], "seconds per step", "parameters", sizes, found["by_size"]),
        (axes[3], "seconds", "steps", STEPS, found["by_steps"]),
    ):
        table = Table(title=f"Adam by {heading}: {title}")
        for name in (heading, "discrete", "with rod flow", "ratio"):
            table.add_column(name, justify="right")
        both = list(zip(values["discrete"], values["rod"], strict=True))
        for place, (discrete, rod) in zip(places, both, strict=True):
            table.add_row(f"{place}", f"{discrete:.3g}", f"{rod:.3g}", f"{rod / discrete:.1f}")
        slopes = (f"{exponent(places, values[name]):.2f}" for name in ("discrete", "rod"))
        table.add_row("exponent", *slopes)
        console.print(table)
        panel.plot(places, values["discrete"], **DISCRETE)
        panel.plot(places, values["rod"], **WITH_ROD)
        panel.set(xlabel=heading, ylabel=title)


def program(console: Console, _: list, counts: list[int]) -> None:
    """Many lanes in one program, on up to two devices, against a loop over compiled runs."""
    counts = [count for count in counts if count <= 2]
    found = {count: measured("program", count) for count in counts}
    plain = found[1]
    compiled_each, loop = plain["one"][0] * MANY, plain["loop"][1]
    table = Table(
        title=f"{MANY} learning rates, stable and rod flow of Adam, {LONG} steps: seconds"
    )
    table.add_column("")
    for heading in ("compiled before", "times the loop", "with compiling", "times the loop"):
        table.add_column(heading, justify="right")
    once = plain["one"][0] + loop * (MANY - 1) / MANY
    table.add_row("loop, a compilation for each", "", "", f"{compiled_each:.1f}", "")
    table.add_row("loop, compiled once", f"{loop:.1f}", "1", f"{once:.1f}", "1")
    for count in counts:
        for label, key in (("", "all"), (", one lane at a time", "single")):
            first, after = found[count][key]
            entries = (f"{after:.1f}", f"{loop / after:.2f}", f"{first:.1f}", f"{once / first:.2f}")
            table.add_row(f"{of_devices(count)}{label}", *entries)
    console.print(table)
    count, rate = Arithmetic(*plain["arithmetic"]), Arithmetic(*plain["fastest"])
    bounds(console, plain["gradients"], count, loop, rate)


def bounds(
    console: Console, gradients: float, count: Arithmetic, seconds: float, rate: Arithmetic
) -> None:
    """Print what batching can bring at most to a loop over runs of the problem of MATH.md 8.

    Args:
        console: to print on.
        gradients: that the loop takes.
        count: their arithmetic.
        seconds: of the loop.
        rate: the fastest on this machine.
    """
    console.print(bound(count, seconds, rate))
    alone = measured("products")["seconds"]
    if alone is not None:
        least = gradients * alone / cores() + count.functions / rate.functions
        console.print(
            f"Products of their shapes, each by itself with its operands in cache, take "
            f"{gradients * alone:.3g} s on one core; with these on all {cores()} of them, tanh and "
            f"nothing else, a program would be {seconds / least:.1f} times faster than the loop."
        )


def processes(console: Console, _: list, __: list[int]) -> None:
    """The command of a sweep: one process on one core, two processes on a core each."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        console.print("processes: left out, there are no two cores to give them", style="dim")
        return
    table = Table(title="python -m experiments run study=sweep, 48 lanes: seconds")
    table.add_column("processes, a core each")
    for heading in ("from start to end", "without starting Python"):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as place:
        first, second, *_ = cores
        swept(Path(place) / "compiled", [first], 1)
        for on in ([first], [first, second]):
            whole, computing = swept(Path(place) / str(len(on)), on, 48)
            table.add_row(str(len(on)), f"{whole:.1f}", f"{computing:.1f}")
    console.print(table)


def swept(folder: Path, on: list[int], count: int) -> tuple[float, float]:
    """Seconds that a sweep takes with a process on each core: whole, and after the start."""
    command = [
        sys.executable,
        "-m",
        "experiments",
        "run",
        "study=sweep",
        f"hydra.run.dir={folder}",
    ]
    command += ["num_steps=200", "sweep.segment=2", "sweep.chunk=1"]
    command += [f"sweep.axes=['optimizer.learning_rate=geometric(2e-4,2e-3,{count})']"]
    begin = time.time()
    running = [
        subprocess.Popen(
            command,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.DEVNULL,
            preexec_fn=partial(os.sched_setaffinity, 0, [core]),
        )
        for core in on
    ]
    if any(process.wait() for process in running):
        raise RuntimeError(f"a sweep failed: {' '.join(command)}")
    end = (folder / "results.nc").stat().st_mtime
    return end - begin, end - (folder / "index.json").stat().st_mtime


COLOURS = ("#000000", "#0072B2", "#009E73", "#CC79A7")
LINE: dict[str, Any] = {"linewidth": 1.2, "markersize": 4}
DISCRETE = LINE | {"color": "#7F7F7F", "marker": "X", "label": "discrete run"}
WITH_ROD = LINE | {"color": style.FLOWS["rod"].color, "marker": "P", "label": "with rod flow"}
PARTS = {"lanes": lanes, "cost": cost, "program": program, "processes": processes}


def scaling(console: Console, parts: list[str], path: Path = FIGURE) -> None:
    """Measure some parts, print their tables, and draw what has been measured for the figure."""
    cards = accelerators()
    # A CPU is split into as many devices as are asked for.
    counts = [count for count in DEVICES if not cards or count <= len(cards)]
    console.print(machine(cards), style="bold", highlight=False)
    with mpl.rc_context(style.STYLE):
        figure = Figure(figsize=(7.2, 4.8), layout="constrained")
        axes = list(figure.subplots(2, 2).flat)
        for part in parts:
            PARTS[part](console, axes, counts)
        if not {"lanes", "cost"} <= set(parts):
            return
        titles = ("Throughput of a sweep", "Memory of a sweep", "Cost of a step", "Cost of a run")
        for letter, title, panel, places in zip(
            "abcd", titles, axes, (LANES, LANES, None, STEPS), strict=True
        ):
            panel.set_title(f"$\\bf{{{letter}}}$  {title}")
            panel.loglog()
            if places is not None:
                panel.set_xticks(places, [str(place) for place in places])
                panel.set_xticks([], minor=True)
        throughput = axes[0].yaxis
        throughput.set_major_locator(LogLocator(subs=(1, 2, 5)))
        throughput.set_major_formatter(StrMethodFormatter("{x:g}"))
        throughput.set_minor_formatter(NullFormatter())
        drawn = [panel.get_legend_handles_labels() for panel in (axes[0], axes[2])]
        (devices, counts), (runs, kinds) = drawn
        handles, labels = devices + runs, counts + kinds
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    write_atomically(path, style.rendered(figure, "png"))
    console.print(f"figure: {path}", highlight=False)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_parts(parser, PARTS)
    parser.add_argument("--figure", type=Path, default=FIGURE, metavar="FILE")
    chosen = parser.parse_args()
    scaling(Console(), chosen.parts, chosen.figure)


if __name__ == "__main__":
    main()
