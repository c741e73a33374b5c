"""Claims: files that one process has to itself until it ends, however it ends.

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
        path: Name of the file.
        wait: Wait until the process that has claimed the file lets go of it.

    Yields:
        True if this process holds the claim (always on systems without file locks).

    Raises:
        OSError: The file cannot be written, or its file system has no locks.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        yield _locked(descriptor, path, wait)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, path: Path, wait: bool) -> bool:
    if "fcntl" not in globals():
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return True
