"""Processes that work on the cells of a study, and end when the process that began them does."""

import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context, get_start_method, set_start_method

from experiments.runs import cell as cells
from experiments.runs.cell import Cell
from experiments.setup import runtime

PERIOD = 0.2  # seconds between two looks at whether the parent is alive


def pool(count: int) -> ProcessPoolExecutor:
    """Start `count` processes, each with a JAX of its own."""
    # A process of joblib's names one to its children that only joblib knows.
    if get_start_method() not in get_all_start_methods():
        set_start_method("spawn", force=True)
    # Forking a process that has used JAX would copy locks in whatever state they are.
    return ProcessPoolExecutor(count, get_context("spawn"), begin, (os.getpid(),))


def begin(parent: int) -> None:
    """Set a new worker up."""

    def follow_parent() -> None:
        while os.getppid() == parent:
            time.sleep(PERIOD)
        # Killed, so that no orphan works beside the run that continues the study.
        os._exit(1)

    # Ctrl-C reaches every process of a terminal; the parent is the one to act on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=follow_parent, daemon=True).start()
    runtime.configure()


def run_cell(cell: Cell) -> None:
    """Run a cell to its end; its results are in its folder."""
    cells.run(cell)


def stop(pool: ProcessPoolExecutor) -> None:
    """End all workers at once: whatever they are at, what they have written is whole."""
    for process in list((pool._processes or {}).values()):
        process.kill()
    pool.shutdown(cancel_futures=True)
