"""Scaling of sweeps with lanes and devices, and of runs with parameters and steps.

A power law is fitted where it should hold: to the larger half of the sizes, as a straight line
through logarithms. Devices are those that the CPU is split into, or the accelerators there are.
Times exclude compilation and are the least of several.
"""

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

import rodflow
from experiments.analysis import style
from experiments.analysis.table import Cell, Table
from experiments.benchmarks import Note
from experiments.benchmarks.memory import allotted
from experiments.benchmarks.process import accelerators, measured
from experiments.benchmarks.sweep import default_problem, of_devices, rates, tracked, whole
from experiments.setup.clock import best_seconds
from experiments.setup.runtime import cores
from experiments.storage.files import write_atomically

DEVICES = (1, 2, 4, 8)
LANES = (1, 4, 16, 64, 256)
WIDTHS = (12, 56, 208, 690, 2220)  # of three hidden layers: about 1e3, 1e4 ... 1e7 parameters
STEPS = (10, 40, 160, 640)
SHORT = 10  # steps of a lane, and of runs of several sizes
SLOW = {"learning_rate": np.float32(1e-7)}  # at which networks of every width stay stable
RUNS = {"discrete": {}, "rod": {"rod": rodflow.RodFlow()}}
REPEATS = 2
FIGURE = Path("scaling.png")
COLOURS = ("#000000", "#0072B2", "#009E73", "#CC79A7")
LINE: dict[str, Any] = {"linewidth": 1.2, "markersize": 4}
DISCRETE: dict[str, Any] = LINE | {"color": "#7F7F7F", "marker": "X", "label": "discrete run"}
ROD = style.FLOWS["rod"].color
WITH_ROD: dict[str, Any] = LINE | {"color": ROD, "marker": "P", "label": "with rod flow"}


def scaling() -> Iterator[Table | str]:
    """Measure lanes and costs in processes of their own, and draw both into `scaling.png`."""
    cards = measured(accelerators)
    yield Note(machine(cards))
    # A CPU is split into as many devices as are asked for.
    counts = [count for count in DEVICES if not cards or count <= len(cards)]
    by_lanes = {count: measured(lanes, count, devices=count) for count in counts}
    yield lanes_table(by_lanes)
    cost = measured(costs)
    panels = {
        "parameters": ("seconds per step", cost["parameters"], cost["by_size"]),
        "steps": ("seconds", STEPS, cost["by_steps"]),
    }
    for heading, panel in panels.items():
        yield cost_table(heading, *panel)
    write_atomically(FIGURE, style.rendered(drawn(by_lanes, panels), "png"))
    yield Note(f"figure: {FIGURE}")


def lanes(devices: int) -> dict[str, list]:
    """Measure sweeps of the rod flow of Adam: their seconds, and their bytes on a device."""
    member = tracked(RUNS["rod"], SHORT, *default_problem())
    mesh = jax.make_mesh((devices,), ("lanes",))
    seconds, memory = [], []
    for count in LANES:
        grid = rates(count)
        swept = jax.jit(lambda grid: rodflow.sweep(member, grid, mesh)).lower(grid).compile()
        seconds.append(least_seconds(swept, grid))
        memory.append(allotted(swept, arguments=False))
    return {"seconds": seconds, "bytes": memory}


def costs() -> dict[str, Any]:
    """Measure the seconds of the discrete run, and with the rod flow, by parameters and steps."""
    parameters, by_size, by_steps = [], {name: [] for name in RUNS}, {name: [] for name in RUNS}
    for width in WIDTHS:
        problem, params = default_problem(f"model.width={width}", "data.size=100")
        parameters.append(params.size)
        for name, flows in RUNS.items():
            run = jax.jit(tracked(flows, SHORT, problem, params))
            by_size[name].append(least_seconds(run, SLOW) / SHORT)
    slowest = {"learning_rate": rates(2)["learning_rate"][0]}
    for name, flows in RUNS.items():
        for steps in STEPS:
            run = jax.jit(tracked(flows, steps, *default_problem()))
            by_steps[name].append(least_seconds(run, slowest))
    return {"parameters": parameters, "by_size": by_size, "by_steps": by_steps}


