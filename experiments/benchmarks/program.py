"""Many lanes in one program, on one device and on two, against a loop over compiled runs."""

from collections.abc import Iterator

import jax

import rodflow
from experiments.analysis.table import Table
from experiments.benchmarks.lanes import bounds, default_problem, rates, tracked, whole
from experiments.benchmarks.process import measured
from experiments.benchmarks.scaling import accelerators, device_counts, of_devices
from experiments.setup.clock import timed
from experiments.setup.roofline import Arithmetic, arithmetic, fastest

MANY, STEPS = 64, 100
COLUMNS = ["", "compiled before", "times the loop", "with compiling", "times the loop"]


def program() -> Iterator[Table | str]:
    """Compare lanes under vmap, lanes one at a time on each device, and a loop in Python."""
    counts = [count for count in device_counts(measured(accelerators)) if count <= 2]
    found = {count: measured(seconds_of, count, devices=count) for count in counts}
    plain = found[1]
    compiled_each, loop = plain["one"][0] * MANY, plain["loop"][1]
    once = plain["one"][0] + loop * (MANY - 1) / MANY
    rows = [
        ["loop, a compilation for each", "", "", f"{compiled_each:.1f}", ""],
        ["loop, compiled once", f"{loop:.1f}", "1", f"{once:.1f}", "1"],
    ]
    for count, seconds in found.items():
        for label, key in (("", "all"), (", one lane at a time", "single")):
            first, after = seconds[key]
            entries = (f"{after:.1f}", f"{loop / after:.2f}", f"{first:.1f}", f"{once / first:.2f}")
            rows.append([f"{of_devices(count)}{label}", *entries])
    title = f"{MANY} learning rates, stable and rod flow of Adam, {STEPS} steps: seconds"
    yield Table(title, COLUMNS, rows)
    count, rate = Arithmetic(*plain["arithmetic"]), Arithmetic(*plain["fastest"])
    yield from bounds(plain["gradients"], count, loop, rate)


def seconds_of(devices: int) -> dict:
    """Time many lanes with the default flows: one by one, and in one program.

    Args:
        devices: The number of devices of the sweep; the loop uses the first.

    Returns:
        The seconds of a first call and of another one of `one` lane, the `loop`, and sweeps whose
        lanes are vmapped: `all` of a device, or `single` ones. Beside them the number of
        `gradients` of the loop, their `arithmetic`, and the `fastest` rates of this machine.
    """
    problem, params = default_problem()
    member = tracked(None, STEPS, problem, params)
    grid = rates(MANY)
    mesh = jax.make_mesh((devices,), ("lanes",))
    one = jax.jit(member)
    runs = {
        "one": lambda: whole(one({"learning_rate": grid["learning_rate"][0]})),
        "loop": lambda: [whole(one({"learning_rate": x})) for x in grid["learning_rate"]],
        "all": lambda: whole(rodflow.sweep(member, grid, mesh)),
        "single": lambda: whole(rodflow.sweep(member, grid, mesh, chunk=1)),
    }
    seconds = {name: [timed(run)[1], timed(run)[1]] for name, run in runs.items()}
    per_step = [flow.gradients.mean() for run in runs["loop"]() for flow in run.flows.values()]
    gradients = STEPS * (MANY + float(sum(per_step)))
    return seconds | {
        "gradients": gradients,
        "arithmetic": arithmetic(jax.grad(problem.loss), params).times(gradients),
        "fastest": fastest(),
    }
