"""Ctrl-C during long work: the first ends the command after the present piece, a second at once.

Python raises `KeyboardInterrupt` wherever the program happens to be. Inside a callback of JAX it is
swallowed, or ends the process with a segmentation fault, and while JAX is imported it aborts. So no
exception is raised there.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

SAID = b"\nstopping after the piece in work; press Ctrl-C again to stop at once\n"
SHOW_CURSOR = b"\x1b[?25h"  # progress bars hide it
INTERRUPTED = b"interrupted\n"
STATUS = 130  # of a process that is ended by Ctrl-C, for a shell


@contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """Note Ctrl-C instead of raising an exception at once.

    All that the commands write is whole or absent, so that they can be ended at any moment.

    Yields:
        A function to be called between two pieces of work.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; it is raised by that function, or on leaving.
    """
    asked = threading.Event()

    def note(signum: int, frame: FrameType | None) -> None:
        if asked.is_set():
            os.write(2, SHOW_CURSOR if sys.stderr.isatty() else b"")
            os._exit(STATUS)
        asked.set()
        os.write(2, SAID)

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # no place for a handler
        yield check
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
    check()


@contextmanager
def at_once(folder: Path) -> Iterator[None]:
    """End the process by Ctrl-C at once, wherever it is, and leave no empty folder behind."""

    def end(signum: int, frame: FrameType | None) -> None:
        with suppress(OSError):
            folder.rmdir()
        os.write(2, INTERRUPTED)
        os._exit(STATUS)

    if threading.current_thread() is not threading.main_thread():  # no place for a handler
        yield
        return
    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
