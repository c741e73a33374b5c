"""Circumstances of a measurement: when, at which commit, on which machine and by what versions."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import rodflow

ROOT = Path(__file__).resolve().parents[2]
CODE = ("rodflow", "experiments", "configs")
"""Folders that numbers can depend on."""
PACKAGES = ("jax", "jaxlib", "optax", "diffrax", "equinox", "flax", "numpy")


def circumstances() -> dict[str, Any]:
    """Return commit, date, machine and versions of what this process measures."""
    return {
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {"python": platform.python_version(), "rodflow": rodflow.__version__}
        | {name: version(name) for name in PACKAGES},
    }


def commit() -> str:
    """Return the hash of the present commit, with a `+` behind it if files that matter differ.

    It is "unknown" outside a clone of the repository.
    """
    found = _git("rev-parse", "HEAD")
    if found is None:
        return "unknown"
    return found + ("+" if _git("status", "--porcelain", "--", *CODE) else "")


def changed_since(commit: str) -> bool:
    """Return True if the code differs from that of a commit; False where git does not know it."""
    return bool(_git("diff", "--name-only", commit, "--", *CODE))


def machine() -> str:
    """Name the processor, how many of its cores this process may use, and accelerators."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    named = f"{_processor()}, {cores} cores"
    kinds = sorted({each.device_kind for each in jax.devices() if each.platform != "cpu"})
    return ", ".join([named, *kinds])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
