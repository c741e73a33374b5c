"""Cost of the same trainings as lanes of one program, one after the other, and each by itself.

Lanes have all devices, a loop has one. The last way compiles a program for each architecture, of
the size that it has: it computes less, since it pads nothing, and compiles more. A program that JAX
has kept from an earlier run counts with the time that reading it took.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.setup.roofline import Arithmetic, arithmetic, fastest
from experiments.studies import lanes
from experiments.studies.coevolution.genome import Genome, encoded
from experiments.studies.coevolution.training import Task, axes, member, trained

REPETITIONS = 3  # of which the fastest counts, on a machine that may be busy


def ways(task: Task, alleles: Mapping[str, np.ndarray], rate: float, seed: int) -> xr.Dataset:
    """Time each way on some architectures.

    Returns:
        Of each `way` (`lanes`, `one`, `own`) the seconds that compiling a program took, and those
        of a run. Beside them the arithmetic of the gradients of a run that is padded, by
        `operation`, and the fastest rates of such on this machine.
    """
    genomes = encoded(alleles)
    sizes = zip(*(alleles[gene].tolist() for gene in ("depth", "width")), strict=True)
    own = [
        _seconds(
            task._replace(depth=depth, width=width),
            Genome(*(gene[row : row + 1] for gene in genomes)),
            1,
            rate,
            seed,
        )
        for row, (depth, width) in enumerate(sizes)
    ]
    every, one = (_seconds(task, genomes, together, rate, seed) for together in (len(own), 1))
    seconds = np.array([every, one, np.mean(own, axis=0)])
    loss, params, _ = task.problem(
        jax.tree.map(lambda gene: gene[0], genomes), jnp.float32(rate), jnp.uint32(seed)
    )
    count = arithmetic(jax.value_and_grad(loss), params).times(task.steps)
    return xr.Dataset(
        {
            "loop_compile_seconds": ("way", seconds[:, 0]),
            "loop_run_seconds": ("way", seconds[:, 1]),
            "loop_arithmetic": ("operation", list(count)),
            "loop_fastest": ("operation", list(fastest())),
            "loop_optimizer": task.optimizer,
        },
        {"way": ["lanes", "one", "own"], "operation": list(Arithmetic._fields)},
    )


def _seconds(
    task: Task, genomes: Genome, together: int, rate: float, seed: int
) -> tuple[float, float]:
    """Return the seconds of compiling, and those of a run."""
    count = len(genomes.depth)
    grid = axes(np.arange(count), np.full(count, rate), np.full(count, seed))
    lane, mesh = member(trained, task, genomes), lanes.all_devices() if together > 1 else None
    first, *later = (lanes.run(lane, grid, together, mesh) for _ in range(1 + REPETITIONS))
    least = min(sum(ran.seconds) for ran in later)
    return max(sum(first.seconds) - least, 0.0), least / count
