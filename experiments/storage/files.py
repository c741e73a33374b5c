"""Files that are either whole or absent, and documents that know when they are changed."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SUM = "# sha256 of all above: "


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, a crash or a full disk never meets half of it.

    The content goes to a temporary name in the same folder, reaches the disk, and only then takes
    the place of whatever was there before. After a failure the old file is intact and the temporary
    one is gone.

    Args:
        path: Name of the file; its folder has to exist.
        content: All of the new file.

    Raises:
        OSError: Some step failed; the error names `path`, whatever step it was.
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


def save(path: Path, document: dict[str, Any], payload: bytes = b"") -> None:
    """Write a document atomically: a line of JSON with its own checksum, and that of the payload.

    Raises:
        OSError: It could not be written; whatever was there before still is.
    """
    document = document | {"payload": _checksum(payload)}
    line = json.dumps(document | {"document": _checksum(json.dumps(document).encode())})
    write_atomically(path, line.encode() + b"\n" + payload)


def load(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read a document and its payload.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged.
    """
    line, _, payload = path.read_bytes().partition(b"\n")
    try:
        document = json.loads(line)
        expected = document.pop("document"), document["payload"]
        intact = expected == (_checksum(json.dumps(document).encode()), _checksum(payload))
    except (ValueError, LookupError, TypeError, AttributeError):  # no JSON, or no object in it
        intact = False
    if not intact:
        raise ValueError(_damaged(path))
    return document, payload


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a JSON file is to hold with the checksum of all of it as its last entry."""
    return {**content, "sha256": _checksum(_canonical(content))}


def without_checksum(content: Any) -> dict[str, Any]:
    """Return what a JSON file holds without its checksum.

    Raises:
        ValueError: something in it is not as it was when the checksum was made.
    """
    if not isinstance(content, dict):
        raise ValueError("it holds no object")
    rest = {key: value for key, value in content.items() if key != "sha256"}
    if content.get("sha256") != _checksum(_canonical(rest)):
        raise ValueError("its content does not have its checksum")
    return rest


def _canonical(content: Mapping[str, Any]) -> bytes:
    """Write JSON in the one way that does not depend on its layout."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def save_text(path: Path, text: str) -> None:
    """Write a text for people atomically, with its checksum in a comment at the end.

    Raises:
        OSError: It could not be written; whatever was there before still is.
    """
    write_atomically(path, f"{text}{_SUM}{_checksum(text.encode())}\n".encode())


def load_text(path: Path) -> str:
    """Read a text without its checksum; one that has none is taken as it is.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged.
    """
    try:
        text, summed, told = path.read_bytes().decode().rpartition(_SUM)
    except UnicodeDecodeError:
        raise ValueError(_damaged(path)) from None
    if not summed:
        return told
    if told.strip() != _checksum(text.encode()):
        raise ValueError(_damaged(path))
    return text


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _damaged(path: Path) -> str:
    return f"{path} is damaged; delete it and repeat the command"


def _sync_folder(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):  # not on every system
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
