"""A study of many cells, optimizers x problems: run what is not finished, in one folder.

Cells differ in structure and take one compiled program each; `grid.workers` of them are in work at
a time, each in a process of its own (two programs of JAX in threads of one process can wait for
each other forever on a machine of two cores). The folder says all there is to know about progress,
so the same command continues a study that was killed, and a longer list of optimizers or problems
extends one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path

import xarray as xr

from experiments.configuration.config import GridStudyConfig, RunConfig, load
from experiments.runs import cell as cells
from experiments.runs import workers
from experiments.runs.cell import Cell

PERIOD = 1.0  # seconds between two looks at the progress


def composed(config: GridStudyConfig) -> Iterator[tuple[str, str, RunConfig]]:
    """Resolve every cell as (problem, optimizer, configuration), at default learning rates.

    Raises:
        ValueError: a cell cannot be configured.
    """
    grid = config.grid
    shared = [f"{key}={getattr(config, key)}" for key in ("warmup", "num_steps", "every", "twins")]
    kappa = "null" if config.kappa is None else config.kappa
    chunks = "null" if config.chunks is None else config.chunks
    shared += [f"kappa={kappa}", f"loss={config.loss.name}", f"chunks={chunks}"]
    for problem in grid.problems:
        for optimizer in grid.optimizers:
            chosen = [*grid.definitions[problem], f"optimizer={optimizer}"]
            yield problem, optimizer, load([*shared, *chosen])


def cells_of(config: GridStudyConfig, folder: Path) -> list[Cell]:
    """List the cells of a study, problem by problem.

    Raises:
        ValueError: a cell cannot be configured, or has no learning rate.
    """
    grid = config.grid
    found = []
    for problem, optimizer, run in composed(config):
        rate = grid.learning_rates.get(problem, {}).get(optimizer)
        if rate is None:
            raise ValueError(
                f"grid.learning_rates.{problem}.{optimizer} is missing; set it, or have it found: "
                "python -m experiments search STUDY KEY=VALUE ..., with the keys given here"
            )
        run.optimizer.learning_rate = rate
        place = folder / problem / optimizer
        without = grid.without.get(optimizer, [])
        flows = [flow for flow in grid.flows if flow.name not in without]
        found.append(Cell(problem, run, grid.seeds, flows, grid.compared, grid.segment, place))
    return found


def run(
    study: list[Cell], count: int, report: Callable[[Cell, int, xr.Dataset | None], None]
) -> list[xr.Dataset]:
    """Run all cells that are not finished.

    Args:
        study: the cells.
        count: how many are in work at a time.
        report: called with a cell, its segments that are complete, and its results at its end.

    Returns:
        The results of all cells, in their order.
    """
    results = {}
    with workers.pool(count) as pool:
        futures = {pool.submit(workers.run_cell, cell): cell for cell in study}
        try:
            while len(results) < len(study):
                done = wait(futures, PERIOD, FIRST_COMPLETED).done
                for future in done:
                    cell = futures.pop(future)
                    future.result()
                    results[cell.name] = cells.finished(cell)
                    report(cell, cell.segments, results[cell.name])
                for cell in futures.values():
                    report(cell, cells.segments_of(cell), None)
        except BaseException:
            workers.stop(pool)
            raise
    return [results[cell.name] for cell in study]
