"""Files that are either whole or absent, and folders that one process at a time works in."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

with contextlib.suppress(ImportError):  # not on Windows
    import fcntl


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, a crash or a full disk never meets half of it.

    The content goes to a temporary name in the same folder, reaches the disk, and only then takes
    the place of whatever was there before. After a failure the old file is intact and the temporary
    one is gone.

    Args:
        path: where; the folder has to exist.
        content: all of the new file.

    Raises:
        OSError: with `path` as its file name, whatever step failed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _sync_folder(folder: Path) -> None:
    # The new name lives in the folder, which has to reach the disk as well; not on every system.
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Refuse to work in a folder that another process works in.

    Raises:
        ValueError: another one does.
    """
    if "fcntl" not in globals():
        yield
        return
    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        # The system takes the lock back when the process ends, however it ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ValueError(f"{folder} is in use by another run; wait for it or stop it") from None
    finally:
        os.close(descriptor)
