"""What lanes are worth: the same trainings at once, one after the other, and each by itself.

Lanes have all devices, a loop has one. The last way compiles a program for each architecture, of
the size that it has: it computes less, since it pads nothing, and compiles more. A program that JAX
has kept from an earlier run counts with the time that reading it took.
"""

from collections.abc import Mapping
from functools import partial

import jax
import numpy as np
import xarray as xr

from experiments.benchmarks.roofline import Arithmetic, arithmetic, fastest
from experiments.studies.coevolution.genome import Genome, encoded
from experiments.studies.coevolution.lanes import Program, Task, trained

REPETITIONS = 3  # of which the fastest counts, on a machine that may be busy


def ways(task: Task, alleles: Mapping[str, np.ndarray], rate: float, seed: int) -> xr.Dataset:
    """Time each way on some architectures.

    Returns:
        Of each `way` (`lanes`, `one`, `own`) the seconds that compiling a program took, and those
        of a run. Beside them the arithmetic of the gradients of a run that is padded, by
        `operation`, and the fastest rates of such on this machine.
    """
    genomes = encoded(alleles)
    count = len(genomes.depth)
    own = [
        _seconds(
            task._replace(depth=int(alleles["depth"][row]), width=int(alleles["width"][row])),
            Genome(*(gene[row : row + 1] for gene in genomes)),
            1,
            rate,
            seed,
        )
        for row in range(count)
    ]
    lanes, one = (_seconds(task, genomes, together, rate, seed) for together in (count, 1))
    seconds = np.array([lanes, one, np.mean(own, axis=0)])
    first = Genome(*(gene[0] for gene in genomes))
    loss, params, _ = task.problem(first, jax.numpy.float32(rate), jax.numpy.uint32(seed))
    return xr.Dataset(
        {
            "loop_compile_seconds": ("way", seconds[:, 0]),
            "loop_run_seconds": ("way", seconds[:, 1]),
            "loop_arithmetic": (
                "operation",
                list(arithmetic(jax.value_and_grad(loss), params).times(task.steps)),
            ),
            "loop_fastest": ("operation", list(fastest())),
            "loop_optimizer": task.optimizer,
        },
        {"way": ["lanes", "one", "own"], "operation": list(Arithmetic._fields)},
    )


def _seconds(
    task: Task, genomes: Genome, lanes: int, rate: float, seed: int
) -> tuple[float, float]:
    devices = jax.devices()
    program = Program(partial(trained, task), lanes, devices if lanes > 1 else devices[:1])
    count = len(genomes.depth)
    times = []
    for _ in range(1 + REPETITIONS):
        begin = program.run_seconds
        program(genomes, np.full(count, rate), np.full(count, seed))
        times.append(program.run_seconds - begin)
    return program.compile_seconds, min(times[1:]) / count
