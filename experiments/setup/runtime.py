"""Set-up of JAX: exact matrix products, a cache of compiled programs, no chatter, all devices.

The library sets no flag of JAX; an application may.
"""

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from experiments.configuration.sweep import DistributedConfig

LINGER = 3  # seconds that the coordinator waits at the end: others abort if it leaves first


def configure() -> list[str]:
    """Set JAX up before the first computation.

    Returns:
        Remarks for the user, one line each; usually none.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when JAX is imported
    # Workers share a GPU, of which JAX would otherwise allocate three quarters for each of them.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # Read when Equinox is imported. A check of Diffrax that raises an exception from within a
    # program is a call of Python, and JAX keeps no program that contains one.
    os.environ.setdefault("EQX_ON_ERROR", "nan")

    import jax

    exact_products()
    for chatty in ("jax", "matplotlib"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # A run goes on if a compiled program cannot be kept, for example on a full disk.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent comp")
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        return [f"compiled programs are not kept for the next run: cannot write {folder}"]
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # A run has dozens of small programs, which together take as long to compile as a large one.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return []


def exact_products() -> None:
    """Compute matrix products in the precision of their inputs.

    Accelerators round inputs to 10 bits or fewer by default. The errors would be mistaken for a
    difference between a flow and the iterates.
    """
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")


@contextlib.contextmanager
def joined(distributed: DistributedConfig | None) -> Iterator[None]:
    """Use all devices of this host and, if a coordinator is configured, join other processes.

    The context is to be entered before anything asks JAX for its devices.
    """
    import jax

    use_all_cores()
    if distributed is None or distributed.coordinator is None:
        yield
        return
    jax.config.update("jax_enable_recoverability", True)  # processes survive the loss of another
    if distributed.coordinator == "auto":
        jax.distributed.initialize()
    else:
        jax.distributed.initialize(
            distributed.coordinator, distributed.num_processes, distributed.process_id
        )
    jax.devices()  # waits for the others here, before this process holds a lock they wait for
    yield
    if jax.process_index() == 0:
        time.sleep(LINGER)


def use_all_cores() -> None:
    """Make each core of a CPU a device, as XLA runs small operations on one core only.

    This is to be called before anything asks JAX for its devices.
    """
    import jax

    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # workers of --multirun have devices already
            jax.config.update("jax_num_cpu_devices", cores())


def cores() -> int:
    """Count the CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path:
    """Return the folder that keeps compiled programs between runs, in the user's cache folder."""
    if chosen := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rodflow"
