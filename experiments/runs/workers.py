"""Processes that work on the cells of a grid, and end when the process that began them does."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from experiments.setup import runtime


@contextlib.contextmanager
def pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes, each with a JAX of its own, and end them at once on leaving.

    They are ended whatever they are at, since all that they write is whole or absent.

    Raises:
        ChildProcessError: A worker was killed.
    """
    # A process of joblib's names a way of starting to its children that only joblib knows.
    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("spawn", force=True)
    # Forking a process that has used JAX would copy locks in whatever state they are.
    spawning = multiprocessing.get_context("spawn")
    # Nothing is ever sent: workers notice that its other end is closed, by us or by the system.
    life, ours = spawning.Pipe(duplex=False)
    workers = ProcessPoolExecutor(count, spawning, begin, (life,))
    try:
        yield workers
    except BrokenProcessPool:
        raise ChildProcessError(
            "a worker was killed, as the system does when memory runs out; the same command "
            "continues, and grid.workers=1 takes less memory"
        ) from None
    finally:
        ours.close()
        workers.shutdown(cancel_futures=True)
        life.close()


def begin(life: Connection) -> None:
    """Set up a worker that lives no longer than the other end of a connection."""

    def follow() -> None:
        with contextlib.suppress(EOFError, OSError):
            life.recv()
        os._exit(1)  # at once, so that no orphan works beside the process that continues the grid

    # Ctrl-C reaches every process of a terminal; the parent is the one to act on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=follow, daemon=True).start()
    runtime.configure()
