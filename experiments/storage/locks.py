"""Claims: what one process has to itself until it ends, however it ends.

A claim is a lock of the operating system on a file. It needs no communication and is never stale:
the system takes it back from a process that is killed, and a file server from a host that is lost.
Hosts can share claims on file systems that have locks across hosts, such as NFS from version 4 on,
GPFS, and Lustre mounted with `flock`.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

with contextlib.suppress(ImportError):  # not on Windows
    import fcntl


@contextlib.contextmanager
def claimed(path: Path, wait: bool = False) -> Iterator[bool]:
    """Claim a file, which is made if there is none.

    Args:
        path: of the file.
        wait: until whoever has it lets go.

    Yields:
        Whether it is ours; always, where the system has no such locks.

    Raises:
        OSError: the file cannot be written.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        yield _locked(descriptor, wait)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Refuse to work in a folder that another process works in.

    Raises:
        ValueError: another one does.
    """
    with claimed(folder / ".lock") as mine:
        if not mine:
            raise ValueError(f"{folder} is in use by another run; wait for it or stop it")
        yield


def _locked(descriptor: int, wait: bool) -> bool:
    if "fcntl" not in globals():
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
