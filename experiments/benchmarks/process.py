"""Measurements in processes of their own, each with the devices and the memory that it asks for."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from experiments.setup import runtime


def measured(function: Callable[..., Any], *arguments: Any, devices: int = 1) -> Any:
    """Call a function of a module in a new Python process, which compiles all that it needs.

    Args:
        function: A function at the top of a module; arguments and results are written as JSON.
        *arguments: The arguments of the function.
        devices: The number of devices that a CPU is split into.

    Returns:
        The results of the function.
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


if __name__ == "__main__":
    runtime.exact_products()  # without the cache of compiled programs
    module, name, given = sys.argv[1:]
    print(json.dumps(getattr(import_module(module), name)(*json.loads(given))))