def least_seconds(run, argument) -> float:
    """Return the least time of several calls, none of which ends early."""
    return best_seconds({"run": lambda: whole(run(argument))}, REPEATS)["run"]


def machine(cards: Sequence[str]) -> str:
    """Name the accelerators, the processor, the cores that may be used, and the version of JAX."""
    model = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.exists():
        names = [x for x in about.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    kinds = [f"{count} x {kind}, " for kind, count in Counter(cards).items()]
    return f"{''.join(kinds)}{model}, {cores()} cores, jax {jax.__version__}"


def exponent(sizes: Sequence | np.ndarray, values: Sequence | np.ndarray) -> float:
    """Return the slope of the logarithms over the larger half of the sizes."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(values[half:]), 1)[0])


def lanes_table(found: Mapping[int, dict]) -> Table:
    """Tabulate lanes per second by lanes and devices, and the memory of the lanes."""
    speeds = {n: np.array(LANES) / each["seconds"] for n, each in found.items()}
    columns = [*speeds.values(), np.array(found[1]["bytes"]) / 1e6]
    rows = [[str(n), *(float(column[i]) for column in columns)] for i, n in enumerate(LANES)]
    rows.append(["exponent", *(exponent(LANES, column) for column in columns)])
    headings = ["lanes", *map(of_devices, found), "MB, 1 device"]
    return Table(f"Lanes per second, rod flow of Adam, {SHORT} steps", headings, rows)


def cost_table(heading: str, title: str, sizes: Sequence, seconds: Mapping[str, Sequence]) -> Table:
    """Tabulate the time of the discrete run, and with the rod flow, against sizes."""
    both = zip(sizes, seconds["discrete"], seconds["rod"], strict=True)
    rows: list[list[Cell]] = [[f"{n}", alone, rod, rod / alone] for n, alone, rod in both]
    slopes = (exponent(sizes, seconds[name]) for name in RUNS)
    columns = [heading, "discrete", "with rod flow", "ratio"]
    return Table(f"Adam by {heading}: {title}", columns, [*rows, ["exponent", *slopes, None]])


def drawn(found: Mapping[int, dict], panels: Mapping[str, tuple]) -> Figure:
    """Draw what has been measured, in a panel for each table and one for the memory."""
    with mpl.rc_context(style.STYLE):
        figure, axes = style.grid(4, 2, 2.4, 0.0)
        throughput, memory = axes[:2]
        looks = zip(COLOURS, style.MARKERS, strict=False)
        for (count, each), (shade, marker) in zip(found.items(), looks, strict=False):
            line: dict[str, Any] = {"color": shade, "marker": marker, **LINE}
            speeds = LANES / np.array(each["seconds"])
            throughput.plot(LANES, speeds, label=of_devices(count), **line)
            memory.plot(LANES, np.array(each["bytes"]) / 1e6, **line)
        throughput.set(xlabel="lanes", ylabel="lanes per second")
        memory.set(xlabel="lanes", ylabel="memory on a device [MB]")
        for axis, (heading, (title, sizes, seconds)) in zip(axes[2:], panels.items(), strict=True):
            axis.plot(sizes, seconds["discrete"], **DISCRETE)
            axis.plot(sizes, seconds["rod"], **WITH_ROD)
            axis.set(xlabel=heading, ylabel=title)
        titles = ("Throughput of a sweep", "Memory of a sweep", "Cost of a step", "Cost of a run")
        style.lettered(axes, titles)
        style.logarithmic(axes)
        for axis, places in zip(axes, (LANES, LANES, None, STEPS), strict=True):
            if places is not None:
                axis.set_xticks(places, [str(place) for place in places])
                axis.set_xticks([], minor=True)
        throughput.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        throughput.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        throughput.yaxis.set_minor_formatter(NullFormatter())
        (devices, counts), (runs, kinds) = (
            axis.get_legend_handles_labels() for axis in (throughput, axes[2])
        )
        labels = counts + kinds
        figure.legend(devices + runs, labels, loc="outside upper center", ncols=len(labels))
    return figure
