"""How an experiment sets JAX up: exact matrix products, a compilation cache, no chatter.

The library itself sets no flag; an application may.
"""

import logging
import os
import warnings
from pathlib import Path


def configure() -> list[str]:
    """Set JAX up; call it before the first computation.

    Returns:
        Remarks for the user, one line each; usually none.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the C++ side of JAX reads it on import

    import jax

    # Accelerators round the inputs of matrix products to 10 bits or fewer by default, which would
    # be taken for a difference between a flow and the iterates.
    jax.config.update("jax_default_matmul_precision", "highest")
    for chatty in ("jax", "matplotlib"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # A full disk must not spoil a run only because a compiled program could not be kept.
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
    return []


def cache_folder() -> Path:
    """Return where compiled programs are kept between runs, in the user's cache folder."""
    if chosen := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rodflow"
