"""Measurements in processes of their own, each with the devices and the memory that it asks for."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax

from experiments.setup import runtime


def measured(function: Callable[..., Any], *arguments: Any, devices: int = 1) -> Any:
    """Return the results of a function called in a new process, which compiles all that it needs.

    The function is at the top of a module, and takes and returns what JSON can hold. In the process
    a CPU is split into so many devices.
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    named = [function.__module__, function.__name__, json.dumps(arguments)]
    done = subprocess.run(
        [sys.executable, "-m", __name__, *named],
        env=os.environ | {"XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def accelerators() -> list[str]:
    """Return the kind of each device that is not a CPU."""
    return [x.device_kind for x in jax.devices() if x.platform != "cpu"]


if __name__ == "__main__":
    runtime.exact_products()  # without the cache of compiled programs
    module, name, given = sys.argv[1:]
    print(json.dumps(getattr(import_module(module), name)(*json.loads(given))))
