"""Files that are either whole or absent."""

import os
from pathlib import Path


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


def remove_leftovers(folder: Path, *patterns: str) -> None:
    """Remove what a finished job no longer needs, and the temporary files of killed ones.

    Args:
        folder: of the job, of which no other process is writing files.
        patterns: of names.
    """
    for pattern in (*patterns, ".*.tmp"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # The new name lives in the folder, which has to reach the disk as well; not on every system.
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
