"""Grids of cells, optimizers x problems: run what is not finished, in one folder.

Cells differ in structure and take one compiled program each; `grid.workers` of them are in work at
a time, each in a process of its own (two programs of JAX in threads of one process can wait for
each other forever on a machine of two cores). The folder says all there is to know about progress,
so the same command continues a grid that was killed, and a longer list of optimizers or problems
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
from experiments.setup.flows import flow
from experiments.storage.job import Job, Kind

PERIOD = 1.0  # seconds between two looks at the progress


def composed(config: GridStudyConfig) -> Iterator[tuple[str, str, RunConfig]]:
    """Resolve every cell as (problem, optimizer, configuration), at default learning rates.

    Raises:
        ValueError: A cell cannot be configured.
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
    """List the cells of a grid, problem by problem.

    Raises:
        ValueError: A cell cannot be configured, or has no learning rate.
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
        flows = [name for name in grid.flows if name not in without]
        for name in flows:
            flow(name, config.kappa)
        found.append(Cell(problem, run, grid.seeds, flows, grid.compared, grid.segment, place))
    return found


def run(
    grid: list[Cell],
    folder: Path,
    resolved: str,
    count: int,
    report: Callable[[Cell, int, xr.Dataset | None], None],
) -> list[xr.Dataset]:
    """Run all cells that are not finished.

    Args:
        grid: The cells.
        folder: The folder that theirs are in.
        resolved: The configuration as YAML, which is left in the folder.
        count: Number of cells in work at a time.
        report: Called with a cell, its segments that are complete, and its results at its end.

    Returns:
        The results of all cells, in their order.

    Raises:
        ValueError: Something in a folder is damaged or of another job; all stays.
        OSError: Something could not be written, or a worker was killed; all stays.
    """
    jobs = {cell.name: cell.job for cell in grid}  # made once: their identities take milliseconds
    for job in jobs.values():
        job.check()
    results = {}

    def look() -> None:
        for cell in grid:
            if cell.name not in results:
                job = jobs[cell.name]
                if (found := job.finished()) is not None:
                    results[cell.name] = found
                report(cell, cell.segments if found is not None else job.complete, found)

    look()
    if todo := [cell for cell in grid if cell.name not in results]:
        with Job(folder, Kind.GRID, {}).working(resolved), workers.pool(count) as pool:
            futures = {pool.submit(run_cell, cell) for cell in todo}
            while futures:
                done, futures = wait(futures, PERIOD, FIRST_COMPLETED)
                for future in done:
                    future.result()
                look()
    return [results[cell.name] for cell in grid]


def run_cell(cell: Cell) -> None:
    """Run a cell to its end; its results are in its folder."""
    cells.run(cell)
