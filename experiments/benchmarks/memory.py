"""Memory of a tracked run on each architecture, beyond a gradient at two points.

It is counted in units of the parameters and the optimizer state.
"""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp

import rodflow
from experiments import problems
from experiments.analysis.table import Table
from experiments.configuration import config
from experiments.setup import optimizers

COLUMNS = ["problem", "params and state", "doubled gradient", "rod", "stable and rod"]


def memory() -> Iterator[Table]:
    """Compile Adam with flows on each architecture and ask XLA for the memory that it needs."""
    grid = config.load_study(["study=papers"]).grid
    assert grid is not None
    rows = []
    for name in grid.problems:
        chosen = config.load(grid.definitions[name])
        problem = problems.raveled(problems.configured(chosen))
        tx = optimizers.configured(chosen.optimizer)
        params = problem.init(jax.random.key(0))
        gradient = allotted(compiled(jax.vmap(jax.grad(problem.loss)), jnp.stack([params, params])))
        held, beyond = 0, []
        for flows in ({"rod": rodflow.RodFlow()}, None):
            tracker = rodflow.Tracker(problem.loss, tx, flows)
            state = jax.eval_shape(tracker.init, params)
            held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.run.state))
            tracked = allotted(compiled(partial(tracker.run, num_records=1), state))
            beyond.append(f"gradient + {(tracked - gradient) / held:.1f} x")
        rows.append([name, f"{held / 1e3:.0f} kB", f"{gradient / 1e3:.0f} kB", *beyond])
    yield Table("memory of a tracked run: Adam on each architecture", COLUMNS, rows)


def compiled(function, argument) -> jax.stages.Compiled:
    """Compile a function that gives its argument away: an old state makes room for the new one."""
    return jax.jit(function, donate_argnums=0).lower(argument).compile()


def allotted(program: jax.stages.Compiled, arguments: bool = True) -> int:
    """Return the bytes that XLA allots to a program on a device.

    Args:
        program: A compiled function.
        arguments: If True, its arguments are included, those given away only once.

    Returns:
        The bytes of its arguments, results and temporary arrays.
    """
    analysis = program.memory_analysis()
    assert analysis is not None  # some backends do not tell
    taken = analysis.output_size_in_bytes + analysis.temp_size_in_bytes
    if not arguments:
        return taken
    return taken + analysis.argument_size_in_bytes - analysis.alias_size_in_bytes
