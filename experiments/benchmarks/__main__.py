"""Print the numbers that the README quotes: `python -m experiments bench [PART ...]`.

The parts are `tracking` (every optimizer and chain on the problem of MATH.md section 8, three
seeds as lanes of one program), `covariance` (the published rod flow at ranks 1 and 4), `cost` (wall
clock relative to the discrete run), `sweep` (lanes under vmap against runs one after the other),
`memory` (of a tracked run, against that of the optimizer and of one gradient), `peers` (every
continuous-time model in double precision), `onset` (what starts the oscillation), `epochs` (of
minibatches, as a map) and `scaling` (with lanes, devices, parameters, steps and processes, and its
figure).
All of them run unless some are named. Times are the best of several, so that they can be compared
on a busy machine; distances are measured as in MATH.md section 7.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree
from rich.console import Console
from rich.table import Table

import rodflow
from experiments import problems
from experiments.benchmarks import double_precision as peers
from experiments.benchmarks import epochs, onset, scaling
from experiments.commands.bench import add_parts
from experiments.configuration import config
from experiments.problems import Problem
from experiments.setup import optimizers, runtime
from experiments.setup.clock import arithmetic, best_seconds, fastest, first_seconds

SEEDS = 3
# Chains that no configuration names, and the improvement they are held to.
CHAINS: dict[str, tuple[Callable[[], optax.GradientTransformation], int]] = {
    "sgd(.2, momentum=.5, nesterov)": (
        lambda: optax.sgd(0.2, momentum=0.5, nesterov=True),
        15,
    ),
    "sgd(.4, momentum=.5)": (lambda: optax.sgd(0.4, momentum=0.5), 4),
    "adamw(1e-3, weight_decay=.1)": (lambda: optax.adamw(1e-3, b2=0.99, weight_decay=0.1), 15),
    "adabelief(1e-3)": (lambda: optax.adabelief(1e-3, b2=0.99), 1),
    "clip + adam + cosine": (
        lambda: optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adam(optax.cosine_decay_schedule(1e-3, 620), b2=0.99),
        ),
        15,
    ),
    "lion(1e-4)": (lambda: optax.lion(1e-4), 3),
}
# The improvement that each optimizer is held to, at the learning rate of its configuration.
TARGETS = {
    "gd": 15,
    "heavy_ball": 1,
    "nesterov": 1,
    "scalar_rmsprop": 20,
    "rmsprop": 20,
    "scalar_adam": 15,
    "adam": 20,
    "scalar_nadam": 20,
    "nadam": 20,
}
# Likewise for those that are in neither of the papers on rod flow.
FURTHER_TARGETS = {
    "radam": 15,
    "adam_warmup": 15,
    "rf_rmsprop": 10,
    "rf_adamw": 1,
    "if_shampoo": 1,
}


def chains() -> dict[str, tuple[optax.GradientTransformation, int]]:
    """Every chain of the benchmark, with its target: the configured optimizers and the others."""
    configured = {
        name: (optimizers.configured(config.load([f"optimizer={name}"]).optimizer), target)
        for name, target in (TARGETS | FURTHER_TARGETS).items()
    }
    return configured | {name: (build(), target) for name, (build, target) in CHAINS.items()}


def over_seeds(
    problem: Problem, tx: optax.GradientTransformation, flows: dict, twins: int = 2
) -> rodflow.Tracking:
    """Track a chain from several initial weights; leaves have shape (seeds, records)."""

    @jax.jit
    @jax.vmap
    def lane(key: PyTree) -> rodflow.Tracking:
        return rodflow.track(problem.loss, tx, problem.init(key), flows=flows, twins=twins)

    return lane(jax.vmap(jax.random.key)(jnp.arange(SEEDS)))


def tracking(problem: Problem, console: Console) -> None:
    """Improvement of the default rod flow, beside what a perfect model could reach on average."""
    table = Table(title=f"improvement of RodFlow over the stable flow, seeds 0 to {SEEDS - 1}")
    for heading in ("chain", "each seed", "median", "target", "stable / floor", "distance / floor"):
        table.add_column(heading, justify="left" if heading == "chain" else "right")
    flows = {"stable": rodflow.StableFlow, "rod": rodflow.RodFlow}
    for name, (tx, target) in chains().items():
        result = over_seeds(problem, tx, flows)
        improvement = np.asarray(result.improvement()["rod"])
        floor = np.mean(np.asarray(result.floor), axis=-1)
        stable, rod = (np.mean(result.flows[f].distance, axis=-1) / floor for f in flows)
        table.add_row(
            name,
            " ".join(f"{x:.1f}" for x in improvement),
            f"{np.median(improvement):.1f}",
            f"{target}",
            f"{np.median(stable):.0f}",
            f"{np.median(rod):.1f}",
        )
        console.print(f"  {name}: {improvement}", style="dim")
    console.print(table)


def covariance(problem: Problem, console: Console) -> None:
    """The published rod flow (rank 1) and its extension to rank 4 on the nine optimizers."""
    flows = {"stable": rodflow.StableFlow, "signed": rodflow.RodFlow} | {
        f"rank {rank}": partial(rodflow.RodFlow, closure=rodflow.CovarianceRod(rank=rank))
        for rank in (1, 4)
    }
    table = Table(title=f"CovarianceRod: median over seeds 0 to {SEEDS - 1} of distance ratios")
    table.add_column("optimizer")
    for flow in list(flows)[1:]:
        table.add_column(f"{flow}: mean", justify="right")
        table.add_column("at the end", justify="right")
    for name in TARGETS:
        tx, _ = chains()[name]
        result = over_seeds(problem, tx, flows, twins=0)
        stable = np.asarray(result.flows["stable"].distance)
        row = [name]
        for flow in list(flows)[1:]:
            distance = np.asarray(result.flows[flow].distance)
            row.append(f"{np.median(stable.mean(-1) / distance.mean(-1)):.1f}")
            row.append(f"{np.median(stable[:, -1] / distance[:, -1]):.1f}")
        table.add_row(*row)
        console.print("  " + ", ".join(row), style="dim")
    console.print(table)


def cost(problem: Problem, console: Console) -> None:
    """Wall clock of each flow relative to the discrete run, in programs that differ by the flow."""
    table = Table(title="600 steps: seconds, and wall clock relative to the discrete run")
    for heading in ("optimizer", "discrete", "rod", "rod / discrete", "stable / discrete"):
        table.add_column(heading, justify="left" if heading == "optimizer" else "right")
    params = problem.init(jax.random.key(0))
    for name in ("gd", "adam"):
        tx, _ = chains()[name]
        runs = {}
        for label, flows in {
            "discrete": {},
            "rod": {"rod": rodflow.RodFlow},
            "stable": {"stable": rodflow.StableFlow},
        }.items():
            tracker = rodflow.Tracker(problem.loss, tx, flows)
            runs[label] = partial(tracker.run, tracker.init(params, warmup=20), 60)
        seconds = best_seconds(runs)
        rod, stable = (seconds[flow] - seconds["discrete"] for flow in ("rod", "stable"))
        table.add_row(
            name,
            f"{seconds['discrete']:.3f}",
            f"{rod:.3f}",
            f"{rod / seconds['discrete']:.1f}",
            f"{stable / seconds['discrete']:.1f}",
        )
    console.print(table)


def sweep(problem: Problem, console: Console, lanes: int = 16) -> None:
    """Lanes of learning rates in one program, against compiled runs one after the other."""
    params = problem.init(jax.random.key(0))

    def member(learning_rate: jax.Array) -> PyTree:
        tx = rodflow.OPTIMIZERS["adam"](learning_rate, b2=0.99)
        flows = {"rod": rodflow.RodFlow}
        return rodflow.track(problem.loss, tx, params, num_steps=200, flows=flows)

    grid = jnp.geomspace(1e-4, 1e-2, lanes)
    one, all_at_once = jax.jit(member), jax.jit(jax.vmap(member))
    first_one = first_seconds(partial(one, grid[0]))
    first_all = first_seconds(partial(all_at_once, grid))
    seconds = best_seconds(
        {"loop": lambda: [one(lr) for lr in grid], "vmap": lambda: all_at_once(grid)}
    )
    table = Table(title=f"{lanes} learning rates, Adam, 200 steps: seconds")
    for heading in ("", "one after the other", "under vmap", "ratio"):
        table.add_column(heading, justify="right" if heading else "left")
    for label, loop, vmap in (
        ("all compiled before", seconds["loop"], seconds["vmap"]),
        ("one compilation for all", first_one + seconds["loop"] * (lanes - 1) / lanes, first_all),
        ("a compilation for each run", first_one * lanes, first_all),
    ):
        table.add_row(label, f"{loop:.1f}", f"{vmap:.1f}", f"{loop / vmap:.1f}")
    console.print(table)
    gradients = sum(200 * (1 + float(one(lr).flows["rod"].gradients.mean())) for lr in grid)
    count = arithmetic(jax.grad(problem.loss), params).times(gradients)
    scaling.bounds(console, gradients, count, seconds["loop"], fastest())


def memory(_: Problem, console: Console) -> None:
    """What XLA allots to a tracked run beyond one doubled gradient, in parameters and state."""
    table = Table(title="memory of a tracked run: Adam on each architecture")
    table.add_column("problem")
    for heading in ("params and state", "doubled gradient", "rod", "stable and rod"):
        table.add_column(heading, justify="right")
    grid = config.load_study(["study=papers"]).grid
    for name in grid.problems:
        chosen = config.load(grid.definitions[name])
        problem = problems.raveled(problems.configured(chosen))
        tx = optimizers.configured(chosen.optimizer)
        params = problem.init(jax.random.key(0))
        gradient = allotted(jax.vmap(jax.grad(problem.loss)), jnp.stack([params, params]))
        held, beyond = 0, []
        for flows in ({"rod": rodflow.RodFlow}, None):
            tracker = rodflow.Tracker(problem.loss, tx, flows)
            state = jax.eval_shape(tracker.init, params)
            held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.run.state))
            tracked = allotted(partial(tracker.run, num_records=1), state)
            beyond.append(f"gradient + {(tracked - gradient) / held:.1f} x")
        table.add_row(name, f"{held / 1e3:.0f} kB", f"{gradient / 1e3:.0f} kB", *beyond)
    console.print(table)


def allotted(function: Callable, *arguments: PyTree) -> int:
    """The bytes of a compiled function: its arguments, results and temporary arrays."""
    analysis = jax.jit(function, donate_argnums=0).lower(*arguments).compile().memory_analysis()
    assert analysis is not None  # some backends do not tell
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return held - analysis.alias_size_in_bytes + analysis.temp_size_in_bytes


PARTS = {
    "tracking": tracking,
    "covariance": covariance,
    "cost": cost,
    "sweep": sweep,
    "memory": memory,
    "peers": lambda _, console: peers.peers(console),
    "onset": lambda _, console: onset.onset(console),
    "epochs": lambda _, console: epochs.epochs(console),
    "scaling": lambda _, console: scaling.scaling(console, list(scaling.PARTS)),
}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_parts(parser, dict.fromkeys(PARTS, ""))
    chosen = parser.parse_args().parts
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=120)  # wide enough for a file
    for note in runtime.configure():
        console.print(note, style="dim")
    # Compilation is part of what `sweep` measures: nothing is taken from an earlier run.
    jax.config.update("jax_enable_compilation_cache", False)
    problem = problems.configured(config.load())
    for part in chosen:
        begin = time.perf_counter()
        PARTS[part](problem, console)
        console.print(f"[{part}: {time.perf_counter() - begin:.0f} s]", style="dim", markup=False)


if __name__ == "__main__":
    main()
