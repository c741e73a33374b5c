"""Checkpoints: where a run stands, in one file that is whole or absent.

A header line of JSON, which says what the checkpoint is of and has the checksum of the rest, and
then the arrays of a pytree as Equinox serialises them.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import equinox as eqx
from jaxtyping import PyTree

from experiments.storage.files import write_atomically


def save(path: Path, state: PyTree, header: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Raises:
        OSError: it could not be written; the checkpoint before it is intact.
    """
    content = io.BytesIO()
    eqx.tree_serialise_leaves(content, state)
    payload = content.getvalue()
    line = json.dumps(header | {"sha256": checksum(payload)})
    write_atomically(path, line.encode() + b"\n" + payload)


def load(path: Path, like: PyTree) -> tuple[PyTree, dict[str, Any]]:
    """Read a checkpoint into the structure of `like`, whose leaves may be abstract.

    Raises:
        ValueError: the file is damaged, or of a state of another structure.
    """
    header, payload = _read(path)
    try:
        return eqx.tree_deserialise_leaves(io.BytesIO(payload), like), header
    except Exception as error:
        raise ValueError(f"{path} is the checkpoint of another kind of run") from error


def header(path: Path) -> dict[str, Any]:
    """Read what a checkpoint is of.

    Raises:
        ValueError: the file is damaged.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    line, _, payload = path.read_bytes().partition(b"\n")
    try:
        header = json.loads(line)
        intact = header["sha256"] == checksum(payload)
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise ValueError(f"{path} is damaged; delete it to begin this run again")
    return header, payload


def checksum(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()
